// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc

/// What the database says about a stretch of time. For those who ask without a gateway, or beside one: it is read from
/// the file, and nothing is changed.
package struct JournalFacts: Sendable {
    /// Rows of `request_log` that have these in common, with what sampling left out counted in. A call that was stored
    /// counts once, as that: not again each time it was sent or tried.
    package struct Calls: Sendable, Equatable {
        /// Empty where the row names none, as is the next.
        package var tool: String
        package var upstream: String
        package var route: String
        package var status: String
        package var count: Int

        package init(tool: String, upstream: String, route: String, status: String, count: Int) {
            self.tool = tool
            self.upstream = upstream
            self.route = route
            self.status = status
            self.count = count
        }
    }

    /// Rows of `error_log` that have these in common.
    package struct Errors: Sendable, Equatable {
        package var type: String
        package var component: String
        package var count: Int
        /// Of the newest of them.
        package var lastMessage: String
        package var lastAt: String
    }

    package var calls: [Calls] = []
    package var errors: [Errors] = []
    /// Calls in the queue's table, by status.
    package var queue: [String: Int] = [:]
    /// Wall milliseconds at which the oldest call that waits was stored.
    package var oldestWaiting: Int64?
    /// Of the caller with most of them: calls that wait.
    package var waitingOfOne = 0
    /// Of the caller with most of them: the share of all calls.
    package var shareOfOne = 1.0
    /// Answers that are kept, by tool.
    package var kept: [String: Int] = [:]
    /// Stored calls and what their arguments and results take.
    package var stored: (calls: Int, bytes: Int) = (0, 0)
    /// Wall milliseconds of the newest row of the two logs, whenever that was.
    package var newest: Int64?
    /// Of the oldest row of the request log that was looked at.
    package var oldest: Int64?

    /// Of nothing.
    package init() {}

    /// Reads what came after a moment. The logs have an index by time, and each of the two lists ends after
    /// `groupsMax` groups, the largest first.
    ///
    /// - Parameters:
    ///   - isInUse: a gateway has the database open. Without one the main file alone is read, so that nothing is made
    ///     beside it.
    ///   - since: wall milliseconds, as is the next.
    package static func read(
        directory: String, isInUse: Bool, since: Int64, until: Int64 = .max
    ) throws(StoreError) -> JournalFacts {
        let path = directory + "/queue.db"
        guard StorageFiles.isRegular(path) else {
            throw .unusable(what: path, detail: "there is no such file; a gateway that starts makes it")
        }
        do throws(SQLiteFailure) {
            let connection = try Connection(path: path, isInUse ? .read : .mainFileOnly)
            if let strangeness = try FileCheck.strangeness(connection) {
                throw SQLiteFailure(code: 26, message: strangeness)
            }
            return try JournalFacts(
                connection, from: WallTime.text(milliseconds: since), to: WallTime.text(milliseconds: until))
        } catch {
            throw .unusable(what: path, detail: error.message)
        }
    }

    private static let groupsMax = 200

    private init(_ connection: Connection, from since: String, to until: String) throws(SQLiteFailure) {
        try readCalls(connection, since, until)
        try readErrors(connection, since, until)
        let counts = try connection.prepare(
            """
            SELECT status, count(*), min(created_at), sum(payload_bytes + result_bytes) FROM queue_items GROUP BY status
            """)
        while try counts.step() {
            let (status, count) = (counts.text(0) ?? "", Int(counts.integer(1) ?? 0))
            queue[status] = count
            stored = (stored.calls + count, stored.bytes + Int(counts.integer(3) ?? 0))
            guard status == "queued" || status == "in_flight" else { continue }
            let oldest = counts.text(2).flatMap(WallTime.milliseconds)
            oldestWaiting = [oldestWaiting, oldest].compactMap { $0 }.min()
        }
        let most = try connection.prepare(
            """
            SELECT count(*) AS calls FROM queue_items WHERE status IN ('queued', 'in_flight') GROUP BY caller
            ORDER BY calls DESC LIMIT 1
            """)
        if try most.step() { waitingOfOne = Int(most.integer(0) ?? 0) }
        let answers = try connection.prepare("SELECT tool, count(*) FROM reply_cache GROUP BY tool")
        while try answers.step() { kept[answers.text(0) ?? ""] = Int(answers.integer(1) ?? 0) }
        for table in ["request_log", "error_log"] {
            let last = try connection.text("SELECT max(timestamp) FROM \(table)").flatMap(WallTime.milliseconds)
            newest = [newest, last].compactMap { $0 }.max()
        }
    }

    private mutating func readCalls(_ connection: Connection, _ since: String, _ until: String) throws(SQLiteFailure) {
        let rows = try connection.prepare(
            """
            SELECT coalesce(tool, ''), coalesce(upstream, ''), route, status, sum(weight) AS total FROM request_log
            WHERE timestamp >= ?1 AND timestamp < ?2 AND (status = 'queued' OR request_id NOT IN
                (SELECT request_id FROM request_log WHERE status = 'queued'))
            GROUP BY 1, 2, 3, 4 ORDER BY total DESC LIMIT \(Self.groupsMax)
            """)
        rows.bind(1, since)
        rows.bind(2, until)
        while try rows.step() {
            calls.append(
                Calls(
                    tool: rows.text(0) ?? "", upstream: rows.text(1) ?? "", route: rows.text(2) ?? "",
                    status: rows.text(3) ?? "", count: Int(rows.integer(4) ?? 0)))
        }
        let callers = try connection.prepare(
            """
            SELECT max(calls), sum(calls) FROM (SELECT sum(weight) AS calls FROM request_log
            WHERE timestamp >= ?1 AND timestamp < ?2 AND tool IS NOT NULL GROUP BY caller)
            """)
        callers.bind(1, since)
        callers.bind(2, until)
        if try callers.step(), let most = callers.integer(0), let all = callers.integer(1), all > 0 {
            shareOfOne = Double(most) / Double(all)
        }
        let first = try connection.prepare(
            "SELECT min(timestamp) FROM request_log WHERE timestamp >= ?1 AND timestamp < ?2")
        first.bind(1, since)
        first.bind(2, until)
        if try first.step() { oldest = first.text(0).flatMap(WallTime.milliseconds) }
    }

    private mutating func readErrors(_ connection: Connection, _ since: String, _ until: String) throws(SQLiteFailure) {
        // SQLite takes the other columns from the row that has the maximum.
        let rows = try connection.prepare(
            """
            SELECT error_type, component, count(*) AS total, message, max(timestamp) FROM error_log
            WHERE timestamp >= ?1 AND timestamp < ?2 GROUP BY 1, 2 ORDER BY total DESC LIMIT \(Self.groupsMax)
            """)
        rows.bind(1, since)
        rows.bind(2, until)
        while try rows.step() {
            errors.append(
                Errors(
                    type: rows.text(0) ?? "", component: rows.text(1) ?? "", count: Int(rows.integer(2) ?? 0),
                    lastMessage: rows.text(3) ?? "", lastAt: rows.text(4) ?? ""))
        }
    }
}

/// What can be told of a storage directory from beside it, without changing anything.
extension DurableStore {
    /// The process that has a storage directory in use, and its port once it has told that; nil when nobody has, or
    /// when that may not be looked at. Holds the lock for a moment where it is free.
    package static func holder(of directory: String) -> (pid: Int32, port: Int?)? {
        let file = unsafe Glibc.open(directory + "/gateway.lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        guard flock(file, LOCK_SH | LOCK_NB) != 0, errno == EWOULDBLOCK else { return nil }
        return StorageLock.holder(file)
    }

    /// Whether the write-ahead log beside a database belongs to another file, as after a copy was put there by hand. A
    /// gateway that starts sets it aside.
    package static func hasAlienLog(_ path: String) -> Bool {
        guard StorageFiles.bytes(of: path + "-wal") > 0 else { return false }
        // What cannot be looked at is said with the file itself.
        return (try? Provenance(of: path).isLogAlien) ?? false
    }
}
