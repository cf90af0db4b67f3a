// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Sealing
internal import Synchronization
internal import Telemetry

/// Answers given again: fresh ones instead of a call, old ones when there is no other. Equal calls that arrive while
/// the first is under way wait for its answer.
final class KeptReplies: Sendable {
    private final class Flight: Sendable {
        struct State {
            var waiting: [Latch] = []
            var answer: Result<Payload, CallFailure>?
            var isOver = false
        }
        let state = Mutex(State())
    }

    private let cache: any ReplyCache
    private let time: any TimeSource
    private let fresh: Counter
    private let stale: Counter
    private let missed: Counter
    /// When resources were said to have changed; `before` stands for those that were forgotten.
    private let changes = Mutex<(at: [String: Int64], before: Int64)>(([:], .min))
    private let flights = Mutex<[[UInt8]: Flight]>([:])

    /// In `_meta` of an answer that was given before.
    static let metaMember = "mcp-gateway/kept-answer"
    private static let bytesMax = 1 << 20

    init(cache: any ReplyCache, time: any TimeSource, metrics: MetricsRegistry) {
        self.cache = cache
        self.time = time
        fresh = metrics.counter(.cacheLookups, labels: [("outcome", "fresh")])
        stale = metrics.counter(.cacheLookups, labels: [("outcome", "stale")])
        missed = metrics.counter(.cacheLookups, labels: [("outcome", "miss")])
        metrics.gauge(.cacheEntries) { Double(cache.size().entries) }
        metrics.gauge(.cacheBytes) { Double(cache.size().bytes) }
    }

    func carry(_ order: Delivery.Order) async -> Delivery.Outcome {
        let policy = order.destination.policy
        guard policy.cache != nil || policy.offline == .stale, !order.inbound.isContinued else {
            return .bridged(await order.carry())
        }
        let key = Self.key(order)
        let kept = await cache.lookup(key)
        if let kept, let lifetime = policy.cache, isFresh(kept, lifetime),
            let payload = shown(kept, order, because: nil)
        {
            return .kept(.ended(.success(.result(payload))))
        }
        let outcome = await together(key, order)
        // Counted only now that it is known what became of it: each call once.
        guard policy.offline == .stale, case .ended(.failure(let failure)) = outcome, failure.leavesNoAnswer,
            let kept, let payload = shown(kept, order, because: failure)
        else {
            missed.increment()
            return .bridged(outcome)
        }
        return .kept(.ended(.success(.result(payload))))
    }

    /// What is no tool: a resource whose owner says for how long it may be kept (`ttlMs`) is kept for that time, and
    /// after it for when the owner cannot be reached.
    func read(_ order: Delivery.Order) async -> Delivery.Outcome {
        guard order.destination.operation == .resource else { return .bridged(await order.carry()) }
        let key = Self.key(order)
        let kept = await cache.lookup(key)
        if let kept, isFresh(kept, Self.lifetime(kept)), !hasChanged(order, since: kept.keptAt),
            let payload = shown(kept, order, because: nil)
        {
            return .kept(.ended(.success(.result(payload))))
        }
        let outcome = await order.carry()
        switch outcome {
        case .ended(.success(.result(let payload))) where Self.lifetime(payload) > .zero:
            _ = keep(key, outcome, order)
        case .ended(.failure(let failure)) where failure.leavesNoAnswer:
            if let kept, let payload = shown(kept, order, because: failure) {
                return .kept(.ended(.success(.result(payload))))
            }
        default: break
        }
        return .bridged(outcome)
    }

    /// Its owner says that a resource has changed.
    func changed(_ uri: String, of owner: String) {
        changes.withLock { changes in
            // Forgetting them all costs one read of each, and no wrong answer: see `hasChanged`.
            if changes.at.count >= Self.changesMax { changes = ([:], time.wallMilliseconds()) }
            changes.at["\(owner)\u{0}\(uri)"] = time.wallMilliseconds()
        }
    }

    private static let changesMax = 10_000

    private func hasChanged(_ order: Delivery.Order, since keptAt: Int64) -> Bool {
        let name = "\(order.destination.backend.name)\u{0}\(order.destination.target)"
        return changes.withLock { keptAt <= max($0.at[name] ?? .min, $0.before) }
    }

    private static func lifetime(_ kept: KeptReply) -> Duration { Payload(kept.result).map(lifetime) ?? .zero }

    private static func lifetime(_ payload: Payload) -> Duration {
        let milliseconds = payload.member("ttlMs").flatMap(payload.tree)?.intValue ?? 0
        return .milliseconds(min(max(0, milliseconds), 30 * 86_400_000))
    }

