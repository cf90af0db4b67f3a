// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Telemetry

/// The queue and the ledger as the writer's thread sees them. Its methods that write run inside a transaction of
/// `GroupCommit`; what they change in memory is undone when the transaction is.
final class CallEngine {
    struct Mark {
        fileprivate var index: Int
        fileprivate var orphans: Int
        fileprivate var toll: Toll
    }

    /// Acknowledged calls that ended without having been sent.
    struct Toll {
        var expired = 0
        var dropped = 0
    }

    private(set) var settings: StoreSettings
    /// The bounds were lowered below what is stored: new calls are refused and nothing is dropped for them until what
    /// is stored is within the bounds.
    private(set) var refusesMore = false
    let rows: CallRows
    let ledger: LedgerRows
    /// Tells this life of the gateway from every other one.
    let life: String
    var index = QueueIndex()
    /// Wall milliseconds before which upkeep has nothing to do with calls; nil when it never has.
    var nextDue: Int64?
    /// Upkeep found more than it may do in one go.
    var hasMore = false
    var ledgerDue: Int64 = 0
    /// As many keys make it worth looking for some that can go.
    var ledgerTryAt = 0
    /// Payload files that rows named and name no longer.
    private(set) var orphans: [String] = []
    /// Since it was last taken.
    var toll = Toll()

    init(_ settings: StoreSettings, _ connection: Connection) throws(SQLiteFailure) {
        self.settings = settings
        rows = try CallRows(connection)
        ledger = try LedgerRows(connection)
        life = RequestID.random().description
    }

    /// Between two transactions only. Calls that are over stay for as long as they were told.
    func change(_ next: StoreSettings) {
        settings = next
        refusesMore = isBeyondBounds
        // There may be more that can go now.
        ledgerTryAt = 0
    }

    private var isBeyondBounds: Bool {
        index.waiting > settings.queueItemsMax || index.bytes - index.finishedBytes > settings.queueBytesMax
    }

    // MARK: In step with the transaction

    var mark: Mark { Mark(index: index.mark, orphans: orphans.count, toll: toll) }

    func undo(to mark: Mark) {
        index.undo(to: mark.index)
        orphans.removeLast(orphans.count - mark.orphans)
        toll = mark.toll
    }

    /// Nothing of the transaction was written.
    func undoAll() {
        undo(to: Mark(index: 0, orphans: 0, toll: Toll()))
        // What was due is due again.
        nextDue = 0
        index.settled()
    }

    /// The transaction is on disk. Returns the files that nothing refers to any more.
    func settled() -> [String] {
        index.settled()
        // Not before, because what has made room may still have been undone.
        if refusesMore { refusesMore = isBeyondBounds }
        defer { orphans = [] }
        return orphans
    }

    /// After `settled`, so that what is undone is never told.
    func takeToll() -> Toll {
        defer { toll = Toll() }
        return toll
    }

    // MARK: Changing one call

    /// Writes what `edit` does with a call, and keeps memory in step.
    @discardableResult
    func change(
        _ row: CallRow, heldBytes: Int64? = nil, resultBytes: Int64? = nil, now: Int64,
        _ edit: (inout StoredCall) -> Void
    ) throws(SQLiteFailure) -> StoredCall {
        var call = row.call
        edit(&call)
        call.updatedAt = now
        if call.lastError != row.call.lastError {
            call.lastError = call.lastError.map { LogText.escaped($0, bytesMax: CallRows.wordsMax) }
        }
        let keepUntil = keepUntil(call, now: now)
        try rows.save(call, keepUntil: keepUntil)
        if let keepUntil { nextDue = min(nextDue ?? keepUntil, keepUntil) }
        let held = bytes(call.status, payload: heldBytes ?? row.heldBytes, result: resultBytes ?? row.resultBytes)
        if call.status == .inFlight { index.set(row.facts.lane, head: nil) }
        index.move(row.facts, from: place(row), to: QueueIndex.Place(call.status, bytes: held))
        try refreshHead(row.facts.lane)
        return call
    }

    func remove(_ row: CallRow) throws(SQLiteFailure) {
        try rows.remove(row.call.id)
        index.move(row.facts, from: place(row), to: nil)
        if let file = row.payloadFile { abandon(file) }
        if let file = row.resultFile { abandon(file) }
        try refreshHead(row.facts.lane)
    }

    func abandon(_ file: String) { orphans.append(file) }

