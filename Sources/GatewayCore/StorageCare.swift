// Licensed under the Apache License 2.0; see LICENSE.

/// A backup that was made.
package struct BackupReport: Sendable, Equatable {
    package var path: String
    package var bytes: Int64
    package var seconds: Double

    package init(path: String, bytes: Int64, seconds: Double) {
        self.path = path
        self.bytes = bytes
        self.seconds = seconds
    }
}

/// What a deep look at a database file found.
package struct VerifyReport: Sendable, Equatable {
    package var path: String
    /// What is wrong, in words; at most a hundred. Empty for a sound file.
    package var problems: [String] = []
    /// Rows by table, of those that could be counted.
    package var rows: [String: Int64] = [:]
    /// Payload files that rows name, and that are there with the recorded digest.
    package var payloadsSound = 0
    package var seconds = 0.0

    package init(path: String) { self.path = path }

    package var isSound: Bool { problems.isEmpty }
}

/// What a rebuilding did.
package struct RebuildReport: Sendable, Equatable {
    package var indices = 0
    /// Payload files that no row of the database names. They are left where they are: a backup may name them.
    package var orphans = 0
    /// Rows whose payload file is missing.
    package var rowsWithoutPayload = 0
    /// What could not be done, in words.
    package var problems: [String] = []
    package var seconds = 0.0

    package init() {}

    /// The whole in one sentence.
    package var words: String {
        var parts = ["\(indices) indices rebuilt"]
        parts.append(orphans == 0 ? "no orphaned payload files" : "\(orphans) orphaned payload files found and kept")
        parts.append(
            rowsWithoutPayload == 0
                ? "every stored call has its payload" : "\(rowsWithoutPayload) stored calls without their payload file")
        return (parts + problems).joined(separator: "; ")
    }
}

/// Why something was not done for the storage. Nothing is left of it, and what was there before still is.
package enum StorageCareError: Error, Sendable, Equatable {
    /// The gateway is stopping.
    case closing
    /// The database is damaged; earlier backups stay as they are.
    case damaged(detail: String)
    /// It cannot be done, and why.
    case impossible(detail: String)

    /// What happened, why, and what to do.
    package var text: String {
        switch self {
        case .closing: "the gateway is stopping: nothing was done; try again when it runs"
        case .damaged(let detail):
            "the database is damaged (\(detail)): no backup was made and the earlier ones were kept; "
                + "restart the gateway: it sets the file aside and salvages what can be read"
        case .impossible(let detail): detail
        }
    }
}

/// Backup, check and repair of the storage while the gateway runs. None of it holds up calls for more than moments;
/// each may take as long as reading the whole database does.
package protocol StorageCare: Sendable {
    /// Makes an exact, verified copy as one plain file. With nil it becomes today's daily backup; a path must be
    /// absolute. What was there before is replaced only by a copy that passed its check.
    func backup(to path: String?) async throws(StorageCareError) -> BackupReport

    /// Looks at every page, and at every payload file that rows name. With nil at the database in use.
    func verify(_ path: String?) async -> VerifyReport

    /// Rebuilds every index, one at a time, and counts what does not belong together.
    func rebuild() async -> RebuildReport
}
