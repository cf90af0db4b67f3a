// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry
import Testing

@testable import DurableStore

@Suite("Large payloads")
struct PayloadTests {
    let bench = StoreBench()
    private static let large = (0..<100_000).map { UInt8($0 % 249) }

    private func accept(_ store: DurableStore, _ handle: String, caller: String) async throws -> StoredCall {
        let new = NewStoredCall(
            handle: handle, upstream: "erp", tool: "t", target: "t", arguments: Self.large, caller: caller,
            idempotencyKey: "", requestID: .random(), createdAt: bench.time.wallMilliseconds())
        return try await store.calls.accept(new).call
    }

    private func lease(_ store: DurableStore) async -> [LeasedCall] {
        await store.calls.lease(upstream: "erp", limit: 10, now: bench.time.wallMilliseconds())
    }

    private func settle(_ store: DurableStore, _ id: Int64) async -> Bool {
        await store.calls.settle(id, .completed(.result(Self.large)), now: bench.time.wallMilliseconds())
    }

    private var payloads: [String] {
        bench.files("/queue").map { String($0.prefix { $0 != " " }) }.filter { $0.contains(".payload") }
    }

    private func file(of id: Int64, _ column: String = "payload_ref") throws -> String {
        let connection = try Connection(path: bench.database)
        return try connection.text("SELECT \(column) FROM queue_items WHERE id = \(id)") ?? "none"
    }

