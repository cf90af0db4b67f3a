// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// Stands before one server (or one tool of it), and stops sending calls when too many of them come to nothing.
///
/// ```
///           share of bad calls reached                   time over, or the server was seen alive
///   closed ───────────────────────────▶ open ──────────────────────────────────────▶ half-open
///     ▲                                   ▲                                            │  │
///     │                                   └──────────── the probe failed ──────────────┘  │
///     └──────────────────────────── the probe succeeded ──────────────────────────────────┘
/// ```
///
/// Each call asks `admit` and reports by `finished`. Promised:
/// - It opens upon a bad call only, and only with `minimumCalls` in the window, unless an operator orders it.
/// - Half-open it lets one call at a time through, and closes upon the first that succeeds in time. A probe whose
///   outcome says nothing, and one that has not reported within `probePatience`, frees the place for the next call.
///   Once another has taken it, what the first one says is not heard any more.
/// - Outcomes of calls begun before it opened neither close it nor count when it is closed again.
/// - It opens, and stays open, for `openFor` and a little more, twice that after each failed probe, at most
///   `openForMax`; no time is read and nobody is woken: being half-open is being open for long enough.
///
/// A pure machine of a fixed size (576 bytes), without I/O, clock, lock or allocation; callers hold a `Mutex` around
/// it, and may come with moments slightly out of order. Asking and reporting cost some 70 ns together, 110 ns when the
/// outcome is bad, for then ten buckets are summed up.
package struct Breaker: Sendable {
    enum Phase: Sendable, Equatable {
        case closed
        /// Half-open from `until` on.
        case open(until: Moment)
        /// Open by order, until another order.
        case forced
    }

    struct Probe: Sendable, Equatable {
        let generation: UInt64
        let givenUp: Moment
        /// From here on it is slow, which fails it.
        let inTime: Moment
    }

    package private(set) var settings: Settings
    private(set) var isArmed = true
    /// Of a forced one: traffic flowed until it was.
    private var wasClosed = false
    private(set) var phase = Phase.closed
    /// When the phase began.
    private var since: Moment
    private var probe: Probe?
    private var failedProbes = 0
    /// Told apart by it: calls of this closed time from those before, and this probe from the ones given up.
    private var generation: UInt64 = 0
    private var window: RollingWindow<Counts>
    private var backoff: Backoff
    private var hand = Clockhand()

    /// Closed and armed.
    ///
    /// - Parameter seed: for the quarter of chance in how long it stays open.
    package init(_ settings: Settings = Settings(), seed: UInt64, at moment: Moment) {
        self.settings = settings
        since = hand.advance(to: moment)
        window = RollingWindow(length: settings.window)
        backoff = Backoff(
            base: settings.openFor, cap: settings.openForMax, jitter: .quarterMore, seed: seed)
    }

    // MARK: Calls

    /// May a call go? Ask right before it would be sent.
    package mutating func admit(at moment: Moment) -> Gate {
        let now = hand.advance(to: moment)
        switch phase {
        case .closed: return .pass(Ticket(generation: generation, begun: now, isProbe: false))
        case .forced: return .refused(until: now + settings.openFor)
        case .open(let until):
            guard now >= until else { return .refused(until: until) }
            if let probe, now < probe.givenUp {
                // Nobody knows when it reports. By `inTime` it has, or it has failed.
                return .refused(until: now < probe.inTime ? probe.inTime : probe.givenUp)
            }
            generation += 1
            probe = Probe(
                generation: generation, givenUp: now + settings.probePatience, inTime: now + settings.slowCall)
            return .probe(Ticket(generation: generation, begun: now, isProbe: true))
        }
    }

    /// Takes a ticket back.
    ///
    /// - Returns: the change of state that this outcome made.
    package mutating func finished(_ ticket: Ticket, _ outcome: Outcome, at moment: Moment) -> Transition? {
        let now = hand.advance(to: moment)
        let isLate = now.since(ticket.begun) > settings.slowCall
        let judged: Outcome = outcome == .success && isLate ? .slow : outcome
        if ticket.isProbe { return finishProbe(ticket, judged, at: now) }
        // A call of another time says nothing about this one.
        guard phase == .closed, ticket.generation == generation else { return nil }
        switch judged {
        case .ignored: return nil
        case .success:
            // The share cannot have grown; and nobody should be cut off by a call that went well because it made the
            // minimum full.
            window.add(Counts(calls: 1), at: now)
            return nil
        case .failure: window.add(Counts(calls: 1, failures: 1), at: now)
        case .slow: window.add(Counts(calls: 1, slow: 1), at: now)
        }
        return openIfOver(minimumCalls: settings.minimumCalls, at: now)
    }

    private mutating func finishProbe(_ ticket: Ticket, _ judged: Outcome, at now: Moment) -> Transition? {
        // One that was given up, or whose time an order ended, has no place to free.
        guard let probe, probe.generation == ticket.generation else { return nil }
        self.probe = nil
        switch judged {
        case .ignored: return nil
        case .success:
            window.clear()
            return enter(.closed, .probeSucceeded, at: now)
        case .failure, .slow:
            failedProbes += 1
            return enter(.open(until: now + backoff.delay(attempt: failedProbes)), .probeFailed, at: now)
        }
    }

    // MARK: What is known

    package func state(at moment: Moment) -> State {
        switch phase {
        case .closed: .closed
        case .forced: .open
        case .open(let until): hand.reading(moment) < until ? .open : .halfOpen
        }
    }

    /// Everything about it; changes nothing.
    package func status(at moment: Moment) -> Status {
        let now = hand.reading(moment)
        let state = state(at: now)
        let heldBy = probe.flatMap { now < $0.givenUp ? $0.givenUp : nil }
        let nextProbe: Moment? = if case .open(let until) = phase { max(until, heldBy ?? until) } else { nil }
        let began: Moment = if state == .halfOpen, case .open(let until) = phase { until } else { since }
        return Status(
            state: state, since: began, counts: window.counts(at: now), nextProbe: nextProbe,
            isProbing: heldBy != nil, failedProbes: failedProbes, isForced: phase == .forced, isArmed: isArmed)
    }

    // MARK: Orders

    /// An operator wants it to work: from the next bad call on it opens as it should. Opens nothing by itself.
    package mutating func arm(at moment: Moment) {
        _ = hand.advance(to: moment)
        isArmed = true
    }

    /// An operator wants traffic to flow, whatever comes of it: closes, also when it was forced open, and never opens
    /// until armed. What is counted goes on being counted, and what was stays.
    package mutating func disarm(at moment: Moment) -> Transition? {
        isArmed = false
        return enter(.closed, .disarmed, at: hand.advance(to: moment))
    }

    /// An operator wants nothing to pass, however well the server is, until `release` or `disarm`. Arms it.
    package mutating func forceOpen(at moment: Moment) -> Transition? {
        isArmed = true
        if phase != .forced { wasClosed = phase == .closed }
        return enter(.forced, .forced, at: hand.advance(to: moment))
    }

    /// Takes `forceOpen` back. One that was closed by then is closed again: no call has come to nothing that would be a
    /// reason to hold others back. Of one that was not, the next call is a probe. Nothing when it is not forced.
    package mutating func release(at moment: Moment) -> Transition? {
        let now = hand.advance(to: moment)
        guard phase == .forced else { return nil }
        return enter(wasClosed ? .closed : .open(until: now), .released, at: now)
    }

    /// Opens, without waiting for the next bad call, when what is in the window is enough. Nothing when it is disarmed
    /// or not closed.
    ///
    /// - Parameter ignoringMinimum: one bad call may be enough.
    package mutating func openIfOverThreshold(ignoringMinimum: Bool = false, at moment: Moment) -> Transition? {
        let now = hand.advance(to: moment)
        guard phase == .closed else { return nil }
        return openIfOver(minimumCalls: ignoringMinimum ? 1 : settings.minimumCalls, at: now)
    }

    /// Somebody saw the server alive by other means than a call: the next call is a probe, at once. Nothing when it is
    /// closed, half-open or forced.
    package mutating func serverReturned(at moment: Moment) -> Transition? {
        let now = hand.advance(to: moment)
        guard case .open(let until) = phase, now < until else { return nil }
        return enter(.open(until: now), .serverReturned, at: now)
    }

    /// Other settings, in force for what comes. State, orders and a probe under way stay as they are; the counts go if
    /// the window has another length.
    ///
    /// - Parameter seed: as for `init`.
    package mutating func change(to settings: Settings, seed: UInt64, at moment: Moment) {
        _ = hand.advance(to: moment)
        if settings.window != self.settings.window { window = RollingWindow(length: settings.window) }
        backoff = Backoff(base: settings.openFor, cap: settings.openForMax, jitter: .quarterMore, seed: seed)
        self.settings = settings
    }

    // MARK: Inside

    private mutating func openIfOver(minimumCalls: Int, at now: Moment) -> Transition? {
        guard isArmed else { return nil }
        let counts = window.counts(at: now)
        // The minimum is 1 at least. Divided, not multiplied: 55 of 100 are exactly the 0.55 that somebody wrote.
        guard counts.calls >= minimumCalls, Double(counts.bad) / Double(counts.calls) >= settings.failures else {
            return nil
        }
        return enter(.open(until: now + backoff.delay(attempt: 0)), .overThreshold, at: now)
    }

    /// The one place where the phase changes.
    private mutating func enter(_ next: Phase, _ reason: Transition.Reason, at now: Moment) -> Transition? {
        guard next != phase else { return nil }
        let before = state(at: now)
        // Whatever is under way belongs to the time that ends here. Between open and half-open there are probes only,
        // which have generations of their own.
        generation += 1
        phase = next
        since = now
        probe = nil
        if next == .closed || next == .forced { failedProbes = 0 }
        return Transition(from: before, to: state(at: now), reason: reason, at: now)
    }
}
