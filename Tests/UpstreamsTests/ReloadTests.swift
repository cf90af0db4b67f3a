// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Outbound
import Telemetry
import Testing

@testable import Upstreams

/// What becomes of upstreams when the configuration changes.
@Suite("Reload") struct ReloadTests {
    static let legacy = Personality.legacy(.v2025_11_25, hasSessions: true)

    @Test("Those whose settings stay keep object and session; new ones are connected to, and what is gone ends")
    func comingAndGoing() async throws {
        let stays = try await ScriptedUpstream.start(Self.legacy)
        let goes = try await ScriptedUpstream.start(Self.legacy)
        let comes = try await ScriptedUpstream.start(.modern)
        let bench = try PoolBench([.scripted("stays", stays), .scripted("goes", goes)])
        let kept = try await bench.there("stays")
        let gone = try await bench.there("goes")
        #expect(bench.metricsText.contains(#"mcp_upstream_up{upstream="goes"} 1"#))

        let plan = try bench.pool.plan([.scripted("comes", comes), .scripted("stays", stays)])
        #expect(plan.upstreams.map(\.name) == ["comes", "stays"])
        #expect((plan.added, plan.removed) == (["comes"], ["goes"]))
        #expect(plan.replaced.isEmpty && plan.adjusted.isEmpty)
        #expect(bench.pool.upstreams.map(\.name) == ["stays", "goes"], "nothing has changed yet")
        #expect(try await gone.echo() == nil)
        #expect(comes.connectionCount == 0)

        bench.pool.adopt(plan)
        #expect(bench.pool.upstreams.map(\.name) == ["comes", "stays"])
        #expect(bench.pool.upstreams.last === kept)
        #expect(try await bench.there("comes").echo() == nil)
        #expect(try await kept.echo() == nil)
        #expect(stays.requests("initialize").count == 1)
        #expect(kept.offers().tools.map(\.name) == ["echo"])

        try await wait(for: "the end of its session") { goes.requests.contains { $0.verb == "DELETE" } }
        try await wait(for: "the end of its connections") { goes.openConnections == 0 }
        guard case .unavailable(let detail) = try await gone.echo() else {
            Issue.record("it was called after it had gone")
            return
        }
        #expect(detail == "it is not in the configuration any more")
        #expect(goes.calls.count == 1)
        #expect(!bench.metricsText.contains(#"upstream="goes""#))
        #expect(bench.metricsText.contains(#"mcp_upstream_up{upstream="comes"} 1"#))
        #expect(bench.metricsText.contains(#"mcp_upstream_sessions{upstream="stays"} 0"#))
        #expect(bench.component("goes") == nil)
        await bench.close()
        for upstream in [stays, goes, comes] { await upstream.goAway() }
    }

