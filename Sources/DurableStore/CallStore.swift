// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization
import Telemetry

/// The queue and the ledger in the store's database.
///
/// What changes something is done by the writer's thread: while it syncs one group of orders the next group gathers,
/// so an order waits for two syncs at most and sixty-four callers share one. Reading sees what is committed. When the
/// database cannot be written every order is refused in words and nothing of it is left; ends of calls and
/// cancellations still go through while the disk is almost full, new calls do not.
package final class CallStore: CallQueue, CallLedger, Sendable {
    let shared: StoreShared
    let files: PayloadFiles
    let desk: FileDesk
    let view: Mutex<QueueView>
    let time: any TimeSource
    /// For looks into the folders of others; nil where there are none.
    let siblingDesk: FileDesk?
    let siblingLooks = Mutex(SiblingLooks())

    init(
        shared: StoreShared, files: PayloadFiles, desk: FileDesk, siblingDesk: FileDesk?, view: QueueView,
        time: any TimeSource
    ) {
        self.siblingDesk = siblingDesk
        self.shared = shared
        self.files = files
        self.desk = desk
        self.view = Mutex(view)
        self.time = time
    }

    var settings: StoreSettings { shared.settings.withLock { $0 } }

    // MARK: Asking the writer

    /// Has the writer do something in a transaction, and waits until it is synced.
    func order<Value: Sendable>(
        isNew: Bool = false, refused: @escaping @Sendable (OrderRefusal) -> Value,
        _ body: @escaping @Sendable (CallEngine) throws(SQLiteFailure) -> OrderOutcome<Value>
    ) async -> Value {
        await withCheckedContinuation { continuation in
            let order = StoreOrder(
                isNew: isNew,
                body: { (engine) throws(SQLiteFailure) in
                    switch try body(engine) {
                    case .keep(let value): .keep { continuation.resume(returning: value) }
                    case .undo(let value): .undo { continuation.resume(returning: value) }
                    }
                },
                refused: { continuation.resume(returning: refused($0)) })
            switch shared.inbox.withLock({ $0.put(order) }) {
            case .taken(let rings): if rings { shared.bell.ring() }
            case .closed: order.refused(.closing)
            }
        }
    }

    /// Has the writer read something between two transactions; nil also when that is not possible now: the writer's
    /// next write tells why.
    func look<Value: Sendable>(
        _ body: @escaping @Sendable (CallEngine) throws(SQLiteFailure) -> Value?
    ) async -> Value? {
        do throws(CannotLook) { return try await lookForSure(body) } catch { return nil }
    }

    /// The same where nil has to mean that there is nothing.
    func lookForSure<Value: Sendable>(
        _ body: @escaping @Sendable (CallEngine) throws(SQLiteFailure) -> Value?
    ) async throws(CannotLook) -> Value? {
        let found: Result<Value?, CannotLook> = await withCheckedContinuation { continuation in
            let look: StoreLook = { engine in
                guard let engine else {
                    return continuation.resume(returning: .failure(CannotLook(words: "the gateway is stopping")))
                }
                do throws(SQLiteFailure) {
                    continuation.resume(returning: .success(try body(engine)))
                } catch {
                    continuation.resume(
                        returning: .failure(CannotLook(words: "the database cannot be read: \(error.message)")))
                }
            }
            switch shared.inbox.withLock({ $0.put(look: look) }) {
            case .taken(let rings): if rings { shared.bell.ring() }
            case .closed: look(nil)
            }
        }
        return try found.get()
    }

    // MARK: Coming

    package func accept(_ call: NewStoredCall) async throws(QueueRefusal) -> Receipt {
        let settings = settings
        var payload = call.arguments.map { Payload.inline($0) } ?? .none
        if let arguments = call.arguments, arguments.count > settings.payloadInlineMax {
            // A file is dear, so it is not written for a call that will be refused anyway.
            let isFull = view.withLock { $0.counts.waiting >= settings.queueItemsMax }
            if isFull, settings.whenFull == .refuse, call.ledgerKey == nil {
                throw .full(detail: "no more than \(settings.queueItemsMax) calls may wait")
            }
            switch await desk.perform({ [files] in files.write(arguments, reserveBytes: settings.reserveBytes) }) {
            case .success(let reference): payload = .file(reference)
            case .failure(let trouble): throw .unwritable(detail: trouble.words)
            case nil: throw .closing
            }
        }
        let ready = payload
        let refused = { @Sendable (refusal: OrderRefusal) -> CallEngine.Acceptance in
            switch refusal {
            case .unwritable(let words): .failure(.unwritable(detail: words))
            case .closing: .failure(.closing)
            }
        }
        let outcome = await order(isNew: true, refused: refused) { (engine) throws(SQLiteFailure) in
            try engine.accept(call, ready)
        }
        var isStored = false
        if case .success(let receipt) = outcome { isStored = receipt.isNew }
        if !isStored, let reference = ready.reference { desk.post { [files] in files.discard(reference.name) } }
        return try outcome.get()
    }

    // MARK: Going

    /// A call whose payload cannot be read waits as long.
    private static let readAgainMilliseconds: Int64 = 5_000

    package func lease(upstream: String, limit: Int, now: Int64) async -> [LeasedCall] {
        while limit > 0, let next = nextAvailable(upstream: upstream), next <= now {
            let taken = await order(refused: { _ -> (calls: [Leased], hasMore: Bool) in ([], false) }) {
                (engine) throws(SQLiteFailure) in .keep(try engine.lease(upstream: upstream, limit: limit, now: now))
            }
            var ready: [LeasedCall] = []
            for leased in taken.calls {
                switch await contents(leased.payload, of: leased.call, result: false, now: now) {
                case .bytes(let bytes):
                    ready.append(LeasedCall(call: leased.call, arguments: bytes, meta: leased.meta))
                case .damaged: break
                case .unreadable(let words):
                    let later = now + Self.readAgainMilliseconds
                    _ = await settle(leased.call.id, .notSent(availableAt: later, words: words), now: now)
                }
            }
            // Nothing came of it, but there was something to do: the next ones may be better.
            let isDone = !ready.isEmpty || (taken.calls.isEmpty && !taken.hasMore)
            if isDone { return ready }
        }
        return []
    }

    package func settle(_ id: Int64, _ settlement: Settlement, now: Int64) async -> Bool {
        var answer: StoredAnswer?
        switch settlement {
        case .completed(let given): answer = given
        case .failed(_, let given): answer = given
        case .again, .notSent, .unknown, .cancelled: break
        }
        var stored: (kind: String, payload: Payload)?
        if let answer {
            var payload = Payload.inline(answer.bytes)
            if answer.bytes.count > settings.payloadInlineMax {
                let bytes = answer.bytes
                let written = await desk.perform { [files] in files.write(bytes) }
                guard case .success(let reference) = written else { return false }
                payload = .file(reference)
            }
            stored = (answer.kind, payload)
        }
        let ready = stored
        enum End { case written, known, refused }
        let end = await order(refused: { _ in End.refused }) { (engine) throws(SQLiteFailure) in
            .keep(try engine.settle(id, settlement, ready, now: now) ? End.written : .known)
        }
        if end != .written, let reference = ready?.payload.reference {
            desk.post { [files] in files.discard(reference.name) }
        }
        return end != .refused
    }
}
