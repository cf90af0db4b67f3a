// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@Suite struct SimulationTests {
    @Test("a breaker keeps its promises, whatever server, callers, clock and operator do")
    func breaker() {
        let coverage = Simulation.run(BreakerWorld.self, share: 50)
        for reason in Breaker.Transition.Reason.allCases { #expect(coverage[reason.rawValue] > 0, "\(reason)") }
        for what in ["probe", "refused", "lost probe", "lost call", "probe not heard", "call not counted"] {
            #expect(coverage[what] > 0, "\(what)")
        }
    }

    @Test("a bucket gives exactly what its rate and burst allow, in any stretch of time")
    func bucket() {
        let coverage = Simulation.run(BucketWorld.self, share: 25)
        for what in ["given", "refused", "change", "backwards"] { #expect(coverage[what] > 0, "\(what)") }
    }

    @Test("retries stay within the budget, and the budget is there to be used")
    func budget() {
        let coverage = Simulation.run(BudgetWorld.self, share: 25)
        for what in ["spent", "refused", "backwards"] { #expect(coverage[what] > 0, "\(what)") }
    }

    @Test("a seed replays exactly, and another one is another world")
    func replays() {
        let seed = Simulation.seed
        let (one, again) = (
            Simulation.play(BreakerWorld.self, seed: seed), Simulation.play(BreakerWorld.self, seed: seed)
        )
        #expect(one.world.trace == again.world.trace)
        #expect(one.world.trace != Simulation.play(BreakerWorld.self, seed: seed &+ 1).world.trace)
    }

    /// A call every 100 ms; from some moment on the server fails them all, from another on none.
    @Test("after the server's return the first probe closes it, as soon as its time has come", arguments: 0..<100)
    func serverReturns(_ number: UInt64) throws {
        var chance = Chance(seed: Simulation.seed &+ number)
        var bench = BreakerBench(seed: chance.next())
        let away = bench.now + .milliseconds(Int64(chance.below(60_000)))
        let back = away + .milliseconds(Int64(60_000 + chance.below(600_000)))
        // Failing calls take up to ten seconds, so that the last of them report long after the return.
        var underWay: [(ticket: Breaker.Ticket, ends: Moment, outcome: Breaker.Outcome)] = []
        var probesAfter = 0
        var atReturn: Breaker.Status?
        var closedAt: Moment?
        for _ in 0..<20_000 where closedAt == nil {
            for call in underWay where call.ends <= bench.now {
                let transition = bench.end(call.ticket, call.outcome)
                if bench.now >= back, transition?.to == .closed { closedAt = bench.now }
            }
            underWay.removeAll { $0.ends <= bench.now }
            if bench.now >= back, atReturn == nil { atReturn = bench.status }
            let isWell = bench.now < away || bench.now >= back
            let length = isWell ? chance.below(90) : chance.below(10_000)
            let gate = bench.admit()
            if gate.kind == .probe, bench.now >= back { probesAfter += 1 }
            switch gate {
            case .pass(let ticket), .probe(let ticket):
                underWay.append((ticket, bench.now + .milliseconds(Int64(length)), isWell ? .success : .failure))
            case .refused: break
            }
            bench.wait(.milliseconds(100))
        }
        let (closed, before) = (try #require(closedAt), try #require(atReturn))
        #expect(before.state != .closed)
        #expect(probesAfter == 1)
        // A probe that went out just before the return has to fail first, and is waited out.
        let patience: Duration = before.isProbing ? .seconds(10 + 120) : .milliseconds(200)
        #expect(closed.since(before.isProbing ? back : max(back, try #require(before.nextProbe))) <= patience)
    }
}
