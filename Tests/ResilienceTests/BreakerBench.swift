// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience

/// A breaker, a clock that stands still, and the calls that are under way.
struct BreakerBench {
    var breaker: Breaker
    var now = Moment(nanoseconds: 1_000_000_000_000)

    init(_ settings: Breaker.Settings = Breaker.Settings(), seed: UInt64 = 7) {
        breaker = Breaker(settings, seed: seed, at: now)
    }

    var state: Breaker.State { breaker.state(at: now) }
    var status: Breaker.Status { breaker.status(at: now) }

    mutating func wait(_ duration: Duration) { now = now + duration }

    mutating func admit() -> Breaker.Gate { breaker.admit(at: now) }

    /// The ticket of a call that goes through, as a probe or not.
    mutating func begin() -> Breaker.Ticket? {
        switch admit() {
        case .pass(let ticket), .probe(let ticket): ticket
        case .refused: nil
        }
    }

    @discardableResult
    mutating func end(_ ticket: Breaker.Ticket?, _ outcome: Breaker.Outcome) -> Breaker.Transition? {
        ticket.flatMap { breaker.finished($0, outcome, at: now) }
    }

    /// A call that takes no time.
    @discardableResult
    mutating func call(_ outcome: Breaker.Outcome) -> Breaker.Transition? { end(begin(), outcome) }

    /// So many of them, one after the other.
    mutating func calls(_ count: Int, _ outcome: Breaker.Outcome) {
        for _ in 0..<count { call(outcome) }
    }

    /// Opens by ten bad calls.
    mutating func open() { calls(10, .failure) }

    /// Waits until a probe may go, and a millisecond.
    mutating func becomeHalfOpen() {
        guard let next = status.nextProbe else { return }
        now = max(now, next) + .milliseconds(1)
    }
}

extension Breaker.Gate {
    enum Kind { case pass, probe, refused }

    var kind: Kind {
        switch self {
        case .pass: .pass
        case .probe: .probe
        case .refused: .refused
        }
    }
}
