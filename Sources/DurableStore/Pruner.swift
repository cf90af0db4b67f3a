// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// Takes old rows out of the logs, a little at a time. Belongs to the writer's thread.
struct Pruner {
    /// Rows taken in one step, which is some milliseconds of work.
    static let stepRows = 2_000
    /// After as many new rows, or as much time, it looks again.
    private static let lookAfterRows = 1_000
    private static let lookEvery = Duration.seconds(60)

    private var settings: StoreSettings
    private var byAge: [Statement] = []
    private var byCount: [Statement] = []
    private var tombstones: Statement?
    private let connection: Connection
    private var last: Moment?
    /// Rows written since it last looked.
    var written = 0
    /// The last step found as much as a step may take.
    private(set) var hasMore = false

    init(_ settings: StoreSettings, _ connection: Connection) throws(SQLiteFailure) {
        self.settings = settings
        self.connection = connection
        for table in ["request_log", "error_log"] {
            byAge.append(
                try connection.prepare(
                    """
                    DELETE FROM \(table) WHERE id IN
                        (SELECT id FROM \(table) WHERE timestamp < ? ORDER BY timestamp LIMIT \(Self.stepRows))
                    """))
            byCount.append(
                try connection.prepare(
                    """
                    DELETE FROM \(table) WHERE id <= (SELECT max(id) FROM \(table)) - ?
                        AND id < (SELECT min(id) FROM \(table)) + \(Self.stepRows)
                    """))
        }
        tombstones = try connection.prepare("DELETE FROM session_tombstones WHERE expires_at < ?")
    }

    /// The next step looks by them.
    mutating func change(_ next: StoreSettings) {
        settings = next
        last = nil
    }

    /// Whether something was removed. Does nothing most of the time.
    mutating func step(now: Moment, wallMilliseconds: Int64) throws(SQLiteFailure) -> Bool {
        let isDue = last.map { now.since($0) >= Self.lookEvery } ?? true
        guard hasMore || isDue || written >= Self.lookAfterRows else { return false }
        last = now
        written = 0
        hasMore = false
        var removed = 0
        let age = settings.retention.nanosecondsClamped / 1_000_000
        let oldest = WallTime.text(milliseconds: max(0, wallMilliseconds - age))
        for statement in byAge {
            statement.bind(1, oldest)
            removed += try count(statement)
        }
        for statement in byCount {
            statement.bind(1, Int64(settings.rowsMax))
            removed += try count(statement)
        }
        if let tombstones {
            tombstones.bind(1, WallTime.text(milliseconds: wallMilliseconds))
            removed += try connection.changes(by: tombstones)
        }
        return removed > 0
    }

    private mutating func count(_ statement: Statement) throws(SQLiteFailure) -> Int {
        let removed = try connection.changes(by: statement)
        if removed >= Self.stepRows { hasMore = true }
        return removed
    }

    /// Lets go of the statements; afterwards it does nothing.
    mutating func end() {
        (byAge, byCount, tombstones) = ([], [], nil)
    }
}
