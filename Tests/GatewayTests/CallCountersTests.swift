// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Glibc
import MCPWire
import Resilience
import Telemetry
import Testing

@testable import Gateway

/// A folder for log files, which is gone with the test.
private final class TemporaryLogs {
    let path: String

    init() {
        var template = Array("/tmp/gateway-test-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    }

    deinit {
        for name in ["app.log", "security.log"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    func lines(_ name: String) -> [String] {
        let file = Glibc.open("\(path)/\(name)", O_RDONLY)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let count = Glibc.read(file, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").map(String.init)
    }
}

/// What is counted and written down of calls.
@Suite("Call counters") struct CallCountersTests {
    private func lines(_ registry: MetricsRegistry) -> [String] {
        String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("mcp_tool_calls_total{") }
    }

    @Test(
        "Few tools stand at 0 from the list on, of many each with its first call, and those beyond the bound together")
    func many() {
        let registry = MetricsRegistry(seriesMax: 12)
        let tools = (0..<9).map { CallCounters(registry: registry, tool: "t\($0)", route: "wasm") }
        #expect(lines(registry).count == 6, "half of all, for the first two")
        for tool in tools.reversed() {
            tool.begin()
            tool.failed.increment()
        }
        let all = lines(registry)
        #expect(all.count == 12 + 3)
        for name in ["t0", "t1", "t7", "t8"] {
            #expect(all.contains(#"mcp_tool_calls_total{tool="\#(name)",route="wasm",outcome="failed"} 1"#))
            #expect(all.contains(#"mcp_tool_calls_total{tool="\#(name)",route="wasm",outcome="ok"} 0"#))
        }
        #expect(all.contains(#"mcp_tool_calls_total{tool="other",route="wasm",outcome="failed"} 5"#))
    }

    @Test("With an owner its tools' numbers go; those of a tool that an operator has taken out stay")
    func gone() async throws {
        let (a, b) = (GatedOwner().backend("a", ["do", "out"]), GatedOwner().backend("b"))
        let bench = try TrafficBench([.of(a, prefix: "a"), .of(b, prefix: "b")])
        for tool in ["a__do", "a__out", "b__do"] { #expect(try await bench.call(tool).isDone) }
        _ = try await bench.pipeline.traffic.setTool("a__out", isEnabled: false, OrderTerms(by: "test"))
        bench.catalogue.change(to: [.of(a, prefix: "a")], isCompact: false)
        bench.pipeline.change(to: TrafficBench.settings())
        func calls(_ tool: String) -> String? {
            bench.metric(#"mcp_tool_calls_total{tool="\#(tool)",route="upstream",outcome="ok"}"#)
        }
        #expect(calls("a__do") == "1" && calls("a__out") == "1" && calls("b__do") == nil)
    }

    @Test("A tool's own open breaker is counted for its upstream")
    func toolBreaker() async throws {
        let owner = GatedOwner()
        owner.fail(.unavailable(detail: "no cable"))
        let bench = try TrafficBench([
            .of(owner.backend("server", ["do", "other"]), policies: ["do": .with { $0.breaker = .touchy }])
        ])
        let name = #"mcp_tool_breakers_open{upstream="server"}"#
        #expect(bench.metric(name) == "0")
        _ = try await bench.call("up__other")
        #expect(bench.metric(name) == "0")
        _ = try await bench.call()
        #expect(bench.metric(name) == "1")
    }

    @Test("A call that its tool's own limit refuses is written down with its tool")
    func limited() async throws {
        let policy = ToolPolicy.with { $0.rate = RateLimit(perSecond: 0.001, burst: 1) }
        let bench = try TrafficBench([.of(GatedOwner().backend(), policies: ["do": policy])])
        for _ in 0..<2 { _ = try await bench.call() }
        #expect(bench.statuses == ["ok", "limited"])
        #expect(bench.journal.calls.allSatisfy { $0.tool == "up__do" && $0.upstream == "server" })
    }

    @Test("What a person takes for an answer is no part of how long a call took")
    func asking() async throws {
        let (gate, entered) = (Gate(), Gate())
        let backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
            _ async throws(CallFailure) -> CallAnswer in
            entered.open()
            await gate.pass()
            return try .of(GatedOwner.answer)
        }
        let bench = try PipelineBench(backend)
        let stream = ScriptedStream()
        let call = Task { try await bench.call(.legacy(.v2025_11_25, [.elicitationForm], stream)) }
        await entered.pass()
        bench.time.advance(by: .seconds(60))
        stream.spend(.seconds(60))
        bench.time.advance(by: .milliseconds(40))
        gate.open()
        #expect(try await call.soon()?.words == "done")
        #expect(bench.journal.calls.map(\.responseMilliseconds) == [40])
        let metrics = String(decoding: bench.metrics.render(), as: UTF8.self)
        #expect(metrics.contains(#"mcp_tool_call_duration_seconds_sum{route="upstream"} 0.04"#))
    }

    @Test("A noisy owner's lines hide no other owner's first, and slow calls have their bounds as well")
    func noisy() async throws {
        let folder = TemporaryLogs()
        let (noisy, quiet, late) = (GatedOwner(), GatedOwner(), GatedOwner())
        for owner in [noisy, quiet] { owner.fail(.unavailable(detail: "no cable")) }
        let time = ManualTime()
        let logs = try LogFiles(LogSettings(directory: folder.path), time: time)
        let (store, metrics) = (MemoryStore(), MetricsRegistry())
        let identity = ServerIdentity(version: "1", instructions: "i")
        let catalogue = Catalogue(
            entries: [
                .of(noisy.backend("noisy"), prefix: "noisy"), .of(quiet.backend("quiet"), prefix: "quiet"),
                .of(late.backend("late"), prefix: "late"),
            ], identity: identity, time: time, metrics: metrics, logs: logs)
        let pipeline = Pipeline(
            settings: PipelineSettings(inFlightMax: 100, timeout: .seconds(60), slowCall: .milliseconds(1)),
            catalogue: catalogue, identity: identity, keys: .forTests, calls: store, cache: store,
            journal: RecordingJournal(), archive: store, time: time, metrics: metrics, logs: logs)
        func call(_ tool: String, took: Duration = .zero) async throws {
            var inbound = try InboundMessage.of(
                #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\#(tool)","arguments":{}}}"#, .modern)
            inbound.arrivedAt = Moment(nanoseconds: time.now().nanoseconds - UInt64(took.nanosecondsClamped))
            _ = await pipeline.handle(inbound)
        }
        for _ in 0..<80 { try await call("noisy__do") }
        try await call("quiet__do")
        for _ in 0..<80 { try await call("late__do", took: .milliseconds(5)) }
        time.advance(by: .seconds(10))
        try await call("late__do", took: .milliseconds(5))
        let lines = folder.lines("app.log")
        #expect(lines.count { $0.contains("call failed") && $0.contains("upstream=noisy") } == 50)
        #expect(lines.count { $0.contains("call failed") && $0.contains("upstream=quiet") } == 1)
        #expect(lines.count { $0.contains("slow call") } == 51)
        #expect(lines.last?.contains("slow call") == true && lines.last?.contains("omitted_before=30") == true)
    }
}
