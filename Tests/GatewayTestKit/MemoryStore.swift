// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization

/// Queue, ledger and cache in memory, with the rules of the real ones and nothing of their durability.
package final class MemoryStore: CallQueue, CallLedger, ReplyCache, OverrideArchive {
    private struct Item {
        var call: StoredCall
        var arguments: [UInt8]?
        var meta: [UInt8]?
        var answer: StoredAnswer?
    }

    private struct Note {
        var digest: [UInt8]
        var finding: LedgerFinding
    }

    private struct State {
        var items: [Int64: Item] = [:]
        var number: Int64 = 0
        var notes: [[UInt8]: Note] = [:]
        var replies: [[UInt8]: (tool: String, reply: KeptReply)] = [:]
        var notices: [@Sendable (String) -> Void] = []
        var refusal: QueueRefusal?
        var accepted: [NewStoredCall] = []
        var lookups = 0
        var overrides: [Override] = []
        var onceEnded: (@Sendable () async -> Void)?
    }

    private let state = Mutex(State())

    package init() {}

    package func overrides() -> [Override] { state.withLock { $0.overrides } }

    package func keep(_ overrides: [Override]) async -> Bool {
        state.withLock { state in
            state.overrides = overrides
            return state.refusal == nil
        }
    }

    // MARK: For tests

    /// From here on nothing is stored any more.
    package func refuse(_ refusal: QueueRefusal?) { state.withLock { $0.refusal = refusal } }
    package var accepted: [NewStoredCall] { state.withLock { $0.accepted } }
    package var all: [StoredCall] { state.withLock { $0.items.values.map(\.call) }.sorted { $0.id < $1.id } }
    package func note(_ key: [UInt8], digest: [UInt8], _ finding: LedgerFinding) {
        state.withLock { $0.notes[key] = Note(digest: digest, finding: finding) }
    }
    /// Runs when the end of a call with a key is written, and before its writer hears of it.
    package func whenEnded(_ body: (@Sendable () async -> Void)?) { state.withLock { $0.onceEnded = body } }
    /// As after a new start: what ran is lost.
    package func beginNewLife() {
        state.withLock { state in
            for key in state.notes.keys where state.notes[key]?.finding == .running {
                state.notes[key]?.finding = .lost
            }
        }
    }

    // MARK: CallQueue

    package func accept(_ call: NewStoredCall) async throws(QueueRefusal) -> Receipt {
        let result = state.withLock { state -> Result<Receipt, QueueRefusal> in
            if let refusal = state.refusal { return .failure(refusal) }
            if let key = call.ledgerKey, case .stored(let handle)? = state.notes[key]?.finding,
                let known = state.items.values.first(where: { $0.call.handle == handle })
            {
                return .success(Receipt(call: known.call, isNew: false))
            }
            state.number += 1
            state.accepted.append(call)
            let stored = StoredCall(
                id: state.number, handle: call.handle, status: .queued, upstream: call.upstream, tool: call.tool,
                target: call.target, caller: call.caller, idempotencyKey: call.idempotencyKey,
                isIdempotent: call.isIdempotent, priority: call.priority, schemaDigest: call.schemaDigest,
                requestID: "\(call.requestID)", attempts: 0, createdAt: call.createdAt, updatedAt: call.createdAt,
                availableAt: call.createdAt, expiresAt: call.expiresAt, lastError: nil)
            state.items[stored.id] = Item(call: stored, arguments: call.arguments, meta: call.meta)
            if let key = call.ledgerKey { state.notes[key]?.finding = .stored(handle: call.handle) }
            return .success(Receipt(call: stored, isNew: true))
        }
        tell(call.upstream)
        return try result.get()
    }

    private func tell(_ upstream: String) {
        for notice in state.withLock({ $0.notices }) { notice(upstream) }
    }

    package func lease(upstream: String, limit: Int, now: Int64) async -> [LeasedCall] {
        state.withLock { state in
            let open = state.items.values.filter { $0.call.upstream == upstream && !$0.call.status.isOver }
                .sorted { ($0.call.priority, -$0.call.id) > ($1.call.priority, -$1.call.id) }
            var lanes: Set<String> = []
            var leased: [LeasedCall] = []
            for item in open where item.call.status == .inFlight { lanes.insert(item.call.caller) }
            for item in open where item.call.status == .queued {
                guard leased.count < limit, lanes.insert(item.call.caller).inserted else { continue }
                if let expires = item.call.expiresAt, expires <= now {
                    state.items[item.call.id]?.call.status = .expired
                    continue
                }
                guard item.call.availableAt <= now else { continue }
                state.items[item.call.id]?.call.status = .inFlight
                state.items[item.call.id]?.call.attempts += 1
                guard let changed = state.items[item.call.id] else { continue }
                leased.append(LeasedCall(call: changed.call, arguments: changed.arguments, meta: changed.meta))
            }
            return leased
        }
    }

    package func settle(_ id: Int64, _ settlement: Settlement, now: Int64) async -> Bool {
        change(id, now) { item in
            switch settlement {
            case .completed(let answer): (item.call.status, item.answer) = (.completed, answer)
            case .failed(let words, let answer):
                (item.call.status, item.call.lastError, item.answer) = (.failed, words, answer)
            case .again(let at, let words):
                (item.call.status, item.call.lastError, item.call.availableAt) = (.queued, words, at)
            case .notSent(let at, let words):
                (item.call.status, item.call.lastError, item.call.availableAt) = (.queued, words, at)
                item.call.attempts -= 1
            case .unknown(let words): (item.call.status, item.call.lastError) = (.unknown, words)
            case .cancelled(let words): (item.call.status, item.call.lastError) = (.cancelled, words)
            }
        }
        return true
    }

    private func change(_ id: Int64, _ now: Int64, _ body: (inout Item) -> Void) {
        state.withLock { state in
            guard var item = state.items[id] else { return }
            body(&item)
            item.call.updatedAt = now
            state.items[id] = item
        }
    }

    package func find(handle: String, caller: String) async -> StoredOutcome? {
        state.withLock { state in
            state.items.values.first { $0.call.handle == handle && $0.call.caller == caller }
                .map { StoredOutcome(call: $0.call, answer: $0.answer) }
        }
    }

    package func find(id: Int64) async -> StoredOutcome? {
        state.withLock { $0.items[id].map { StoredOutcome(call: $0.call, answer: $0.answer) } }
    }

    package func list(_ filter: QueueFilter) async -> [StoredCall] {
        let fitting = all.reversed().filter { call in
            (filter.statuses.isEmpty || filter.statuses.contains(call.status))
                && (filter.upstream ?? call.upstream) == call.upstream && call.id < filter.before ?? .max
        }
        return Array(fitting.prefix(filter.limit))
    }

    package func cancel(id: Int64, words: String, now: Int64) async -> QueueOrderOutcome {
        guard let found = await find(id: id)?.call else { return .noSuchCall }
        guard found.status == .queued || found.status == .unknown else { return .notPossible(found) }
        change(id, now) { ($0.call.status, $0.call.lastError) = (.cancelled, words) }
        return await find(id: id).map { .done($0.call) } ?? .noSuchCall
    }

    package func retry(id: Int64, now: Int64) async -> QueueOrderOutcome {
        guard let found = await find(id: id)?.call else { return .noSuchCall }
        guard found.status.isOver, found.status != .completed else { return .notPossible(found) }
        change(id, now) { ($0.call.status, $0.call.availableAt, $0.call.expiresAt) = (.queued, now, nil) }
        tell(found.upstream)
        return await find(id: id).map { .done($0.call) } ?? .noSuchCall
    }

    package func hurry(upstream: String, now: Int64) async {
        state.withLock { state in
            for (id, item) in state.items where item.call.upstream == upstream && item.call.status == .queued {
                state.items[id]?.call.availableAt = min(item.call.availableAt, now)
            }
        }
        tell(upstream)
    }

    package func purge(_ statuses: Set<StoredStatus>, before: Int64) async -> Int {
        state.withLock { state in
            let gone = state.items.values.filter { statuses.contains($0.call.status) && $0.call.updatedAt < before }
            for item in gone { state.items[item.call.id] = nil }
            return gone.count
        }
    }

    package func waiting() -> [String: Int] {
        all.filter { !$0.status.isOver }.reduce(into: [:]) { $0[$1.upstream, default: 0] += 1 }
    }

    package func waiting(upstream: String, caller: String) -> Int {
        all.count { !$0.status.isOver && $0.upstream == upstream && $0.caller == caller }
    }

    package func counts() -> QueueCounts {
        var counts = QueueCounts()
        for call in all { counts.items[call.status, default: 0] += 1 }
        counts.oldestWaiting = all.filter { !$0.status.isOver }.map(\.createdAt).min()
        return counts
    }

    package func nextAvailable(upstream: String) -> Int64? {
        all.filter { $0.status == .queued && $0.upstream == upstream }.map(\.availableAt).min()
    }

    package func whenStored(_ notice: @escaping @Sendable (String) -> Void) {
        state.withLock { $0.notices.append(notice) }
    }

    // MARK: CallLedger

    package func begin(_ key: [UInt8], digest: [UInt8], expires: Int64, now: Int64) async -> LedgerFinding {
        state.withLock { state in
            if case .unwritable(let detail)? = state.refusal { return .unwritable(detail: detail) }
            guard let note = state.notes[key] else {
                state.notes[key] = Note(digest: digest, finding: .running)
                return .new
            }
            return note.digest == digest ? note.finding : .differs
        }
    }

    package func end(_ key: [UInt8], _ answer: StoredAnswer?) async {
        state.withLock { state in
            if let answer { state.notes[key]?.finding = .answered(answer) } else { state.notes[key] = nil }
        }
        await state.withLock { $0.onceEnded }?()
    }

    // MARK: ReplyCache

    package func lookup(_ key: [UInt8]) async -> KeptReply? { state.withLock { $0.replies[key]?.reply } }

    package func keep(_ key: [UInt8], tool: String, _ reply: KeptReply) {
        state.withLock { $0.replies[key] = (tool, reply) }
    }

    package func clear(tool: String?) async -> (entries: Int, bytes: Int64) {
        state.withLock { state in
            let gone = state.replies.filter { tool == nil || $0.value.tool == tool }
            for key in gone.keys { state.replies[key] = nil }
            return (gone.count, gone.values.reduce(0) { $0 + Int64($1.reply.result.count) })
        }
    }

    package func size() -> (entries: Int, bytes: Int64) {
        state.withLock { ($0.replies.count, $0.replies.values.reduce(0) { $0 + Int64($1.reply.result.count) }) }
    }
}
