// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Synchronization
import Testing

@testable import DurableStore

/// Every setting but the directory follows a reload, and nothing that is stored or being sent is lost by it.
@Suite("Changing the store while it works")
struct ChangeTests {
    let bench = StoreBench(inMemory: true)

    private var now: Int64 { bench.time.wallMilliseconds() }

    private func open(_ edit: (inout StoreSettings) -> Void = { _ in }) throws -> (DurableStore, StoreSettings) {
        var settings = bench.settings(rowsPerSecond: 100_000)
        edit(&settings)
        return (try bench.open(settings), settings)
    }

    private func change(_ store: DurableStore, _ edit: (inout StoreSettings) -> Void) async {
        var next = store.settings
        edit(&next)
        await store.change(next)
    }

    @discardableResult
    private func accept(
        _ handle: String, _ store: DurableStore, caller: String = "ann", bytes: Int = 8
    ) async throws(QueueRefusal) -> StoredCall {
        let new = NewStoredCall(
            handle: handle, upstream: "erp", tool: "t", target: "t", arguments: [UInt8](repeating: 1, count: bytes),
            caller: caller, idempotencyKey: "", requestID: .random(), createdAt: now)
        return try await store.calls.accept(new).call
    }

    /// Whether a call is refused because there is no room for it.
    private func isFull(_ store: DurableStore, caller: String = "ann") async -> Bool {
        do {
            try await accept("x\(UInt64.random(in: .min ... .max))", store, caller: caller)
            return false
        } catch {
            if case .full = error { return true }
            return false
        }
    }

    /// Has the first call of each lane carried out.
    private func complete(_ store: DurableStore) async -> [String] {
        var done: [String] = []
        for leased in await store.calls.lease(upstream: "erp", limit: 100, now: now) {
            let end = Settlement.completed(.result(Array("{}".utf8)))
            if await store.calls.settle(leased.call.id, end, now: now) { done.append(leased.call.handle) }
        }
        return done
    }

    // MARK: Log rows

    @Test("the rate of request rows is another one at once, and the weights still add up")
    func rate() async throws {
        let (store, _) = try open { $0.requestRowsPerSecond = 10 }
        for _ in 0..<100 { store.record(bench.call()) }
        await change(store) { $0.requestRowsPerSecond = 1_000 }
        for _ in 0..<100 { store.record(bench.call()) }
        await store.flush()
        #expect(try bench.number("SELECT sum(weight) FROM request_log") == 200)
        let rows = try bench.number("SELECT count(*) FROM request_log") ?? 0
        #expect((101...160).contains(rows))
        await change(store) { $0.requestRowsPerSecond = 10 }
        for _ in 0..<1_000 { store.record(bench.call()) }
        await store.flush()
        #expect(try bench.number("SELECT sum(weight) FROM request_log") == 1_200)
        #expect(try bench.number("SELECT count(*) FROM request_log") ?? .max < rows + 60)
        store.close()
    }

    @Test("a sampler whose rate changes in the middle of seconds loses no weight", arguments: [1, 2, 3] as [UInt64])
    func sampler(seed: UInt64) {
        var chance = Chance(seed: seed)
        var sampler = RequestSampler(rowsPerSecond: 50, seed: seed)
        var (offered, weight) = (Int64(0), Int64(0))
        for second in 0..<20 as Range<Int64> {
            for call in 0..<Int64(chance.below(2_000)) {
                var record = bench.call(Double(chance.below(1_000)), status: chance.below(9) == 0 ? "failed" : "ok")
                record.wallMilliseconds = second * 1_000 + call % 1_000
                sampler.offer(record)
                offered += 1
                if chance.below(100) == 0 { sampler.change(rowsPerSecond: 1 + Int(chance.below(500))) }
                if chance.below(200) == 0 {
                    let taken = sampler.take(second: second, force: chance.below(2) == 0)
                    weight += taken.rows.reduce(taken.lost) { $0 + $1.weight }
                }
            }
        }
        let last = sampler.take(second: 100, force: true)
        weight += last.rows.reduce(last.lost) { $0 + $1.weight }
        #expect(weight == offered, "seed \(seed)")
        #expect(sampler.isEmpty)
    }

    @Test("fewer rows and a shorter retention take effect without waiting for the next look")
    func retention() async throws {
        let (store, _) = try open()
        for _ in 0..<3_000 { store.record(bench.call()) }
        store.record(bench.error("old"))
        await store.flush()
        #expect(try bench.number("SELECT count(*) FROM request_log") == 3_000)
        await change(store) { $0.rowsMax = 500 }
        #expect(try await StoreBench.eventually { try bench.number("SELECT count(*) FROM request_log") == 500 })
        bench.time.advance(seconds: 30)
        await change(store) { $0.retention = .seconds(10) }
        let isYoung = try await StoreBench.eventually {
            try bench.number("SELECT (SELECT count(*) FROM request_log) + (SELECT count(*) FROM error_log)") == 0
        }
        #expect(isYoung)
        store.close()
    }

