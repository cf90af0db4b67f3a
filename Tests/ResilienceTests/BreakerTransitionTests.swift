// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

/// Every state against everything that can happen in it.
@Suite struct BreakerTransitionTests {
    enum Start: CaseIterable {
        case closed, nearlyOver, open, halfOpen, probing, forced, forcedWhileOpen, disarmed, disarmedOver
    }

    enum Event: CaseIterable {
        case admit, success, failure, slow, ignored, longCall
        case arm, disarm, force, release, serverReturned, judge, judgeAnyway, longTime
    }

    struct Row: CustomTestStringConvertible {
        let start: Start
        let event: Event
        let end: Breaker.State
        let reason: Breaker.Transition.Reason?

        init(_ start: Start, _ event: Event, _ end: Breaker.State, _ reason: Breaker.Transition.Reason? = nil) {
            self.start = start
            self.event = event
            self.end = end
            self.reason = reason
        }

        var testDescription: String { "\(start), \(event) → \(end.rawValue)" }
    }

    /// What is not here changes nothing; a test below sees to that.
    static let changing: [Row] = [
        Row(.closed, .force, .open, .forced),
        Row(.nearlyOver, .failure, .open, .overThreshold),
        Row(.nearlyOver, .slow, .open, .overThreshold),
        Row(.nearlyOver, .longCall, .open, .overThreshold),
        Row(.nearlyOver, .force, .open, .forced),
        Row(.nearlyOver, .judgeAnyway, .open, .overThreshold),
        Row(.open, .disarm, .closed, .disarmed),
        Row(.open, .serverReturned, .halfOpen, .serverReturned),
        Row(.open, .longTime, .halfOpen),
        Row(.open, .force, .open, .forced),
        Row(.halfOpen, .disarm, .closed, .disarmed),
        Row(.halfOpen, .force, .open, .forced),
        Row(.halfOpen, .success, .closed, .probeSucceeded),
        Row(.halfOpen, .failure, .open, .probeFailed),
        Row(.halfOpen, .slow, .open, .probeFailed),
        Row(.halfOpen, .longCall, .open, .probeFailed),
        Row(.probing, .disarm, .closed, .disarmed),
        Row(.probing, .force, .open, .forced),
        // Nothing is known against a server that was well when the order came.
        Row(.forced, .release, .closed, .released),
        Row(.forced, .disarm, .closed, .disarmed),
        Row(.forcedWhileOpen, .release, .halfOpen, .released),
        Row(.forcedWhileOpen, .disarm, .closed, .disarmed),
        Row(.disarmed, .force, .open, .forced),
        Row(.disarmedOver, .force, .open, .forced),
    ]

    static let unchanging: [Row] = Start.allCases.flatMap { start in
        Event.allCases.filter { event in !changing.contains { $0.start == start && $0.event == event } }
            .map { Row(start, $0, state(at: start)) }
    }

    @Test("what changes the state, and into what", arguments: changing)
    func changes(_ row: Row) { check(row) }

    @Test("what does not change the state", arguments: unchanging)
    func stays(_ row: Row) { check(row) }

    private func check(_ row: Row) {
        var bench = Self.bench(row.start)
        #expect(bench.state == Self.state(at: row.start))
        let transition = Self.play(row.event, on: &bench)
        #expect(bench.state == row.end)
        #expect(bench.status.state == row.end)
        #expect(transition?.reason == row.reason)
        if let transition {
            #expect(transition.from == Self.state(at: row.start))
            #expect(transition.to == row.end)
            #expect(transition.at == bench.now)
        }
    }

    private static func state(at start: Start) -> Breaker.State {
        switch start {
        case .closed, .nearlyOver, .disarmed, .disarmedOver: .closed
        case .open, .forced, .forcedWhileOpen: .open
        case .halfOpen, .probing: .halfOpen
        }
    }

    private static func bench(_ start: Start) -> BreakerBench {
        var bench = BreakerBench()
        switch start {
        case .closed: break
        case .nearlyOver: bench.calls(9, .failure)
        case .open: bench.open()
        case .halfOpen, .probing:
            bench.open()
            bench.becomeHalfOpen()
            if start == .probing { _ = bench.admit() }
        case .forced: _ = bench.breaker.forceOpen(at: bench.now)
        case .forcedWhileOpen:
            bench.open()
            _ = bench.breaker.forceOpen(at: bench.now)
        case .disarmed: _ = bench.breaker.disarm(at: bench.now)
        case .disarmedOver:
            _ = bench.breaker.disarm(at: bench.now)
            bench.calls(50, .failure)
        }
        return bench
    }

    private static func play(_ event: Event, on bench: inout BreakerBench) -> Breaker.Transition? {
        let now = bench.now
        switch event {
        case .admit: _ = bench.admit()
        case .success: return bench.call(.success)
        case .failure: return bench.call(.failure)
        case .slow: return bench.call(.slow)
        case .ignored: return bench.call(.ignored)
        case .longCall:
            let ticket = bench.begin()
            // An open breaker must not become half-open meanwhile.
            guard ticket != nil else { return nil }
            bench.wait(.milliseconds(5_001))
            return bench.end(ticket, .success)
        case .arm: bench.breaker.arm(at: bench.now)
        case .disarm: return bench.breaker.disarm(at: now)
        case .force: return bench.breaker.forceOpen(at: now)
        case .release: return bench.breaker.release(at: now)
        case .serverReturned: return bench.breaker.serverReturned(at: now)
        case .judge: return bench.breaker.openIfOverThreshold(at: now)
        case .judgeAnyway: return bench.breaker.openIfOverThreshold(ignoringMinimum: true, at: now)
        case .longTime: bench.wait(.seconds(3_600))
        }
        return nil
    }

    static let gates: [(Start, Breaker.Gate.Kind)] = [
        (.closed, .pass), (.nearlyOver, .pass), (.open, .refused), (.halfOpen, .probe), (.probing, .refused),
        (.forced, .refused), (.forcedWhileOpen, .refused), (.disarmed, .pass), (.disarmedOver, .pass),
    ]

    @Test("what becomes of a call in each state", arguments: gates)
    func gate(_ start: Start, _ kind: Breaker.Gate.Kind) {
        var bench = Self.bench(start)
        let gate = bench.admit()
        #expect(gate.kind == kind)
        if case .refused(let until) = gate { #expect(until > bench.now) }
    }
}
