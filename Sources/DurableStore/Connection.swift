// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite

/// What SQLite answered instead of doing what it was told.
struct SQLiteFailure: Error, CustomStringConvertible {
    let code: Int32
    let message: String

    /// The code without its refinement.
    var kind: Int32 { code & 0xFF }
    var isBusy: Bool { kind == SQLITE_BUSY || kind == SQLITE_LOCKED }
    /// The file is no database, or no longer one.
    var isDamage: Bool { kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB }
    /// It is about what was to be written, not about whether anything can be.
    var isOfRow: Bool { kind == SQLITE_CONSTRAINT || kind == SQLITE_TOOBIG }
    var description: String { message }
}

/// One connection to a database. Belongs to one thread at a time. Safe to use: the handle lives as long as the object
/// does.
@safe final class Connection {
    /// What a connection is for.
    enum Access {
        case readWrite
        case read
        /// Reads the main file alone: no write-ahead log is looked at, nothing is locked, nothing is made beside it.
        case mainFileOnly
    }

    private let handle: OpaquePointer
    /// Marks what checkpoints of this connection leave.
    var epochs: EpochKeeper?

    /// Opens an existing or empty file.
    init(path: String, _ access: Access = .readWrite) throws(SQLiteFailure) {
        var opened: OpaquePointer?
        var flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        var name = path
        switch access {
        case .readWrite: flags |= SQLITE_OPEN_READWRITE
        case .read: flags |= SQLITE_OPEN_READONLY
        case .mainFileOnly:
            flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
            name = "file:"
            for character in path {
                switch character {
                case "%": name += "%25"
                case "?": name += "%3f"
                case "#": name += "%23"
                default: name.append(character)
                }
            }
            name += "?immutable=1"
        }
        let code = unsafe sqlite3_open_v2(name, &opened, flags, nil)
        guard code == SQLITE_OK, let handle = unsafe opened else {
            let message = unsafe opened.map { unsafe String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            unsafe sqlite3_close_v2(opened)
            throw SQLiteFailure(code: code, message: message)
        }
        unsafe self.handle = handle
        waitForOthers(milliseconds: 2_000)
        // A damaged or hostile file must not be able to run anything through its schema.
        _ = unsafe mcpgw_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1)
        _ = unsafe mcpgw_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    }

    deinit { unsafe sqlite3_close_v2(handle) }

    /// How long a statement waits for another process that holds the database.
    func waitForOthers(milliseconds: Int32) { unsafe sqlite3_busy_timeout(handle, milliseconds) }

    /// Whether the end of this connection leaves the files as they are, without completing the main file.
    func keepFilesOnClose(_ keeps: Bool) {
        _ = unsafe mcpgw_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps ? 1 : 0)
    }

    var isReadOnly: Bool { unsafe sqlite3_db_readonly(handle, "main") == 1 }

    /// Runs statements that give no rows.
    func execute(_ sql: String) throws(SQLiteFailure) {
        let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw failure(code) }
    }

    func prepare(_ sql: String) throws(SQLiteFailure) -> Statement {
        var made: OpaquePointer?
        let code = unsafe sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil)
        guard code == SQLITE_OK, let made = unsafe made else { throw failure(code) }
        return unsafe Statement(made, of: self)
    }

    /// The first column of the first row as a number, or nil when there is no row or it is NULL.
    func integer(_ sql: String) throws(SQLiteFailure) -> Int64? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.integer(0) : nil
    }

    /// The same as text.
    func text(_ sql: String) throws(SQLiteFailure) -> String? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.text(0) : nil
    }

    /// Whether a transaction is open. SQLite ends one by itself when the disk is full or does not work.
    var isInTransaction: Bool { unsafe sqlite3_get_autocommit(handle) == 0 }

    /// The id of the row that was inserted last.
    var lastInsertedID: Int64 { unsafe sqlite3_last_insert_rowid(handle) }

    /// Does all of `body` or nothing of it.
    func transaction(_ body: () throws(SQLiteFailure) -> Void) throws(SQLiteFailure) {
        try execute("BEGIN IMMEDIATE")
        do {
            try body()
            try execute("COMMIT")
        } catch {
            if isInTransaction {
                // What made the body end is what the caller needs to hear; a rollback that cannot be done changes
                // nothing.
                _ = unsafe sqlite3_exec(handle, "ROLLBACK", nil, nil, nil)
            }
            throw error
        }
    }

    /// Brings the main file up to date and empties the write-ahead log. False when a reader stood in the way; then as
    /// much was brought over as the reader allowed.
    func checkpoint() throws(SQLiteFailure) -> Bool {
        if let epochs { return try epochs.checkpoint(self) }
        return try emptyLog()
    }

    /// A checkpoint as SQLite does it, without any mark.
    func emptyLog() throws(SQLiteFailure) -> Bool {
        let code = unsafe sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
        if code == SQLITE_OK { return true }
        let failure = failure(code)
        if failure.isBusy { return false }
        throw failure
    }

    /// Runs a statement and tells how many rows it changed.
    func changes(by statement: Statement) throws(SQLiteFailure) -> Int {
        try statement.run()
        return Int(unsafe sqlite3_changes(handle))
    }

    /// Copies every page into an empty database, some at a time. Ends with SQLITE_INTERRUPT at the first no.
    func copy(into target: Connection, pagesAtOnce: Int32, while keepsOn: () -> Bool) throws(SQLiteFailure) {
        guard let backup = unsafe sqlite3_backup_init(target.handle, "main", handle, "main") else {
            throw target.failure(unsafe sqlite3_errcode(target.handle))
        }
        var code = SQLITE_OK
        while code == SQLITE_OK {
            code = keepsOn() ? unsafe sqlite3_backup_step(backup, pagesAtOnce) : SQLITE_INTERRUPT
        }
        let end = unsafe sqlite3_backup_finish(backup)
        guard code == SQLITE_DONE, end == SQLITE_OK else {
            let reason = end == SQLITE_OK ? code : end
            throw SQLiteFailure(code: reason, message: unsafe String(cString: sqlite3_errstr(reason)))
        }
    }

    /// Gives back what the page cache holds.
    func releaseMemory() { unsafe sqlite3_db_release_memory(handle) }

    /// Has `keepsOn` asked every few thousand steps of a statement, which ends with SQLITE_INTERRUPT at the first no.
    func whileAllowed<Value>(
        by keepsOn: () -> Bool, _ body: () throws(SQLiteFailure) -> Value
    ) throws(SQLiteFailure) -> Value {
        try withoutActuallyEscaping(keepsOn) { (keepsOn) throws(SQLiteFailure) -> Value in
            let gate = Gate(keepsOn: keepsOn)
            let context = unsafe Unmanaged.passUnretained(gate).toOpaque()
            unsafe sqlite3_progress_handler(
                handle, 10_000,
                { context in
                    guard let context = unsafe context else { return 0 }
                    return unsafe Unmanaged<Gate>.fromOpaque(context).takeUnretainedValue().keepsOn() ? 0 : 1
                }, context)
            defer {
                unsafe sqlite3_progress_handler(handle, 0, nil, nil)
                gate.end()
            }
            return try body()
        }
    }

    private final class Gate {
        private(set) var keepsOn: () -> Bool
        init(keepsOn: @escaping () -> Bool) { self.keepsOn = keepsOn }
        func end() { keepsOn = { true } }
    }

    func failure(_ code: Int32) -> SQLiteFailure {
        SQLiteFailure(code: code, message: unsafe String(cString: sqlite3_errmsg(handle)))
    }
}

