// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// What was taken out of a lane, its payload perhaps still in a file.
struct Leased: Sendable {
    var call: StoredCall
    var payload: Payload
    var meta: [UInt8]?
}

extension CallEngine {
    typealias Acceptance = Result<Receipt, QueueRefusal>

    // MARK: Coming

    func accept(_ new: NewStoredCall, _ payload: Payload) throws(SQLiteFailure) -> OrderOutcome<Acceptance> {
        if let key = new.ledgerKey, let known = try known(key, new) { return .undo(known) }
        let bytes = payload.bytes + Int64(new.meta?.count ?? 0)
        if let refusal = try makeRoom(for: new, bytes: bytes) { return .undo(.failure(refusal)) }
        if let key = new.ledgerKey { try noteStored(key, new) }
        let id = try rows.add(new, payload)
        let call = StoredCall(
            id: id, handle: new.handle, status: .queued, upstream: new.upstream, tool: new.tool, target: new.target,
            caller: new.caller, idempotencyKey: new.idempotencyKey, isIdempotent: new.isIdempotent,
            priority: new.priority, schemaDigest: new.schemaDigest, requestID: new.requestID.description, attempts: 0,
            createdAt: new.createdAt, updatedAt: new.createdAt, availableAt: new.createdAt, expiresAt: new.expiresAt,
            lastError: nil)
        let row = CallRow(call: call, payloadBytes: bytes, heldBytes: bytes, resultBytes: 0)
        index.move(row.facts, from: nil, to: place(row))
        if let expiresAt = new.expiresAt { nextDue = min(nextDue ?? expiresAt, expiresAt) }
        let head = LaneHead(id: id, priority: new.priority, availableAt: new.createdAt, expiresAt: new.expiresAt)
        let lane = index.lanes[row.facts.lane] ?? Lane()
        let isFirst = lane.head.map { $0.priority < head.priority } ?? true
        if lane.inFlight == nil && isFirst { index.set(row.facts.lane, head: head) }
        return .keep(.success(Receipt(call: call, isNew: true)))
    }

    /// Nil when there is room now.
    private func makeRoom(for new: NewStoredCall, bytes: Int64) throws(SQLiteFailure) -> QueueRefusal? {
        let ofCaller = index.callers[new.caller, default: 0]
        if ofCaller >= settings.queuePerCallerMax {
            return .full(detail: "\(ofCaller) calls of this caller wait already, and no more than that may")
        }
        if bytes > settings.queueBytesMax {
            return .full(detail: "the call has \(bytes) bytes, and the queue holds \(settings.queueBytesMax)")
        }
        while let lack = lack(of: bytes) {
            if index.waiting < settings.queueItemsMax, try removeFinished(for: bytes) { continue }
            guard mayDrop, let oldest = index.leastWorthKeeping,
                let row = try rows.row(id: oldest), row.call.status == .queued
            else { return .full(detail: lack) }
            toll.dropped += 1
            try rows.forgetPayload(of: oldest)
            if let file = row.payloadFile { abandon(file) }
            try change(row, heldBytes: 0, now: new.createdAt) { call in
                (call.status, call.lastError) = (.cancelled, "dropped: queue full")
            }
        }
        return nil
    }

    private var mayDrop: Bool { settings.whenFull == .dropOldest && !refusesMore }

    private static let finishedAtOnce = 16

    /// What is over makes room for what waits, first what would go first anyway. Never one that waits for a person.
    /// False when nothing went, also because it would not be enough.
    private func removeFinished(for bytes: Int64) throws(SQLiteFailure) -> Bool {
        let needed = index.bytes + bytes - settings.queueBytesMax
        guard index.finishedBytes > 0, mayDrop || index.finishedBytes >= needed else { return false }
        let found = try rows.heavy(limit: Self.finishedAtOnce)
        for row in found where index.bytes + bytes > settings.queueBytesMax { try remove(row) }
        return !found.isEmpty
    }

    private func lack(of bytes: Int64) -> String? {
        if index.waiting >= settings.queueItemsMax {
            return "\(index.waiting) calls wait already, and no more than \(settings.queueItemsMax) may"
        }
        if index.bytes + bytes > settings.queueBytesMax {
            return "calls that are kept and their results take \(index.bytes) of \(settings.queueBytesMax) bytes"
        }
        return nil
    }

    // MARK: Going

    /// As many calls that are over their time are ended in one go.
    private static let expiredAtOnce = 500

