// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import Resilience
internal import Synchronization
internal import Telemetry

/// The breaker of one upstream, or of one tool of it: asked before each call, told of each outcome.
final class OwnerBreaker: Sendable {
    private let name: String
    /// As clients know it; nil for the whole upstream.
    private let tool: String?
    private let state: Mutex<Breaker>
    private let closed = Mutex<(@Sendable () -> Void)?>(nil)
    private let time: any TimeSource
    private let log: Logger

    init(_ settings: Breaker.Settings, owner: String, tool: String? = nil, time: any TimeSource, log: Logger) {
        name = owner
        self.tool = tool
        self.time = time
        self.log = log
        state = Mutex(Breaker(settings, seed: .random(in: .min ... .max), at: time.now()))
    }

    typealias Ticket = Breaker.Ticket

    /// May a call go? When not, words for whoever made it.
    func admit() -> Result<Breaker.Ticket, CallFailure> {
        let now = time.now()
        switch state.withLock({ $0.admit(at: now) }) {
        case .pass(let ticket), .probe(let ticket): return .success(ticket)
        case .refused(let until):
            let status = status
            if status.isForced { return .failure(.unavailable(detail: "its breaker is held open by an operator")) }
            if status.isProbing {
                let words = "its breaker is half-open: one call at a time tries whether it is there again"
                return .failure(.unavailable(detail: words))
            }
            let seconds = max(1, Int((until.since(now).milliseconds / 1_000).rounded(.up)))
            return .failure(
                .unavailable(detail: "its breaker is open after too many failed calls, the next try is in \(seconds) s")
            )
        }
    }

    /// - Parameter hasAsked: the call waited for a person, so that its length says nothing.
    func finished(_ ticket: Breaker.Ticket, _ result: Result<CallAnswer, CallFailure>, hasAsked: Bool) {
        let outcome = hasAsked ? .ignored : Self.outcome(result)
        note(state.withLock { $0.finished(ticket, outcome, at: time.now()) })
    }

    /// The call was not made after all.
    func returned(_ ticket: Ticket) { note(state.withLock { $0.finished(ticket, .ignored, at: time.now()) }) }

    private static func outcome(_ result: Result<CallAnswer, CallFailure>) -> Breaker.Outcome {
        switch result {
        case .success: .success
        case .failure(.unavailable), .failure(.timedOut), .failure(.outcomeUnknown), .failure(.garbage): .failure
        case .failure(.stopped), .failure(.unknownTool), .failure(.badArguments), .failure(.overloaded),
            .failure(.needsInput), .failure(.cancelled):
            .ignored
        }
    }

    // MARK: Orders

    func change(to settings: Breaker.Settings) {
        state.withLock { breaker in
            guard breaker.settings != settings else { return }
            breaker.change(to: settings, seed: .random(in: .min ... .max), at: time.now())
        }
    }

    func arm() { state.withLock { $0.arm(at: time.now()) } }

    /// Opens it when its window is over the threshold, however few calls are in it.
    func openIfOver() { note(state.withLock { $0.openIfOverThreshold(ignoringMinimum: true, at: time.now()) }) }

    func force() { note(state.withLock { $0.forceOpen(at: time.now()) }) }

    func disarm() { note(state.withLock { $0.disarm(at: time.now()) }) }

    /// As if no operator had ever ordered anything.
    func release() {
        note(
            state.withLock { breaker in
                let now = time.now()
                breaker.arm(at: now)
                return breaker.release(at: now)
            })
    }

    /// Somebody has seen the server alive: the next call finds out.
    func serverReturned() { note(state.withLock { $0.serverReturned(at: time.now()) }) }

    /// The moment from which on a call is worth trying; nil when that is now.
    var refusesUntil: Moment? {
        let now = time.now()
        return state.withLock { breaker in
            let status = breaker.status(at: now)
            guard status.state != .closed else { return nil }
            if status.isForced { return .init(nanoseconds: .max) }
            return status.nextProbe.flatMap { $0 > now ? $0 : nil }
        }
    }

    /// What it does; nil while traffic flows.
    var words: String? {
        let status = status
        if status.state == .closed { return status.isArmed ? nil : "breaker disarmed" }
        return "breaker \(status.state.rawValue)\(status.isForced ? " by order" : "")"
    }

    var facts: BreakerFacts {
        let (now, status) = (time.now(), status)
        return BreakerFacts(
            upstream: name, tool: tool, state: status.state.rawValue, isArmed: status.isArmed,
            isForced: status.isForced, calls: status.counts.calls, failures: status.counts.failures,
            slow: status.counts.slow, nextProbe: status.nextProbe.map { $0 > now ? $0.since(now) : .zero })
    }

    /// 0 closed, 1 half-open, 2 open.
    var level: Double {
        switch status.state {
        case .closed: 0
        case .halfOpen: 1
        case .open: 2
        }
    }

    var status: Breaker.Status { state.withLock { $0.status(at: time.now()) } }

    /// - Parameter notice: called each time traffic flows again; may be called from any thread.
    func whenClosed(_ notice: @escaping @Sendable () -> Void) { closed.withLock { $0 = notice } }

    private func note(_ change: Breaker.Transition?) {
        guard let change else { return }
        if change.to == .closed { closed.withLock { $0 }?() }
        var metadata: Logger.Metadata = [LogKey.upstream: "\(name)", LogKey.detail: "\(change.reason.rawValue)"]
        if let tool { metadata[LogKey.tool] = "\(tool)" }
        if change.reason == .forced {
            log.warning("breaker held open by order: calls are refused until that is undone", metadata: metadata)
        } else if change.to == .open {
            // "fail" for whoever greps for what is wrong: why the failed calls behind it were not even tried.
            log.warning("breaker open: calls fail at once until the server answers again", metadata: metadata)
        } else {
            log.notice("breaker \(change.to.rawValue)", metadata: metadata)
        }
    }
}

extension Pipeline {
    /// What an owner's breaker does, in words, and whether it holds calls back; nil while traffic flows.
    package func breaker(of name: String) -> (words: String, isOpen: Bool)? {
        guard let breaker = catalogue.owner(name)?.breaker, let words = breaker.words else { return nil }
        return (words, breaker.level == 2)
    }
}
