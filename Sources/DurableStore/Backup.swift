// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Glibc
import Telemetry

/// Makes one exact copy of the database in use. Reads through a connection of its own: the writer goes on meanwhile,
/// and only the write-ahead log is emptied a little later.
struct Backup {
    static let draftTail = ".part"
    private static let pagesAtOnce: Int32 = 200
    /// What the disk keeps free besides the copy.
    private static let spareBytes: UInt64 = 16 << 20

    let settings: StoreSettings
    let time: any TimeSource

    /// Beside the target first; under its name only when it is on disk and has passed its check.
    func make(_ target: String, while keepsOn: () -> Bool) throws(StorageCareError) -> BackupReport {
        let begun = time.now()
        let draft = target + Self.draftTail
        StorageFiles.remove(draft)
        guard StorageFiles.create(draft) else {
            let reason = errno
            throw .impossible(
                detail: "no backup was made: \(draft) cannot be written (\(SystemError.text(reason))); "
                    + advice(reason, target))
        }
        defer { StorageFiles.remove(draft) }
        do {
            let made = time.wallMilliseconds()
            try copy(into: draft, made: made, while: keepsOn)
            try check(draft, while: keepsOn)
            let bytes = StorageFiles.bytes(of: draft)
            var times = [timespec(tv_sec: Int(made / 1_000), tv_nsec: Int(made % 1_000) * 1_000_000)]
            times.append(times[0])
            guard unsafe utimensat(AT_FDCWD, draft, times, 0) == 0, StorageFiles.sync(draft),
                unsafe rename(draft, target) == 0, StorageFiles.syncDirectory(of: target)
            else {
                throw StorageCareError.impossible(
                    detail: "no backup was made: \(target) cannot be written: \(SystemError.text(errno))")
            }
            return BackupReport(path: target, bytes: bytes, seconds: time.now().since(begun).milliseconds / 1_000)
        } catch let failure as SQLiteFailure {
            if failure.kind == SQLITE_INTERRUPT { throw .closing }
            if failure.isDamage { throw .damaged(detail: failure.message) }
            throw .impossible(
                detail: "no backup was made: " + OpenDatabase.words(for: failure, path: settings.databasePath))
        } catch let error as StorageCareError {
            throw error
        } catch {
            throw .impossible(detail: "no backup was made: \(error)")
        }
    }

    /// What an operator may do about a place where the gateway makes no file.
    private func advice(_ reason: Int32, _ target: String) -> String {
        let folder = StorageFiles.directory(of: target)
        guard folder != settings.backupDirectory else { return StorageFiles.rights(of: folder) }
        guard reason == EROFS || reason == EACCES || reason == EPERM else { return "name a file elsewhere" }
        return "the gateway may not write there"
            + (reason == EROFS ? ": as a service it may below its own directories only" : "")
            + "; mcp-gateway backup --to \(target), typed by somebody who may, puts it there; or name a file in "
            + "\(settings.backupDirectory), or allow the place with ReadWritePaths= (systemctl edit mcp-gateway)"
    }

    private func copy(into draft: String, made: Int64, while keepsOn: () -> Bool) throws {
        let source = try Connection(path: settings.databasePath, .read)
        let target = try Connection(path: draft)
        // One snapshot for the whole: without it every commit of the writer would begin the copy anew.
        try source.execute("BEGIN")
        let pages = try source.integer("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size") ?? 0
        let room = StorageFiles.space(at: StorageFiles.directory(of: draft))?.free ?? .max
        guard room > UInt64(pages) + Self.spareBytes else {
            throw StorageCareError.impossible(
                detail: "no backup was made: \(pages >> 20) MiB and \(Self.spareBytes >> 20) MiB to spare are "
                    + "needed and \(room >> 20) MiB are free where \(draft) is; free some space")
        }
        try target.execute("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")
        try source.copy(into: target, pagesAtOnce: Self.pagesAtOnce, while: keepsOn)
        // A plain file: whoever opens it needs no right to make others beside it.
        guard try target.text("PRAGMA journal_mode = DELETE") == "delete" else {
            throw StorageCareError.impossible(detail: "no backup was made: \(draft) stayed in WAL mode")
        }
        try Self.stamp(target, madeAt: WallTime.text(milliseconds: made))
    }

    /// Gives a copy an epoch that no mark names, so that a start from it is known for what it is.
    static func stamp(_ target: Connection, madeAt: String) throws(SQLiteFailure) {
        let number = EpochKeeper.current(target)?.number ?? 0
        try target.transaction { () throws(SQLiteFailure) in
            try EpochKeeper.set(Epoch(.backup, after: number), target)
            let note = try target.prepare("INSERT OR REPLACE INTO meta VALUES ('backup_at', ?)")
            note.bind(1, madeAt)
            try note.run()
        }
    }

    private func check(_ draft: String, while keepsOn: () -> Bool) throws {
        let copy = try Connection(path: draft, .mainFileOnly)
        if let strangeness = try FileCheck.strangeness(copy) { throw StorageCareError.damaged(detail: strangeness) }
        let verdict = try copy.whileAllowed(by: keepsOn) { () throws(SQLiteFailure) in
            try copy.text("PRAGMA integrity_check(1)")
        }
        guard verdict == "ok" else {
            throw StorageCareError.damaged(detail: LogText.escaped(verdict ?? "no verdict", bytesMax: 300))
        }
    }
}
