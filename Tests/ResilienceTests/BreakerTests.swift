// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@Suite struct BreakerTests {
    static let shares: [(bad: Int, well: Int, ratio: Double, opens: Bool)] = [
        (5, 5, 0.5, true), (4, 6, 0.5, false), (9, 0, 0.5, false), (10, 0, 1, true), (99, 1, 1, false),
        (1, 9, 0.1, true), (7, 3, 0.7, true), (6, 4, 0.7, false), (55, 45, 0.55, true), (54, 46, 0.55, false),
        (29, 71, 0.29, true), (1, 99, 0.01, true),
    ]

    @Test("opens when the share of bad calls is reached, and a bad call comes last", arguments: shares)
    func share(_ bad: Int, _ well: Int, _ ratio: Double, _ opens: Bool) {
        var bench = BreakerBench(Breaker.Settings(failures: ratio))
        bench.calls(well, .success)
        bench.calls(bad, .failure)
        #expect(bench.state == (opens ? .open : .closed))
        #expect(bench.status.counts.bad == bad && bench.status.counts.calls == bad + well)
    }

    @Test("a success that makes the minimum full does not open it; the next failure does")
    func successLast() {
        var bench = BreakerBench()
        bench.calls(9, .failure)
        bench.call(.success)
        #expect(bench.state == .closed)
        #expect(bench.call(.failure)?.reason == .overThreshold)
    }

    @Test("what says nothing is not counted")
    func ignored() {
        var bench = BreakerBench()
        bench.calls(1_000, .ignored)
        #expect(bench.status.counts.calls == 0 && bench.status.counts.bad == 0)
    }

    @Test("failures fall out of the window when it has passed, and none before nine tenths of it")
    func window() {
        var bench = BreakerBench()
        bench.calls(9, .failure)
        bench.wait(.seconds(27))
        #expect(bench.status.counts.failures == 9)
        bench.wait(.seconds(3))
        #expect(bench.status.counts.calls == 0)
        bench.call(.failure)
        #expect(bench.state == .closed)
    }

    @Test("a call as long as the limit is well; a nanosecond more is slow", arguments: [(0, 0), (1, 1)])
    func slow(_ more: Int64, _ counted: Int) {
        var bench = BreakerBench()
        let ticket = bench.begin()
        bench.wait(.seconds(5) + .nanoseconds(more))
        bench.end(ticket, .success)
        #expect(bench.status.counts.slow == counted)
        #expect(bench.status.counts.calls == 1 && bench.status.counts.failures == 0)
    }

    @Test("stays open for 15 s and at most a quarter more, twice that after each failed probe, at most two minutes")
    func openTimes() throws {
        var spread: Set<Duration> = []
        for seed: UInt64 in 0..<50 {
            var bench = BreakerBench(seed: seed)
            bench.open()
            for (least, most) in [(15.0, 18.75), (30, 37.5), (60, 75), (90, 120), (90, 120)] {
                let open = try #require(bench.status.nextProbe).since(bench.now)
                #expect(open >= .seconds(least) && open <= .seconds(most))
                spread.insert(open)
                bench.becomeHalfOpen()
                #expect(bench.call(.failure)?.reason == .probeFailed)
            }
            #expect(bench.status.failedProbes == 5)
            // Closed and opened again, it begins at the beginning.
            bench.becomeHalfOpen()
            bench.call(.success)
            bench.open()
            #expect(try #require(bench.status.nextProbe).since(bench.now) <= .seconds(18.75))
            bench.becomeHalfOpen()
            bench.call(.failure)
            #expect(try #require(bench.status.nextProbe).since(bench.now) <= .seconds(37.5))
        }
        // By chance; all the same would be none.
        #expect(spread.count > 200)
    }

    @Test("closes upon the first probe after the server's return, with nothing counted against it")
    func closes() {
        var bench = BreakerBench()
        bench.open()
        bench.becomeHalfOpen()
        #expect(bench.call(.success)?.to == .closed)
        #expect(bench.status.counts.calls == 0 && bench.status.nextProbe == nil && bench.status.since == bench.now)
        bench.calls(9, .failure)
        #expect(bench.state == .closed)
    }

    @Test("one probe at a time: the others are told when to ask again")
    func oneProbe() {
        var bench = BreakerBench()
        bench.open()
        bench.becomeHalfOpen()
        let ticket = bench.begin()
        #expect(bench.status.isProbing)
        #expect(bench.admit() == .refused(until: bench.now + .seconds(5)))
        bench.wait(.seconds(6))
        #expect(bench.admit() == .refused(until: bench.now + .seconds(24)))
        bench.end(ticket, .ignored)
        #expect(!bench.status.isProbing)
        #expect(bench.admit().kind == .probe)
    }

    @Test("a probe that never reports frees its place in time, and what it says later is not heard")
    func lostProbe() {
        var bench = BreakerBench()
        bench.open()
        bench.becomeHalfOpen()
        let lost = bench.begin()
        bench.wait(.seconds(30) - .nanoseconds(1))
        #expect(bench.admit().kind == .refused)
        bench.wait(.nanoseconds(1))
        #expect(bench.status.state == .halfOpen && !bench.status.isProbing)
        let second = bench.begin()
        for outcome in Breaker.Outcome.allCases { #expect(bench.end(lost, outcome) == nil) }
        #expect(bench.status.isProbing)
        #expect(bench.end(second, .success)?.to == .closed)
        #expect(bench.end(second, .failure) == nil)
    }

    @Test("calls begun before it opened neither close it, nor fail the probe, nor count when it is closed again")
    func lateResults() {
        var bench = BreakerBench()
        let early = (0..<40).map { _ in bench.begin() }
        bench.open()
        for ticket in early[..<10] { #expect(bench.end(ticket, .success) == nil) }
        #expect(bench.state == .open)
        bench.becomeHalfOpen()
        for ticket in early[10..<20] { #expect(bench.end(ticket, .success) == nil) }
        let probe = bench.begin()
        for ticket in early[20..<30] { #expect(bench.end(ticket, .failure) == nil) }
        #expect(bench.status.isProbing && bench.state == .halfOpen)
        bench.end(probe, .success)
        for ticket in early[30...] { #expect(bench.end(ticket, .failure) == nil) }
        #expect(bench.state == .closed)
        #expect(bench.status.counts.calls == 0)
    }

    @Test("a clock that seems to go back makes nothing older, and opens nothing earlier")
    func backwards() {
        var bench = BreakerBench()
        let start = bench.now
        bench.open()
        bench.becomeHalfOpen()
        #expect(bench.breaker.admit(at: bench.now).kind == .probe)
        #expect(bench.breaker.state(at: start) == .halfOpen)
        #expect(bench.breaker.admit(at: start) == .refused(until: bench.now + .seconds(5)))
    }

    @Test("keeps half-open since the time was over, asked or not")
    func since() throws {
        var bench = BreakerBench()
        bench.open()
        #expect(bench.status.since == bench.now)
        let next = try #require(bench.status.nextProbe)
        bench.wait(.seconds(1_000))
        #expect(bench.status.since == next)
        _ = bench.begin()
        #expect(bench.status.since == next && bench.status.nextProbe == bench.now + .seconds(30))
    }

    @Test("the same seed does the same again, another one does not")
    func replays() {
        func next(_ seed: UInt64) -> Moment? {
            var bench = BreakerBench(seed: seed)
            bench.open()
            return bench.status.nextProbe
        }
        #expect(next(3) == next(3))
        #expect(next(3) != next(4))
    }

    @Test("settings beyond the limits are refused")
    func limits() async {
        await #expect(processExitsWith: .failure) { _ = Breaker.Settings(failures: 0) }
        await #expect(processExitsWith: .failure) { _ = Breaker.Settings(minimumCalls: 0) }
        await #expect(processExitsWith: .failure) { _ = Breaker.Settings(window: .milliseconds(99)) }
        await #expect(processExitsWith: .failure) { _ = Breaker.Settings(slowCall: .zero) }
    }

    @Test("times that contradict each other are mended: the cap holds the chance, a probe outlasts a slow call")
    func mends() {
        let settings = Breaker.Settings(
            openFor: .seconds(400), openForMax: .seconds(10), slowCall: .seconds(60), probePatience: .seconds(1))
        #expect(settings.openForMax == .seconds(500) && settings.probePatience == .seconds(60))
    }
}
