// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@Suite struct BreakerOrderTests {
    @Test("disarmed, everything passes and is counted; armed again, the next bad call opens it")
    func disarmed() {
        var bench = BreakerBench()
        #expect(bench.breaker.disarm(at: bench.now) == nil)
        bench.calls(100, .failure)
        #expect(bench.admit().kind == .pass)
        #expect(bench.status.counts.failures == 100 && !bench.status.isArmed)
        #expect(bench.breaker.openIfOverThreshold(ignoringMinimum: true, at: bench.now) == nil)
        bench.breaker.arm(at: bench.now)
        #expect(bench.state == .closed && bench.status.isArmed)
        #expect(bench.call(.failure)?.reason == .overThreshold)
    }

    @Test("enabling opens what is over the threshold whatever the minimum, and nothing else")
    func enabling() {
        var failing = BreakerBench()
        failing.calls(1, .failure)
        #expect(failing.breaker.openIfOverThreshold(at: failing.now) == nil)
        #expect(failing.breaker.openIfOverThreshold(ignoringMinimum: true, at: failing.now)?.to == .open)
        #expect(failing.admit().kind == .refused)

        var healthy = BreakerBench()
        #expect(healthy.breaker.openIfOverThreshold(ignoringMinimum: true, at: healthy.now) == nil)
        healthy.calls(2, .success)
        healthy.calls(1, .failure)
        #expect(healthy.breaker.openIfOverThreshold(ignoringMinimum: true, at: healthy.now) == nil)
        #expect(healthy.admit().kind == .pass)
    }

    @Test("forced, nothing passes however long it lasts; released, it is as closed as it was")
    func forced() {
        var bench = BreakerBench()
        let before = bench.begin()
        #expect(bench.breaker.forceOpen(at: bench.now)?.reason == .forced)
        #expect(bench.breaker.forceOpen(at: bench.now) == nil)
        #expect(bench.end(before, .success) == nil)
        for _ in 0..<100 {
            bench.wait(.seconds(600))
            #expect(bench.admit() == .refused(until: bench.now + .seconds(15)))
        }
        #expect(bench.status.isForced && bench.status.state == .open && bench.status.nextProbe == nil)
        #expect(bench.breaker.serverReturned(at: bench.now) == nil)
        #expect(bench.breaker.release(at: bench.now)?.to == .closed)
        // An order says nothing about the server: many calls at once must not be held back after it.
        for _ in 0..<10 { #expect(bench.admit().kind == .pass) }
        #expect(!bench.status.isForced && bench.status.nextProbe == nil)
    }

    @Test("one that was not closed when it was forced lets a probe find out once it is released")
    func forcedWhileOpen() {
        for isHalfOpen in [false, true] {
            var bench = BreakerBench()
            bench.open()
            if isHalfOpen { bench.becomeHalfOpen() }
            _ = bench.breaker.forceOpen(at: bench.now)
            // A second order changes nothing of that.
            _ = bench.breaker.forceOpen(at: bench.now)
            #expect(bench.breaker.release(at: bench.now)?.to == .halfOpen)
            #expect(bench.status.nextProbe == bench.now && !bench.status.isForced)
            #expect(bench.admit().kind == .probe && bench.admit().kind == .refused)
        }
    }

    @Test("forcing a disarmed breaker arms it, disarming a forced one lets traffic flow")
    func forcedAndDisarmed() {
        var bench = BreakerBench()
        _ = bench.breaker.disarm(at: bench.now)
        _ = bench.breaker.forceOpen(at: bench.now)
        #expect(bench.status.isArmed && bench.admit().kind == .refused)
        _ = bench.breaker.disarm(at: bench.now)
        #expect(bench.admit().kind == .pass)
        #expect(bench.breaker.release(at: bench.now) == nil)
    }

    @Test("disarming while a probe is out: traffic flows, and the probe is not heard any more")
    func disarmedWhileProbing() {
        var bench = BreakerBench()
        bench.open()
        bench.becomeHalfOpen()
        let probe = bench.begin()
        #expect(bench.breaker.disarm(at: bench.now)?.to == .closed)
        let counted = bench.status.counts
        #expect(bench.end(probe, .failure) == nil)
        #expect(bench.status.counts == counted && bench.state == .closed)
    }

    @Test("a server seen alive is probed at once, and what the failed probes taught stays known")
    func returned() throws {
        var bench = BreakerBench()
        bench.open()
        #expect(bench.breaker.serverReturned(at: bench.now)?.to == .halfOpen)
        #expect(bench.breaker.serverReturned(at: bench.now) == nil)
        #expect(bench.admit().kind == .probe)
        #expect(bench.breaker.serverReturned(at: bench.now) == nil)
        #expect(bench.admit().kind == .refused)

        var stubborn = BreakerBench()
        stubborn.open()
        for _ in 0..<3 {
            _ = stubborn.breaker.serverReturned(at: stubborn.now)
            stubborn.call(.failure)
        }
        // It says that it is alive and fails all calls: 15 s doubled three times.
        #expect(try #require(stubborn.status.nextProbe).since(stubborn.now) >= .seconds(90))
    }

    @Test("other settings hold from the next call on; the state and a probe under way stay")
    func changed() throws {
        var bench = BreakerBench()
        bench.calls(4, .failure)
        bench.breaker.change(to: Breaker.Settings(minimumCalls: 5), seed: 1, at: bench.now)
        #expect(bench.status.counts.failures == 4)
        #expect(bench.call(.failure)?.to == .open)
        bench.becomeHalfOpen()
        let probe = bench.begin()
        bench.breaker.change(to: Breaker.Settings(window: .seconds(60), openFor: .seconds(100)), seed: 1, at: bench.now)
        #expect(bench.status.counts.calls == 0 && bench.status.isProbing)
        #expect(bench.end(probe, .failure)?.reason == .probeFailed)
        #expect(try #require(bench.status.nextProbe).since(bench.now) >= .seconds(93.75))
    }
}
