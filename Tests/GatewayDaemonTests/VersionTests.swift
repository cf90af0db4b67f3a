// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite("The version")
struct VersionTests {
    @Test("The program's version is the newest one in the changelog")
    func changelog() throws {
        let text = try SettingsReferenceTests.text("CHANGELOG.md")
        let newest = text.split(separator: "\n").first { $0.hasPrefix("## ") }?.dropFirst(3)
        #expect(newest.map(String.init) == GatewayVersion.text)
    }
}
