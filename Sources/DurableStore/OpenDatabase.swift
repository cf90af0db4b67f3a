// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Logging
import Telemetry

/// Opens the database file so that the store can rely on it: ours, whole, of a version we know, in the modes we need.
struct OpenDatabase {
    /// What an opening can end with besides a connection.
    private enum Obstacle: Error {
        case damage(String)
        case other(StoreError)
    }

    /// How long the check after an unclean stop may hold up the start.
    static let checkMax = Duration.seconds(2)

    let connection: Connection
    /// What was set aside, in words, if anything was.
    let quarantine: String?
    /// What else operators should know.
    let care: CareState
    /// Nothing vouches for the file but a check that was short.
    let needsDeepCheck: Bool

    /// Call with the storage lock held. A write-ahead log of another file is taken out of the way; a damaged file is
    /// renamed, and a fresh one with what could be read in it takes its place.
    init(_ settings: StoreSettings, lock: StorageLock, time: any TimeSource, log: Logger) throws(StoreError) {
        let path = settings.databasePath
        try StorageFiles.prepare(settings)
        var origin = try Provenance(of: path)
        try origin.clear(path, wallMilliseconds: time.wallMilliseconds())
        var care = CareState()
        care.setAside = origin.setAside
        if let words = origin.setAside { log.warning("\(words)") }
        let wasClean =
            origin.origin == .own && lock.cleanMark != nil && lock.cleanMark == StorageFiles.mark(of: path)
        // A copy that was put there has no such mark either, and says nothing of the run before.
        let wasCutOff = origin.origin == .own && lock.cleanMark == nil
        let damage: String
        do {
            let opened = try Self.open(path, origin, checks: !wasClean, time: time, log: log)
            self.care = try Self.look(opened, care, path: path, log: log)
            connection = opened
            quarantine = nil
            needsDeepCheck = !wasClean && origin.origin != .fresh
            if wasCutOff { Self.tellCutOff(opened, settings.directory, time: time, log: log) }
            return
        } catch {
            switch error {
            case .other(let error): throw error
            case .damage(let reason): damage = reason
            }
        }
        let words = try Self.replace(path, origin, damage: damage, time: time)
        log.error("\(words)", metadata: ["remedy": "restore a backup, or delete the .corrupt file"])
        quarantine = words
        needsDeepCheck = false
        do {
            origin = try Provenance(of: path)
            let opened = try Self.open(path, origin, checks: false, time: time, log: log)
            self.care = try Self.look(opened, care, path: path, log: log)
            connection = opened
            if wasCutOff { Self.tellCutOff(opened, settings.directory, time: time, log: log) }
        } catch let error as StoreError {
            throw error
        } catch let obstacle as Obstacle {
            switch obstacle {
            case .other(let error): throw error
            case .damage(let reason): throw .damaged(file: path, detail: reason)
            }
        } catch {
            throw .damaged(file: path, detail: "\(error)")
        }
    }

    /// Whoever was killed could not say so. Its successor does, once, where somebody looks who asks why.
    private static func tellCutOff(
        _ connection: Connection, _ directory: String, time: any TimeSource, log: Logger
    ) {
        let words =
            "the run before did not end cleanly: it was killed, or it failed, or the machine lost power; "
            + "was the machine out of memory? see journalctl -k"
        log.warning("\(words)", metadata: [LogKey.file: "\(directory)"])
        let record = ErrorRecord(
            wallMilliseconds: time.wallMilliseconds(), errorType: "unclean_stop", message: words,
            component: LogComponent.storage)
        // The line has been written, and a disk that takes no row is told of by the writer.
        try? connection.transaction { () throws(SQLiteFailure) in
            try RowWriter(connection).write(Inbox.Batch(errors: [record]))
        }
    }

    /// Puts a database with what could be read in the damaged one in its place. In words what was done.
    private static func replace(
        _ path: String, _ origin: Provenance, damage: String, time: any TimeSource
    ) throws(StoreError) -> String {
        let saved: String
        do {
            saved = try Salvage.draft(from: path, isRestored: origin.origin == .restored, time: time)
        } catch {
            throw .damaged(file: path, detail: damage + "; what is readable could not be saved: " + error.message)
        }
        let name = try StorageFiles.replace(path, by: Salvage.draft(of: path))
        return "the database was damaged (\(damage)); it was set aside as \(name) and a fresh one was begun: \(saved)"
    }

