// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import Crypto
import GatewayCore
import Glibc
import Telemetry

/// Looks at a database file, or at the database in use, without changing it.
struct FileCheck {
    static let problemsMax = 100

    /// Every page and every index. Nil when nothing is wrong; `keepsOn` is asked all the time, and a no ends it with
    /// SQLITE_INTERRUPT. One table after the other, because a reader keeps the log from being emptied.
    static func damage(
        _ connection: Connection, while keepsOn: () -> Bool = { true }
    ) throws(SQLiteFailure) -> String? {
        do {
            let statement = try connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            var tables: [String] = []
            while try statement.step() { tables.append(statement.text(0) ?? "") }
            for table in tables {
                let name = table.replacing("'", with: "''")
                let verdict = try connection.whileAllowed(by: keepsOn) { () throws(SQLiteFailure) in
                    try connection.text("PRAGMA integrity_check('\(name)')")
                }
                if verdict != "ok" { return table + ": " + tidy(verdict ?? "the check gave no answer") }
            }
            return nil
        } catch {
            if error.isDamage { return error.message }
            throw error
        }
    }

    /// What keeps a file from being a database of ours that this gateway can use, or nil.
    static func strangeness(_ connection: Connection) throws(SQLiteFailure) -> String? {
        switch try Schema.look(at: connection) {
        case .current: break
        case .older: return nil
        case .empty: return "it is empty"
        case .newer(let found): return "it has schema version \(found), this gateway knows up to \(Schema.version)"
        case .foreign(let detail): return "it is not a database of mcp-gateway: " + detail
        }
        let missing = try Schema.missingTable(connection)
        return missing.map { "its table \($0) is gone" }
    }

    /// The whole look: see `StorageCare.verify`.
    ///
    /// - Parameters:
    ///   - payloads: the directory of the payload files.
    ///   - isInUse: rows may come and go meanwhile.
    static func report(
        _ connection: Connection, path: String, payloads: String, isInUse: Bool, time: any TimeSource,
        while keepsOn: () -> Bool = { true }
    ) -> VerifyReport {
        var report = VerifyReport(path: path)
        let begun = time.now()
        do {
            if let strangeness = try strangeness(connection) { report.problems.append(strangeness) }
            let check = try connection.whileAllowed(by: keepsOn) { () throws(SQLiteFailure) in
                let statement = try connection.prepare("PRAGMA integrity_check(\(problemsMax))")
                var found: [String] = []
                while try statement.step() { found.append(tidy(statement.text(0) ?? "")) }
                return found
            }
            if check != ["ok"] { report.problems += check + (isInUse ? [] : [tornHint]) }
            for table in Schema.tables.sorted() where try has(table, connection) {
                report.rows[table] = try connection.integer("SELECT count(*) FROM \(table)")
            }
            let found = try PayloadCheck(directory: payloads).check(connection, isInUse: isInUse, while: keepsOn)
            report.payloadsSound = found.sound
            report.problems += found.problems
        } catch {
            report.problems.append(
                error.kind == SQLITE_INTERRUPT ? "the check was ended early" : "it cannot be read: \(error.message)")
        }
        report.problems = Array(report.problems.prefix(problemsMax))
        report.seconds = time.now().since(begun).milliseconds / 1_000
        return report
    }

    private static let tornHint =
        "if it was copied from a running gateway, a checkpoint may have torn the copy: copy it again, or use a file of "
        + "backups/"

    private static func has(_ table: String, _ connection: Connection) throws(SQLiteFailure) -> Bool {
        try connection.integer("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '\(table)'") != nil
    }

    private static func tidy(_ text: String) -> String { LogText.escaped(text, bytesMax: 300) }
}

/// The payload files that rows of the queue name.
struct PayloadCheck {
    let directory: String

    /// What names a file, in either of the columns that do.
    private struct Reference {
        var id: Int64
        var column: String
        var name: String
        var digest: [UInt8]
    }

    /// Where a row's file lies: the name alone counts, whatever path is written before it.
    private func path(of name: String) -> String {
        directory + "/" + (name.split(separator: "/").last.map(String.init) ?? "-")
    }

    private func references(_ connection: Connection) throws(SQLiteFailure) -> [Reference] {
        var found: [Reference] = []
        for column in ["payload", "result"] {
            let hasColumns = try connection.integer(
                """
                SELECT count(*) FROM pragma_table_info('queue_items')
                WHERE name IN ('\(column)_ref', '\(column)_digest')
                """)
            // A file of the first version had no payload files yet.
            guard hasColumns == 2 else { continue }
            let statement = try connection.prepare(
                "SELECT id, \(column)_ref, \(column)_digest FROM queue_items WHERE \(column)_ref IS NOT NULL")
            while try statement.step() {
                found.append(
                    Reference(
                        id: statement.integer(0) ?? 0, column: column, name: statement.text(1) ?? "",
                        digest: statement.bytes(2)))
            }
        }
        return found
    }

    /// Reads every file that is named.
    func check(
        _ connection: Connection, isInUse: Bool, while keepsOn: () -> Bool = { true }
    ) throws(SQLiteFailure) -> (sound: Int, missing: Int, problems: [String]) {
        var (sound, missing) = (0, 0)
        var problems: [String] = []
        for reference in try references(connection) {
            guard keepsOn() else { throw SQLiteFailure(code: SQLITE_INTERRUPT, message: "ended early") }
            let path = path(of: reference.name)
            let digest = Self.digest(of: path)
            if let digest, reference.digest.isEmpty || digest == reference.digest {
                sound += 1
                continue
            }
            if isInUse, try !isStillNamed(reference, connection) { continue }
            if digest == nil { missing += 1 }
            let what = digest == nil ? "is missing or cannot be read" : "is not what was written"
            problems.append("\(path), the \(reference.column) of stored call \(reference.id), \(what)")
        }
        return (sound, missing, problems)
    }

    private func isStillNamed(_ reference: Reference, _ connection: Connection) throws(SQLiteFailure) -> Bool {
        let again = try connection.prepare("SELECT 1 FROM queue_items WHERE id = ? AND \(reference.column)_ref = ?")
        again.bind(1, reference.id)
        again.bind(2, reference.name)
        return try again.step()
    }

    /// Files that no row names. Young ones may belong to a row that is just being written.
    func orphans(_ connection: Connection, wallSeconds: Int64) throws(SQLiteFailure) -> Int {
        let files = StorageFiles.names(in: directory).filter { name in
            guard !name.hasSuffix(".corrupt") else { return false }
            var entry = stat()
            guard unsafe lstat(directory + "/" + name, &entry) == 0 else { return false }
            return wallSeconds - Int64(entry.st_mtim.tv_sec) > 600
        }
        guard !files.isEmpty else { return 0 }
        let named = Set(try references(connection).map { path(of: $0.name) })
        return files.count { !named.contains(directory + "/" + $0) }
    }

    /// SHA-256 of a file; nil when it cannot be read.
    static func digest(of path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var hash = SHA256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = unsafe read(descriptor, &buffer, buffer.count)
            if count < 0 { return nil }
            if count == 0 { return Array(hash.finalize()) }
            hash.update(data: buffer[..<count])
        }
    }
}
