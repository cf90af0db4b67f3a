// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Resilience
import Testing

@testable import Gateway

/// What one tool may be called, besides what holds for its owner.
@Suite("Tool gate") struct ToolGateTests {
    private func bench(_ owner: GatedOwner, _ policy: ToolPolicy, isCompact: Bool = false) throws -> TrafficBench {
        let backend = owner.backend("server", ["do", "other"])
        return try TrafficBench([.of(backend, policies: ["do": policy])], isCompact: isCompact)
    }

    @Test("A tool without a word about it has no gate, and one with any has")
    func none() throws {
        let changes: [(Bool, (inout ToolPolicy) -> Void)] = [
            (false, { _ in }), (false, { $0.isIdempotent = true }), (false, { $0.cache = .seconds(1) }),
            (true, { $0.rate = RateLimit(perSecond: 1, burst: 1) }), (true, { $0.inFlightMax = 1 }),
            (true, { $0.breaker = .touchy }),
        ]
        for (hasGate, change) in changes {
            let bench = try bench(GatedOwner(), .with(change))
            let tool = try #require(bench.catalogue.current.routes.tool("up__do"))
            #expect((tool.gate != nil) == hasGate)
            #expect(bench.catalogue.current.routes.tool("up__other")?.gate == nil)
        }
    }

