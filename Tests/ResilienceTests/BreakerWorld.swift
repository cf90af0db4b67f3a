// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience

/// A server that comes and goes, callers, an operator, and a breaker between them, held to its promises by
/// `BreakerWitness` after each step.
///
/// In it: servers well, away, slow, silent, limiting and flapping; calls that are cancelled, that report late, twice as
/// late as anybody waits, or never; a clock read in the wrong order; every order an operator has; a reload.
struct BreakerWorld: SimulatedWorld {
    enum Server: CaseIterable { case well, away, slow, silent, limiting, flapping, halfBad }

    struct Call {
        let number: Int
        let ticket: Breaker.Ticket
        let isProbe: Bool
        let ends: Moment
        let outcome: Breaker.Outcome
    }

    private static let callsMax = 48

    private(set) var coverage = Tallies()
    /// All that was decided, folded up: two runs of a seed are the same or they are not.
    private(set) var trace: UInt64 = 14_695_981_039_346_656_037
    private var chance: Chance
    private var breaker: Breaker
    private var witness: BreakerWitness
    private var settings: Breaker.Settings
    private var now = Moment(nanoseconds: 1_000_000_000_000)
    private var server = Server.well
    private var serverStays: Moment
    private var calls: [Call] = []
    private var callCount = 0

    init(seed: UInt64) {
        chance = Chance(seed: seed)
        settings = Self.settings(&chance)
        breaker = Breaker(settings, seed: chance.next(), at: now)
        witness = BreakerWitness(settings, at: now)
        serverStays = now
    }

    mutating func step() throws(Broken) {
        pass()
        // Somebody read the clock, and then waited for the lock.
        let told = chance.once(in: 8) ? Moment(nanoseconds: now.nanoseconds - chance.below(50_000_000)) : now
        let due = calls.indices.filter { calls[$0].ends <= now }
        if !due.isEmpty, !chance.once(in: 3) {
            try report(calls.remove(at: chance.pick(due)), at: told)
        } else if chance.once(in: 40) {
            try order(at: told)
        } else {
            try ask(at: told)
        }
        try witness.check(breaker.status(at: told), at: told)
        fold(breaker.status(at: told))
    }

    // MARK: Time and the server

    private mutating func pass() {
        let most: UInt64 =
            switch chance.below(1_000) {
            case 0: 3_600_000
            case 1..<10: 40_000
            case 10..<100: 3_000
            default: 150
            }
        now = now + .milliseconds(Int64(chance.below(most))) + .nanoseconds(Int64(chance.below(1_000)))
        guard now >= serverStays else { return }
        server = chance.pick(Server.allCases)
        serverStays = now + .milliseconds(Int64(chance.below(90_000)))
    }

    /// How long the call takes, and what comes of it.
    private mutating func fate() -> (milliseconds: UInt64, outcome: Breaker.Outcome) {
        if chance.once(in: 50) { return (chance.below(2_000), .ignored) }
        let slow = UInt64(settings.slowCall.milliseconds)
        switch server {
        case .well: return (chance.below(max(slow / 10, 1)), .success)
        case .away: return (chance.below(20), .failure)
        case .slow: return (slow + chance.below(slow + 2), chance.once(in: 4) ? .slow : .success)
        case .silent: return (30_000, .failure)
        case .limiting: return (chance.below(50), chance.once(in: 2) ? .ignored : .success)
        case .flapping: return (chance.below(100), now.nanoseconds / 2_000_000_000 % 2 == 0 ? .success : .failure)
        case .halfBad: return (chance.below(100), chance.once(in: 2) ? .success : .failure)
        }
    }

    // MARK: Calls

    private mutating func ask(at told: Moment) throws(Broken) {
        let before = breaker.status(at: told)
        let gate = breaker.admit(at: told)
        callCount += 1
        try witness.asked(gate, before: before, number: callCount, at: told)
        switch gate {
        case .pass(let ticket): begin(ticket, isProbe: false)
        case .probe(let ticket):
            coverage.note("probe")
            begin(ticket, isProbe: true)
        case .refused: coverage.note("refused")
        }
    }

    private mutating func begin(_ ticket: Breaker.Ticket, isProbe: Bool) {
        // One that is never heard of again.
        if chance.once(in: 60) {
            coverage.note(isProbe ? "lost probe" : "lost call")
            return
        }
        let (milliseconds, outcome) = fate()
        if calls.count == Self.callsMax { calls.removeFirst() }
        calls.append(
            Call(
                number: callCount, ticket: ticket, isProbe: isProbe, ends: now + .milliseconds(Int64(milliseconds)),
                outcome: outcome))
    }

    private mutating func report(_ call: Call, at told: Moment) throws(Broken) {
        let before = breaker.status(at: told)
        let transition = breaker.finished(call.ticket, call.outcome, at: told)
        let after = breaker.status(at: told)
        let heard = try witness.reported(call, transition, before: before, after: after, at: told)
        if !heard { coverage.note(call.isProbe ? "probe not heard" : "call not counted") }
        if let transition { coverage.note(transition.reason.rawValue) }
    }

    // MARK: The operator

    private mutating func order(at told: Moment) throws(Broken) {
        let before = breaker.status(at: told)
        // What holds everything up does not last long, or nothing else would be seen.
        let choice = before.isForced ? 3 : before.isArmed ? chance.below(8) : 0
        let order: BreakerWitness.Order
        var transition: Breaker.Transition?
        switch choice {
        case 0:
            order = .arm
            breaker.arm(at: told)
        case 1:
            order = .disarm
            transition = breaker.disarm(at: told)
        case 2:
            order = .force
            transition = breaker.forceOpen(at: told)
        case 3:
            order = .release
            transition = breaker.release(at: told)
        case 4:
            let ignoring = chance.once(in: 2)
            order = .judge(ignoringMinimum: ignoring)
            transition = breaker.openIfOverThreshold(ignoringMinimum: ignoring, at: told)
        case 5 where chance.once(in: 4):
            settings = Self.settings(&chance)
            order = .change(settings)
            breaker.change(to: settings, seed: chance.next(), at: told)
        default:
            order = .serverReturned
            transition = breaker.serverReturned(at: told)
        }
        try witness.ordered(order, transition, before: before, after: breaker.status(at: told), at: told)
        if let transition { coverage.note(transition.reason.rawValue) }
    }

    private static func settings(_ chance: inout Chance) -> Breaker.Settings {
        if chance.once(in: 2) { return Breaker.Settings() }
        return Breaker.Settings(
            failures: Double(1 + chance.below(100)) / 100, window: .milliseconds(Int64(100 + chance.below(60_000))),
            minimumCalls: Int(1 + chance.below(20)), openFor: .milliseconds(Int64(1 + chance.below(30_000))),
            openForMax: .milliseconds(Int64(1 + chance.below(200_000))),
            slowCall: .milliseconds(Int64(1 + chance.below(10_000))),
            probePatience: .milliseconds(Int64(1 + chance.below(40_000))))
    }

    private mutating func fold(_ status: Breaker.Status) {
        let word =
            now.nanoseconds ^ UInt64(status.counts.calls) << 32 ^ UInt64(status.counts.bad) << 16
            ^ (status.nextProbe?.nanoseconds ?? 0) << 1 ^ UInt64(status.state.rawValue.utf8.count)
        trace = (trace ^ word) &* 1_099_511_628_211
    }
}
