// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

extension Breaker {
    package enum State: String, Sendable, CaseIterable {
        /// Traffic flows.
        case closed
        /// Nothing passes.
        case open
        /// Its time is over: one call at a time passes as a probe.
        case halfOpen = "half-open"
    }

    /// What becomes of a call that asks.
    package enum Gate: Sendable, Equatable {
        /// Go, and report by `finished`.
        case pass(Ticket)
        /// Go, and report: upon this call depends whether the breaker closes. The breaker is half-open.
        case probe(Ticket)
        /// Do not go. Worth asking again from `until` on, which is always later than now; how much later is a guess
        /// when a probe is under way or an operator holds the breaker open.
        case refused(until: Moment)
    }

    /// The right to make one call, handed back with its outcome. One that never comes back is not missed; one that
    /// comes back twice counts twice.
    package struct Ticket: Sendable, Hashable {
        let generation: UInt64
        let begun: Moment
        let isProbe: Bool
    }

    /// What a call says about whether its server is well.
    package enum Outcome: Sendable, Hashable, CaseIterable {
        /// An answer in the protocol, also one that says no. Counted as slow when it took longer than `slowCall`.
        case success
        /// No connection, no answer in time, garbage, its own fault.
        case failure
        /// Too slow by somebody else's measure than the time between ticket and report.
        case slow
        /// Says nothing: the client's mistake, a cancelled call, 429.
        case ignored
    }

    /// A change of state that somebody should write down.
    package struct Transition: Sendable, Equatable {
        package enum Reason: String, Sendable, CaseIterable {
            case overThreshold = "over threshold"
            case probeSucceeded = "probe succeeded"
            case probeFailed = "probe failed"
            case serverReturned = "server returned"
            case forced
            case released
            case disarmed
        }

        package let from: State
        package let to: State
        package let reason: Reason
        package let at: Moment
    }

    /// What is in the window.
    package struct Counts: Sendable, Equatable {
        /// All that count: succeeded, failed and slow.
        package internal(set) var calls = 0
        package internal(set) var failures = 0
        /// Neither among `failures` nor well.
        package internal(set) var slow = 0

        package var bad: Int { failures + slow }
    }

    /// Everything about it at one moment, for health, metrics and the operator.
    package struct Status: Sendable, Equatable {
        package let state: State
        package let since: Moment
        /// Of a closed breaker what is being watched; of an open one what is left of why it opened.
        package let counts: Counts
        /// From when on a call is let through as a probe: in the past when the next one is. Nil while traffic flows, or
        /// is held back by an operator.
        package let nextProbe: Moment?
        package let isProbing: Bool
        /// Probes that failed in a row since it opened.
        package let failedProbes: Int
        package let isForced: Bool
        package let isArmed: Bool
    }
}

extension Breaker.Counts: Tally {
    static var none: Self { Self() }

    static func += (left: inout Self, right: Self) {
        left.calls += right.calls
        left.failures += right.failures
        left.slow += right.slow
    }
}
