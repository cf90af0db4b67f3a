// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Telemetry

/// One row of `queue_items` without its payloads.
struct CallRow {
    var call: StoredCall
    /// As it came.
    var payloadBytes: Int64
    /// What is still there of it.
    var heldBytes: Int64
    var resultBytes: Int64
    var payloadFile: String?
    var resultFile: String?

    var facts: QueueIndex.Facts {
        QueueIndex.Facts(
            id: call.id, lane: LaneKey(upstream: call.upstream, caller: call.caller), priority: call.priority,
            createdAt: call.createdAt)
    }
}

/// The statements of the table `queue_items`. Belongs to the writer's thread.
///
/// The column `keep_until` says when something has to be done with a row: of a call that waits it is the time at which
/// it expires, of one that is over the end of its keeping. So one index finds both.
final class CallRows {
    /// Words of others are for a terminal, and are no place for a payload.
    static let wordsMax = 4_096
    private static let columns = """
        id, handle, status, upstream, tool, target, caller, idempotency_key, is_idempotent, priority, schema_digest,
        request_id, attempts, created_at, updated_at, available_at, expires_at, last_error, payload_bytes,
        result_bytes, payload_ref, result_ref,
        CASE WHEN payload IS NULL AND payload_ref IS NULL AND meta IS NULL THEN 0 ELSE payload_bytes END
        """

    private let connection: Connection
    private let insert: Statement
    private let update: Statement
    private let result: Statement
    private let forgetPayload: Statement
    private let delete: Statement
    private let hurry: Statement
    private let byID: Statement
    private let byHandle: Statement
    private let head: Statement
    private let payload: Statement
    private let answer: Statement
    private let due: Statement
    private let soonest: Statement
    private let surplus: Statement
    private let heavy: Statement

    init(_ connection: Connection) throws(SQLiteFailure) {
        self.connection = connection
        insert = try connection.prepare(
            """
            INSERT INTO queue_items (handle, upstream, tool, target, payload, payload_ref, payload_digest,
                payload_bytes, meta, caller, idempotency_key, is_idempotent, priority, schema_digest, request_id,
                created_at, updated_at, available_at, expires_at, keep_until)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?16, ?16, ?17, ?17)
            """)
        update = try connection.prepare(
            """
            UPDATE queue_items SET status = ?2, attempts = ?3, updated_at = ?4, available_at = ?5, expires_at = ?6,
                last_error = ?7, keep_until = ?8 WHERE id = ?1
            """)
        result = try connection.prepare(
            """
            UPDATE queue_items SET result_kind = ?2, result = ?3, result_ref = ?4, result_digest = ?5,
                result_bytes = ?6 WHERE id = ?1
            """)
        forgetPayload = try connection.prepare(
            "UPDATE queue_items SET payload = NULL, payload_ref = NULL, meta = NULL WHERE id = ?")
        delete = try connection.prepare("DELETE FROM queue_items WHERE id = ?")
        hurry = try connection.prepare(
            "UPDATE queue_items SET available_at = ?2 WHERE upstream = ?1 AND status = 'queued' AND available_at > ?2")
        byID = try connection.prepare("SELECT \(Self.columns) FROM queue_items WHERE id = ?")
        byHandle = try connection.prepare("SELECT \(Self.columns) FROM queue_items WHERE handle = ?")
        head = try connection.prepare(
            """
            SELECT id, priority, available_at, expires_at, status FROM queue_items
            WHERE upstream = ? AND caller = ? AND status IN ('queued', 'in_flight')
            ORDER BY priority DESC, id LIMIT 1
            """)
        payload = try connection.prepare(
            "SELECT payload, payload_ref, payload_digest, payload_bytes, meta FROM queue_items WHERE id = ?")
        answer = try connection.prepare(
            "SELECT result_kind, result, result_ref, result_digest, result_bytes FROM queue_items WHERE id = ?")
        due = try connection.prepare(
            "SELECT \(Self.columns) FROM queue_items WHERE keep_until <= ? ORDER BY keep_until LIMIT ?")
        soonest = try connection.prepare("SELECT min(keep_until) FROM queue_items WHERE keep_until IS NOT NULL")
        surplus = try connection.prepare(
            """
            SELECT \(Self.columns) FROM queue_items INDEXED BY queue_items_by_end
            WHERE keep_until IS NOT NULL AND status IN ('completed', 'failed', 'expired', 'cancelled')
            ORDER BY keep_until LIMIT ?
            """)
        heavy = try connection.prepare(
            """
            SELECT \(Self.columns) FROM queue_items INDEXED BY queue_items_by_end
            WHERE keep_until IS NOT NULL AND (result_bytes > 0 AND status IN ('completed', 'failed', 'expired',
                'cancelled') OR payload_bytes > 0 AND status IN ('failed', 'expired', 'cancelled')
                AND (payload IS NOT NULL OR payload_ref IS NOT NULL OR meta IS NOT NULL))
            ORDER BY keep_until LIMIT ?
            """)
    }

