// Licensed under the Apache License 2.0; see LICENSE.

/// How the store is set up.
package struct StoreSettings: Sendable, Equatable {
    package var directory: String
    /// Above this rate rows of `request_log` are sampled.
    package var requestRowsPerSecond: Int
    /// Rows of the two logs older than this go away.
    package var retention: Duration
    /// Rows each of the two logs may have.
    package var rowsMax: Int
    /// When daily backups are made; nil for never by itself.
    package var backups: BackupSettings?

    /// Where others work that share the storage with this one; nil when nobody does.
    package var siblings: SiblingFolders?

    /// What happens to a new call when there is no room for it.
    package enum WhenFull: Sendable {
        /// It is refused.
        case refuse
        /// The oldest of the lowest priority that waits is cancelled for it. Never one that is being sent, and never
        /// for a caller that has reached its own bound: that one is refused.
        case dropOldest
    }

    /// Calls that may wait or be sent at one time.
    package var queueItemsMax = 10_000
    /// Bytes of arguments and results that are kept. What is over makes room for new calls, the oldest first.
    package var queueBytesMax: Int64 = 256 << 20
    /// Calls of one caller that may wait or be sent at one time.
    package var queuePerCallerMax = 10_000
    package var whenFull = WhenFull.refuse
    /// Arguments and results above this are files of their own in `queue/`.
    package var payloadInlineMax = 64 << 10
    /// How long the result of a completed call can be asked for.
    package var resultKeep = Duration.seconds(86_400)
    /// How long calls that failed, expired or were cancelled can be looked at and sent again.
    package var queueRetention = Duration.seconds(7 * 86_400)
    /// Rows of calls that are over, however young, and keys of the ledger: beyond this the oldest go.
    package var finishedMax = 100_000
    package var ledgerKeysMax = 100_000
    /// Bytes of answers in the ledger.
    package var ledgerBytesMax: Int64 = 64 << 20
    /// Below this much free space nothing new is stored: what is left is needed to finish what was begun.
    package var reserveBytes: UInt64 = 16 << 20
    /// What kept answers of tools may take on disk, with what it takes to know of them; an eighth of it in memory.
    package var cacheBytesMax = 64 << 20

    package init(
        directory: String, requestRowsPerSecond: Int = 500, retention: Duration = .seconds(7 * 86_400),
        rowsMax: Int = 200_000, backups: BackupSettings? = nil
    ) {
        precondition(requestRowsPerSecond > 0 && rowsMax > 0, "rates and row counts are positive")
        self.directory = directory
        self.requestRowsPerSecond = requestRowsPerSecond
        self.retention = retention
        self.rowsMax = rowsMax
        self.backups = backups
    }

    var databasePath: String { directory + "/queue.db" }
    var backupDirectory: String { directory + "/backups" }
    var payloadDirectory: String { directory + "/queue" }
}

/// Why the store cannot be opened. Nothing has been changed when one of these is thrown, except that missing
/// directories may have been made.
package enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Another gateway works there.
    case locked(pid: Int32, directory: String, port: Int?)
    /// The file was written by a later version.
    case newerSchema(found: Int, known: Int, file: String)
    /// The file is a database, but not ours.
    case foreign(file: String, detail: String)
    /// The file is damaged and could not be set aside.
    case damaged(file: String, detail: String)
    /// The file that is to be restored is damaged.
    case unsound(file: String, detail: String)
    /// The directory or the file cannot be used.
    case unusable(what: String, detail: String)

    /// What happened, why, and what to do.
    package var text: String {
        switch self {
        case .locked(let pid, let directory, let port):
            let who = pid > 0 ? "process \(pid)" : "another process"
            let place = port.map { ", listening on port \($0)" } ?? ""
            return "the storage directory \(directory) is in use by \(who)\(place): two gateways cannot share one; "
                + "stop that one first, or set storage.directory to another place"
        case .newerSchema(let found, let known, let file):
            return "\(file) has schema version \(found), this gateway knows versions up to \(known): it was left "
                + "untouched; start the newer gateway that wrote it, or set storage.directory to another place"
        case .foreign(let file, let detail):
            return "\(file) is not a database of mcp-gateway (\(detail)): it was left untouched; "
                + "move it away, or set storage.directory to another place"
        case .damaged(let file, let detail):
            return "\(file) is damaged (\(detail)) and could not be set aside; move it away by hand and start again"
        case .unsound(let file, let detail):
            return "\(file) is damaged (\(detail)) and was not restored, everything is as it was; use another file of "
                + "backups/; a copy of a running gateway's queue.db may have been torn by a checkpoint: copy it again"
        case .unusable(let what, let detail):
            return "\(what) cannot be used: \(detail)"
        }
    }

    package var description: String { text }
}
