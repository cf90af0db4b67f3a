// Licensed under the Apache License 2.0; see LICENSE.

import Telemetry
import Testing

@Suite struct MetricsReferenceTests {
    @Test func `the table of METRICS is that of the code`() throws {
        let text = try SettingsReferenceTests.text("docs/METRICS.md")
        let parts = text.split(separator: "<!-- metrics -->\n", omittingEmptySubsequences: false)
        try #require(parts.count == 3)
        SettingsReferenceTests.compare(parts[1], MetricsReference.table(), "docs/METRICS.md")
    }

    @Test func `every metric is named once, and says what it is`() {
        #expect(Set(MetricName.all.map(\.name)).count == MetricName.all.count)
        for metric in MetricName.all { #expect(metric.help.hasSuffix("."), "\(metric.name)") }
    }
}
