// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import DurableStore

/// The playbook's lines as they stand there, with the storage directory as the place.
@Suite("Restoring a backup")
struct RestoreTests {
    let bench = StoreBench()
    static let playbook = "cp backups/queue-$(date +%Y%m%d).db queue.db"

    private func integrity(_ bench: StoreBench) -> String {
        bench.shell("sqlite3 queue.db 'PRAGMA integrity_check;'").output
    }

    /// A store with calls in every state, backed up, and then gone on.
    private func backedUp() async throws -> DurableStore {
        bench.useRealTime()
        let store = try bench.open()
        for sql in [
            StoreBench.call("a"), StoreBench.call("b", isIdempotent: true), StoreBench.call("c", status: "in_flight"),
            StoreBench.call("d", status: "in_flight", isIdempotent: true), StoreBench.call("e", status: "completed"),
        ] {
            try await store.write(sql)
        }
        let report = try await store.backup(to: nil)
        #expect(report.path == bench.directory + bench.shell("date +/backups/queue-%Y%m%d.db").output.dropLast())
        try await store.write("UPDATE queue_items SET status = 'completed'")
        return store
    }

    private func expectRestored(_ bench: StoreBench, _ store: DurableStore) throws {
        #expect(try bench.calls() == ["a unknown", "b queued", "c unknown", "d queued", "e completed"])
        #expect(
            try bench.text("SELECT last_error FROM queue_items WHERE tool = 'a'")?.hasPrefix(
                "restored from a backup of 2") == true)
        #expect(try bench.text("SELECT last_error FROM queue_items WHERE tool = 'b'") == nil)
        let queue = try #require(store.component("queue"))
        #expect(queue.status == .degraded)
        #expect(queue.detail.contains("2 calls wait for a person"))
    }

    @Test("after a clean stop")
    func cleanStop() async throws {
        try await backedUp().close()
        #expect(bench.shell("cp queue.db queue.db.backup && " + Self.playbook).status == 0)
        var store = try bench.open()
        try expectRestored(bench, store)
        store.close()
        #expect(integrity(bench) == "ok\n")
        // Still so after another start, until somebody has decided.
        store = try bench.open()
        try expectRestored(bench, store)
        let calls = await store.calls.list(QueueFilter())
        let (a, c) = (try #require(calls.first { $0.tool == "a" }), try #require(calls.first { $0.tool == "c" }))
        _ = await store.calls.cancel(id: a.id, words: "not wanted", now: bench.time.wallMilliseconds())
        await store.lookAround()
        #expect(store.component("queue")?.detail.contains("1 calls wait for a person") == true)
        _ = await store.calls.retry(id: c.id, now: bench.time.wallMilliseconds())
        await store.lookAround()
        #expect(store.component("queue")?.status == .healthy)
        await store.flush()
        #expect(try bench.number("SELECT count(*) FROM meta WHERE key = 'restored'") == 0)
        store.close()
        // What was decided is not undone by a start.
        store = try bench.open()
        #expect(try bench.calls() == ["a cancelled", "b queued", "c queued", "d queued", "e completed"])
        #expect(store.component("queue")?.status == .healthy)
        store.close()
    }

    @Test("after a crash, with the old file's log beside it, which holds calls")
    func staleLog() async throws {
        let store = try await backedUp()
        let crashed = try await bench.crash(of: store, after: (0..<40).map { StoreBench.call("later\($0)") })
        store.close()
        crashed.useRealTime()
        #expect(crashed.shell(Self.playbook).status == 0)
        let again = try crashed.open()
        try expectRestored(crashed, again)
        #expect(crashed.names("queue.db-wal.from-").count == 1)
        #expect(again.component("storage")?.status == .degraded)
        #expect(again.component("storage")?.detail.contains("queue.db-wal.from-") == true)
        // What operators delete at any time is not it.
        #expect(crashed.shell("find . -name '*.corrupt' -delete").status == 0)
        await again.lookAround()
        #expect(again.component("storage")?.status == .degraded)
        #expect(crashed.names("queue.db-wal.from-").count == 1)
        again.close()
        #expect(integrity(crashed) == "ok\n")
        let third = try crashed.open()
        try expectRestored(crashed, third)
        third.close()
    }

    @Test("after a crash, with a log that holds no calls")
    func staleRows() async throws {
        let store = try await backedUp()
        await store.releaseMemory()
        let crashed = try await bench.crash(
            of: store,
            after: ["INSERT INTO error_log VALUES (1, '2026-11-23 18:20:01.123', 'late', 'm', 'c', NULL)"])
        store.close()
        crashed.useRealTime()
        #expect(crashed.shell(Self.playbook).status == 0)
        let again = try crashed.open()
        try expectRestored(crashed, again)
        #expect(try crashed.number("SELECT count(*) FROM error_log") == 0)
        #expect(crashed.names("queue.db-wal.") == ["queue.db-wal.corrupt"])
        #expect(again.component("storage")?.detail.contains("delete it: rm ") == true)
        await again.lookAround()
        #expect(again.component("storage")?.status == .degraded)
        #expect(crashed.shell("find . -name '*.corrupt' -delete").status == 0)
        // Health forgets it at the caretaker's next look, and right away when somebody orders one.
        #expect(await again.rebuild().problems == [])
        #expect(again.component("storage")?.status == .healthy)
        again.close()
        #expect(integrity(crashed) == "ok\n")
    }

    @Test("a crash before the restored file is taken over undoes nothing")
    func crashWhileTakingOver() async throws {
        try await backedUp().close()
        #expect(bench.shell(Self.playbook).status == 0)
        // The change is in the log, and the mark does not know of it yet.
        let connection = try Connection(path: bench.database)
        connection.keepFilesOnClose(true)
        _ = try connection.text("PRAGMA journal_mode = WAL")
        try connection.transaction { () throws(SQLiteFailure) in
            try Restored.mark(connection, now: "2026-11-23 18:20:01.123")
            try EpochKeeper.set(Epoch(.checkpoint, after: 1), connection)
        }
        let crashed = StoreBench()
        _ = StoreBench.run(["/bin/cp", "-a", bench.root + "/lib", crashed.root + "/lib"])
        let store = try crashed.open()
        try expectRestored(crashed, store)
        store.close()
    }

    @Test("what is sent again after a restore still expires when its time is over")
    func expires() async throws {
        try await backedUp().close()
        var store = try bench.open()
        try await store.write(
            """
            UPDATE queue_items SET status = 'in_flight', expires_at = '2026-11-23 18:20:02.123', keep_until = NULL
            WHERE tool = 'd'
            """)
        _ = await store.perform { connection in
            try? connection.transaction { () throws(SQLiteFailure) in
                try Restored.mark(connection, now: "2026-11-23 18:20:01.123")
            }
        }
        #expect(
            try bench.text("SELECT status || keep_until FROM queue_items WHERE tool = 'd'")
                == "queued2026-11-23 18:20:02.123")
        store.close()
        store = try bench.open()
        await store.flush()
        #expect(await StoreBench.eventually { (try? bench.calls().contains("d expired")) == true })
        store.close()
    }

    @Test("a plain copy of a running gateway's file is usable, and known for an older one when it is put back")
    func plainCopy() async throws {
        let store = try bench.open()
        try await store.write(StoreBench.call("a"))
        let copy = bench.directory + "/queue.db.backup"
        let isComplete = try await StoreBench.eventually {
            // As the playbook has it.
            _ = bench.shell("cp queue.db queue.db.backup")
            return try bench.calls(in: copy) == ["a queued"]
        }
        #expect(isComplete)
        #expect(bench.shell("sqlite3 queue.db.backup 'PRAGMA integrity_check;'").output == "ok\n")
        try await store.write("UPDATE queue_items SET status = 'completed'")
        store.close()
        #expect(bench.shell("cp queue.db.backup queue.db").status == 0)
        let again = try bench.open()
        #expect(try bench.calls() == ["a unknown"])
        #expect(
            try bench.text("SELECT last_error FROM queue_items")?.hasPrefix("restored from an older copy") == true)
        again.close()
    }

    @Test("the command refuses while a gateway runs, keeps what was there, and leads to the same start")
    func command() async throws {
        let store = try await backedUp()
        let source = bench.directory + bench.shell("date +/backups/queue-%Y%m%d.db").output.dropLast()
        #expect(throws: StoreError.locked(pid: getpid(), directory: bench.directory, port: nil)) {
            _ = try DurableStore.restore(from: source, directory: bench.directory, time: bench.time)
        }
        let crashed = try await bench.crash(of: store, after: [StoreBench.call("later")])
        store.close()
        let own = crashed.directory + source.dropFirst(bench.directory.count)
        #expect(DurableStore.verify(file: own, time: crashed.time).problems == [])
        let report = try DurableStore.restore(from: own, directory: crashed.directory, time: crashed.time)
        #expect(report.undecided == 2)
        #expect(report.sentAgain == 2)
        let kept = try #require(report.kept)
        #expect(kept.contains("/queue.db.before-restore-2"))
        // With the log that belongs to it.
        #expect(try crashed.calls(in: kept).contains("later queued"))
        #expect(!crashed.exists("queue.db-wal"))
        let again = try crashed.open()
        try expectRestored(crashed, again)
        again.close()
    }

    @Test("the command leaves everything as it was when the source is damaged, foreign, newer or missing")
    func refused() async throws {
        let store = try bench.open()
        for number in 0..<50 { try await store.write(StoreBench.call("call\(number)", padding: 2_000)) }
        store.close()
        let before = bench.files("/queue.db")
        let source = bench.root + "/source.db"
        func restore() throws {
            _ = try DurableStore.restore(from: source, directory: bench.directory, time: bench.time)
        }
        #expect(throws: StoreError.self) { try restore() }
        bench.copy(bench.database, source)
        let middle = Int(StorageFiles.bytes(of: source) / 8_192) * 4_096
        bench.overwrite(source, at: middle, with: Array(repeating: 0xA5, count: 8_192))
        #expect {
            try restore()
        } throws: {
            if case StoreError.unsound = $0 { true } else { false }
        }
        #expect(!DurableStore.verify(file: source, time: bench.time).isSound)
        bench.copy(bench.database, source)
        try Connection(path: source).execute("PRAGMA user_version = 9")
        #expect(throws: StoreError.newerSchema(found: 9, known: 3, file: source)) { try restore() }
        unlink(source)
        bench.overwrite(source, at: 0, with: Array("recipes".utf8))
        #expect(throws: StoreError.self) { try restore() }
        #expect(bench.files("/queue.db") == before)
        #expect(bench.names("queue.db.") == ["queue.db.epoch"])
    }
}