    /// The calls, and whether there is more to look at.
    func lease(
        upstream: String, limit: Int, now: Int64
    ) throws(SQLiteFailure) -> (calls: [Leased], hasMore: Bool) {
        var leased: [Leased] = []
        var expired = 0
        while leased.count < limit, let (lane, head) = index.soonest(upstream: upstream), head.availableAt <= now {
            guard let row = try rows.row(id: head.id), row.call.status == .queued else {
                // Somebody changed the row by hand.
                let next = try rows.head(of: lane)
                index.set(lane, head: next == head ? nil : next)
                continue
            }
            if let end = row.call.expiresAt, end <= now {
                if expired >= Self.expiredAtOnce { return (leased, true) }
                expired += 1
                try expire(row, now: now)
                continue
            }
            let call = try change(row, now: now) { call in
                call.status = .inFlight
                call.attempts += 1
            }
            let stored = try rows.payload(of: call.id)
            leased.append(Leased(call: call, payload: stored?.payload ?? .none, meta: stored?.meta))
        }
        return (leased, false)
    }

    /// The answer's payload comes apart: it may be in a file already. Whether it was used.
    func settle(
        _ id: Int64, _ settlement: Settlement, _ answer: (kind: String, payload: Payload)?, now: Int64
    ) throws(SQLiteFailure) -> Bool {
        // An end that is told twice was written the first time.
        guard let row = try rows.row(id: id), row.call.status == .inFlight else { return false }
        if let answer { try rows.saveResult(of: id, kind: answer.kind, answer.payload) }
        if case .completed = settlement {
            try rows.forgetPayload(of: id)
            if let file = row.payloadFile { abandon(file) }
        }
        try change(row, resultBytes: answer?.payload.bytes, now: now) { call in
            switch settlement {
            case .completed: (call.status, call.lastError) = (.completed, nil)
            case .failed(let words, _): (call.status, call.lastError) = (.failed, words)
            case .again(let availableAt, let words):
                (call.status, call.availableAt, call.lastError) = (.queued, availableAt, words)
            case .notSent(let availableAt, let words):
                (call.status, call.availableAt, call.lastError) = (.queued, availableAt, words)
                call.attempts -= 1
            case .unknown(let words): (call.status, call.lastError) = (.unknown, words)
            case .cancelled(let words): (call.status, call.lastError) = (.cancelled, words)
            }
        }
        return true
    }

    // MARK: Orders

    func cancel(_ id: Int64, words: String, now: Int64) throws(SQLiteFailure) -> QueueOrderOutcome {
        guard let row = try rows.row(id: id) else { return .noSuchCall }
        guard row.call.status == .queued || row.call.status == .unknown else { return .notPossible(row.call) }
        let doubt = Self.doubt(row.call)
        return .done(try change(row, now: now) { ($0.status, $0.lastError) = (.cancelled, doubt + words) })
    }

    /// Cancelling a call does not make known whether it was carried out.
    private static func doubt(_ call: StoredCall) -> String {
        guard call.status == .unknown, !call.isIdempotent else { return "" }
        switch call.attempts {
        case ...0: return "it may have been carried out; "
        case 1: return "it was sent once without an answer; "
        default: return "it was sent \(call.attempts) times without an answer; "
        }
    }

    /// What waits for a later time may be sent now.
    func hurry(upstream: String, now: Int64) throws(SQLiteFailure) {
        try rows.hurry(upstream: upstream, now: now)
        // Another call comes first only where the first one had to wait.
        for (key, lane) in index.lanes where key.upstream == upstream && lane.head?.availableAt ?? .max > now {
            try refreshHead(key)
        }
    }

    func retry(_ id: Int64, now: Int64) throws(SQLiteFailure) -> QueueOrderOutcome {
        guard let row = try rows.row(id: id) else { return .noSuchCall }
        guard row.call.status.isOver, row.call.status != .completed else { return .notPossible(row.call) }
        // One whose result was lost was carried out, and its arguments were forgotten then.
        let stored = try rows.payload(of: id)
        let isForgotten = stored?.payload == Payload.none && row.payloadBytes > Int64(stored?.meta?.count ?? 0)
        if isForgotten { return .notPossible(row.call) }
        if row.resultBytes > 0 { try rows.saveResult(of: id, kind: nil, .none) }
        if let file = row.resultFile { abandon(file) }
        let call = try change(row, resultBytes: 0, now: now) { call in
            (call.status, call.availableAt) = (.queued, now)
            // Who has it sent again wants it sent, so it gets the time it was given at first.
            if let end = call.expiresAt, end <= now { call.expiresAt = now + max(end - call.createdAt, 0) }
        }
        return .done(call)
    }

    /// How many went; as many as `limit` at most.
    func purge(_ status: StoredStatus, before: Int64, limit: Int) throws(SQLiteFailure) -> Int {
        let found = try rows.over(status, before: before, limit: limit)
        for row in found { try remove(row) }
        return found.count
    }

    /// A file of a call is not what was written.
    func damaged(_ id: Int64, result: Bool, words: String, now: Int64) throws(SQLiteFailure) {
        guard let row = try rows.row(id: id) else { return }
        let isAffected = result ? row.resultFile != nil : !row.call.status.isOver
        guard isAffected else { return }
        if result { try rows.saveResult(of: id, kind: nil, .none) }
        try change(row, resultBytes: result ? 0 : nil, now: now) { ($0.status, $0.lastError) = (.failed, words) }
    }
}
