// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry
import Testing

@testable import DurableStore

/// What operators have changed by hand, in a real database.
@Suite("Overrides on disk")
struct OverrideShelfTests {
    let bench = StoreBench()

    private static func some(_ count: Int, since: Int64 = 1_795_458_001_123) -> [Override] {
        (0..<count).map { number in
            Override(
                kind: Override.Kind.allCases[number % Override.Kind.allCases.count], subject: "subject \(number)",
                value: "value \(number)", since: since + Int64(number), by: "anna",
                until: number % 2 == 0 ? nil : since + 60_000)
        }
    }

    private func sorted(_ overrides: [Override]) -> [String] { overrides.map { "\($0)" }.sorted() }

    @Test("they are there again after a stop and a start, to the millisecond")
    func reopened() async throws {
        let kept =
            Self.some(4) + [
                Override(kind: .rateLimit, value: "0.001/s, burst 1", since: 0, by: "token o'neill"),
                Override(
                    kind: .tool, subject: "erp__\"; DROP TABLE overrides; --", value: "größer", since: 1, by: "",
                    until: 253_402_300_799_999),
            ]
        let store = try bench.open()
        #expect(store.overrides.overrides() == [])
        #expect(await store.overrides.keep(kept))
        store.close()
        let again = try bench.open()
        #expect(sorted(again.overrides.overrides()) == sorted(kept))
        // Read once, at the start.
        #expect(await again.overrides.keep([]))
        #expect(again.overrides.overrides().count == kept.count)
        again.close()
        let third = try bench.open()
        #expect(third.overrides.overrides() == [])
        third.close()
    }

    @Test("each writing replaces all of them, and the last one counts")
    func replaces() async throws {
        let store = try bench.open()
        for count in [5, 1, 3] { #expect(await store.overrides.keep(Self.some(count))) }
        #expect(try bench.number("SELECT count(*) FROM overrides") == 3)
        store.close()
        let again = try bench.open()
        #expect(sorted(again.overrides.overrides()) == sorted(Self.some(3)))
        again.close()
    }

    @Test("a thousand of them are no trouble")
    func many() async throws {
        let store = try bench.open()
        #expect(await store.overrides.keep(Self.some(1_000)))
        store.close()
        let again = try bench.open()
        #expect(again.overrides.overrides().count == 1_000)
        again.close()
    }

    @Test("of two with one key nothing is written, and what was there stays")
    func twice() async throws {
        let store = try bench.open()
        #expect(await store.overrides.keep(Self.some(2)))
        let double = Override(kind: .tool, subject: "t", value: "disabled", since: 0, by: "anna")
        #expect(await !store.overrides.keep([double, double]))
        #expect(try bench.number("SELECT count(*) FROM overrides") == 2)
        store.close()
    }

    @Test("what was said to be written is there after kill -9")
    func killed() async throws {
        let directory = bench.directory
        await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
            let time = TestTime()
            let store = try DurableStore.open(
                StoreSettings(directory: directory), time: time, log: StoreBench.silent, metrics: MetricsRegistry())
            for number in 0..<50 {
                let isKept = await store.overrides.keep([
                    Override(kind: .breaker, subject: "erp", value: "\(number)", since: 0, by: "anna"),
                    Override(kind: .drain, value: "draining", since: 0, by: "anna"),
                ])
                guard isKept else { exit(1) }
            }
            kill(getpid(), SIGKILL)
        }
        let store = try bench.open()
        #expect(store.component("storage")?.status == .healthy)
        #expect(store.overrides.overrides().first { $0.kind == .breaker }?.value == "49")
        #expect(store.overrides.overrides().count == 2)
        store.close()
    }

    @Test("a power cut after the answer loses nothing")
    func powerCut() async throws {
        let store = try bench.open()
        #expect(await store.overrides.keep(Self.some(3)))
        let crashed = try await bench.crash(of: store, after: ["INSERT INTO meta VALUES ('note', 'kept')"])
        let again = try crashed.open()
        #expect(sorted(again.overrides.overrides()) == sorted(Self.some(3)))
        again.close()
        store.close()
    }