    /// What the database says of itself to operators.
    private static func look(
        _ connection: Connection, _ former: CareState, path: String, log: Logger
    ) throws(Obstacle) -> CareState {
        var care = former
        do {
            care.restored = try Restored.open(connection)
        } catch {
            throw .other(.unusable(what: path, detail: words(for: error, path: path)))
        }
        if let restored = care.restored { log.warning("\(restored.words)") }
        return care
    }

    private static func open(
        _ path: String, _ origin: Provenance, checks: Bool, time: any TimeSource, log: Logger
    ) throws(Obstacle) -> Connection {
        do {
            let connection = try Connection(path: path)
            // Until the file is accepted nothing in it or beside it may change.
            connection.keepFilesOnClose(true)
            let finding = try Schema.look(at: connection)
            switch finding {
            case .newer(let found):
                throw Obstacle.other(.newerSchema(found: Int(found), known: Int(Schema.version), file: path))
            case .foreign(let detail):
                throw Obstacle.other(.foreign(file: path, detail: detail))
            case .empty, .older, .current: break
            }
            if connection.isReadOnly {
                throw Obstacle.other(.unusable(what: path, detail: StorageFiles.rights(of: path)))
            }
            if finding != .empty, let damage = try check(connection, isShort: checks, time: time, log: log) {
                throw Obstacle.damage(damage)
            }
            try configure(connection, path: path)
            let now = WallTime.text(milliseconds: time.wallMilliseconds())
            switch finding {
            case .empty: try Schema.bring(connection, from: 0, now: now)
            case .older(let version): try Schema.bring(connection, from: version, now: now)
            default: break
            }
            if let missing = try Schema.missingTable(connection) {
                throw Obstacle.damage("its table \(missing) is gone")
            }
            connection.epochs = try origin.keeper(for: connection, path: path, now: now)
            connection.keepFilesOnClose(false)
            StorageFiles.openToGroup(path)
            return connection
        } catch let failure as SQLiteFailure {
            if failure.isDamage { throw .damage(failure.message) }
            throw .other(.unusable(what: path, detail: words(for: failure, path: path)))
        } catch let obstacle as Obstacle {
            throw obstacle
        } catch let error as StoreError {
            throw .other(error)
        } catch {
            throw .other(.unusable(what: path, detail: "\(error)"))
        }
    }

    private static func configure(_ connection: Connection, path: String) throws {
        guard try connection.text("PRAGMA journal_mode = WAL") == "wal" else {
            throw Obstacle.other(
                .unusable(
                    what: path, detail: "the file system there does not allow a write-ahead log; use a local disk"))
        }
        // Checkpoints are the writer's own business; temporary tables must not leave the storage directory.
        try connection.execute(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; "
                + "PRAGMA cache_size = -2000")
    }

    /// What is wrong with the file, or nil. A large file is looked at for as long as a start may wait.
    private static func check(
        _ connection: Connection, isShort: Bool, time: any TimeSource, log: Logger
    ) throws(SQLiteFailure) -> String? {
        // What the deep check found in an earlier life is looked at again, for as long as it takes.
        if try DamageNote.read(connection) != nil {
            if let damage = try FileCheck.damage(connection) { return damage }
            try DamageNote.write(nil, connection)
        }
        guard isShort else { return nil }
        let end = time.now() + checkMax
        do {
            let verdict = try connection.whileAllowed(by: { time.now() < end }) { () throws(SQLiteFailure) in
                try connection.text("PRAGMA quick_check(1)")
            }
            return verdict == "ok" ? nil : LogText.escaped(verdict ?? "the check gave no answer", bytesMax: 200)
        } catch  where error.kind == SQLITE_INTERRUPT {
            log.notice("the check of the database after an unclean stop was ended early, no damage seen so far")
            return nil
        }
    }

    /// A failure in words that an operator can act on.
    static func words(for failure: SQLiteFailure, path: String) -> String {
        switch failure.kind {
        case SQLITE_FULL: "the disk is full; free space where \(path) is"
        case SQLITE_BUSY, SQLITE_LOCKED:
            "another process holds the database's write lock; end that process or its transaction"
        case SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM:
            "\(failure.message); " + StorageFiles.rights(of: path)
        case SQLITE_IOERR where (StorageFiles.space(at: path)?.free ?? .max) < 1 << 20:
            "the disk is full; free space where \(path) is"
        case SQLITE_IOERR: "the disk does not read or write (\(failure.message)); look at the disk and the kernel's log"
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            "the database is damaged (\(failure.message)); restart the gateway: it sets the file aside"
        default: failure.message
        }
    }
}
