// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Logging
import Synchronization
import Telemetry
import Testing

@testable import DurableStore

/// What was said of calls by their handles.
private final class Fates: Sendable {
    private let over = Mutex(false)
    private let kept = Mutex<(stored: Set<String>, refused: Set<String>)>(([], []))

    func stored(_ handle: String) { kept.withLock { _ = $0.stored.insert(handle) } }
    func refused(_ handle: String) { kept.withLock { _ = $0.refused.insert(handle) } }
    var isOver: Bool { over.withLock { $0 } }
    func end() { over.withLock { $0 = true } }
    var all: (stored: Set<String>, refused: Set<String>) { kept.withLock { $0 } }
}

/// Keeps what is logged as warnings, with its count.
private final class Warnings: Sendable {
    struct Handler: LogHandler {
        let warnings: Warnings
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.warning

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let count = event.metadata?[LogKey.count].map { "\($0)" } ?? "none"
            warnings.lines.withLock { $0.append("\(event.message): \(count)") }
        }
    }

    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    var log: Logger { Logger(label: "test") { (_: String) -> any LogHandler in Handler(warnings: self) } }
}

@Suite("Stored calls in trouble")
struct CallTroubleTests {
    let bench = StoreBench()

    private static func call(_ handle: String, _ bench: StoreBench, caller: String = "ann") -> NewStoredCall {
        NewStoredCall(
            handle: handle, upstream: "erp", tool: "erp__order", target: "order", arguments: Array("{}".utf8),
            caller: caller, idempotencyKey: handle, requestID: .random(), createdAt: bench.time.wallMilliseconds())
    }

    /// Why it was not stored, if it was not.
    private func refusal(_ store: DurableStore, _ handle: String) async -> QueueRefusal? {
        do throws(QueueRefusal) {
            _ = try await store.calls.accept(Self.call(handle, bench))
            return nil
        } catch {
            return error
        }
    }

    private func handles(in path: String) throws -> Set<String> {
        var found: Set<String> = []
        try Connection(path: path).prepare("SELECT handle FROM queue_items").each { found.insert($0.text(0) ?? "") }
        return found
    }

