// Licensed under the Apache License 2.0; see LICENSE.

/// What an older copy of the database means for the calls in it: they may have been sent since it was made.
enum Restored {
    /// The row of `meta` that says so until nobody has to decide any more.
    static let metaKey = "restored"
    /// How the `last_error` of those calls begins.
    static let prefix = "restored from"

    /// Calls that wait and must not be sent twice wait for a person from here on; the others are sent again. Use
    /// inside a transaction.
    static func mark(_ connection: Connection, now: String) throws(SQLiteFailure) {
        let made = try connection.text("SELECT value FROM meta WHERE key = 'backup_at'")
        let source = made.map { "\(prefix) a backup of \($0) UTC" } ?? "\(prefix) an older copy of the database"
        let unknown = try connection.prepare(
            """
            UPDATE queue_items SET status = 'unknown', updated_at = ?1, last_error = ?2
            WHERE status IN ('queued', 'in_flight') AND is_idempotent = 0
            """)
        unknown.bind(1, now)
        unknown.bind(2, source + ": it may have been carried out since; look there, then retry or cancel it")
        let count = try connection.changes(by: unknown)
        // What waits says in `keep_until` when it expires; see `CallRows`.
        try connection.execute(
            "UPDATE queue_items SET status = 'queued', keep_until = expires_at WHERE status = 'in_flight'")
        let again = try connection.integer("SELECT count(*) FROM queue_items WHERE status = 'queued'") ?? 0
        let note = try connection.prepare("INSERT OR REPLACE INTO meta VALUES ('\(metaKey)', ?1)")
        note.bind(
            1,
            "at \(now) UTC the database was \(source): \(count) calls that may have been carried out since wait for "
                + "a person, \(again) that may be sent twice are sent again")
        try note.run()
        try connection.execute("DELETE FROM meta WHERE key = 'backup_at'")
    }

    /// What the row says and how many calls still wait for a person because of it; nil when there is nothing to say.
    static func open(_ connection: Connection) throws(SQLiteFailure) -> (words: String, count: Int)? {
        guard let words = try connection.text("SELECT value FROM meta WHERE key = '\(metaKey)'") else { return nil }
        let count = try connection.integer(
            "SELECT count(*) FROM queue_items WHERE status = 'unknown' AND last_error LIKE '\(prefix) %'")
        return (words, Int(count ?? 0))
    }
}