    // MARK: The queue

    @Test("bounds below what is stored refuse new calls and remove nothing, higher ones take them")
    func lowered() async throws {
        let (store, _) = try open()
        for number in 0..<3 { try await accept("h\(number)", store, caller: "c\(number)") }
        await change(store) { $0.queueItemsMax = 2 }
        #expect(await isFull(store))
        #expect(store.components()[2].detail.contains("the queue is full (2 calls"))
        await change(store) { ($0.queueItemsMax, $0.queueBytesMax) = (100, 10) }
        #expect(await isFull(store))
        await change(store) { ($0.queueBytesMax, $0.queuePerCallerMax) = (1 << 20, 1) }
        #expect(await isFull(store, caller: "c1"))
        #expect(await !isFull(store, caller: "c9"))
        #expect(store.calls.counts().items == [.queued: 4])
        #expect(await Set(complete(store)).isSuperset(of: ["h0", "h1", "h2"]))
        store.close()
    }

    @Test("where the oldest make room, none is dropped for bounds that were lowered")
    func loweredDropping() async throws {
        let (store, _) = try open { $0.whenFull = .dropOldest }
        var ids: [Int64] = []
        for number in 0..<5 { ids.append(try await accept("h\(number)", store).id) }
        await change(store) { $0.queueItemsMax = 2 }
        #expect(await isFull(store))
        #expect(store.calls.counts().items == [.queued: 5])
        #expect(store.components()[2].detail.contains("new ones are refused"))
        for id in ids.prefix(2) { _ = await store.calls.cancel(id: id, words: "by hand", now: now) }
        #expect(await isFull(store))
        _ = await store.calls.cancel(id: ids[2], words: "by hand", now: now)
        // Within its bounds the queue does again what it is told to.
        #expect(store.components()[2].detail.contains("the oldest are dropped"))
        #expect(await !isFull(store))
        #expect(await store.calls.find(id: ids[3])?.call.status == .cancelled)
        #expect(await store.calls.find(id: ids[4])?.call.status == .queued)
        store.close()
    }

    @Test("what is to be done with a full queue changes")
    func whenFull() async throws {
        let (store, _) = try open { $0.queueItemsMax = 2 }
        let first = try await accept("a", store)
        try await accept("b", store)
        #expect(await isFull(store))
        await change(store) { $0.whenFull = .dropOldest }
        #expect(await !isFull(store))
        #expect(await store.calls.find(id: first.id)?.call.status == .cancelled)
        await change(store) { $0.whenFull = .refuse }
        #expect(await isFull(store))
        store.close()
    }

    @Test("results that are kept stay for as long as they were told, later ones as the change says")
    func resultKeep() async throws {
        let (store, _) = try open { $0.resultKeep = .seconds(3_600) }
        try await accept("early", store)
        #expect(await complete(store) == ["early"])
        await change(store) { $0.resultKeep = .seconds(60) }
        try await accept("late", store)
        #expect(await complete(store) == ["late"])
        bench.time.advance(seconds: 120)
        #expect(try await store.calls.find(handle: "late", caller: "ann") == nil)
        #expect(try await store.calls.find(handle: "early", caller: "ann")?.answer != nil)
        await change(store) { $0.finishedMax = 0 }
        #expect(try await store.calls.find(handle: "early", caller: "ann") == nil)
        store.close()
    }

    @Test("the size of payload files and the reserve of the disk are read anew for each call")
    func payloads() async throws {
        let (store, _) = try open()
        try await accept("inline", store, caller: "a", bytes: 100)
        #expect(bench.files("/queue").count { $0.contains(".payload") } == 0)
        await change(store) { $0.payloadInlineMax = 10 }
        try await accept("file", store, caller: "b", bytes: 100)
        #expect(bench.files("/queue").count { $0.contains(".payload") } == 1)
        await change(store) { $0.reserveBytes = .max }
        await #expect(throws: QueueRefusal.self) { try await accept("large", store, caller: "c", bytes: 100) }
        await #expect(throws: QueueRefusal.self) { try await accept("small", store, caller: "c") }
        await change(store) { $0.reserveBytes = 0 }
        try await accept("again", store, caller: "c", bytes: 100)
        #expect(await Set(complete(store)) == ["inline", "file", "again"])
        store.close()
    }

