// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Logging
import Telemetry

/// Where the database file that lies there comes from, found out before SQLite may bring a write-ahead log over it.
struct Provenance {
    enum Origin: Equatable {
        /// The one the gateway left there, or one of which nothing else is known.
        case own
        /// There is nothing in it yet.
        case fresh
        /// Somebody has put an older copy there.
        case restored
        /// We made it of what a damaged one held, and did not get further.
        case salvaged
    }

    let origin: Origin
    /// Of the main file alone. Nil when it cannot be read.
    let epoch: Epoch?
    let mark: EpochFile
    /// What was taken out of the way.
    private(set) var setAside: SetAside?

    /// Looks, and changes nothing. Refuses what is not ours while a log lies beside it: SQLite would mix the two.
    init(of path: String) throws(StoreError) {
        mark = EpochFile(database: path)
        let (epoch, finding) = Self.look(at: path, named: mark.epochs ?? [])
        self.epoch = epoch
        if StorageFiles.bytes(of: path + "-wal") > 0 {
            switch finding {
            case .foreign(let detail): throw .foreign(file: path, detail: detail)
            case .newer(let found): throw .newerSchema(found: Int(found), known: Int(Schema.version), file: path)
            case .empty, .older, .current, nil: break
            }
        }
        guard let epoch else {
            // Perhaps half written by a checkpoint: then the log is what makes it whole. Checked after the opening.
            origin = .own
            return
        }
        let isKnown = mark.epochs.map { $0.contains(epoch) }
        origin =
            switch (isKnown, epoch.kind) {
            case (.some(true), _): .own
            case (_, .salvage): .salvaged
            case (_, .backup): .restored
            case (.some(false), _): finding == .empty ? .fresh : .restored
            // Without a mark: a gateway from before there were marks, or somebody removed it.
            case (nil, .none), (nil, .checkpoint): finding == .empty ? .fresh : .own
            }
    }

    /// An epoch that is not `named` is believed only where the page that holds it is whole: the row of one that a
    /// checkpoint has torn can be out of place, and is then not found.
    private static func look(at path: String, named: [Epoch]) -> (Epoch?, Schema.Finding?) {
        if StorageFiles.bytes(of: path) == 0 { return (Epoch.none, .empty) }
        do {
            let connection = try Connection(path: path, .mainFileOnly)
            let finding = try Schema.look(at: connection)
            switch finding {
            case .empty: return (Epoch.none, finding)
            case .foreign, .newer: return (nil, finding)
            case .older, .current:
                let epoch = EpochKeeper.current(connection)
                let isBelieved = epoch.map { named.contains($0) } ?? true
                return (isBelieved || EpochKeeper.isPlaceWhole(connection) ? epoch : nil, finding)
            }
        } catch {
            return (nil, nil)
        }
    }

    /// Whether a log that lies there must not be brought over the file.
    var isLogAlien: Bool {
        switch origin {
        case .own: false
        // Without any mark the first start of all may have ended here; its log is as good as the file.
        case .fresh: mark.epochs != nil
        case .restored, .salvaged: true
        }
    }

    /// Takes an alien log out of the way: as `.corrupt`, which may be deleted at any time, or under a name that stays
    /// when it holds calls.
    mutating func clear(_ path: String, wallMilliseconds: Int64) throws(StoreError) {
        guard isLogAlien else { return }
        let journal = path + "-journal"
        if StorageFiles.exists(journal) {
            try Self.rename(journal, StorageFiles.free(journal, tail: ".corrupt"))
        }
        let log = path + "-wal"
        if StorageFiles.bytes(of: log) > 0 {
            let rows = WriteAheadLog.queueRows(in: log)
            let stamp = Self.stamp(wallMilliseconds)
            let name =
                rows > 0 ? StorageFiles.free(log + ".from-" + stamp) : StorageFiles.free(log, tail: ".corrupt")
            try Self.rename(log, name)
            setAside = SetAside(
                file: name,
                words: "a write-ahead log that does not belong to \(path) lay beside it and was set aside as \(name)"
                    + (rows > 0
                        ? "; it holds calls of the queue that the present file may not know: keep it until they are "
                            + "settled, then delete it: "
                        : "; it holds no calls, so delete it: ") + "rm \(name)")
        }
        // What is left of the former file's helpers must not be found either.
        for tail in ["-wal", "-shm"] { _ = unsafe unlink(path + tail) }
        _ = StorageFiles.syncDirectory(of: path)
    }

    /// Has the file taken over: from here on its epochs are kept. Throws a `SQLiteFailure` or a `StoreError`.
    func keeper(for connection: Connection, path: String, now: String) throws -> EpochKeeper {
        if origin == .own {
            if let accepted = mark.epochs {
                return EpochKeeper(database: path, mark: mark, accepted: accepted, isMarked: true)
            }
            var seen = [epoch ?? Epoch.none]
            if let current = EpochKeeper.current(connection), !seen.contains(current) { seen.append(current) }
            return EpochKeeper(database: path, mark: mark, accepted: seen, isMarked: false)
        }
        let isRestored = origin == .restored
        let keeper = try EpochKeeper.adopt(
            connection, database: path, mark: mark, epoch: epoch ?? Epoch.none
        ) { () throws(SQLiteFailure) in
            if isRestored { try Restored.mark(connection, now: now) }
        }
        guard let keeper else {
            throw StoreError.unusable(
                what: mark.path, detail: "it cannot be written; " + StorageFiles.rights(of: mark.path))
        }
        return keeper
    }

    private static func rename(_ from: String, _ to: String) throws(StoreError) {
        guard unsafe Glibc.rename(from, to) == 0 else {
            throw .unusable(what: from, detail: SystemError.text(errno) + "; move it away by hand")
        }
    }

    /// `20261123T182001Z`
    static func stamp(_ wallMilliseconds: Int64) -> String {
        let text = WallTime.text(milliseconds: wallMilliseconds).prefix(19)
        return String(text.filter { $0 != "-" && $0 != ":" }.map { $0 == " " ? "T" : $0 }) + "Z"
    }
}
