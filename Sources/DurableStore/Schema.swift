// Licensed under the Apache License 2.0; see LICENSE.

/// The tables that operators may rely on. A change of them is a new version and a step from the version before.
enum Schema {
    /// `MCPG`: tells our files from other programs' databases.
    static let applicationID: Int64 = 0x4D43_5047
    static let version: Int64 = 1

    static let statements = """
        CREATE TABLE meta (
            key TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE queue_items (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN
                ('queued', 'in_flight', 'completed', 'failed', 'expired', 'cancelled', 'unknown')),
            upstream TEXT NOT NULL,
            tool TEXT NOT NULL,
            payload BLOB,
            payload_ref TEXT,
            idempotency_key TEXT,
            caller TEXT NOT NULL DEFAULT 'anonymous',
            priority INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            available_at TEXT NOT NULL,
            expires_at TEXT,
            last_error TEXT
        );
        CREATE INDEX queue_items_by_status ON queue_items (status, available_at);
        CREATE INDEX queue_items_by_caller ON queue_items (caller, upstream, status);

        CREATE TABLE error_log (
            id INTEGER PRIMARY KEY,
            timestamp TEXT NOT NULL,
            error_type TEXT NOT NULL,
            message TEXT NOT NULL,
            component TEXT NOT NULL,
            request_id TEXT
        );
        CREATE INDEX error_log_by_time ON error_log (timestamp);

        CREATE TABLE request_log (
            id INTEGER PRIMARY KEY,
            timestamp TEXT NOT NULL,
            method TEXT NOT NULL,
            tool TEXT,
            upstream TEXT,
            route TEXT NOT NULL,
            status TEXT NOT NULL,
            response_time_ms REAL NOT NULL,
            caller TEXT NOT NULL,
            request_id TEXT NOT NULL,
            weight INTEGER NOT NULL DEFAULT 1
        );
        CREATE INDEX request_log_by_time ON request_log (timestamp);
        CREATE INDEX request_log_by_status ON request_log (status, timestamp);

        CREATE TABLE session_tombstones (
            session BLOB PRIMARY KEY,
            expires_at TEXT NOT NULL
        ) WITHOUT ROWID;
        """

    static let tables: Set<String> = ["meta", "queue_items", "error_log", "request_log", "session_tombstones"]

    /// What a file is, before anything in it is changed.
    enum Finding: Equatable {
        case empty
        case current
        case newer(Int64)
        case foreign(String)
    }

    static func look(at connection: Connection) throws(SQLiteFailure) -> Finding {
        let application = try connection.integer("PRAGMA application_id") ?? 0
        let found = try connection.integer("PRAGMA user_version") ?? 0
        if application == applicationID { return found > version ? .newer(found) : .current }
        if application != 0 { return .foreign("its application id is \(application)") }
        let objects = try connection.integer("SELECT count(*) FROM sqlite_schema") ?? 0
        return objects == 0 ? .empty : .foreign("it holds \(objects) tables or indices that are not ours")
    }

    static func create(in connection: Connection, now: String) throws(SQLiteFailure) {
        try connection.transaction { () throws(SQLiteFailure) in
            try connection.execute(statements)
            try connection.execute("PRAGMA application_id = \(applicationID); PRAGMA user_version = \(version)")
            let statement = try connection.prepare("INSERT INTO meta VALUES ('schema_version', ?), ('created_at', ?)")
            statement.bind(1, String(version))
            statement.bind(2, now)
            try statement.run()
        }
    }
}