    // MARK: Writing

    /// Stores a new call and returns its id.
    func add(_ call: NewStoredCall, _ payload: Payload) throws(SQLiteFailure) -> Int64 {
        insert.bind(1, call.handle)
        insert.bind(2, call.upstream)
        insert.bind(3, call.tool)
        insert.bind(4, call.target)
        insert.bind(5, blob: payload.inline)
        insert.bind(6, payload.reference?.name)
        insert.bind(7, blob: payload.reference?.digest)
        insert.bind(8, payload.bytes + Int64(call.meta?.count ?? 0))
        insert.bind(9, blob: call.meta)
        insert.bind(10, call.caller)
        insert.bind(11, call.idempotencyKey)
        insert.bind(12, Int64(call.isIdempotent ? 1 : 0))
        insert.bind(13, Int64(call.priority))
        insert.bind(14, call.schemaDigest)
        insert.bind(15, call.requestID.description)
        insert.bind(16, WallTime.text(milliseconds: call.createdAt))
        insert.bind(17, call.expiresAt.map { WallTime.text(milliseconds: $0) })
        try insert.run()
        return connection.lastInsertedID
    }

    /// Writes what changes in the life of a call.
    func save(_ call: StoredCall, keepUntil: Int64?) throws(SQLiteFailure) {
        update.bind(1, call.id)
        update.bind(2, call.status.rawValue)
        update.bind(3, Int64(call.attempts))
        update.bind(4, WallTime.text(milliseconds: call.updatedAt))
        update.bind(5, WallTime.text(milliseconds: call.availableAt))
        update.bind(6, call.expiresAt.map { WallTime.text(milliseconds: $0) })
        update.bind(7, call.lastError)
        update.bind(8, keepUntil.map { WallTime.text(milliseconds: $0) })
        try update.run()
    }

    func saveResult(of id: Int64, kind: String?, _ payload: Payload) throws(SQLiteFailure) {
        result.bind(1, id)
        result.bind(2, kind)
        result.bind(3, blob: payload.inline)
        result.bind(4, payload.reference?.name)
        result.bind(5, blob: payload.reference?.digest)
        result.bind(6, payload.bytes)
        try result.run()
    }

    /// Of a call that is done for good; how large it was stays known.
    func forgetPayload(of id: Int64) throws(SQLiteFailure) {
        forgetPayload.bind(1, id)
        try forgetPayload.run()
    }

    func remove(_ id: Int64) throws(SQLiteFailure) {
        delete.bind(1, id)
        try delete.run()
    }

    /// Every call for this upstream that waits may be sent from now on.
    func hurry(upstream: String, now: Int64) throws(SQLiteFailure) {
        hurry.bind(1, upstream)
        hurry.bind(2, WallTime.text(milliseconds: now))
        try hurry.run()
    }

    // MARK: Reading

    func row(id: Int64) throws(SQLiteFailure) -> CallRow? {
        byID.bind(1, id)
        return try byID.first(Self.read)
    }

    func row(handle: String) throws(SQLiteFailure) -> CallRow? {
        byHandle.bind(1, handle)
        return try byHandle.first(Self.read)
    }

    /// The first call of a lane, whose calls all wait.
    func head(of lane: LaneKey) throws(SQLiteFailure) -> LaneHead? {
        head.bind(1, lane.upstream)
        head.bind(2, lane.caller)
        let found = try head.first { row -> LaneHead? in
            guard row.text(4) == StoredStatus.queued.rawValue else { return nil }
            return LaneHead(
                id: row.integer(0) ?? 0, priority: Int(row.integer(1) ?? 0), availableAt: Self.time(row, 2) ?? 0,
                expiresAt: Self.time(row, 3))
        }
        return found ?? nil
    }

    func payload(of id: Int64) throws(SQLiteFailure) -> (payload: Payload, meta: [UInt8]?)? {
        payload.bind(1, id)
        return try payload.first { row in
            let meta = row.blob(4)
            let bytes = (row.integer(3) ?? 0) - Int64(meta?.count ?? 0)
            return (Self.payload(row, inline: row.blob(0), name: 1, digest: 2, bytes: bytes), meta)
        }
    }