    /// Everything an answer may depend on. What differs between two callers is never shared.
    private static func key(_ order: Delivery.Order) -> [UInt8] {
        let parts = [
            order.inbound.caller.name, order.destination.operation.method, order.destination.backend.name,
            order.destination.target,
        ]
        return Seal.digest(Array(parts.joined(separator: "\u{0}").utf8) + [0] + CallKey.canonical(order.inbound))
    }

    /// An answer of the future is of a clock that was wrong.
    private func isFresh(_ kept: KeptReply, _ lifetime: Duration) -> Bool {
        kept.keptAt <= time.wallMilliseconds() && age(kept) < lifetime
    }

    private func age(_ kept: KeptReply) -> Duration {
        .milliseconds(max(0, time.wallMilliseconds() - kept.keptAt))
    }

    // MARK: One for all

    private func together(_ key: [UInt8], _ order: Delivery.Order) async -> BridgeOutcome {
        let (flight, isFirst) = flights.withLock { flights -> (Flight, Bool) in
            if let flight = flights[key] { return (flight, false) }
            let flight = Flight()
            flights[key] = flight
            return (flight, true)
        }
        if !isFirst {
            let latch = Latch()
            let isOver = flight.state.withLock { state in
                if !state.isOver { state.waiting.append(latch) }
                return state.isOver
            }
            if !isOver {
                await latch.wait(atMost: order.call.deadline.remaining(at: time.now()), on: order.inbound.loop)
            }
            if Task.isCancelled { return .clientLeft }
            switch flight.state.withLock({ $0.answer }) {
            case .success(let answer)?: return .ended(.success(.result(answer)))
            // All of them now would be a stampede on a server in trouble.
            case .failure(let failure)?: return .ended(.failure(failure))
            case nil: break
            }
            // The first one came to nothing that could be shared, or is not over.
            guard !order.call.deadline.hasPassed(at: time.now()) else {
                return .ended(.failure(.timedOut(after: time.now().since(order.inbound.arrivedAt), sent: false)))
            }
            return await order.carry()
        }
        let outcome = await order.carry()
        var answer = keep(key, outcome, order).map { Result<Payload, CallFailure>.success($0) }
        if case .ended(.failure(let failure)) = outcome, failure.leavesNoAnswer { answer = .failure(failure) }
        flights.withLock { $0[key] = nil }
        let waiting = flight.state.withLock { state in
            (state.answer, state.isOver) = (answer, true)
            defer { state.waiting = [] }
            return state.waiting
        }
        for latch in waiting { latch.open() }
        return outcome
    }

    /// Only whole results that are no failure of the tool are worth keeping.
    private func keep(_ key: [UInt8], _ outcome: BridgeOutcome, _ order: Delivery.Order) -> Payload? {
        guard case .ended(.success(.result(let payload))) = outcome, !payload.saysError else { return nil }
        if payload.range.count <= Self.bytesMax {
            cache.keep(
                key, tool: order.destination.exposedName,
                KeptReply(result: payload.text, keptAt: time.wallMilliseconds()))
        }
        return payload
    }

    /// The answer with its age and, when a newer one was wanted, why there is none.
    private func shown(_ kept: KeptReply, _ order: Delivery.Order, because failure: CallFailure?) -> Payload? {
        guard let tree = try? JSONValue.parse(kept.result.span, limits: WireLimits(bytesMax: .max)) else { return nil }
        (failure == nil ? fresh : stale).increment()
        var facts: [(key: String, value: JSONValue)] = [
            ("age_seconds", .number(String(Int64(age(kept).milliseconds / 1_000)))),
            ("answered_at", .string(StoredShape.time(kept.keptAt))),
            ("owner", .string(order.destination.backend.name)), ("is_stale", .bool(failure != nil)),
        ]
        if let failure { facts.append(("reason", .string(failure.words))) }
        let meta = (tree["_meta"] ?? [:]).with(Self.metaMember, .object(facts))
        // What is left of the time its owner gave it; nothing of one that should be newer.
        let left = failure == nil ? max(0, (tree["ttlMs"]?.intValue ?? 0) - Int(age(kept).milliseconds)) : 0
        return Payload(tree.mapping("ttlMs") { _ in .number(String(left)) }.with("_meta", meta))
    }
}

extension CallFailure {
    /// Whether an old answer is better than this.
    fileprivate var leavesNoAnswer: Bool {
        switch self {
        case .unavailable, .timedOut, .outcomeUnknown, .garbage, .overloaded: true
        case .stopped, .unknownTool, .badArguments, .needsInput, .cancelled: false
        }
    }
}