    @Test("whenever the power goes, what was acknowledged is there, and what was refused is not")
    func crash() async throws {
        let store = try bench.open()
        let fates = Fates()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask { [bench] in
                    var number = 0
                    while !fates.isOver {
                        number += 1
                        // Every seventh handle is one that exists, which cannot be stored.
                        let isTwin = number % 7 == 0
                        let handle = isTwin ? "\(worker)-1" : "\(worker)-\(number)"
                        let receipt = try? await store.calls.accept(Self.call(handle, bench, caller: "c\(worker)"))
                        if receipt != nil { fates.stored(handle) } else if !isTwin { fates.refused(handle) }
                        for one in await store.calls.lease(
                            upstream: "erp", limit: 2, now: bench.time.wallMilliseconds())
                        {
                            let end = Settlement.completed(.result(Array("{}".utf8)))
                            _ = await store.calls.settle(one.call.id, end, now: bench.time.wallMilliseconds())
                        }
                    }
                }
            }
            for round in 0..<12 {
                let goal = fates.all.stored.count + 50
                #expect(await StoreBench.eventually { fates.all.stored.count >= goal })
                // A reader keeps the write-ahead log from being begun anew between the two copies.
                let reader = try Connection(path: bench.database)
                try reader.execute("BEGIN")
                _ = try reader.integer("SELECT count(*) FROM meta")
                let before = fates.all
                let copy = bench.root + "/crashed-\(round).db"
                bench.copy(bench.database, copy)
                bench.copy(bench.database + "-wal", copy + "-wal")
                try reader.execute("COMMIT")
                #expect(try Connection(path: copy).text("PRAGMA integrity_check") == "ok")
                let found = try handles(in: copy)
                #expect(before.stored.isSubset(of: found))
                #expect(found.isDisjoint(with: fates.all.refused))
                let settled = try bench.number("SELECT count(*) FROM queue_items WHERE status = 'completed'", in: copy)
                #expect(settled ?? 0 > 0)
            }
            fates.end()
            try await group.waitForAll()
        }
        #expect(fates.all.refused.isEmpty)
        store.close()
    }

    @Test("one that cannot be stored does not keep its neighbours from being stored")
    func neighbours() async throws {
        let store = try bench.open()
        let outcomes = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<64 {
                group.addTask { [bench] in
                    let new = Self.call(number % 2 == 0 ? "twin" : "h\(number)", bench)
                    return (try? await store.calls.accept(new)) != nil
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(outcomes == 33)
        #expect(try bench.number("SELECT count(*) FROM queue_items") == 33)
        #expect(store.calls.counts().items == [.queued: 33])
        #expect(store.components()[0].status == .healthy)
        store.close()
    }

    @Test("a commit that fails leaves nothing behind, in the file and in memory")
    func commitFails() async throws {
        let store = try bench.open()
        #expect(await refusal(store, "before") == nil)
        // A constraint that is looked at only when the transaction ends.
        _ = await store.perform { connection in
            try? connection.execute(
                """
                PRAGMA foreign_keys = ON;
                CREATE TABLE parents (id INTEGER PRIMARY KEY);
                CREATE TABLE children (id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
                CREATE TRIGGER orphan AFTER INSERT ON queue_items BEGIN INSERT INTO children VALUES (1); END;
                """)
        }
        let counts = store.calls.counts()
        await withTaskGroup(of: QueueRefusal?.self) { group in
            for number in 0..<20 { group.addTask { await refusal(store, "h\(number)") } }
            for await refusal in group {
                guard case .unwritable(let words) = refusal else {
                    Issue.record("acknowledged, although nothing was written")
                    continue
                }
                #expect(words.contains("the database cannot be written"))
            }
        }
        #expect(store.calls.counts() == counts)
        #expect(try handles(in: bench.database) == ["before"])
        _ = await store.perform { try? $0.execute("DROP TRIGGER orphan") }
        #expect(await refusal(store, "after") == nil)
        #expect(store.calls.counts().items == [.queued: 2])
        store.close()
    }

    @Test("a full disk refuses new calls in words, harms none, and is over when there is space")
    func full() async throws {
        let store = try bench.open()
        for number in 0..<20 { #expect(await refusal(store, "h\(number)") == nil) }
        _ = await store.perform { try? $0.execute("PRAGMA max_page_count = 1") }
        var stored = 20
        var words = ""
        while words.isEmpty, stored < 10_000 {
            switch await refusal(store, "more\(stored)") {
            case nil: stored += 1
            case .unwritable(let detail): words = detail
            case let other: words = "\(String(describing: other))"
            }
        }
        #expect(words.contains("the disk is full"))
        #expect(store.calls.counts().items == [.queued: stored])
        #expect(try bench.number("SELECT count(*) FROM queue_items") == Int64(stored))
        #expect(store.components()[0].status == .unhealthy)
        #expect(store.components()[2].detail.contains("cannot be stored now"))
        _ = await store.perform { try? $0.execute("PRAGMA max_page_count = 1000000") }
        #expect(await refusal(store, "again") == nil)
        #expect(await StoreBench.eventually { store.components()[0].status == .healthy })
        store.close()
    }

    @Test("with little space left new calls are refused, and what was begun is finished")
    func reserve() async throws {
        var store = try bench.open()
        for number in 0..<3 { #expect(await refusal(store, "h\(number)") == nil) }
        store.close()
        var settings = bench.settings()
        settings.reserveBytes = .max
        store = try bench.open(settings)
        guard case .unwritable(let words) = await refusal(store, "more") else {
            Issue.record("stored on an almost full disk")
            return
        }
        #expect(words.contains("free some space"))
        let now = bench.time.wallMilliseconds()
        let leased = await store.calls.lease(upstream: "erp", limit: 1, now: now)
        #expect(leased.count == 1)
        #expect(await store.calls.settle(leased[0].call.id, .completed(.result([1])), now: now))
        guard case .done = await store.calls.cancel(id: leased[0].call.id + 1, words: "", now: now) else {
            Issue.record("a call that waits could not be cancelled")
            return
        }
        #expect(store.calls.counts().items == [.completed: 1, .cancelled: 1, .queued: 1])
        store.close()
    }

    @Test("a disk that does not write costs nothing that was acknowledged, and leaves nothing that was refused")
    func inputOutput() async throws {
        let directory = bench.directory
        await #expect(processExitsWith: .exitCode(42)) { [directory = directory as String] in
            signal(SIGXFSZ, SIG_IGN)
            let time = TestTime()
            func open() throws -> DurableStore {
                try DurableStore.open(
                    StoreSettings(directory: directory), time: time, log: StoreBench.silent,
                    metrics: MetricsRegistry())
            }
            func accept(_ store: DurableStore, _ handle: String) async -> Bool {
                let new = NewStoredCall(
                    handle: handle, upstream: "erp", tool: "t", target: "t",
                    arguments: [UInt8](repeating: 32, count: 5_000), caller: "ann", idempotencyKey: "",
                    requestID: .random(), createdAt: time.wallMilliseconds())
                return (try? await store.calls.accept(new)) != nil
            }
            var store = try open()
            var stored: Set<String> = []
            // No file may grow beyond this; what is tried then fails with EFBIG.
            var limit = rlimit(rlim_cur: 900_000, rlim_max: rlim_t.max)
            guard setrlimit(__rlimit_resource_t(1), &limit) == 0 else { exit(1) }
            var refused = 0
            for number in 0..<1_000 where refused < 5 {
                if await accept(store, "h\(number)") { stored.insert("h\(number)") } else { refused += 1 }
            }
            guard refused == 5, stored.count > 10, store.calls.counts().waiting == stored.count else { exit(2) }
            guard store.components()[0].status == .unhealthy else { exit(3) }
            limit.rlim_cur = rlim_t.max
            guard setrlimit(__rlimit_resource_t(1), &limit) == 0 else { exit(4) }
            guard await accept(store, "again") else { exit(5) }
            stored.insert("again")
            store.close()
            store = try open()
            var filter = QueueFilter()
            filter.limit = 1_000
            let found = Set(await store.calls.list(filter).map(\.handle))
            guard found == stored else { exit(6) }
            store.close()
            exit(42)
        }
    }

    @Test("the end of a call that could not be written into the ledger is written later")
    func lateEnd() async throws {
        let store = try bench.open()
        let (key, now) = (Array("k".utf8), bench.time.wallMilliseconds())
        let answer = StoredAnswer.result([1])
        #expect(await store.calls.begin(key, digest: [1], expires: now + 60_000, now: now) == .new)
        _ = await store.perform { $0.waitForOthers(milliseconds: 20) }
        let operatorsShell = try Connection(path: bench.database)
        try operatorsShell.execute("BEGIN IMMEDIATE")
        await store.calls.end(key, answer)
        guard case .unwritable(let words) = await refusal(store, "h") else {
            Issue.record("stored while another process held the database")
            return
        }
        #expect(words.contains("another process holds"))
        try operatorsShell.execute("COMMIT")
        var finding = LedgerFinding.running
        for _ in 0..<1_000 where finding == .running {
            await store.flush()
            finding = await store.calls.begin(key, digest: [1], expires: now + 60_000, now: now)
            usleep(5_000)
        }
        #expect(finding == .answered(answer))
        store.close()
    }

    @Test("calls that expire or are dropped are told in the log, once a minute with their number")
    func told() async throws {
        let warnings = Warnings()
        var settings = bench.settings()
        (settings.queueItemsMax, settings.whenFull) = (3, .dropOldest)
        let store = try DurableStore.open(settings, time: bench.time, log: warnings.log, metrics: MetricsRegistry())
        func accept(_ handle: String) async throws {
            var new = Self.call(handle, bench)
            new.expiresAt = bench.time.wallMilliseconds() + 1_000
            _ = try await store.calls.accept(new)
        }
        for number in 0..<3 { try await accept("a\(number)") }
        await store.flush()
        #expect(warnings.all.isEmpty)
        bench.time.advance(seconds: 1)
        for number in 0..<7 { try await accept("b\(number)") }
        bench.time.advance(seconds: 61)
        await store.flush()
        await store.flush()
        bench.time.advance(seconds: 61)
        await store.flush()
        store.close()
        let expired = "stored calls expired before they could be sent: "
        let dropped = "stored calls were dropped: the queue is full: "
        #expect(warnings.all.count <= 5, "\(warnings.all)")
        func sum(_ words: String) -> Int {
            warnings.all.filter { $0.hasPrefix(words) }.compactMap { Int($0.dropFirst(words.count)) }.reduce(0, +)
        }
        #expect(sum(expired) == 6)
        #expect(sum(dropped) == 4)
        let rows = "SELECT count(*) FROM error_log WHERE error_type = 'expired' AND component = 'upstream:erp'"
        #expect(try bench.number(rows + " AND request_id IS NOT NULL") == 6)
        #expect(try bench.number("SELECT count(*) FROM error_log") == 6)
    }

    @Test("of many calls that expire at once some have rows of their own in the log of errors, the others share one")
    func expiredTogether() async throws {
        let store = try bench.open()
        for number in 0..<130 {
            var new = Self.call("h\(number)", bench)
            new.expiresAt = bench.time.wallMilliseconds() + 1_000
            _ = try await store.calls.accept(new)
        }
        bench.time.advance(seconds: 2)
        #expect(await refusal(store, "wakes the writer") == nil)
        await store.flush()
        store.close()
        let rows = { (more: String) in "SELECT count(*) FROM error_log WHERE error_type = 'expired' " + more }
        #expect(try bench.number(rows("AND component = 'upstream:erp'")) == 100)
        #expect(try bench.number(rows("AND component = 'queue' AND message LIKE '30 more %'")) == 1)
        #expect(try bench.number("SELECT count(DISTINCT request_id) FROM error_log") == 100)
    }

    @Test("after the end everything is refused, and nobody waits for ever")
    func closed() async throws {
        let store = try bench.open()
        #expect(await refusal(store, "a") == nil)
        store.close()
        #expect(await refusal(store, "b") == .closing)
        let now = bench.time.wallMilliseconds()
        #expect(await store.calls.lease(upstream: "erp", limit: 1, now: now).isEmpty)
        #expect(await store.calls.settle(1, .unknown(words: ""), now: now) == false)
        #expect(await store.calls.find(id: 1) == nil)
        #expect(await store.calls.cancel(id: 1, words: "", now: now) == .noSuchCall)
        #expect(await store.calls.begin([1], digest: [], expires: now + 1, now: now) != .new)
        await store.calls.end([1], nil)
    }
}