    @Test("what cannot be written is said not to be")
    func notWritten() async throws {
        let store = try bench.open()
        #expect(await store.overrides.keep(Self.some(2)))
        // Another program sits on the table.
        try await store.write("ALTER TABLE overrides RENAME TO away")
        #expect(await !store.overrides.keep(Self.some(1)))
        try await store.write("ALTER TABLE away RENAME TO overrides")
        #expect(try bench.number("SELECT count(*) FROM overrides") == 2)
        store.close()
        #expect(await !store.overrides.keep(Self.some(1)))
        #expect(try bench.number("SELECT count(*) FROM overrides") == 2)
    }

    @Test("a kind that only a later version knows is left alone until the next change")
    func laterKind() async throws {
        let store = try bench.open()
        #expect(await store.overrides.keep(Self.some(1)))
        try await store.write(
            """
            INSERT INTO overrides VALUES
                ('later-kind', '', 'x', '2026-11-23 18:20:01.123', 'anna', NULL),
                ('tool', 'unreadable', 'disabled', 'yesterday', 'anna', NULL)
            """)
        store.close()
        let again = try bench.open()
        #expect(sorted(again.overrides.overrides()) == sorted(Self.some(1)))
        #expect(try bench.number("SELECT count(*) FROM overrides") == 3)
        #expect(await again.overrides.keep(Self.some(2)))
        #expect(try bench.number("SELECT count(*) FROM overrides") == 2)
        again.close()
    }

    // MARK: Damage and older versions

    @Test("they are saved out of a damaged database")
    func salvage() async throws {
        let store = try bench.open()
        #expect(await store.overrides.keep(Self.some(5)))
        for _ in 0..<200 { store.record(bench.call()) }
        await store.flush()
        let root = try #require(try bench.number("SELECT rootpage FROM sqlite_schema WHERE name = 'request_log'"))
        store.close()
        bench.overwrite(bench.database, at: (Int(root) - 1) * 4_096, with: Array(repeating: 0xA5, count: 4_096))
        // Not our own clean stop, so that it is looked at.
        bench.overwrite(bench.database + "-wal", at: 0, with: [1, 2, 3])
        let again = try bench.open()
        let storage = try #require(again.component("storage"))
        #expect(storage.status == .degraded)
        #expect(storage.detail.contains("5 overrides"), "\(storage.detail)")
        #expect(sorted(again.overrides.overrides()) == sorted(Self.some(5)))
        #expect(await again.overrides.keep(Self.some(1)))
        again.close()
        let third = try bench.open()
        #expect(sorted(third.overrides.overrides()) == sorted(Self.some(1)))
        third.close()
    }

    /// A database as version 2 left it, with a stored call.
    private func older() async throws {
        let store = try bench.open()
        try await store.write(StoreBench.call("before"))
        store.close()
        try Connection(path: bench.database).execute(
            """
            DROP TABLE overrides;
            UPDATE meta SET value = '2' WHERE key = 'schema_version';
            PRAGMA user_version = 2
            """)
    }

    @Test("a database of version 2 gets the table, and keeps everything else")
    func migration() async throws {
        try await older()
        let made = try bench.text("SELECT value FROM meta WHERE key = 'created_at'")
        bench.time.advance(seconds: 5)
        let store = try bench.open()
        #expect(store.component("storage")?.status == .healthy)
        #expect(try bench.number("PRAGMA user_version") == Schema.version)
        #expect(try bench.text("SELECT value FROM meta WHERE key = 'schema_version'") == "\(Schema.version)")
        #expect(try bench.text("SELECT value FROM meta WHERE key = 'created_at'") == made)
        #expect(try bench.calls() == ["before queued"])
        #expect(store.overrides.overrides() == [])
        #expect(await store.overrides.keep(Self.some(2)))
        store.close()
        let again = try bench.open()
        #expect(again.overrides.overrides().count == 2)
        again.close()
        #expect(!bench.exists("queue.db.corrupt"))
    }

    @Test("a damaged database of version 2 is saved as well as it can be, and has the table")
    func salvagedMigration() async throws {
        try await older()
        bench.overwrite(bench.database + "-wal", at: 0, with: [1, 2, 3])
        let root = try #require(
            try Connection(path: bench.database, .mainFileOnly).integer(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'request_log'"))
        bench.overwrite(bench.database, at: (Int(root) - 1) * 4_096, with: Array(repeating: 0xA5, count: 4_096))
        let store = try bench.open()
        #expect(store.component("storage")?.status == .degraded)
        #expect(try bench.calls() == ["before queued"])
        #expect(await store.overrides.keep(Self.some(1)))
        store.close()
    }
}
