// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Telemetry

@Suite("Metrics")
struct MetricsTests {
    private func text(_ registry: MetricsRegistry) -> String { String(decoding: registry.render(), as: UTF8.self) }

    @Test("families come sorted, each with one HELP and one TYPE")
    func renders() {
        let registry = MetricsRegistry()
        registry.counter("b_total", help: "Second.", labels: [("path", "/mcp"), ("status", "200")]).increment(by: 3)
        registry.counter("b_total", help: "Second.", labels: [("path", "/mcp"), ("status", "404")]).increment()
        registry.gauge("a", help: "First.").set(1.5)
        registry.gauge("c", help: "Third.") { 7 }
        #expect(
            text(registry) == """
                # HELP a First.
                # TYPE a gauge
                a 1.5
                # HELP b_total Second.
                # TYPE b_total counter
                b_total{path="/mcp",status="200"} 3
                b_total{path="/mcp",status="404"} 1
                # HELP c Third.
                # TYPE c gauge
                c 7

                """)
    }

    @Test("a histogram counts upwards and ends at +Inf")
    func histogram() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram("h_seconds", help: "H.", buckets: [0.5, 1, 2], labels: [("route", "x")])
        for value in [0.5, 0.6, 2, 3, -1, .nan] { histogram.observe(seconds: value) }
        #expect(
            text(registry) == """
                # HELP h_seconds H.
                # TYPE h_seconds histogram
                h_seconds_bucket{route="x",le="0.5"} 3
                h_seconds_bucket{route="x",le="1"} 4
                h_seconds_bucket{route="x",le="2"} 5
                h_seconds_bucket{route="x",le="+Inf"} 6
                h_seconds_sum{route="x"} 6.1
                h_seconds_count{route="x"} 6

                """)
        #expect(Histogram.requestSeconds.contains(2))
    }

    @Test("labels and help are escaped")
    func escapes() {
        let registry = MetricsRegistry()
        registry.counter("x_total", help: "a\\b\nc \"d\"", labels: [("l", "a\"b\\c\nd é")]).increment()
        #expect(text(registry).contains("# HELP x_total a\\\\b\\nc \"d\"\n"))
        #expect(text(registry).contains("x_total{l=\"a\\\"b\\\\c\\nd é\"} 1\n"))
    }

    @Test("the same name and labels give the same handle")
    func same() {
        let registry = MetricsRegistry()
        let first = registry.counter("x_total", help: "X.", labels: [("a", "1")])
        #expect(first === registry.counter("x_total", help: "X.", labels: [("a", "1")]))
        #expect(first !== registry.counter("x_total", help: "X.", labels: [("a", "2")]))
    }

    @Test("series that come and go are asked for each time, as many as are allowed")
    func listed() {
        let registry = MetricsRegistry(seriesMax: 2)
        registry.gauges("x", help: "X.", label: "a") { [("two", 2), ("one\"", 1), ("three", 3)] }
        #expect(text(registry) == "# HELP x X.\n# TYPE x gauge\nx{a=\"one\\\"\"} 1\nx{a=\"two\"} 2\n")
    }

    @Test("series beyond the bound go to one called other")
    func bounded() {
        let registry = MetricsRegistry(seriesMax: 3)
        for value in 0..<50 {
            registry.counter("x_total", help: "X.", labels: [("a", "\(value)"), ("b", "y")]).increment()
        }
        let lines = text(registry).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count == 4)
        #expect(lines.contains("x_total{a=\"other\",b=\"other\"} 47"))
    }

    @Test("beyond the bound calls of tools are told apart by what is not their name, and that is bounded as well")
    func growing() {
        let registry = MetricsRegistry(seriesMax: 2)
        for tool in ["a", "b", "c", "d"] {
            for outcome in ["ok", "failed"] {
                registry.counter(.toolCalls, labels: [("tool", tool), ("route", "wasm"), ("outcome", outcome)])
                    .increment()
            }
        }
        for outcome in ["ok", "failed"] {
            #expect(text(registry).contains("{tool=\"other\",route=\"wasm\",outcome=\"\(outcome)\"} 3\n"))
        }
        for route in 0..<200 {
            registry.counter(.toolCalls, labels: [("tool", "e"), ("route", "\(route)"), ("outcome", "ok")]).increment()
        }
        let lines = text(registry).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count == 2 + 64 + 1)
        #expect(lines.contains { $0.contains("{tool=\"other\",route=\"other\",outcome=\"other\"} ") })
    }

    @Test("what is not kept by its first label is taken out, what is summed up stays")
    func keeps() {
        let registry = MetricsRegistry(seriesMax: 8)
        func count(_ tool: String, _ outcome: String) {
            registry.counter(.toolCalls, labels: [("tool", tool), ("route", "r"), ("outcome", outcome)]).increment()
        }
        #expect(registry.hasSpace(for: 4, in: .toolCalls) && !registry.hasSpace(for: 5, in: .toolCalls))
        for tool in ["a", "a\"\\", "other", "gone"] { for outcome in ["ok", "failed"] { count(tool, outcome) } }
        #expect(!registry.hasSpace(for: 1, in: .toolCalls))
        registry.keep(.toolCalls, values: ["a\"\\", "never there"])
        let lines = text(registry).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count == 4)
        #expect(lines.allSatisfy { $0.contains("{tool=\"a\\\"\\\\\",") || $0.contains("{tool=\"other\",") })
        registry.keep(.toolCalls, values: [String]())
        registry.keep(.cacheLookups, values: ["fresh"])
        #expect(text(registry).split(separator: "\n").count == 4)
    }

    @Test("a series that is taken out is not shown, others stay, and it may come again with another reader")
    func removes() {
        let registry = MetricsRegistry()
        let up = MetricName.upstreamUp
        registry.gauge(up, labels: [("upstream", "erp")]) { 1 }
        registry.gauge(up, labels: [("upstream", "crm")]) { 2 }
        registry.remove(up, labels: [("upstream", "erp")])
        registry.remove(up, labels: [("upstream", "never there")])
        #expect(!text(registry).contains("erp"))
        #expect(text(registry).contains("mcp_upstream_up{upstream=\"crm\"} 2\n"))
        registry.gauge(up, labels: [("upstream", "erp")]) { 3 }
        registry.gauge(up, labels: [("upstream", "crm")]) { 4 }
        #expect(text(registry).contains("mcp_upstream_up{upstream=\"erp\"} 3\n"))
        #expect(text(registry).contains("mcp_upstream_up{upstream=\"crm\"} 4\n"))
    }

    @Test("with its last series a family goes, and what comes again begins anew")
    func removesAll() {
        let registry = MetricsRegistry(seriesMax: 1)
        let labels = [("tool", "a"), ("route", "wasm"), ("outcome", "ok")]
        let former = registry.counter(.toolCalls, labels: labels)
        former.increment(by: 5)
        // Beyond the bound, and so not removed alone.
        registry.counter(.toolCalls, labels: [("tool", "b"), ("route", "wasm"), ("outcome", "ok")]).increment()
        registry.remove(.toolCalls, labels: [("tool", "b"), ("route", "wasm"), ("outcome", "ok")])
        #expect(text(registry).contains("{tool=\"other\",route=\"wasm\",outcome=\"ok\"} 1\n"))
        registry.remove(.toolCalls, labels: [("tool", "other"), ("route", "wasm"), ("outcome", "ok")])
        registry.remove(.toolCalls, labels: labels)
        #expect(text(registry) == "")
        former.increment()
        #expect(text(registry) == "")
        registry.counter(.toolCalls, labels: labels).increment()
        #expect(text(registry).contains("mcp_tool_calls_total{tool=\"a\",route=\"wasm\",outcome=\"ok\"} 1\n"))
    }

    @Test("what a reader held on to is let go of when its series is taken out")
    func releases() {
        final class Upstream: Sendable {
            let isUp = 1.0
        }
        let registry = MetricsRegistry()
        weak var seen: Upstream?
        do {
            let upstream = Upstream()
            seen = upstream
            registry.gauge(.upstreamUp, labels: [("upstream", "x")]) { upstream.isUp }
        }
        #expect(seen != nil)
        registry.remove(.upstreamUp, labels: [("upstream", "x")])
        #expect(seen == nil)
    }

    @Test("nothing is lost when many count at once")
    func concurrent() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("x_total", help: "X.")
        let gauge = registry.gauge("g", help: "G.")
        let histogram = registry.histogram("h", help: "H.")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for step in 0..<10_000 {
                        counter.increment()
                        gauge.add(step.isMultiple(of: 2) ? 2 : -1)
                        histogram.observe(seconds: 0.003)
                    }
                }
            }
        }
        #expect(counter.value == 40_000)
        #expect(gauge.value == 20_000)
        #expect(histogram.count == 40_000)
        #expect(abs(histogram.read().sum - 120) < 0.001)
    }

    @Test("the process shows what the kernel knows of it")
    func process() throws {
        let registry = MetricsRegistry()
        ProcessMetrics.register(in: registry)
        var values: [String: Double] = [:]
        for line in text(registry).split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: " ")
            values[String(parts[0])] = Double(parts[1])
        }
        #expect(try #require(values["process_resident_memory_bytes"]) > 1_000_000)
        #expect(try #require(values["process_cpu_seconds_total"]) > 0)
        #expect(try #require(values["process_open_fds"]) >= 3)
        #expect(try #require(values["process_start_time_seconds"]) > 1_700_000_000)
    }

    @Test("a name with two kinds is a mistake that stops the process")
    func mistake() async {
        await #expect(processExitsWith: .failure) {
            let registry = MetricsRegistry()
            _ = registry.counter("x", help: "X.")
            _ = registry.gauge("x", help: "X.")
        }
    }
}
