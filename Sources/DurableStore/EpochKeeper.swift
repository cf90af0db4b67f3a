// Licensed under the Apache License 2.0; see LICENSE.

/// Gives every state that a checkpoint leaves in the main file an epoch of its own, and keeps the mark beside the file
/// in step. Belongs to the thread of its connection.
///
/// Around each checkpoint: the mark says "the old epoch or the new one" and is synced; the new epoch is committed into
/// the write-ahead log; the checkpoint; the mark says "the new one". So at no moment the main file, half written or
/// not, has an epoch that the mark does not name.
final class EpochKeeper {
    private var mark: EpochFile
    /// What the main file alone may have as its epoch now.
    private var accepted: [Epoch]
    /// Named in the mark, and a checkpoint that brings it to the main file has not been completed.
    private var pending: Epoch?
    private let walPath: String

    /// - Parameters:
    ///   - accepted: what the mark says, or ought to say, of the main file.
    ///   - isMarked: the mark says so already.
    init(database: String, mark: EpochFile, accepted: [Epoch], isMarked: Bool) {
        self.mark = mark
        self.accepted = accepted
        walPath = database + "-wal"
        pending = isMarked && accepted.count > 1 ? accepted.last : nil
    }

    /// Completes the main file and empties the write-ahead log; false when a reader stood in the way.
    func checkpoint(_ connection: Connection) throws(SQLiteFailure) -> Bool {
        guard StorageFiles.bytes(of: walPath) > 0 else { return try connection.emptyLog() }
        if let next = begin() {
            // When it cannot be committed (another process writes, the disk is full), emptying the log matters more:
            // the main file then keeps an epoch that the mark names too.
            _ = Self.commit(next, connection)
        }
        guard try connection.emptyLog() else { return false }
        if let found = Self.current(connection), accepted.contains(found) {
            (accepted, pending) = ([found], nil)
            // If this does not come through, the mark names one epoch too many until the next time.
            _ = mark.write(accepted)
        }
        return true
    }

    /// The epoch of the next state, once the mark names it.
    private func begin() -> Epoch? {
        if let pending { return pending }
        let next = Epoch(.checkpoint, after: accepted.map(\.number).max() ?? 0)
        guard mark.write(accepted + [next]) else { return nil }
        accepted.append(next)
        pending = next
        return next
    }

    /// Takes over a file that the mark does not name: a fresh, restored or salvaged one. `change` is what has to be
    /// done to it before anything in it may be used; it is done, or the next start does it again.
    static func adopt(
        _ connection: Connection, database: String, mark: EpochFile, epoch: Epoch,
        change: () throws(SQLiteFailure) -> Void
    ) throws(SQLiteFailure) -> EpochKeeper? {
        var mark = mark
        let highest = (mark.epochs ?? []).map(\.number).max() ?? 0
        let next = Epoch(.checkpoint, after: max(highest, epoch.number))
        // First the change, then the mark. After a crash between the two the log is taken for an alien one and set
        // aside, and the change is made again; the other way round it would be forgotten.
        try connection.transaction { () throws(SQLiteFailure) in
            try change()
            try set(next, connection)
        }
        guard mark.write([epoch, next]) else { return nil }
        let keeper = EpochKeeper(database: database, mark: mark, accepted: [epoch, next], isMarked: true)
        _ = try keeper.checkpoint(connection)
        return keeper
    }

    private static func commit(_ epoch: Epoch, _ connection: Connection) -> Bool {
        do {
            if current(connection) != epoch { try set(epoch, connection) }
            return true
        } catch {
            return false
        }
    }

    /// The epoch as a connection sees it; nil when it cannot be read.
    static func current(_ connection: Connection) -> Epoch? {
        do {
            guard let text = try connection.text("SELECT value FROM meta WHERE key = '\(Epoch.metaKey)'") else {
                return Epoch.none
            }
            return Epoch(text)
        } catch {
            return nil
        }
    }

    /// Whether nothing is wrong with the page that holds the epoch, as a connection sees it.
    static func isPlaceWhole(_ connection: Connection) -> Bool {
        do {
            return try connection.text("PRAGMA integrity_check('meta')") == "ok"
        } catch {
            return false
        }
    }

    static func set(_ epoch: Epoch, _ connection: Connection) throws(SQLiteFailure) {
        try connection.execute("INSERT OR REPLACE INTO meta VALUES ('\(Epoch.metaKey)', '\(epoch)')")
    }
}