    @Test("calls that come, go and end while everything changes are all there, each once")
    func underLoad() async throws {
        let (store, settings) = try open()
        let (callers, each) = (8, 40)
        let isDone = Finished()
        await withTaskGroup(of: Void.self) { group in
            for caller in 0..<callers {
                group.addTask {
                    for number in 0..<each {
                        let handle = "\(caller)-\(number)"
                        do {
                            try await accept(handle, store, caller: "c\(caller)", bytes: 1 + number * 5)
                        } catch {
                            Issue.record("\(handle): \(error)")
                        }
                        store.record(bench.call())
                    }
                }
            }
            group.addTask {
                var done: Set<String> = []
                let end = ContinuousClock.now + .seconds(60)
                while done.count < callers * each, ContinuousClock.now < end {
                    for handle in await complete(store) where !done.insert(handle).inserted {
                        Issue.record("\(handle) was sent twice")
                    }
                    await Task.yield()
                }
                isDone.set()
            }
            group.addTask {
                var round = 0
                while !isDone.isSet {
                    round += 1
                    var next = settings
                    next.requestRowsPerSecond = 50_000 + round % 3
                    next.payloadInlineMax = round % 2 == 0 ? 50 : 64 << 10
                    next.queueItemsMax = 10_000 + round
                    next.whenFull = round % 2 == 0 ? .refuse : .dropOldest
                    next.resultKeep = .seconds(3_600 + Int64(round))
                    next.cacheBytesMax = (1 + round % 4) << 20
                    await store.change(next)
                    await Task.yield()
                }
            }
        }
        await store.flush()
        #expect(store.calls.counts().items == [.completed: callers * each])
        #expect(try bench.number("SELECT sum(weight) FROM request_log") == Int64(callers * each))
        store.close()
    }

    // MARK: Kept answers and backups

    @Test("a lower bound of the cache makes room at once, in memory and on disk; a higher one is used")
    func cache() async throws {
        let (store, _) = try open { $0.cacheBytesMax = 1 << 20 }
        let text = Array(repeating: UInt8(ascii: "x"), count: 1_000)
        func keep(_ numbers: Range<Int>) {
            for number in numbers {
                let reply = KeptReply(result: text, keptAt: Int64(number))
                store.replies.keep([UInt8(number / 256), UInt8(number % 256)], tool: "t", reply)
            }
        }
        keep(0..<300)
        await store.flush()
        #expect(store.replies.size().bytes == 300_000)
        await change(store) { $0.cacheBytesMax = 100_000 }
        #expect(store.replies.size().bytes <= 100_000)
        #expect(await store.replies.lookup([0, 0]) == nil)
        #expect(await store.replies.lookup([1, 43])?.keptAt == 299)
        let isGone = try await StoreBench.eventually {
            try bench.number("SELECT sum(length(result)) FROM reply_cache") ?? 0 <= 100_000
        }
        #expect(isGone)
        #expect(try bench.number("SELECT count(*) FROM reply_cache") == Int64(store.replies.size().entries))
        await change(store) { $0.cacheBytesMax = 1 << 20 }
        keep(300..<700)
        #expect(store.replies.size().bytes > 400_000)
        store.close()
    }

    @Test("backups begin, move to another time of day and become fewer")
    func backups() async throws {
        let directory = bench.directory + "/backups"
        func dailies() -> [String] { StorageFiles.names(in: directory).filter(BackupFiles.isDaily) }
        func today() -> String { BackupFiles(directory: directory).path(wallMilliseconds: now) }
        let (store, _) = try open()
        await store.lookAround()
        #expect(dailies() == [])
        await change(store) { $0.backups = BackupSettings(hour: 0, minute: 0, kept: 3) }
        #expect(await StoreBench.eventually { dailies().count == 1 })
        let made = now
        bench.time.advance(seconds: 120)
        await store.lookAround()
        #expect(BackupFiles.madeAt(today()) == made)
        // A time of day that has passed since today's was made.
        let minutes = Int((now - LocalDay.moment(hour: 0, minute: 0, on: now)) / 60_000)
        await change(store) { $0.backups = BackupSettings(hour: minutes / 60, minute: minutes % 60, kept: 3) }
        #expect(await StoreBench.eventually { BackupFiles.madeAt(today()) == now })
        for _ in 0..<4 {
            bench.time.advance(seconds: 86_400)
            await store.lookAround()
        }
        #expect(dailies().count == 3)
        await change(store) { $0.backups?.kept = 1 }
        bench.time.advance(seconds: 86_400)
        await store.lookAround()
        #expect(dailies().count == 1)
        await change(store) { $0.backups = nil }
        bench.time.advance(seconds: 86_400)
        await store.lookAround()
        #expect(!StorageFiles.exists(today()))
        store.close()
    }

    // MARK: What does not change

    @Test("the directory stays, and a store that is closed takes no harm")
    func directory() async throws {
        let (store, _) = try open()
        await change(store) { ($0.directory, $0.queueItemsMax) = (bench.root + "/elsewhere", 1) }
        try await accept("a", store)
        #expect(await isFull(store))
        #expect(store.settings.directory == bench.directory)
        #expect(!StorageFiles.exists(bench.root + "/elsewhere"))
        store.close()
        await change(store) { $0.queueItemsMax = 5 }
        #expect(try bench.number("SELECT count(*) FROM queue_items") == 1)
    }
}

/// Set once, by whoever is done.
private final class Finished: Sendable {
    private let flag = Atomic(false)
    var isSet: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}