/// One prepared statement. Safe to use: it ends before its connection does, because it holds on to it.
@safe final class Statement {
    private let handle: OpaquePointer
    private let connection: Connection

    fileprivate init(_ handle: OpaquePointer, of connection: Connection) {
        unsafe self.handle = unsafe handle
        self.connection = connection
    }

    deinit { unsafe sqlite3_finalize(handle) }

    func bind(_ index: Int32, _ value: Int64) { unsafe sqlite3_bind_int64(handle, index, value) }
    func bind(_ index: Int32, _ value: Double) { unsafe sqlite3_bind_double(handle, index, value) }

    /// Without a text: NULL.
    func bind(_ index: Int32, _ text: String?) {
        guard var text else {
            unsafe sqlite3_bind_null(handle, index)
            return
        }
        text.withUTF8 { bytes in
            _ = unsafe bytes.withMemoryRebound(to: CChar.self) { text in
                unsafe mcpgw_bind_text(handle, index, text.baseAddress, Int32(text.count))
            }
        }
    }

    func bind(_ index: Int32, bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { _ = unsafe mcpgw_bind_blob(handle, index, $0.baseAddress, Int32($0.count)) }
    }

    /// A value of another statement's present row, whatever its type.
    func bind(_ index: Int32, column: Int32, of other: Statement) {
        unsafe sqlite3_bind_value(handle, index, sqlite3_column_value(other.handle, column))
    }

    /// Without bytes: NULL. No bytes are not NULL.
    func bind(_ index: Int32, blob: [UInt8]?) {
        guard let blob else {
            unsafe sqlite3_bind_null(handle, index)
            return
        }
        if blob.isEmpty { unsafe sqlite3_bind_zeroblob(handle, index, 0) } else { bind(index, bytes: blob) }
    }

    /// Without a number: NULL.
    func bind(_ index: Int32, optional value: Int64?) {
        if let value { bind(index, value) } else { unsafe sqlite3_bind_null(handle, index) }
    }

    /// Whether there is a row now.
    func step() throws(SQLiteFailure) -> Bool {
        switch unsafe sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code:
            let failure = connection.failure(code)
            unsafe sqlite3_reset(handle)
            throw failure
        }
    }

    /// Runs a statement that changes something, and makes it ready for the next time.
    func run() throws(SQLiteFailure) {
        while try step() {}
        unsafe sqlite3_reset(handle)
    }

    /// The first row, if there is one.
    func first<Value>(_ read: (Statement) -> Value) throws(SQLiteFailure) -> Value? {
        defer { unsafe sqlite3_reset(handle) }
        return try step() ? read(self) : nil
    }

    /// Every row.
    func each(_ read: (Statement) -> Void) throws(SQLiteFailure) {
        defer { unsafe sqlite3_reset(handle) }
        while try step() { read(self) }
    }

    func integer(_ column: Int32) -> Int64? {
        guard unsafe sqlite3_column_type(handle, column) != SQLITE_NULL else { return nil }
        return unsafe sqlite3_column_int64(handle, column)
    }

    func text(_ column: Int32) -> String? {
        guard let text = unsafe sqlite3_column_text(handle, column) else { return nil }
        return unsafe String(cString: text)
    }

    /// Nil for NULL.
    func blob(_ column: Int32) -> [UInt8]? {
        unsafe sqlite3_column_type(handle, column) == SQLITE_NULL ? nil : bytes(column)
    }

    func bytes(_ column: Int32) -> [UInt8] {
        guard let blob = unsafe sqlite3_column_blob(handle, column) else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: blob, count: Int(sqlite3_column_bytes(handle, column))))
    }
}
