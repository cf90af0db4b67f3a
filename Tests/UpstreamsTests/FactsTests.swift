// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Upstreams

/// What operators see of an upstream.
@Suite("Facts of an upstream") struct FactsTests {
    @Test("One that is there shows what it speaks, has and does")
    func there() async throws {
        let upstream = try await ScriptedUpstream.start(
            .legacy(.v2025_06_18, hasSessions: true), tools: [.plain("echo"), .plain("two")])
        let (bench, up) = try await PoolBench.up(upstream)
        let gate = Gate()
        upstream.answerCalls { .after(gate, .result(#""content":[]"#, to: $0)) }
        let calls = (0..<2).map { _ in Task { try await up.echo() } }
        try await wait(for: "the calls") { upstream.calls.count == 2 }
        let facts = up.facts
        #expect(
            facts
                == Upstream.Facts(
                    name: "up", transport: "http", revision: "2025-06-18", tools: 2, prompts: 0, resources: 0,
                    templates: 0, isUp: true, awayReason: nil, since: facts.since, checkedAt: facts.checkedAt,
                    pausedUntil: nil, callsInFlight: 2, sideSessions: 0))
        #expect(facts.checkedAt >= facts.since)
        gate.open()
        for call in calls { #expect(try await call.soon() == nil) }
        #expect(up.facts.callsInFlight == 0)
        #expect(bench.component("up")?.detail == "2025-06-18 over http, 2 tools")
        await bench.close()
        await upstream.goAway()
    }

    @Test("One that went away shows why, and what it had")
    func away() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream)
        let before = up.facts
        await upstream.goAway()
        bench.time.advance(by: .seconds(2))
        try await bench.look(for: "it to be away") {
            up.facts.awayReason?.contains("connection refused") == true
        }
        let facts = up.facts
        #expect(facts.revision == nil && !facts.isUp && facts.tools == 1)
        #expect(facts.since > before.since)
        let component = try #require(bench.component("up"))
        #expect(component.status == .unhealthy)
        #expect(component.detail.hasSuffix("; its 1 tools stay listed"), "\(component.detail)")
        await bench.close()
    }
}