    @Test("A tool that is called too often is refused as any other limit refuses", arguments: Revision.allCases)
    func rate(_ revision: Revision) async throws {
        let owner = GatedOwner()
        let bench = try bench(owner, .with { $0.rate = RateLimit(perSecond: 0.5, burst: 2) })
        for _ in 0..<2 { #expect(try await bench.call("up__do", revision).isDone) }
        let refused = try await bench.call("up__do", revision)
        #expect(refused.status == (revision.isModern ? .limited(retryAfter: 2) : .ok))
        #expect(refused.isToolError != revision.isModern)
        #expect(
            refused.refusal == "Too many calls: This tool takes 0.5/s, burst 2. Nothing was done. Try again in 2 s.")
        #expect(bench.metric(#"mcp_rate_limited_total{scope="tool"}"#) == "1")
        #expect(bench.statuses == ["ok", "ok", "limited"])
        for _ in 0..<9 { #expect(try await bench.call("up__other", revision).isDone) }
        bench.time.advance(by: .seconds(2))
        #expect(try await bench.call("up__do", revision).isDone)
        #expect(owner.calls.count { $0 == "do" } == 3)
    }

    @Test("It holds for calls by call_tool, too")
    func compact() async throws {
        let bench = try bench(
            GatedOwner(), .with { $0.rate = RateLimit(perSecond: 0.001, burst: 1) }, isCompact: true)
        let params = #""name":"call_tool","arguments":{"name":"up__do","arguments":{}}"#
        #expect(try await bench.ask("tools/call", params).isDone)
        #expect(try await bench.ask("tools/call", params).status == .limited(retryAfter: 1_000))
    }

    @Test("A list that changes empties no bucket, and fills none")
    func lists() async throws {
        let owner = GatedOwner()
        let backend = owner.backend("server", ["do", "other"])
        let policy = ToolPolicy.with { $0.rate = RateLimit(perSecond: 0.001, burst: 2) }
        let bench = try TrafficBench([.of(backend, policies: ["do": policy])])
        #expect(try await bench.call().isDone)
        backend.list([.plain("other")])
        bench.pipeline.offersChanged()
        backend.list([.plain("do", more: #","title":"New""#)])
        bench.pipeline.offersChanged()
        #expect(try await bench.call().isDone)
        #expect(try await bench.call().status == .limited(retryAfter: 1_000))
    }

    /// The line before the house lets calls pass in another order than that in which they came.
    @Test("A call that came a little earlier than the last one is refused nothing that is there")
    func outOfOrder() async throws {
        let bench = try bench(GatedOwner(), .with { $0.rate = RateLimit(perSecond: 10, burst: 10) })
        let params = #""name":"up__do","arguments":{}"#
        let early = try bench.message("tools/call", params)
        bench.time.advance(by: .milliseconds(50))
        #expect(try await bench.ask(try bench.message("tools/call", params)).isDone)
        #expect(try await bench.ask(early).isDone, "nine of ten are there")
    }

    @Test("A bucket fills while a call waits for its turn, and is asked when its turn has come")
    func askedInTime() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        let policy = ToolPolicy.with { $0.rate = RateLimit(perSecond: 1, burst: 1) }
        let bench = try TrafficBench([.of(owner.backend(), policies: ["do": policy])]) { settings in
            (settings.inFlightMax, settings.waitingMax, settings.waitMax) = (1, 1, .seconds(600))
        }
        let first = try bench.begin()
        try await wait(for: "the first") { owner.running == 1 }
        let second = try bench.begin()
        try await wait(for: "the second") { bench.waiting == "1" }
        bench.time.advance(by: .seconds(1))
        gate.open()
        #expect(try await first.soon().isDone)
        #expect(try await second.soon().isDone)
    }

    @Test(
        "So many calls of a tool run at a time; one more is refused, and other tools go on",
        arguments: Revision.allCases)
    func inFlight(_ revision: Revision) async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        let bench = try bench(owner, .with { $0.inFlightMax = 1 })
        owner.hold(gate)
        let first = try bench.begin("up__do", revision)
        try await wait(for: "the first") { owner.running == 1 }
        let refused = try await bench.call("up__do", revision)
        #expect(refused.status == (revision.isModern ? .overloaded(retryAfter: 1) : .ok))
        #expect(refused.isToolError != revision.isModern)
        #expect(refused.refusal?.hasPrefix("up__do was not called: 1 calls ") == true)
        #expect(refused.refusal?.hasSuffix("(max_in_flight). Try again in 1 s.") == true)
        #expect(refused.refusal?.contains("calls to \"server\"") == false, "the tool is full, not its server")
        owner.hold(nil)
        #expect(try await bench.call("up__other", revision).isDone)
        gate.open()
        #expect(try await first.soon().isDone)
        #expect(try await bench.call("up__do", revision).isDone)
    }

    @Test("A tool's own breaker opens for it alone, and closes again")
    func breaker() async throws {
        let owner = GatedOwner()
        let bench = try bench(owner, .with { $0.breaker = .touchy })
        owner.fail(.unavailable(detail: "no cable"))
        _ = try await bench.call("up__do")
        owner.fail(nil)
        #expect(try await bench.call("up__do").refusal?.contains("its breaker is open") == true)
        #expect(try await bench.call("up__other").isDone)
        #expect(owner.calls == ["do", "other"])
        let facts = try #require(bench.pipeline.traffic.breakers().first)
        #expect((facts.upstream, facts.tool, facts.state) == ("server", "up__do", "open"))
        #expect((facts.calls, facts.failures) == (1, 1))
        bench.time.advance(by: .seconds(20))
        #expect(try await bench.call("up__do").isDone)
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["closed"])
    }

    @Test("When the tool's breaker refuses, the owner's has had no call, and no probe of it is used up")
    func bothBreakers() async throws {
        let owner = GatedOwner()
        // Stays open much longer than its owner's.
        let policy = ToolPolicy.with { $0.breaker = Breaker.Settings(minimumCalls: 1, openFor: .seconds(600)) }
        let bench = try TrafficBench([
            .of(owner.backend("server", ["do", "other"]), policies: ["do": policy]) { $0.breaker = Breaker.Settings() }
        ])
        owner.fail(.unavailable(detail: "no cable"))
        for _ in 0..<6 { _ = try await bench.call("up__do") }
        #expect(owner.count == 1)
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["closed", "open"])
        #expect(bench.pipeline.traffic.breakers().map(\.calls) == [1, 1])
        for _ in 0..<9 { _ = try await bench.call("up__other") }
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["open", "open"])
        owner.fail(nil)
        bench.time.advance(by: .seconds(20))
        for _ in 0..<3 { #expect(try await bench.call("up__do").refusal?.contains("its breaker is open") == true) }
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["half-open", "open"])
        #expect(try await bench.call("up__other").isDone)
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["closed", "open"])
    }
}
