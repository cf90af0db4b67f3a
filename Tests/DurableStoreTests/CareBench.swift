// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc

@testable import DurableStore

/// What tests of backup and repair need besides.
extension StoreBench {
    /// One stored call as SQL.
    static func call(
        _ tool: String, status: String = "queued", isIdempotent: Bool = false, padding: Int = 0
    ) -> String {
        """
        INSERT INTO queue_items (status, upstream, tool, payload, created_at, updated_at, available_at, is_idempotent)
        VALUES ('\(status)', 'erp', '\(tool)', zeroblob(\(padding)), '2026-11-23 18:20:01.123',
            '2026-11-23 18:20:01.123', '2026-11-23 18:20:01.123', \(isIdempotent ? 1 : 0));
        """
    }

    /// The clock of this test says what the machine's says, for `date` on a command line.
    func useRealTime() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        time.advance(seconds: Int64(now.tv_sec) - time.wallMilliseconds() / 1_000)
    }

    /// A second bench whose storage is what a power cut would leave of this one now, with the log not yet emptied.
    func crash(of store: DurableStore, after sql: [String]) async throws -> StoreBench {
        let other = StoreBench()
        // A reader keeps the log from being emptied, whatever the writer's clock says.
        let reader = try Connection(path: database, .read)
        try reader.execute("BEGIN")
        _ = try reader.integer("SELECT count(*) FROM meta")
        for sql in sql { try await store.write(sql) }
        // The writer has tried, so that everything an unfinished checkpoint leaves is there.
        let hasTried = try await Self.eventually {
            let mark = EpochFile(database: database).epochs ?? []
            return try mark.count == 2 && EpochKeeper.current(Connection(path: database, .read)) == mark.last
        }
        guard hasTried else { throw StoreError.unusable(what: "the test", detail: "no checkpoint was tried") }
        _ = Self.run(["/bin/cp", "-a", root + "/lib", other.root + "/lib"])
        try reader.execute("COMMIT")
        return other
    }

    func shell(_ script: String) -> (status: Int32, output: String) {
        Self.run(["/bin/sh", "-c", "cd '\(directory)' && " + script])
    }

    /// The names in the storage directory that begin so.
    func names(_ prefix: String) -> [String] { StorageFiles.names(in: directory).filter { $0.hasPrefix(prefix) } }

    func text(_ sql: String, in path: String? = nil) throws -> String? {
        try Connection(path: path ?? database).text(sql)
    }

    /// `tool status` of every stored call, by tool.
    func calls(in path: String? = nil) throws -> [String] {
        let list = try text(
            "SELECT group_concat(tool || ' ' || status, ',') FROM (SELECT * FROM queue_items ORDER BY tool)", in: path)
        return list?.split(separator: ",").map(String.init) ?? []
    }
}

extension DurableStore {
    /// Has the writer run statements, as the queue will.
    func write(_ sql: String) async throws {
        let result = await perform { connection in
            Result { () throws(SQLiteFailure) in try connection.execute(sql) }
        }
        try result?.get()
    }

    func component(_ name: String) -> ComponentStatus? { components().first { $0.name == name } }
}
