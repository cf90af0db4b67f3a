// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
package import Resilience
internal import Synchronization

/// How calls go to one owner.
package struct TrafficSettings: Sendable, Equatable {
    /// nil for owners that need none.
    package var breaker: Breaker.Settings?
    /// Calls under way at one time; nil for as many as there are.
    package var inFlightMax: Int?
    /// Calls that may wait for their turn when as many run as may.
    package var waitingMax = 0
    package var waitMax = Duration.seconds(2)
    /// How often one call that is safe to repeat is tried in all.
    package var attemptsMax = 1
    /// Before the second try; doubles, with chance.
    package var backoff = Duration.milliseconds(100)

    package init(breaker: Breaker.Settings? = nil) { self.breaker = breaker }

    var turnstile: Turnstile.Settings? {
        inFlightMax.map { Turnstile.Settings(runningMax: $0, waitingMax: waitingMax, waitMax: waitMax) }
    }
}

/// The machines before one owner. They outlive changes of the configuration, so that an open breaker stays open and a
/// full house stays full.
final class OwnerTraffic: Sendable {
    let breaker: OwnerBreaker?
    let turnstile: Turnstile?
    private let retries: Mutex<(budget: RetryBudget, attemptsMax: Int, backoff: Backoff)>

    init(_ settings: TrafficSettings, owner: String, time: any TimeSource, log: Logger) {
        breaker = settings.breaker.map { OwnerBreaker($0, owner: owner, time: time, log: log) }
        turnstile = settings.turnstile.map { Turnstile($0) }
        retries = Mutex((RetryBudget(), settings.attemptsMax, Self.backoff(settings)))
    }

    /// The same machines by other settings; nil when it needs other machines.
    func changed(to settings: TrafficSettings) -> OwnerTraffic? {
        guard (settings.breaker == nil) == (breaker == nil), (settings.inFlightMax == nil) == (turnstile == nil)
        else { return nil }
        if let new = settings.breaker { breaker?.change(to: new) }
        if let new = settings.turnstile { turnstile?.change(to: new) }
        retries.withLock { $0 = ($0.budget, settings.attemptsMax, Self.backoff(settings)) }
        return self
    }

    private static func backoff(_ settings: TrafficSettings) -> Backoff {
        Backoff(
            base: settings.backoff, cap: max(settings.backoff, .seconds(5)), jitter: .equal,
            seed: .random(in: .min ... .max))
    }

    /// A call begins for the first time.
    func noteCall(at now: Moment) { retries.withLock { $0.budget.noteCall(at: now) } }

    /// One more sending, for a hedge.
    func spendRetry(at now: Moment) -> Bool { retries.withLock { $0.budget.spend(at: now) } }

    /// The pause before one more try; nil when there have been enough, or others need the budget.
    ///
    /// - Parameter attempts: those made.
    func pause(after attempts: Int, at now: Moment) -> Duration? {
        retries.withLock { retries in
            guard attempts < retries.attemptsMax, retries.budget.spend(at: now) else { return nil }
            return retries.backoff.delay(attempt: attempts - 1)
        }
    }
}
