// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
package import GatewayCore
import Glibc
import Telemetry

/// A restoring that was done.
package struct RestoreReport: Sendable, Equatable {
    package var path: String
    package var bytes: Int64
    /// The name of what was there before; nil when there was nothing.
    package var kept: String?
    /// Calls that will wait for a person at the next start, because they may have been carried out since.
    package var undecided: Int64
    /// Calls that will be sent again: they may be.
    package var sentAgain: Int64
}

/// For the command line, while no gateway runs.
extension DurableStore {
    /// Puts a copy of the database in the place of the present one, which is kept under another name.
    ///
    /// Refuses with `locked` while a gateway runs, and with `unsound`, `foreign` or `newerSchema` a source that is not
    /// sound; then everything is as it was. The next start treats the calls in it as decision 0013 says.
    package static func restore(
        from source: String, directory: String, time: any TimeSource
    ) throws(StoreError) -> RestoreReport {
        try StorageFiles.make(directory: directory)
        let lock = try StorageLock(directory: directory)
        defer { lock.release(cleanMark: nil) }
        let path = StoreSettings(directory: directory).databasePath
        guard StorageFiles.exists(source) else {
            throw .unusable(what: source, detail: "there is no such file; backups lie in \(directory)/backups")
        }
        try checkSource(source, time: time)
        let draft = path + ".restoring"
        StorageFiles.remove(draft)
        defer { StorageFiles.remove(draft) }
        var report: RestoreReport
        do {
            report = try copy(source, to: draft, path: path)
        } catch {
            throw .unusable(what: draft, detail: OpenDatabase.words(for: error, path: draft))
        }
        guard StorageFiles.sync(draft) else { throw .unusable(what: draft, detail: SystemError.text(errno)) }
        if StorageFiles.bytes(of: path) > 0 {
            let name = StorageFiles.free(path + ".before-restore-" + Provenance.stamp(time.wallMilliseconds()))
            try StorageFiles.keep(path, as: name)
            // Under the name that SQLite looks for beside the kept file.
            if StorageFiles.bytes(of: path + "-wal") > 0 { try StorageFiles.keep(path + "-wal", as: name + "-wal") }
            // What was set aside may be put back, with all that belongs to it. A copy: the mark is written in place.
            _ = StorageFiles.copy(path + ".epoch", to: name + ".epoch")
            report.kept = name
        }
        guard unsafe rename(draft, path) == 0 else { throw .unusable(what: path, detail: SystemError.text(errno)) }
        // Should this not be reached: the file has an epoch that no mark names, so the log will not be mixed into it.
        for tail in ["-wal", "-shm", "-journal"] { _ = unsafe unlink(path + tail) }
        guard StorageFiles.syncDirectory(of: path) else {
            throw .unusable(what: path, detail: SystemError.text(errno))
        }
        return report
    }

    private static func checkSource(_ source: String, time: any TimeSource) throws(StoreError) {
        do {
            let connection = try reading(source)
            switch try Schema.look(at: connection) {
            case .foreign(let detail): throw StoreError.foreign(file: source, detail: detail)
            case .newer(let found):
                throw StoreError.newerSchema(found: Int(found), known: Int(Schema.version), file: source)
            case .empty: throw StoreError.foreign(file: source, detail: "it is empty")
            case .older: break
            case .current:
                if let missing = try Schema.missingTable(connection) {
                    throw StoreError.unsound(file: source, detail: "its table \(missing) is gone")
                }
            }
            if let verdict = try connection.text("PRAGMA integrity_check(1)"), verdict != "ok" {
                throw StoreError.unsound(file: source, detail: LogText.escaped(verdict, bytesMax: 300))
            }
        } catch let error as StoreError {
            throw error
        } catch let failure as SQLiteFailure {
            if failure.isDamage { throw .unsound(file: source, detail: failure.message) }
            throw .unusable(what: source, detail: OpenDatabase.words(for: failure, path: source))
        } catch {
            throw .unusable(what: source, detail: "\(error)")
        }
    }

    private static func copy(_ source: String, to draft: String, path: String) throws(SQLiteFailure) -> RestoreReport {
        guard StorageFiles.create(draft) else {
            throw SQLiteFailure(code: SQLITE_CANTOPEN, message: SystemError.text(errno))
        }
        let from = try reading(source)
        let target = try Connection(path: draft)
        try target.execute("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")
        try from.copy(into: target, pagesAtOnce: 1_000, while: { true })
        try target.execute("PRAGMA journal_mode = DELETE")
        let made = try target.text("SELECT value FROM meta WHERE key = 'backup_at'")
        try Backup.stamp(target, madeAt: made ?? "an unknown time")
        func waiting(_ isIdempotent: Int) throws(SQLiteFailure) -> Int64 {
            // Files of the first version know nothing of calls that may be sent twice; nor do they hold any calls.
            guard try target.integer("PRAGMA user_version") ?? 0 > 1 else { return 0 }
            return try target.integer(
                "SELECT count(*) FROM queue_items WHERE status IN ('queued', 'in_flight') AND is_idempotent = "
                    + "\(isIdempotent)") ?? 0
        }
        return RestoreReport(
            path: path, bytes: StorageFiles.bytes(of: draft), kept: nil, undecided: try waiting(0),
            sentAgain: try waiting(1))
    }

    /// Looks at a file that no gateway has in use: a backup, a copy, or the database after a stop or a crash.
    package static func verify(file: String, time: any TimeSource) -> VerifyReport {
        verify(file: file, time: time, while: { true })
    }

    static func verify(file: String, time: any TimeSource, while keepsOn: () -> Bool) -> VerifyReport {
        guard StorageFiles.exists(file) else {
            var report = VerifyReport(path: file)
            report.problems = ["there is no such file"]
            return report
        }
        guard StorageFiles.isRegular(file) else {
            var report = VerifyReport(path: file)
            report.problems = ["it is no regular file"]
            return report
        }
        do {
            var parent = StorageFiles.directory(of: file)
            if parent.hasSuffix("/backups") { parent = StorageFiles.directory(of: parent) }
            var report = FileCheck.report(
                try reading(file), path: file, payloads: parent + "/queue", isInUse: false, time: time, while: keepsOn)
            do {
                if try Provenance(of: file).isLogAlien, StorageFiles.bytes(of: file + "-wal") > 0 {
                    report.problems.append(
                        "the write-ahead log beside it belongs to another file; the gateway sets it aside at its start")
                }
            } catch {
                report.problems.append(error.text)
            }
            return report
        } catch {
            return .unreadable(file, error)
        }
    }

    /// A connection that changes nothing. A log beside a file counts as part of it.
    private static func reading(_ path: String) throws(SQLiteFailure) -> Connection {
        let isAlien: Bool
        do { isAlien = try Provenance(of: path).isLogAlien } catch { isAlien = true }
        guard StorageFiles.bytes(of: path + "-wal") > 0, !isAlien else {
            return try Connection(path: path, .mainFileOnly)
        }
        let connection = try Connection(path: path)
        connection.keepFilesOnClose(true)
        try connection.execute("PRAGMA query_only = 1")
        return connection
    }
}
