// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization
internal import Telemetry

/// Where calls are kept, and known by their keys.
package typealias CallKeeping = CallQueue & CallLedger

/// Carries a call as its tool's policy says: once by its key, from what is kept, later by the queue, or now.
///
/// Most tools have no policy and most calls no key; for them this is one look at a few bytes.
final class Delivery: Sendable {
    enum Outcome: Sendable {
        case bridged(BridgeOutcome)
        /// It is on disk, and will be carried out later.
        case stored(StoredCall)
        /// From what was kept: true now, and not what a later call with the same key should hear.
        case kept(BridgeOutcome)
        /// The key was used for another call before.
        case keyDiffers
        /// What the client gave as a key is none.
        case keyUnusable
    }

    private let store: any CallKeeping
    private let kept: KeptReplies
    private let time: any TimeSource
    /// Asked for each call that can wait: whether it has to.
    private let mustStore: @Sendable () -> Bool
    /// By key; open when the call is over.
    private let running = Mutex<[[UInt8]: SharedLatch]>([:])

    init(
        store: any CallKeeping, cache: any ReplyCache, mustStore: @escaping @Sendable () -> Bool = { false },
        time: any TimeSource, metrics: MetricsRegistry
    ) {
        self.store = store
        self.mustStore = mustStore
        self.time = time
        kept = KeptReplies(cache: cache, time: time, metrics: metrics)
    }

    /// Calls that wait for an owner, or are on their way to it.
    func waiting(for owner: String) -> Int { store.waiting()[owner] ?? 0 }

    /// One call with all it takes to carry it out.
    struct Order: Sendable {
        let call: RoutedCall
        let destination: Destination
        let inbound: InboundMessage
        let bridge: any QuestionBridge
        var key: CallKey?

        func carry() async -> BridgeOutcome { await bridge.carry(call, to: destination, for: inbound) }

        /// A client of 2025-11-25 wants a task, however soon the call can be carried out.
        var wantsTask: Bool {
            inbound.wantsTask && destination.policy.offline == .queue
        }

    }

    func carry(_ order: Order) async -> Outcome {
        switch CallKey.of(order.inbound, order.destination) {
        case .unusable: return .keyUnusable
        case .key(let key):
            var order = order
            order.key = key
            return await keyed(order, key)
        case .none:
            if order.inbound.isContinued { return .bridged(await order.carry()) }
            if order.destination.operation != .tool { return await kept.read(order) }
            return await once(order)
        }
    }

    /// A resource has changed: what was kept of it before is not fresh any more.
    func changed(_ uri: String, of owner: String) { kept.changed(uri, of: owner) }

    // MARK: By key

    private func keyed(_ order: Order, _ key: CallKey) async -> Outcome {
        var lonely = 0
        guard keyedCount < Self.runningMax else {
            return .failed(.overloaded(detail: "\(Self.runningMax) calls with a key run already", retryAfter: 1))
        }
        while true {
            let now = time.wallMilliseconds()
            let expires = now + Int64(key.lifetime.milliseconds)
            switch await store.begin(key.bytes, digest: key.digest, expires: expires, now: now) {
            case .new: return await first(order, key)
            case .lost where order.destination.policy.isIdempotent:
                // Its note stays as it is: sending it once more, now or later, does no harm.
                var plain = order
                plain.key = nil
                return await once(plain)
            case .lost:
                return .failed(.outcomeUnknown(detail: "it was sent before the gateway was started anew"))
            case .answered(let answer):
                guard let payload = Payload(answer.bytes) else {
                    return .failed(.outcomeUnknown(detail: "its answer is not kept any more"))
                }
                return .bridged(.ended(.success(answer.isResult ? .result(payload) : .protocolError(payload))))
            case .stored(let handle):
                return await stored(handle, order)
            case .differs: return .keyDiffers
            case .unwritable(let detail):
                // Without a note a second sending could not be told from a second call.
                guard key.isGiven else { return await once(order) }
                return .failed(.overloaded(detail: "the call cannot be written down now (\(detail))", retryAfter: 5))
            case .running:
                let now = time.now()
                guard !order.call.deadline.hasPassed(at: now), !Task.isCancelled else {
                    let waited = now.since(order.inbound.arrivedAt)
                    return Task.isCancelled
                        ? .bridged(.clientLeft) : .failed(.timedOut(after: waited, sent: true))
                }
                // Just over, and its end is being written; or written by nobody any more.
                if await !waitForFirst(key, order) { lonely += 1 }
                guard lonely < 100 else {
                    return .failed(.outcomeUnknown(detail: "what became of the first one is not known"))
                }
            }
        }
    }

