// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import Resilience
internal import Synchronization

/// What one tool may be called, besides what holds for its owner. Lives as long as its owner, over
/// changes of the lists.
final class ToolGate: Sendable {
    let breaker: OwnerBreaker?
    let turnstile: Turnstile?
    private let bucket: Mutex<TokenBucket?>
    private let rate: RateLimit?

    /// nil when the policy limits nothing.
    init?(_ policy: ToolPolicy, tool: String, owner: String, time: any TimeSource, log: Logger) {
        guard policy.rate != nil || policy.inFlightMax != nil || policy.breaker != nil else { return nil }
        rate = policy.rate
        bucket = Mutex(policy.rate.map { TokenBucket(rate: $0.perSecond, burst: $0.burst, at: time.now()) })
        turnstile = policy.inFlightMax.map { Turnstile(Turnstile.Settings(runningMax: $0)) }
        breaker = policy.breaker.map { OwnerBreaker($0, owner: owner, tool: tool, time: time, log: log) }
    }

    func take(at now: Moment) throws(RateGate.Refusal) {
        guard let rate else { return }
        try bucket.withLock { bucket throws(RateGate.Refusal) in
            try RateGate.ask(bucket, rate, .tool, at: now)
            _ = bucket?.take(at: now)
        }
    }
}