    @Test("what is large is a file beside the database, of which the row knows length and digest")
    func files() async throws {
        let store = try bench.open()
        let one = try await accept(store, "a", caller: "ann")
        let name = try file(of: one.id)
        #expect(payloads == [name])
        #expect(bench.mode("/queue/" + name) == 0o660)
        #expect(
            try bench.number(
                """
                SELECT count(*) FROM queue_items WHERE payload IS NULL AND payload_bytes = 100000
                    AND length(payload_digest) = 32
                """) == 1)
        #expect(await lease(store).map(\.arguments) == [Self.large])
        #expect(await settle(store, one.id))
        let outcome = await store.calls.find(id: one.id)
        #expect(outcome?.answer == .result(Self.large))
        // The arguments of what was carried out are of no use to anybody.
        let result = try file(of: one.id, "result_ref")
        #expect(await StoreBench.eventually { payloads == [result] })
        bench.time.advance(seconds: 90_000)
        await store.flush()
        #expect(await store.calls.find(id: one.id) == nil)
        #expect(await StoreBench.eventually { payloads == [] })
        store.close()
    }

    @Test("a refused call leaves no file")
    func refused() async throws {
        var settings = bench.settings()
        settings.queuePerCallerMax = 1
        let store = try bench.open(settings)
        _ = try await accept(store, "a", caller: "ann")
        await #expect(throws: QueueRefusal.self) { _ = try await accept(store, "b", caller: "ann") }
        #expect(await StoreBench.eventually { payloads.count == 1 })
        store.close()
    }

    @Test(
        "a damaged or missing payload fails its call in words and nobody else's",
        arguments: ["changed", "cut", "gone"])
    func damaged(how: String) async throws {
        let store = try bench.open()
        let bad = try await accept(store, "bad", caller: "ann")
        _ = try await accept(store, "good", caller: "bob")
        let name = try file(of: bad.id)
        let path = bench.directory + "/queue/" + name
        switch how {
        case "changed": bench.overwrite(path, at: 50_000, with: [255, 255])
        case "cut": truncate(path, 1_000)
        default: unlink(path)
        }
        #expect(await lease(store).map(\.call.handle) == ["good"])
        let found = await store.calls.find(id: bad.id)?.call
        #expect(found?.status == .failed)
        #expect(found?.lastError?.contains("payload damaged") == true)
        #expect(bench.exists("queue/\(name).corrupt") == (how != "gone"))
        #expect(store.calls.counts().items == [.failed: 1, .inFlight: 1])
        // Sending it again cannot help, and does no harm.
        _ = await store.calls.retry(id: bad.id, now: bench.time.wallMilliseconds())
        #expect(await lease(store).isEmpty)
        #expect(await store.calls.find(id: bad.id)?.call.status == .failed)
        store.close()
    }

    @Test("a payload that cannot be read for a while is not taken for damaged: its call waits, its result stays")
    func unreadable() async throws {
        let store = try bench.open()
        let one = try await accept(store, "a", caller: "ann")
        /// Puts a link in place of the file, which is not followed: it is there, and cannot be opened.
        func hide(_ path: String) { _ = (rename(path, path + ".away"), symlink("nowhere", path)) }
        func show(_ path: String) { _ = rename(path + ".away", path) }
        let arguments = bench.directory + "/queue/" + (try file(of: one.id))
        hide(arguments)
        #expect(await lease(store).isEmpty)
        let waits = try #require(await store.calls.find(id: one.id)?.call)
        #expect(waits.status == .queued)
        #expect(waits.attempts == 0)
        #expect(waits.availableAt == bench.time.wallMilliseconds() + 5_000)
        #expect(waits.lastError?.contains("cannot be read") == true)
        show(arguments)
        bench.time.advance(seconds: 5)
        #expect(await lease(store).map(\.arguments) == [Self.large])
        #expect(await settle(store, one.id))
        let result = bench.directory + "/queue/" + (try file(of: one.id, "result_ref"))
        hide(result)
        let outcome = try await store.calls.find(handle: "a", caller: "ann")
        #expect(outcome?.call.status == .completed)
        #expect(outcome?.call.lastError == nil)
        #expect(outcome?.answer == nil)
        show(result)
        #expect(try await store.calls.find(handle: "a", caller: "ann")?.answer == .result(Self.large))
        store.close()
    }

    @Test("a damaged result is told, and its call is not sent a second time")
    func damagedResult() async throws {
        let store = try bench.open()
        let one = try await accept(store, "a", caller: "ann")
        _ = await lease(store)
        #expect(await settle(store, one.id))
        bench.overwrite(bench.directory + "/queue/" + (try file(of: one.id, "result_ref")), at: 3, with: [255])
        let outcome = try await store.calls.find(handle: "a", caller: "ann")
        #expect(outcome?.answer == nil)
        #expect(outcome?.call.status == .failed)
        #expect(outcome?.call.lastError?.hasPrefix("carried out, but its result is lost: payload damaged") == true)
        guard case .notPossible = await store.calls.retry(id: one.id, now: bench.time.wallMilliseconds()) else {
            Issue.record("it would be carried out twice")
            return
        }
        #expect(store.calls.counts().bytes == 0)
        store.close()
    }

    @Test("a file stays as long as a backup may name it")
    func backups() async throws {
        let backup = bench.directory + "/backups/queue-20261123.db"
        var store = try bench.open()
        let one = try await accept(store, "a", caller: "ann")
        let name = try file(of: one.id)
        bench.overwrite(backup, at: 0, with: [1])
        guard case .done = await store.calls.cancel(id: one.id, words: "", now: bench.time.wallMilliseconds()) else {
            Issue.record("it waits, and could not be cancelled")
            return
        }
        #expect(await store.calls.purge([.cancelled], before: .max) == 1)
        #expect(await StoreBench.eventually { bench.mode("/queue/" + name) == 0o440 })
        store.close()
        // As old as the row's end, or almost: it may have been begun before.
        age(backup, by: 3_000)
        store = try bench.open()
        store.calls.sweep()
        store.close()
        #expect(payloads == [name])
        age(backup, by: 7_300)
        store = try bench.open()
        #expect(await StoreBench.eventually { payloads == [] })
        store.close()
    }

    @Test("a start takes away what a crash left, and nothing that a row names")
    func leftovers() async throws {
        var store = try bench.open()
        let one = try await accept(store, "a", caller: "ann")
        let name = try file(of: one.id)
        store.close()
        chmod(bench.directory + "/queue/" + name, 0o440)
        bench.overwrite(bench.directory + "/queue/0123.payload", at: 0, with: [1])
        bench.overwrite(bench.directory + "/queue/4567.payload.tmp", at: 0, with: [1])
        bench.overwrite(bench.directory + "/queue/notes.txt", at: 0, with: [1])
        store = try bench.open()
        #expect(await StoreBench.eventually { payloads == [name] })
        #expect(await StoreBench.eventually { bench.mode("/queue/" + name) == 0o660 })
        #expect(bench.exists("queue/notes.txt"))
        store.close()
    }

    /// Makes a file look as if it was written as many seconds from now.
    private func age(_ path: String, by seconds: Int) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        now.tv_sec += seconds
        _ = utimensat(AT_FDCWD, path, [now, now], 0)
    }
}
