// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Telemetry

/// Makes a new database of what can be read in a damaged one. Rows are copied one by one; where pages are damaged it
/// goes on behind them. Index pages are not used. A file whose first page is gone gives nothing.
struct Salvage {
    /// How long it may take; then the rest is left.
    static let timeMax = Duration.seconds(10)
    /// The name of the new file until it is complete.
    static func draft(of path: String) -> String { path + ".salvage" }

    /// Tables whose rows are worth it, what matters most first, and what operators call them. `request_log`, kept
    /// replies and known lists come again by themselves.
    private static let tables: [(name: String, what: String)] = [
        ("queue_items", "stored calls"), ("call_ledger", "noted calls"), ("session_tombstones", "ended sessions"),
        ("overrides", "overrides"),
        ("meta", "notes"), ("error_log", "logged problems"),
    ]
    /// Notes on the damaged file itself.
    private static let notesLeft = "('schema_version', 'created_at', 'epoch', 'damage')"

    private let source: Connection
    private let target: Connection
    private let keepsOn: () -> Bool
    private(set) var copied: [(what: String, count: Int)] = []
    private(set) var gaps = 0
    private(set) var isCutShort = false

    /// Leaves a complete, synced draft beside the damaged file, which is only read. Tells in words what was saved.
    ///
    /// - Parameter isRestored: the damaged file is an older copy that somebody has put there.
    static func draft(
        from path: String, isRestored: Bool, time: any TimeSource
    ) throws(SQLiteFailure) -> String {
        let draft = draft(of: path)
        StorageFiles.remove(draft)
        guard StorageFiles.create(draft) else {
            throw SQLiteFailure(code: SQLITE_CANTOPEN, message: "\(draft) cannot be made")
        }
        let target = try Connection(path: draft)
        try target.execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")
        let now = WallTime.text(milliseconds: time.wallMilliseconds())
        try Schema.bring(target, from: 0, now: now)
        var words = "nothing in it could be read"
        try target.transaction { () throws(SQLiteFailure) in
            let end = time.now() + timeMax
            if let source = readable(path) {
                var salvage = Salvage(source: source, target: target, keepsOn: { time.now() < end })
                try salvage.copyAll()
                words = salvage.words
                if isRestored { try Restored.mark(target, now: now) }
            }
            try EpochKeeper.set(Epoch(.salvage, after: 0), target)
        }
        return words
    }

    /// A connection that changes nothing, not even when it ends.
    private static func readable(_ path: String) -> Connection? {
        do {
            let source = try Connection(path: path)
            source.keepFilesOnClose(true)
            try source.execute("PRAGMA query_only = 1")
            return try source.integer("SELECT count(*) FROM sqlite_schema") ?? 0 > 0 ? source : nil
        } catch {
            return nil
        }
    }

    private var words: String {
        let found = copied.filter { $0.count > 0 }.map { "\($0.count) \($0.what)" }
        var text = found.isEmpty ? "none of its rows could be read" : found.joined(separator: ", ") + " were saved"
        if gaps > 0 { text += ", \(gaps) damaged places were skipped" }
        if isCutShort { text += ", and the rest was left because it took too long" }
        return text
    }

    private mutating func copyAll() throws(SQLiteFailure) {
        for (table, what) in Self.tables {
            guard keepsOn() else {
                isCutShort = true
                return
            }
            copied.append((what, try copy(table)))
        }
    }

    /// The columns that both files have, the first one that orders the rows first.
    private func columns(of table: String) throws(SQLiteFailure) -> [String] {
        func names(_ connection: Connection) throws(SQLiteFailure) -> [String] {
            let statement = try connection.prepare("SELECT name FROM pragma_table_info('\(table)')")
            var names: [String] = []
            while try statement.step() { names.append(statement.text(0) ?? "") }
            return names
        }
        let known = try names(target)
        do {
            let present = try Set(names(source))
            return known.filter { present.contains($0) }
        } catch {
            return []
        }
    }

    private mutating func copy(_ table: String) throws(SQLiteFailure) -> Int {
        let columns = try columns(of: table)
        guard let key = columns.first else {
            gaps += 1
            return 0
        }
        let list = columns.joined(separator: ", ")
        let places = Array(repeating: "?", count: columns.count).joined(separator: ", ")
        let filter = table == "meta" ? "key NOT IN \(Self.notesLeft)" : "1"
        let insert = try target.prepare("INSERT OR IGNORE INTO \(table) (\(list)) VALUES (\(places))")
        let base = "SELECT \(list) FROM \(table) NOT INDEXED WHERE \(filter)"
        if key == "id" {
            return try copy(base + " AND id >= ?1 ORDER BY id", numbered: insert, Int32(columns.count))
        }
        // Keys without order of their own: from both ends up to the damage.
        var count = 0
        for order in ["", " DESC"] {
            let walk = try walk(base + " ORDER BY \(key)\(order)", insert, Int32(columns.count), from: nil)
            count += walk.count
            if walk.isWhole { break }
            gaps += order.isEmpty ? 1 : 0
        }
        return count
    }

    /// Rows in the order of their ids. Behind a damaged place the next id that can be read is searched for in growing
    /// steps, and the last step then halved, so that little that is sound is left out. A damaged tree may lead in
    /// circles: it only goes on behind the highest id it has seen, in leaps where that gives nothing new.
    private mutating func copy(
        _ sql: String, numbered insert: Statement, _ columns: Int32
    ) throws(SQLiteFailure) -> Int {
        let stepMax: Int64 = 1 << 40
        var (count, start, leap) = (0, Int64(1), Int64(0))
        while keepsOn() {
            let walk = try walk(sql, insert, columns, from: start)
            count += walk.count
            // No id that the gateway gave is near the end of what a number holds.
            if walk.isWhole || max(start, walk.last ?? 0) > .max - 4 * stepMax { return count }
            gaps += 1
            if leap > 0, walk.count == 0 {
                leap *= 2
                if leap > stepMax { return count }
                start += leap
                continue
            }
            leap = 1
            var bad = max(start, walk.last.map { $0 + 1 } ?? start)
            var step: Int64 = 1
            while !canRead(sql, from: bad + step) {
                bad += step
                step *= 2
                if step > stepMax || !keepsOn() { return count }
            }
            var good = bad + step
            while good - bad > 1, keepsOn() {
                let middle = bad + (good - bad) / 2
                if canRead(sql, from: middle) { good = middle } else { bad = middle }
            }
            start = good
        }
        isCutShort = true
        return count
    }

    /// Whether there is a first row from here on, or certainly none.
    private func canRead(_ sql: String, from id: Int64) -> Bool {
        do {
            let statement = try source.prepare(sql)
            statement.bind(1, id)
            _ = try statement.step()
            return true
        } catch {
            return false
        }
    }

    private mutating func walk(
        _ sql: String, _ insert: Statement, _ columns: Int32, from id: Int64?
    ) throws(SQLiteFailure) -> (count: Int, last: Int64?, isWhole: Bool) {
        var count = 0
        var last: Int64?
        let statement: Statement
        do { statement = try source.prepare(sql) } catch { return (0, nil, false) }
        if let id { statement.bind(1, id) }
        while keepsOn() {
            do {
                guard try statement.step() else { return (count, last, true) }
            } catch {
                return (count, last, false)
            }
            for column in 0..<columns { insert.bind(column + 1, column: column, of: statement) }
            count += try target.changes(by: insert)
            if id != nil { last = max(last ?? .min, statement.integer(0) ?? .min) }
        }
        isCutShort = true
        return (count, last, true)
    }
}