    func answer(of id: Int64) throws(SQLiteFailure) -> (kind: String, payload: Payload)? {
        answer.bind(1, id)
        let found = try answer.first { row -> (kind: String, payload: Payload)? in
            guard let kind = row.text(0) else { return nil }
            return (kind, Self.payload(row, inline: row.blob(1), name: 2, digest: 3, bytes: row.integer(4) ?? 0))
        }
        return found ?? nil
    }

    /// Calls of which something is due, the longest due first.
    func due(at now: Int64, limit: Int) throws(SQLiteFailure) -> [CallRow] {
        due.bind(1, WallTime.text(milliseconds: now))
        due.bind(2, Int64(limit))
        return try rows(due)
    }

    /// When the next one is due.
    func soonestDue() throws(SQLiteFailure) -> Int64? {
        let found = try soonest.first { Self.time($0, 0) }
        return found ?? nil
    }

    /// Calls that are over, those first that would go first.
    func surplus(limit: Int) throws(SQLiteFailure) -> [CallRow] {
        surplus.bind(1, Int64(limit))
        return try rows(surplus)
    }

    /// The same of those that hold bytes.
    func heavy(limit: Int) throws(SQLiteFailure) -> [CallRow] {
        heavy.bind(1, Int64(limit))
        return try rows(heavy)
    }

    /// Calls that are over and were last changed before `before`.
    func over(_ status: StoredStatus, before: Int64, limit: Int) throws(SQLiteFailure) -> [CallRow] {
        let statement = try connection.prepare(
            "SELECT \(Self.columns) FROM queue_items WHERE status = ? AND updated_at < ? LIMIT ?")
        statement.bind(1, status.rawValue)
        statement.bind(2, WallTime.text(milliseconds: before))
        statement.bind(3, Int64(limit))
        return try rows(statement)
    }

    func list(_ filter: QueueFilter) throws(SQLiteFailure) -> [StoredCall] {
        // The words come from our own enum, so they may stand in the statement.
        let statuses = filter.statuses.map { "'\($0.rawValue)'" }.sorted().joined(separator: ", ")
        let ofStatus = statuses.isEmpty ? "" : "AND +status IN (\(statuses))"
        let ofUpstream = filter.upstream == nil ? "" : "AND +upstream = ?3"
        let statement = try connection.prepare(
            """
            SELECT \(Self.columns) FROM queue_items WHERE id < ?1 \(ofStatus) \(ofUpstream) ORDER BY id DESC LIMIT ?2
            """)
        statement.bind(1, filter.before ?? .max)
        statement.bind(2, Int64(min(max(filter.limit, 0), 1_000)))
        if let upstream = filter.upstream { statement.bind(3, upstream) }
        return try rows(statement).map(\.call)
    }

    /// Every row once, oldest first, for the count at the start.
    func each(_ body: (CallRow) -> Void) throws(SQLiteFailure) {
        try connection.prepare("SELECT \(Self.columns) FROM queue_items ORDER BY id").each { body(Self.read($0)) }
    }

    private func rows(_ statement: Statement) throws(SQLiteFailure) -> [CallRow] {
        var found: [CallRow] = []
        try statement.each { found.append(Self.read($0)) }
        return found
    }

    private static func read(_ row: Statement) -> CallRow {
        let created = time(row, 13) ?? 0
        let call = StoredCall(
            id: row.integer(0) ?? 0, handle: row.text(1) ?? "",
            status: row.text(2).flatMap { StoredStatus(rawValue: $0) } ?? .unknown, upstream: row.text(3) ?? "",
            tool: row.text(4) ?? "", target: row.text(5) ?? "", caller: row.text(6) ?? "",
            idempotencyKey: row.text(7) ?? "", isIdempotent: row.integer(8) == 1, priority: Int(row.integer(9) ?? 0),
            schemaDigest: row.text(10), requestID: row.text(11) ?? "", attempts: Int(row.integer(12) ?? 0),
            createdAt: created, updatedAt: time(row, 14) ?? created, availableAt: time(row, 15) ?? created,
            expiresAt: time(row, 16), lastError: row.text(17))
        return CallRow(
            call: call, payloadBytes: row.integer(18) ?? 0, heldBytes: row.integer(22) ?? 0,
            resultBytes: row.integer(19) ?? 0, payloadFile: row.text(20), resultFile: row.text(21))
    }

    private static func time(_ row: Statement, _ column: Int32) -> Int64? {
        row.text(column).flatMap { WallTime.milliseconds($0) }
    }

    private static func payload(
        _ row: Statement, inline: [UInt8]?, name: Int32, digest: Int32, bytes: Int64
    ) -> Payload {
        if let name = row.text(name) {
            return .file(PayloadReference(name: name, bytes: bytes, digest: row.bytes(digest)))
        }
        return inline.map { .inline($0) } ?? .none
    }
}
