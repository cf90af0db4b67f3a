// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization

extension CallStore {
    // MARK: Looking

    package func find(handle: String, caller: String) async throws(CannotLook) -> StoredOutcome? {
        let own = try await outcome { (engine) throws(SQLiteFailure) in
            let row = try engine.rows.row(handle: handle)
            return row?.call.caller == caller ? row : nil
        }
        guard own == nil, let siblings = settings.siblings, let siblingDesk else { return own }
        // Whom a balancer brings here now may have had it stored elsewhere.
        guard siblingLooks.withLock({ $0.begin(caller, at: time.now()) }) else {
            throw CannotLook(words: "too many ask for calls of other gateways just now")
        }
        let found = await siblingDesk.perform { siblings.find(handle: handle, caller: caller) }
        siblingLooks.withLock { $0.end() }
        guard let found else { throw CannotLook(words: "the gateway is stopping") }
        return try found.get()
    }

    package func find(id: Int64) async -> StoredOutcome? {
        do throws(CannotLook) {
            return try await outcome { (engine) throws(SQLiteFailure) in try engine.rows.row(id: id) }
        } catch {
            return nil
        }
    }

    private func outcome(
        of find: @escaping @Sendable (CallEngine) throws(SQLiteFailure) -> CallRow?
    ) async throws(CannotLook) -> StoredOutcome? {
        let found = try await lookForSure {
            (engine) throws(SQLiteFailure) -> (StoredCall, (kind: String, payload: Payload)?)? in
            guard let row = try find(engine) else { return nil }
            return (row.call, try engine.rows.answer(of: row.call.id))
        }
        guard let (call, answer) = found else { return nil }
        guard let answer else { return StoredOutcome(call: call, answer: nil) }
        let now = time.wallMilliseconds()
        switch await contents(answer.payload, of: call, result: true, now: now) {
        case .bytes(let bytes):
            return StoredOutcome(call: call, answer: StoredAnswer(kind: answer.kind, bytes: bytes ?? []))
        case .unreadable:
            // It is there, and whoever asks again may get it.
            return StoredOutcome(call: call, answer: nil)
        case .damaged: break
        }
        // It is not what was found any more.
        let changed = await look { (engine) throws(SQLiteFailure) in try engine.rows.row(id: call.id)?.call }
        return StoredOutcome(call: changed ?? call, answer: nil)
    }

    package func list(_ filter: QueueFilter) async -> [StoredCall] {
        await look { (engine) throws(SQLiteFailure) in try engine.rows.list(filter) } ?? []
    }

    // MARK: Orders of people

    package func cancel(id: Int64, words: String, now: Int64) async -> QueueOrderOutcome {
        await decide(id) { (engine) throws(SQLiteFailure) in try engine.cancel(id, words: words, now: now) }
    }

    package func retry(id: Int64, now: Int64) async -> QueueOrderOutcome {
        await decide(id) { (engine) throws(SQLiteFailure) in try engine.retry(id, now: now) }
    }

    package func hurry(upstream: String, now: Int64) async {
        await order(refused: { _ in }) { (engine) throws(SQLiteFailure) in
            .keep(try engine.hurry(upstream: upstream, now: now))
        }
    }

    /// What cannot be written is not possible now.
    private func decide(
        _ id: Int64, _ body: @escaping @Sendable (CallEngine) throws(SQLiteFailure) -> QueueOrderOutcome
    ) async -> QueueOrderOutcome {
        let outcome = await order(refused: { _ -> QueueOrderOutcome? in nil }) { (engine) throws(SQLiteFailure) in
            .keep(try body(engine))
        }
        // What a person has decided waits for nobody any more.
        if shared.care.withLock({ $0.restored != nil }) { shared.recount.withLock { $0 }?() }
        if let outcome { return outcome }
        return await look { (engine) throws(SQLiteFailure) in try engine.rows.row(id: id) }
            .map { .notPossible($0.call) } ?? .noSuchCall
    }

    package func purge(_ statuses: Set<StoredStatus>, before: Int64) async -> Int {
        // A thousand at a time, so that nobody waits long behind it.
        let limit = 1_000
        var total = 0
        for status in statuses where status.isOver {
            while true {
                let gone = await order(refused: { _ in 0 }) { (engine) throws(SQLiteFailure) in
                    .keep(try engine.purge(status, before: before, limit: limit))
                }
                total += gone
                if gone < limit { break }
            }
        }
        return total
    }

    enum Contents {
        case bytes([UInt8]?)
        /// The call has failed because of it.
        case damaged
        /// It cannot be read now; nothing was changed.
        case unreadable(words: String)
    }

    /// Brings a payload into memory.
    func contents(
        _ payload: Payload, of call: StoredCall, result: Bool, now: Int64
    ) async -> Contents {
        guard let reference = payload.reference else { return .bytes(payload.inline) }
        let words: String
        switch await desk.perform({ [files] in files.read(reference) }) {
        case .success(let bytes): return .bytes(bytes)
        case .failure(let trouble):
            guard trouble.isDamage else { return .unreadable(words: trouble.words) }
            words = result ? "carried out, but its result is lost: " + trouble.words : trouble.words
        case nil: return .unreadable(words: "the gateway is stopping")
        }
        await order(refused: { _ in }) { (engine) throws(SQLiteFailure) in
            .keep(try engine.damaged(call.id, result: result, words: words, now: now))
        }
        return .damaged
    }
}