    @Test("One with other settings is another one: its tools stay listed, and its numbers come from the new one")
    func replaced() async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacy)
        let (bench, old) = try await PoolBench.up(upstream)
        let gate = Gate()
        upstream.answer { request in
            guard request.method == "server/discover" else { return nil }
            return .after(gate, .error(-32600, "missing session", to: request, status: 400))
        }
        let plan = try bench.pool.plan([.scripted("up", upstream, token: "another")])
        #expect(plan.replaced == ["up"])
        #expect(plan.added.isEmpty && plan.removed.isEmpty)
        bench.pool.adopt(plan)
        let new = bench.pool.upstreams[0]
        #expect(new !== old)
        #expect(new.offers() == old.offers() && !new.offers().tools.isEmpty)
        #expect(bench.metricsText.contains(#"mcp_upstream_up{upstream="up"} 0"#))
        gate.open()
        #expect(try await bench.there("up") === new)
        #expect(bench.metricsText.contains(#"mcp_upstream_up{upstream="up"} 1"#))
        #expect(try await new.echo() == nil)
        #expect(upstream.calls.last?.header("authorization") == "another")
        try await wait(for: "the end of the old session") { upstream.requests.contains { $0.verb == "DELETE" } }
        #expect(try await new.echo() == nil, "the new session is another one")
        #expect(bench.metricsText.contains(#"mcp_upstream_up{upstream="up"} 1"#))
        await bench.close()
        await upstream.goAway()
    }

    @Test("A call in flight on one that leaves may end, and then it goes")
    func inFlight() async throws {
        let goes = try await ScriptedUpstream.start(.modern)
        let comes = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(goes)
        let gate = Gate()
        goes.answerCalls { .after(gate, .result(#""resultType":"complete","content":[]"#, to: $0)) }
        let call = Task { try await up.echo() }
        try await wait(for: "the call") { goes.calls.count == 1 }
        #expect(up.facts.callsInFlight == 1)
        bench.pool.adopt(try bench.pool.plan([.scripted("comes", comes)]))
        _ = try await bench.there("comes")
        #expect(goes.leftWaiting == 0)
        gate.open()
        #expect(try await call.soon() == nil)
        try await wait(for: "its end") { goes.openConnections == 0 }
        #expect(up.facts.callsInFlight == 0)
        #expect(!up.isUp)
        await bench.close()
        for upstream in [goes, comes] { await upstream.goAway() }
    }

    @Test("A call that goes on for ever holds up nothing for longer than a call may take")
    func endless() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream)
        upstream.answerCalls { _ in .silence }
        // Somebody is being asked, and the call's own clock stands still meanwhile.
        let call = Task { try await up.echo(for: RecordingConversation(asking: .seconds(3_600))) }
        try await wait(for: "the call") { upstream.calls.count == 1 }
        bench.pool.adopt(try bench.pool.plan([.scripted("up", upstream, timeout: .milliseconds(1))]))
        bench.pool.adopt(try bench.pool.plan([]))
        guard case .outcomeUnknown = try await call.soon() else {
            Issue.record("it was sent, and nobody knows what became of it")
            return
        }
        try await wait(for: "the end of its connection") { upstream.leftWaiting == 1 }
        #expect(bench.pool.upstreams.isEmpty && bench.pool.components().isEmpty)
        await bench.close()
        await upstream.goAway()
    }

    @Test("The time of a call and the number of sessions change while everything goes on")
    func adjusted() async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacy)
        let (bench, up) = try await PoolBench.up(upstream)
        #expect(try await up.echo(for: RecordingConversation(), logLevel: .info) == nil)
        #expect(up.facts.sideSessions == 1)
        var settings = UpstreamSettings.scripted("up", upstream, timeout: .seconds(5))
        settings.sideSessionsMax = 0
        let plan = try bench.pool.plan([settings])
        #expect(plan.adjusted == ["up"])
        #expect(up.callMax == .seconds(30))
        bench.pool.adopt(plan)
        #expect(bench.pool.upstreams[0] === up)
        #expect(up.facts.sideSessions == 0)
        guard case .overloaded = try await up.echo(for: RecordingConversation(), logLevel: .info) else {
            Issue.record("there was a session too many")
            return
        }
        let time = bench.time
        upstream.answerCalls { _ in
            time.advance(by: .seconds(6))
            return .silence
        }
        guard case .timedOut(_, sent: true) = try await up.echo() else {
            Issue.record("it did not end in its new time")
            return
        }
        #expect(up.isUp)
        #expect(upstream.requests("initialize").count == 2)
        await bench.close()
        await upstream.goAway()
    }

    @Test("A plan that cannot be, or is not taken, changes nothing")
    func notTaken() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let other = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream)
        #expect(throws: UpstreamSettingsError.self) {
            try bench.pool.plan([
                .scripted("other", other),
                UpstreamSettings(name: "up", place: .http(url: "gopher://h", headers: []), timeout: .seconds(1)),
            ])
        }
        _ = try bench.pool.plan([.scripted("other", other)])
        #expect(bench.pool.upstreams.count == 1 && bench.pool.upstreams[0] === up)
        #expect(try await up.echo() == nil)
        #expect(other.connectionCount == 0)
        #expect(!bench.metricsText.contains(#"upstream="other""#))
        // The next plan is made for what is there all the same.
        bench.pool.adopt(try bench.pool.plan([.scripted("other", other), .scripted("up", upstream)]))
        #expect(try await bench.there("other").echo() == nil)
        #expect(bench.pool.upstreams.last === up)
        await bench.close()
        for upstream in [upstream, other] { await upstream.goAway() }
    }

    @Test("One that leaves before its first word holds up no list, and neither does one that comes later")
    func settling() async throws {
        let silent = try await ScriptedUpstream.start(.modern)
        silent.answer { _ in .silence }
        let bench = try PoolBench([.scripted("silent", silent)], settle: .seconds(3_600))
        try await wait(for: "the probe") { silent.requests.count == 1 }
        #expect(!bench.pool.settling.isOver)
        bench.pool.adopt(try bench.pool.plan([.scripted("later", silent)]))
        try await wait(for: "the end of the settling") { bench.pool.settling.isOver }
        try await wait(for: "the probe of the other") { silent.requests.count == 2 }
        #expect(bench.pool.settling.isOver)
        await bench.close()
        await silent.goAway()
    }

    // MARK: Settings

    private static func http(_ url: String, _ headers: [(name: String, value: String)] = []) -> UpstreamSettings {
        UpstreamSettings(name: "up", place: .http(url: url, headers: headers), timeout: .seconds(1))
    }

    private static func stdio(_ command: ChildCommand) -> UpstreamSettings {
        UpstreamSettings(name: "up", place: .stdio(command), timeout: .seconds(1))
    }

    private static let command = ChildCommand(executable: "x", arguments: ["a"], environment: ["K": "v"])

    static let others: [(String, UpstreamSettings, UpstreamSettings)] = {
        var command = Self.command
        command.environment["K"] = "w"
        var answers = http("http://h/")
        answers.answerBytesMax = 5
        return [
            ("address", http("http://h/"), http("http://h/x")),
            ("header", http("http://h/", [("a", "b")]), http("http://h/", [("a", "c")])),
            ("name of a header", http("http://h/", [("a", "b")]), http("http://h/", [("A", "b")])),
            (
                "order of headers", http("http://h/", [("a", "b"), ("c", "d")]),
                http("http://h/", [("c", "d"), ("a", "b")])
            ),
            ("one header less", http("http://h/", [("a", "b")]), http("http://h/")),
            (
                "a value that only looks the same", http("http://h/", [("a", "K")]),
                http("http://h/", [("a", "\u{212a}")])
            ),
            ("length of answers", http("http://h/"), answers),
            ("kind", http("http://h/"), stdio(Self.command)),
            ("environment", stdio(Self.command), stdio(command)),
        ]
    }()

    @Test("What makes another upstream of it", arguments: others)
    func differs(_ what: String, _ one: UpstreamSettings, _ other: UpstreamSettings) {
        #expect(one == one && other == other)
        #expect(one != other)
        #expect(!one.canBecome(other) && !other.canBecome(one))
        #expect(one.canBecome(one))
    }

    @Test("What can change while it goes on makes other settings, and the same upstream")
    func limits() {
        let one = Self.stdio(Self.command)
        var other = one
        other.timeout = .seconds(2)
        #expect(one != other && one.canBecome(other))
        other = one
        other.sideSessionsMax = 1
        #expect(one != other && one.canBecome(other))
    }
}