    /// What a call is now that was stored the first time.
    private func stored(_ handle: String, _ order: Order) async -> Outcome {
        do throws(CannotLook) {
            guard let found = try await store.find(handle: handle, caller: order.inbound.caller.name) else {
                return .failed(.outcomeUnknown(detail: "it was stored, and what came of it is not kept any more"))
            }
            return .stored(found.call)
        } catch {
            // Sent again with its key it is still the one call.
            let words = "the first one with this key is stored, and cannot be looked up now (\(error.words))"
            return .failed(.overloaded(detail: words, retryAfter: 1))
        }
    }

    /// Calls with a key at a time. They may outlive their connections, so the bound on those does not hold for them.
    private static let runningMax = 1_024
    var keyedCount: Int { running.withLock { $0.count } }

    /// Returns when no call with a key runs any more, at the latest when this is over.
    func finish(within grace: Duration) async {
        let ends = Deadline(time.now() + grace)
        while keyedCount > 0, !ends.hasPassed(at: time.now()) {
            // Ends early only when nobody waits for it any more.
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
    }

    /// False when no such call runs here.
    private func waitForFirst(_ key: CallKey, _ order: Order) async -> Bool {
        guard let over = running.withLock({ $0[key.bytes] }) else {
            await Pause.wait(.milliseconds(20), on: order.inbound.loop)
            return false
        }
        await over.wait(atMost: order.call.deadline.remaining(at: time.now()), on: order.inbound.loop)
        return true
    }

    /// The call goes on when a client of the stateless era is gone: it may come back with the same key.
    private func first(_ order: Order, _ key: CallKey) async -> Outcome {
        let over = SharedLatch()
        // The one before it may still be here, its end written, and about to leave: it must not take this one with it.
        running.withLock { $0[key.bytes] = over }
        let done = Latch()
        let holder = OutcomeBox()
        let work = Task(executorPreference: LoopExecutor(order.inbound.loop)) {
            let outcome = await self.once(order)
            await self.end(key, order, outcome)
            self.running.withLock { if $0[key.bytes] === over { $0[key.bytes] = nil } }
            over.open()
            holder.put(outcome)
            done.open()
        }
        await done.wait()
        if let outcome = holder.outcome { return outcome }
        if !(order.inbound.isCancelledByLeaving && key.isGiven) { work.cancel() }
        return .bridged(.clientLeft)
    }

    /// Writes down what a second sending is to hear.
    private func end(_ key: CallKey, _ order: Order, _ outcome: Outcome) async {
        if case .stored = outcome { return }
        let answer = Self.lasting(outcome, order)
        await store.end(key.bytes, answer)
        // The end of a later round is the end of the call.
        guard let answer, let first = CallKey.ofFirstRound(order.inbound, order.destination) else { return }
        let now = time.wallMilliseconds()
        let expires = now + Int64(first.lifetime.milliseconds)
        if await store.begin(first.bytes, digest: first.digest, expires: expires, now: now) == .new {
            await store.end(first.bytes, answer)
        }
    }

    /// nil when the call was not carried out, or may be carried out again.
    private static func lasting(_ outcome: Outcome, _ order: Order) -> StoredAnswer? {
        guard case .bridged(let bridged) = outcome else { return nil }
        func words(_ failure: CallFailure) -> StoredAnswer? {
            guard !failure.provesNothingWasSent, !order.destination.policy.isIdempotent else { return nil }
            let text = FailureWords.of(failure, order.destination)
            return .result(Array("{\(ReplyBuilder.toolErrorMembers(text))}".utf8))
        }
        switch bridged {
        case .ended(.success(.result(let payload))): return .result(payload.text)
        case .ended(.success(.protocolError(let payload))): return .protocolError(payload.text)
        case .ended(.failure(let failure)): return words(failure)
        case .clientLeft: return words(.outcomeUnknown(detail: "its client left"))
        case .ended, .inputRequired, .lacksCapability, .badState, .interactionLost, .tooManyParked: return nil
        }
    }

    // MARK: Once

    private func once(_ order: Order) async -> Outcome {
        let (destination, caller) = (order.destination, order.inbound.caller)
        guard destination.policy.offline == .queue, !order.inbound.isContinued else { return await kept.carry(order) }
        if order.wantsTask || mustStore() { return await keep(order, because: nil) }
        // Behind those that wait already, or it would overtake them.
        if store.waiting(upstream: destination.backend.name, caller: caller.name) > 0 {
            return await keep(order, because: nil)
        }
        let outcome = await order.carry()
        guard case .ended(.failure(let failure)) = outcome, failure.isWorthStoring else {
            return .bridged(outcome)
        }
        return await keep(order, because: failure)
    }

    /// Writes the call down. Answered only when it is on disk.
    private func keep(_ order: Order, because failure: CallFailure?) async -> Outcome {
        if let words = CallChecks.storedProblem(order.inbound, order.destination) {
            return .failed(.badArguments(detail: words))
        }
        do throws(QueueRefusal) {
            return .stored(try await store.accept(StoredCallWriting.call(order, now: time.wallMilliseconds())).call)
        } catch {
            let why = failure.map { "\($0.words); and " } ?? "others of this caller wait before it; and "
            return .failed(.unavailable(detail: why + "the call could not be stored: \(error.words)"))
        }
    }
}

/// Brings one outcome from a task to whoever waits for it.
private final class OutcomeBox: Sendable {
    private let held = Mutex<Delivery.Outcome?>(nil)
    func put(_ outcome: Delivery.Outcome) { held.withLock { $0 = outcome } }
    var outcome: Delivery.Outcome? { held.withLock { $0 } }
}

extension InboundMessage {
    /// `params.task` of 2025-11-25.
    var wantsTask: Bool {
        revision == .v2025_11_25
            && message.member("task", in: bytes.readableBytesUInt8Span).map { $0.kind == .object } ?? false
    }
}

extension Delivery.Outcome {
    static func failed(_ failure: CallFailure) -> Self { .bridged(.ended(.failure(failure))) }
}

extension CallFailure {
    /// Whether the owner cannot have acted on the call.
    var provesNothingWasSent: Bool {
        switch self {
        case .unavailable, .overloaded, .timedOut(_, sent: false), .unknownTool, .badArguments: true
        case .timedOut(_, sent: true), .outcomeUnknown, .garbage, .stopped, .needsInput, .cancelled: false
        }
    }

    /// Whether it is worth storing the call and trying again later.
    var isWorthStoring: Bool {
        switch self {
        case .unavailable, .overloaded, .timedOut(_, sent: false): true
        default: false
        }
    }
}

extension QueueRefusal {
    var words: String {
        switch self {
        case .full(let detail), .unwritable(let detail): detail
        case .closing: "the gateway is stopping"
        }
    }
}

extension StoredAnswer {
    var bytes: [UInt8] {
        switch self {
        case .result(let bytes), .protocolError(let bytes): bytes
        }
    }

    var isResult: Bool { if case .result = self { true } else { false } }
}

extension Payload {
    /// An object that was kept; nil when it is none.
    init?(_ text: [UInt8]) {
        guard let scanned = try? MessageParser.object(text.span, limits: WireLimits(bytesMax: .max)) else { return nil }
        self.init(
            bytes: ByteBuffer(bytes: text), range: scanned.range, members: scanned.members, meta: scanned.meta)
    }

    /// The object as it stands.
    var text: [UInt8] { slice(range).map { Array($0.readableBytesView) } ?? [] }
}
