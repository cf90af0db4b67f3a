// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry
import Testing

@testable import DurableStore

@Suite("The store")
struct DurableStoreTests {
    let bench = StoreBench()

    @Test("a fresh directory gets everything with the promised modes, whatever the umask")
    func fresh() throws {
        let former = umask(0o077)
        defer { umask(former) }
        let store = try bench.open()
        #expect(bench.mode("") == 0o2770)
        #expect(bench.mode("/queue") == 0o2770)
        #expect(bench.mode("/backups") == 0o2770)
        #expect(bench.mode("/queue.db") == 0o660)
        #expect(bench.mode("/queue.db-wal") == 0o660)
        #expect(bench.mode("/gateway.lock") == 0o660)
        #expect(try bench.number("PRAGMA application_id") == Schema.applicationID)
        #expect(try bench.number("PRAGMA user_version") == 3)
        store.close()
    }

    @Test(
        "operators' queries work as typed while the gateway runs", .enabled(if: access("/usr/bin/sqlite3", X_OK) == 0))
    func playbook() async throws {
        // These compare with SQLite's own clock.
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        bench.time.advance(seconds: Int64(now.tv_sec) - bench.time.wallMilliseconds() / 1_000)
        let store = try bench.open()
        store.record(bench.call(10))
        store.record(bench.call(30, status: "failed"))
        store.record(bench.error("connect refused"))
        await store.flush()
        func sqlite(_ sql: String) -> String { StoreBench.run(["/usr/bin/sqlite3", bench.database, sql]).output }
        #expect(sqlite(".tables").contains("queue_items"))
        #expect(sqlite("SELECT status, COUNT(*) FROM queue_items GROUP BY status;") == "")
        let errors = sqlite(
            """
            SELECT timestamp, error_type, message FROM error_log
            WHERE timestamp > datetime('now', '-1 hour')
            ORDER BY timestamp DESC LIMIT 50;
            """)
        #expect(errors.hasSuffix("|upstream_away|connect refused\n"))
        #expect(
            sqlite(
                """
                SELECT AVG(response_time_ms), MAX(response_time_ms)
                FROM request_log
                WHERE timestamp > datetime('now', '-10 minutes');
                """) == "20.0|30.0\n")
        #expect(sqlite("PRAGMA integrity_check;") == "ok\n")
        store.close()
        #expect(sqlite("SELECT count(*), sum(weight) FROM request_log") == "2|2\n")
    }

    @Test("a row is there as it was recorded, with what came from outside made harmless")
    func row() async throws {
        let store = try bench.open()
        var call = bench.call(1.23456)
        call.upstream = "erp"
        call.tool = "erp__price"
        store.record(call)
        store.record(bench.error("evil\u{1b}[2J\nline"))
        await store.flush()
        let reader = try Connection(path: bench.database)
        #expect(
            try reader.text(
                """
                SELECT timestamp || '|' || method || '|' || tool || '|' || upstream || '|' || route || '|' || status
                    || '|' || response_time_ms || '|' || caller || '|' || request_id FROM request_log
                """) == "2026-11-23 18:20:01.123|tools/call|erp__price|erp|wasm|ok|1.235|anonymous|\(call.requestID)")
        #expect(
            try reader.text("SELECT message || '|' || component || '|' || request_id FROM error_log")
                == "evil\\u001b[2J\\nline|upstreams|00000000000000010000000000000002")
        store.close()
    }

    @Test("after a stop there is one plain file, and the next start finds everything")
    func restart() async throws {
        var store = try bench.open()
        for _ in 0..<100 { store.record(bench.call()) }
        store.close()
        store.close()
        await store.flush()
        store.record(bench.call())
        #expect(!bench.exists("queue.db-wal"))
        #expect(!bench.exists("queue.db-shm"))
        store = try bench.open()
        #expect(try bench.number("SELECT count(*) FROM request_log") == 100)
        #expect(store.components().first?.status == .healthy)
        store.close()
    }

    @Test("the main file alone is complete soon after the last write, without anybody asking")
    func completes() async throws {
        let store = try bench.open()
        for _ in 0..<20 { store.record(bench.call()) }
        let copy = bench.root + "/copy.db"
        let isComplete = try await StoreBench.eventually {
            bench.copy(bench.database, copy)
            let tables = try bench.number("SELECT count(*) FROM sqlite_schema WHERE name = 'request_log'", in: copy)
            return try tables == 1 && bench.number("SELECT count(*) FROM request_log", in: copy) == 20
        }
        #expect(isComplete)
        // At rest nothing wakes the writer; a later row still gets through.
        store.record(bench.call())
        let isThere = try await StoreBench.eventually { try bench.number("SELECT count(*) FROM request_log") == 21 }
        #expect(isThere)
        store.close()
    }

    @Test("what was committed survives a crash, and the files pass the check")
    func crash() async throws {
        let store = try bench.open()
        // Keeps the log from being emptied while it is copied below, which no power cut does.
        let reader = try Connection(path: bench.database, .read)
        try reader.execute("BEGIN")
        _ = try reader.integer("SELECT count(*) FROM error_log")
        for round in 0..<20 {
            for _ in 0..<50 { store.record(bench.call()) }
            store.record(bench.error("round \(round)"))
            await store.flush()
        }
        // What a power cut leaves: both files as they are now.
        let other = bench.root + "/crashed.db"
        bench.copy(bench.database + "-wal", other + "-wal")
        bench.copy(bench.database, other)
        #expect(try bench.number("SELECT count(*) FROM error_log", in: other) == 20)
        #expect(try bench.number("SELECT sum(weight) FROM request_log", in: other) == 1_000)
        #expect(try Connection(path: other).text("PRAGMA integrity_check") == "ok")
        store.close()
    }

    @Test("above the rate rows are sampled and their weights add up")
    func sampling() async throws {
        let store = try bench.open(bench.settings(rowsPerSecond: 100))
        for number in 0..<5_000 { store.record(bench.call(Double(number % 97))) }
        for _ in 0..<30 { store.record(bench.call(status: "failed")) }
        await store.flush()
        #expect(try bench.number("SELECT sum(weight) FROM request_log") == 5_030)
        let rows = try bench.number("SELECT count(*) FROM request_log") ?? .max
        #expect(rows <= 131)
        #expect(try bench.number("SELECT count(*) FROM request_log WHERE status = 'failed'") == 30)
        #expect(try bench.number("SELECT max(response_time_ms) FROM request_log") == 96)
        store.close()
    }

    @Test("a flood of errors is bounded each second, and what is left out is counted")
    func errorFlood() async throws {
        let metrics = MetricsRegistry()
        let store = try bench.open(metrics: metrics)
        for _ in 0..<3_000 { store.record(bench.error("again")) }
        bench.time.advance(seconds: 1)
        store.record(bench.error("later"))
        await store.flush()
        #expect(try bench.number("SELECT count(*) FROM error_log") == 1_001)
        let text = String(decoding: metrics.render(), as: UTF8.self)
        #expect(text.contains("mcp_journal_rows_dropped_total{table=\"error_log\"} 2000\n"))
        store.close()
    }

    @Test("old and surplus rows go away")
    func prunes() async throws {
        let store = try bench.open(bench.settings(rowsPerSecond: 100_000, rowsMax: 1_500))
        for _ in 0..<4_000 { store.record(bench.call()) }
        store.record(bench.error("old"))
        let isBounded = try await StoreBench.eventually {
            try bench.number("SELECT count(*) FROM request_log") == 1_500
        }
        #expect(isBounded)
        bench.time.advance(seconds: 8 * 86_400)
        store.record(bench.call())
        let isYoung = try await StoreBench.eventually {
            try bench.number("SELECT (SELECT count(*) FROM request_log) + (SELECT count(*) FROM error_log)") == 1
        }
        #expect(isYoung)
        store.close()
    }

    @Test("ended sessions stay ended over a restart, until they would have expired anyway")
    func tombstones() throws {
        let soon = bench.time.wallMilliseconds() + 60_000
        var store = try bench.open()
        let one = SessionKey([1, 2, 3])
        let two = SessionKey([4, 5, 6])
        store.add(one, expires: soon)
        store.add(two, expires: soon + 1_000_000)
        #expect(store.contains(one))
        #expect(!store.contains(SessionKey([9])))
        store.close()
        store = try bench.open()
        #expect(store.contains(one))
        #expect(store.contains(two))
        store.close()
        bench.time.advance(seconds: 120)
        store = try bench.open()
        #expect(!store.contains(one))
        #expect(store.contains(two))
        store.close()
    }

    @Test("metrics and components tell what there is")
    func seen() async throws {
        let metrics = MetricsRegistry()
        let store = try bench.open(metrics: metrics)
        store.noteListening(port: 8_080)
        store.record(bench.call())
        await store.flush()
        await store.releaseMemory()
        let text = String(decoding: metrics.render(), as: UTF8.self)
        #expect(text.contains("mcp_queue_size 0\n"))
        #expect(text.contains("mcp_queue_items{status=\"in_flight\"} 0\n"))
        #expect(text.contains("mcp_queue_oldest_age_seconds 0\n"))
        #expect(text.contains("mcp_journal_rows_total{table=\"request_log\"} 1\n"))
        #expect(text.contains("mcp_storage_commit_seconds_count 1\n"))
        let components = store.components()
        #expect(components.map(\.name) == ["storage", "disk", "queue"])
        #expect(components.map(\.isVital) == [true, false, false])
        store.close()
    }

    @Test(
        "the disk component warns below a twentieth or 200 MB",
        arguments: [
            (100_000_000_000, 1_000_000_000_000, ComponentStatus.Level.healthy),
            (40_000_000_000, 1_000_000_000_000, .degraded), (199_000_000, 1_000_000_000, .degraded),
            (201_000_000, 1_000_000_000, .healthy), (0, 1_000_000_000, .degraded),
        ] as [(UInt64, UInt64, ComponentStatus.Level)])
    func disk(free: UInt64, total: UInt64, level: ComponentStatus.Level) {
        #expect(DurableStore.disk((free, total), directory: "/x", now: 0).status == level)
        #expect(DurableStore.disk(nil, directory: "/x", now: 0).status == .degraded)
    }
}
