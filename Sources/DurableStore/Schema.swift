// Licensed under the Apache License 2.0; see LICENSE.

/// The tables that operators may rely on. A change of them is a new version and a step from the version before.
enum Schema {
    /// `MCPG`: tells our files from other programs' databases.
    static let applicationID: Int64 = 0x4D43_5047
    static let version: Int64 = 3

    /// What version 1 had.
    private static let first = """
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

    /// Version 2: the queue is used, calls that may come twice are known, results and lists are kept.
    private static let second = """
        ALTER TABLE queue_items ADD COLUMN handle TEXT;
        ALTER TABLE queue_items ADD COLUMN target TEXT NOT NULL DEFAULT '';
        ALTER TABLE queue_items ADD COLUMN meta BLOB;
        ALTER TABLE queue_items ADD COLUMN is_idempotent INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE queue_items ADD COLUMN schema_digest TEXT;
        ALTER TABLE queue_items ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
        ALTER TABLE queue_items ADD COLUMN payload_bytes INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE queue_items ADD COLUMN payload_digest BLOB;
        ALTER TABLE queue_items ADD COLUMN result_kind TEXT CHECK (result_kind IN ('result', 'error'));
        ALTER TABLE queue_items ADD COLUMN result BLOB;
        ALTER TABLE queue_items ADD COLUMN result_ref TEXT;
        ALTER TABLE queue_items ADD COLUMN result_bytes INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE queue_items ADD COLUMN result_digest BLOB;
        ALTER TABLE queue_items ADD COLUMN keep_until TEXT;
        CREATE UNIQUE INDEX queue_items_by_handle ON queue_items (handle);
        CREATE INDEX queue_items_by_lane ON queue_items (upstream, caller, priority DESC, id)
            WHERE status IN ('queued', 'in_flight');
        CREATE INDEX queue_items_by_end ON queue_items (keep_until) WHERE keep_until IS NOT NULL;

        CREATE TABLE call_ledger (
            key BLOB PRIMARY KEY,
            digest BLOB NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('running', 'answered', 'stored')),
            life TEXT NOT NULL,
            handle TEXT,
            result_kind TEXT,
            result BLOB,
            created_at TEXT NOT NULL,
            expires_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX call_ledger_by_end ON call_ledger (expires_at);

        CREATE TABLE reply_cache (
            key BLOB PRIMARY KEY,
            tool TEXT NOT NULL,
            result BLOB NOT NULL,
            kept_at TEXT NOT NULL
        );
        CREATE INDEX reply_cache_by_time ON reply_cache (kept_at);

        CREATE TABLE known_offers (
            owner TEXT PRIMARY KEY,
            offers BLOB NOT NULL,
            kept_at TEXT NOT NULL
        ) WITHOUT ROWID;
        """

    /// Version 3: what operators change by hand stays over a restart.
    private static let third = """
        CREATE TABLE overrides (
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            value TEXT NOT NULL,
            since TEXT NOT NULL,
            made_by TEXT NOT NULL,
            until TEXT,
            PRIMARY KEY (kind, subject)
        ) WITHOUT ROWID;
        """

    /// The step that leads to each version from the one before.
    private static let steps = [first, second, third]

    static let tables: Set<String> = [
        "meta", "queue_items", "error_log", "request_log", "session_tombstones", "call_ledger", "reply_cache",
        "known_offers", "overrides",
    ]

    /// What a file is, before anything in it is changed.
    enum Finding: Equatable {
        case empty
        case current
        /// Ours, of a version that steps lead away from.
        case older(Int64)
        case newer(Int64)
        case foreign(String)
    }

    static func look(at connection: Connection) throws(SQLiteFailure) -> Finding {
        let application = try connection.integer("PRAGMA application_id") ?? 0
        let found = try connection.integer("PRAGMA user_version") ?? 0
        if application == applicationID {
            if found > version { return .newer(found) }
            return found < version ? .older(found) : .current
        }
        if application != 0 { return .foreign("its application id is \(application)") }
        let objects = try connection.integer("SELECT count(*) FROM sqlite_schema") ?? 0
        return objects == 0 ? .empty : .foreign("it holds \(objects) tables or indices that are not ours")
    }

    /// A table that ought to be there and is not.
    static func missingTable(_ connection: Connection) throws(SQLiteFailure) -> String? {
        let statement = try connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        var found: Set<String> = []
        while try statement.step() { found.insert(statement.text(0) ?? "") }
        return tables.subtracting(found).min()
    }

    /// Makes the tables, or brings those of an older version to this one: all of it or nothing.
    static func bring(_ connection: Connection, from found: Int64, now: String) throws(SQLiteFailure) {
        try connection.transaction { () throws(SQLiteFailure) in
            for step in steps[Int(max(0, found))...] { try connection.execute(step) }
            try connection.execute("PRAGMA application_id = \(applicationID); PRAGMA user_version = \(version)")
            let statement = try connection.prepare(
                """
                INSERT INTO meta VALUES ('schema_version', ?1), ('created_at', ?2)
                ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE key = 'schema_version'
                """)
            statement.bind(1, String(version))
            statement.bind(2, now)
            try statement.run()
        }
    }
}
