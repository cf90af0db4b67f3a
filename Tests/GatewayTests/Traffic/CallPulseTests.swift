// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Resilience
import Testing

@testable import Gateway

/// What calls came to, as operators and a reload on probation see it.
@Suite("What calls come to") struct CallPulseTests {
    private func bench(_ owner: GatedOwner) throws -> TrafficBench { try TrafficBench([.of(owner.backend())]) }

    static let failures: [(CallFailure, Bool)] = [
        (.unavailable(detail: "x"), true), (.timedOut(after: .seconds(1), sent: true), true),
        (.timedOut(after: .seconds(1), sent: false), true), (.outcomeUnknown(detail: "x"), true),
        (.garbage(detail: "x"), true), (.stopped(detail: "x"), true),
        (.overloaded(detail: "x", retryAfter: 1), true), (.unknownTool, false), (.badArguments(detail: "x"), false),
        (.needsInput(detail: "x"), false), (.cancelled, false),
    ]

    @Test("A failure is one of a server or of the gateway, never one of the client", arguments: failures)
    func failed(_ failure: CallFailure, _ isFailed: Bool) async throws {
        let owner = GatedOwner()
        let bench = try bench(owner)
        #expect(try await bench.call().isDone)
        owner.fail(failure)
        _ = try await bench.call()
        let pulse = bench.pipeline.traffic.pulse()
        #expect((pulse.calls, pulse.failed, pulse.limited) == (2, isFailed ? 1 : 0, 0))
    }

    @Test("A tool that says so itself is no failure, and what the gateway answers itself is no call")
    func noFailure() async throws {
        let backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
            _ async throws(CallFailure) -> CallAnswer in
            try .of(#"{"content":[],"isError":true}"#)
        }
        let bench = try TrafficBench([.of(backend)])
        _ = try await bench.call()
        _ = try await bench.call("none")
        for method in ["tools/list", "server/discover", "made/up"] { _ = try await bench.ask(method) }
        let pulse = bench.pipeline.traffic.pulse()
        #expect((pulse.calls, pulse.failed, pulse.limited) == (1, 0, 0))
    }

    @Test("A minute later it is forgotten; without calls there are no times")
    func minute() async throws {
        let owner = GatedOwner()
        let bench = try bench(owner)
        let none = bench.pipeline.traffic.pulse()
        #expect(none == TrafficPulse(seconds: 60, calls: 0, failed: 0, limited: 0, p50: nil, p95: nil))
        owner.fail(.unavailable(detail: "x"))
        for _ in 0..<5 { _ = try await bench.call() }
        bench.time.advance(by: .seconds(53))
        #expect(bench.pipeline.traffic.pulse().failed == 5)
        bench.time.advance(by: .seconds(7))
        #expect(bench.pipeline.traffic.pulse() == none)
    }

    @Test("A call takes from its arrival to its answer")
    func times() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        let bench = try bench(owner)
        for _ in 0..<19 { #expect(try await bench.call().isDone) }
        #expect(bench.pipeline.traffic.pulse().p95 == 0.1)
        owner.hold(gate)
        let calls = [try bench.begin(), try bench.begin()]
        try await wait(for: "both") { owner.running == 2 }
        bench.time.advance(by: .seconds(2))
        gate.open()
        for call in calls { #expect(try await call.soon().isDone) }
        let pulse = bench.pipeline.traffic.pulse()
        #expect(pulse.calls == 21)
        #expect(pulse.p50 == 0.1)
        let slowest = try #require(pulse.p95)
        #expect((2_000...3_000).contains(slowest), "\(slowest) ms")
    }

    // MARK: Probation

    private static let length = Duration.seconds(60)

    private func call(_ bench: TrafficBench, _ count: Int) async throws {
        for _ in 0..<count { _ = try await bench.call() }
    }

    @Test("A change after which nothing is worse passes when its time is over")
    func passed() async throws {
        let bench = try bench(GatedOwner())
        try await call(bench, 30)
        let traffic = bench.pipeline.traffic
        let probation = traffic.beginProbation(for: Self.length)
        try await call(bench, 30)
        #expect(traffic.judge(probation) == .open)
        bench.time.advance(by: .milliseconds(59_999))
        #expect(traffic.judge(probation) == .open)
        bench.time.advance(by: .milliseconds(1))
        #expect(traffic.judge(probation) == .passed)
    }

    @Test("Only what comes after the change counts against it")
    func before() async throws {
        let owner = GatedOwner()
        let bench = try bench(owner)
        owner.fail(.unavailable(detail: "x"))
        try await call(bench, 30)
        let traffic = bench.pipeline.traffic
        let probation = traffic.beginProbation(for: Self.length)
        #expect(traffic.judge(probation) == .open)
        // As bad as before is not worse.
        try await call(bench, 30)
        #expect(traffic.judge(probation) == .open)
    }

    @Test("What makes calls fail is taken note of as soon as there are enough of them, in words")
    func worse() async throws {
        let owner = GatedOwner()
        let bench = try bench(owner)
        try await call(bench, 40)
        let traffic = bench.pipeline.traffic
        let probation = traffic.beginProbation(for: Self.length)
        owner.fail(.unavailable(detail: "x"))
        let enough = Probation.callsMin
        try await call(bench, enough - 1)
        #expect(traffic.judge(probation) == .open)
        try await call(bench, 1)
        #expect(traffic.judge(probation) == .worse("100 % of \(enough) calls failed since, 0 % of 40 before"))
        // It is told once; what comes later is another story.
        #expect(traffic.judge(probation) == .passed)
    }

    @Test("Calls that are refused because they come too often prove nothing")
    func limited() async throws {
        let bench = try bench(GatedOwner())
        try await call(bench, 30)
        let traffic = bench.pipeline.traffic
        let probation = traffic.beginProbation(for: Self.length)
        bench.pipeline.change(to: TrafficBench.settings { $0.rate = RateLimit(perSecond: 0.001, burst: 1) })
        try await call(bench, 50)
        #expect(traffic.judge(probation) == .open)
        #expect(traffic.pulse().limited == 49)
    }

    @Test("A second change begins anew, and compares with the minute before it")
    func again() async throws {
        let owner = GatedOwner()
        let bench = try bench(owner)
        try await call(bench, 30)
        let traffic = bench.pipeline.traffic
        _ = traffic.beginProbation(for: Self.length)
        owner.fail(.unavailable(detail: "x"))
        try await call(bench, 30)
        let second = traffic.beginProbation(for: Self.length)
        #expect(traffic.judge(second) == .open)
        // Half of the minute before failed, all of those since.
        let enough = Probation.callsMin
        try await call(bench, enough)
        #expect(traffic.judge(second) == .worse("100 % of \(enough) calls failed since, 50 % of 60 before"))
    }
}
