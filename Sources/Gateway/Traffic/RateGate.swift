// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Resilience
internal import Synchronization

/// How often requests may begin: all together, and those of one caller.
final class RateGate: Sendable {
    struct Settings: Sendable, Equatable {
        var all: RateLimit?
        var perCaller: RateLimit?
    }

    /// Too soon.
    struct Refusal: Error {
        enum Scope: String, CaseIterable {
            case all = "global"
            case caller, tool
        }
        var scope: Scope
        var limit: RateLimit
        /// Whole seconds after which it is worth asking again.
        var retryAfter: Int

        var words: String {
            let whose =
                switch scope {
                case .all: "This gateway takes"
                case .caller: "One caller of this gateway may make"
                case .tool: "This tool takes"
                }
            return "Too many calls: \(whose) \(limit.words). Nothing was done. Try again in \(retryAfter) s."
        }
    }

    private struct State {
        var settings = Settings()
        var all: TokenBucket?
        var callers: [String: TokenBucket] = [:]
    }

    private let state = Mutex(State())
    /// Nothing is limited, which is found out without a lock.
    private let isOff = Atomic(true)
    /// Callers that are remembered. A caller who was quiet for long is as good as new, and forgotten first.
    private static let callersMax = 10_000

    var settings: Settings { state.withLock { $0.settings } }

    /// What has been earned stays, as far as the new limits hold it: a change gives nobody a second burst.
    func change(to settings: Settings, at now: Moment) {
        state.withLock { state in
            isOff.store(settings.all == nil && settings.perCaller == nil, ordering: .relaxed)
            state.all = settings.all.map { Self.changed(state.all, to: $0, at: now) }
            if settings.perCaller != state.settings.perCaller {
                guard let limit = settings.perCaller else {
                    state.callers = [:]
                    state.settings = settings
                    return
                }
                state.callers = state.callers.mapValues { Self.changed($0, to: limit, at: now) }
            }
            state.settings = settings
        }
    }

    private static func changed(_ bucket: TokenBucket?, to limit: RateLimit, at now: Moment) -> TokenBucket {
        guard var bucket else { return TokenBucket(rate: limit.perSecond, burst: limit.burst, at: now) }
        bucket.change(rate: limit.perSecond, burst: limit.burst, at: now)
        return bucket
    }

    /// Takes one from each, or from none.
    func take(caller: @autoclosure () -> String, at now: Moment) throws(Refusal) {
        guard !isOff.load(ordering: .relaxed) else { return }
        let name = caller()
        try state.withLock { state throws(Refusal) in
            var own = state.settings.perCaller.map { limit in
                state.callers[name] ?? TokenBucket(rate: limit.perSecond, burst: limit.burst, at: now)
            }
            if let limit = state.settings.perCaller { try Self.ask(own, limit, .caller, at: now) }
            if let limit = state.settings.all { try Self.ask(state.all, limit, .all, at: now) }
            _ = state.all?.take(at: now)
            guard own?.take(at: now) != nil else { return }
            if state.callers[name] == nil, state.callers.count >= Self.callersMax { Self.forget(&state, at: now) }
            state.callers[name] = own
        }
    }

    static func ask(
        _ bucket: TokenBucket?, _ limit: RateLimit, _ scope: Refusal.Scope, at now: Moment
    ) throws(Refusal) {
        // By its level: to the bucket it may be later than to a caller who had to wait for the lock.
        guard let bucket, bucket.level(at: now) < 1 else { return }
        let wait = bucket.availableAt(at: now)?.since(now) ?? .seconds(1)
        let seconds = Int((wait.milliseconds / 1_000).rounded(.up))
        throw Refusal(scope: scope, limit: limit, retryAfter: max(1, seconds))
    }

    private static func forget(_ state: inout State, at now: Moment) {
        state.callers = state.callers.filter { $0.value.level(at: now) < $0.value.burst }
        // All of them are busy: whoever is forgotten begins with a full bucket, which costs less than no bound.
        if state.callers.count >= callersMax { state.callers = [:] }
    }
}
