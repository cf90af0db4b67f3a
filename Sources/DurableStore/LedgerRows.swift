// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// The statements of the table `call_ledger`. Belongs to the writer's thread.
final class LedgerRows {
    struct Row {
        var digest: [UInt8]
        var status: String
        var life: String
        var handle: String?
        var answer: StoredAnswer?
        var expiresAt: Int64

        var answerBytes: Int64 { Int64(answer?.bytes.count ?? 0) }
    }

    private let connection: Connection
    private let find: Statement
    private let put: Statement
    private let answer: Statement
    private let store: Statement
    private let lose: Statement
    private let remove: Statement
    private let expired: Statement
    private let oldest: Statement

    init(_ connection: Connection) throws(SQLiteFailure) {
        self.connection = connection
        find = try connection.prepare(
            "SELECT digest, status, life, handle, result_kind, result, expires_at FROM call_ledger WHERE key = ?")
        put = try connection.prepare(
            """
            INSERT OR REPLACE INTO call_ledger (key, digest, status, life, handle, created_at, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """)
        answer = try connection.prepare(
            "UPDATE call_ledger SET status = 'answered', result_kind = ?2, result = ?3 WHERE key = ?1")
        store = try connection.prepare(
            """
            UPDATE call_ledger SET status = 'stored', handle = ?2, expires_at = max(expires_at, ?3) WHERE key = ?1
            """)
        // No life has this name, so that nobody takes it for running.
        lose = try connection.prepare("UPDATE call_ledger SET life = '' WHERE key = ?")
        remove = try connection.prepare("DELETE FROM call_ledger WHERE key = ?")
        expired = try connection.prepare(
            """
            DELETE FROM call_ledger WHERE key IN
                (SELECT key FROM call_ledger WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
            RETURNING length(result)
            """)
        oldest = try connection.prepare(
            """
            DELETE FROM call_ledger WHERE key IN
                (SELECT key FROM call_ledger WHERE status = 'answered' OR (?2 AND life = '')
                 ORDER BY expires_at LIMIT ?1)
            RETURNING length(result)
            """)
    }

    func row(_ key: [UInt8]) throws(SQLiteFailure) -> Row? {
        find.bind(1, blob: key)
        return try find.first { row in
            let answer = row.blob(5).map { row.text(4) == "error" ? StoredAnswer.protocolError($0) : .result($0) }
            return Row(
                digest: row.bytes(0), status: row.text(1) ?? "", life: row.text(2) ?? "", handle: row.text(3),
                answer: answer, expiresAt: row.text(6).flatMap { WallTime.milliseconds($0) } ?? 0)
        }
    }

    func put(
        _ key: [UInt8], digest: [UInt8], status: String, life: String, handle: String? = nil, now: Int64,
        expires: Int64
    ) throws(SQLiteFailure) {
        put.bind(1, blob: key)
        put.bind(2, blob: digest)
        put.bind(3, status)
        put.bind(4, life)
        put.bind(5, handle)
        put.bind(6, WallTime.text(milliseconds: now))
        put.bind(7, WallTime.text(milliseconds: expires))
        try put.run()
    }

    func keep(_ answer: StoredAnswer, under key: [UInt8]) throws(SQLiteFailure) {
        self.answer.bind(1, blob: key)
        self.answer.bind(2, answer.kind)
        self.answer.bind(3, blob: answer.bytes)
        try self.answer.run()
    }

    /// The key is known until `expires` at least.
    func markStored(_ key: [UInt8], handle: String, expires: Int64) throws(SQLiteFailure) {
        store.bind(1, blob: key)
        store.bind(2, handle)
        store.bind(3, WallTime.text(milliseconds: expires))
        try store.run()
    }

    /// Carried out, and its answer is not known to anybody.
    func lose(_ key: [UInt8]) throws(SQLiteFailure) {
        lose.bind(1, blob: key)
        try lose.run()
    }

    func remove(_ key: [UInt8]) throws(SQLiteFailure) {
        remove.bind(1, blob: key)
        try remove.run()
    }

    /// Keys, and the bytes of their answers.
    typealias Amount = (keys: Int, bytes: Int64)

    /// How many went.
    func removeExpired(at now: Int64, limit: Int) throws(SQLiteFailure) -> Amount {
        expired.bind(1, WallTime.text(milliseconds: now))
        expired.bind(2, Int64(limit))
        return try amount(expired)
    }

    /// Takes answered ones out, those that would be forgotten soonest first; where only their number matters also those
    /// whose answer was too large to be kept.
    func removeAnswered(_ count: Int, withLost: Bool) throws(SQLiteFailure) -> Amount {
        oldest.bind(1, Int64(count))
        oldest.bind(2, Int64(withLost ? 1 : 0))
        return try amount(oldest)
    }

    func count() throws(SQLiteFailure) -> Amount {
        try amount(connection.prepare("SELECT length(result) FROM call_ledger"))
    }

    private func amount(_ statement: Statement) throws(SQLiteFailure) -> Amount {
        var found: Amount = (0, 0)
        try statement.each { row in
            found.keys += 1
            found.bytes += row.integer(0) ?? 0
        }
        return found
    }
}

extension StoredAnswer {
    var kind: String {
        switch self {
        case .result: "result"
        case .protocolError: "error"
        }
    }

    var bytes: [UInt8] {
        switch self {
        case .result(let bytes), .protocolError(let bytes): bytes
        }
    }

    init(kind: String, bytes: [UInt8]) { self = kind == "error" ? .protocolError(bytes) : .result(bytes) }
}