    func refreshHead(_ key: LaneKey) throws(SQLiteFailure) {
        guard let lane = index.lanes[key], lane.inFlight == nil else { return }
        let head = try rows.head(of: key)
        if head != lane.head { index.set(key, head: head) }
    }

    func place(_ row: CallRow) -> QueueIndex.Place {
        QueueIndex.Place(
            row.call.status, bytes: bytes(row.call.status, payload: row.heldBytes, result: row.resultBytes))
    }

    /// The bytes of it that count. Arguments of what was carried out are forgotten; others stay with their call, which
    /// may be sent again.
    private func bytes(_ status: StoredStatus, payload: Int64, result: Int64) -> Int64 {
        (status == .completed ? 0 : payload) + result
    }

    /// The column `keep_until`; see `CallRows`.
    private func keepUntil(_ call: StoredCall, now: Int64) -> Int64? {
        switch call.status {
        case .queued: call.expiresAt
        case .completed: now + settings.resultKeep.nanosecondsClamped / 1_000_000
        case .failed, .expired, .cancelled: now + settings.queueRetention.nanosecondsClamped / 1_000_000
        // One is its sender's, the other waits for a person.
        case .inFlight, .unknown: nil
        }
    }

    // MARK: The start

    /// Counts what is there. Returns the payload files that rows name, and what a former life of the gateway was
    /// sending.
    func count() throws(SQLiteFailure) -> (files: Set<String>, sending: [CallRow]) {
        var files: Set<String> = []
        var sending: [CallRow] = []
        try rows.each { row in
            index.move(row.facts, from: nil, to: place(row))
            for file in [row.payloadFile, row.resultFile] { if let file { files.insert(file) } }
            if row.call.status == .inFlight { sending.append(row) }
        }
        let noted = try ledger.count()
        index.countLedger(noted.keys, bytes: noted.bytes)
        nextDue = try rows.soonestDue()
        return (files, sending)
    }

    /// Decides on what a former life was sending. Call inside a transaction.
    func recover(_ sending: [CallRow], now: Int64) throws(SQLiteFailure) {
        for row in sending {
            try change(row, now: now) { call in
                if call.isIdempotent {
                    (call.status, call.availableAt) = (.queued, now)
                    call.lastError = "the gateway ended while this call was being sent; it is sent again"
                } else {
                    call.status = .unknown
                    call.lastError =
                        "the gateway ended while this call was being sent; whether it was carried out is not known; "
                        + "retry or cancel it by hand"
                }
            }
        }
    }

    /// Finds the first call of every lane.
    func lineUp() throws(SQLiteFailure) {
        for lane in index.lanes.keys { try refreshHead(lane) }
    }

    // MARK: Upkeep

    private static let upkeepRows = 500
    private static let ledgerEvery: Int64 = 60_000

    func isUpkeepDue(now: Int64) -> Bool {
        hasMore || nextDue.map { $0 <= now } ?? false || (index.ledgerKeys > 0 && ledgerDue <= now)
            || index.finished > settings.finishedMax + settings.finishedMax / 100
    }

    /// Ends what waited too long, and removes what was kept long enough: a bounded piece of it.
    func upkeep(now: Int64) throws(SQLiteFailure) {
        hasMore = false
        let due = try rows.due(at: now, limit: Self.upkeepRows)
        for row in due {
            switch row.call.status {
            case .queued: try expire(row, now: now)
            case .completed, .failed, .expired, .cancelled: try remove(row)
            case .inFlight, .unknown: try rows.save(row.call, keepUntil: nil)
            }
        }
        let surplus = index.finished - settings.finishedMax
        if surplus > 0 {
            for row in try rows.surplus(limit: min(surplus, Self.upkeepRows)) { try remove(row) }
        }
        hasMore = due.count >= Self.upkeepRows || surplus > Self.upkeepRows
        nextDue = try rows.soonestDue()
        if ledgerDue <= now {
            let gone = try ledger.removeExpired(at: now, limit: 4 * Self.upkeepRows)
            index.countLedger(-gone.keys, bytes: -gone.bytes)
            if gone.keys >= 4 * Self.upkeepRows { hasMore = true } else { ledgerDue = now + Self.ledgerEvery }
        }
    }

    func expire(_ row: CallRow, now: Int64) throws(SQLiteFailure) {
        toll.expired += 1
        try change(row, now: now) { call in
            call.status = .expired
            call.lastError = "its time was over before \(call.upstream) could take it"
        }
    }
}
