// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Resilience
import Synchronization
import Telemetry
import Testing

@testable import DurableStore

/// The store as a subject of the contract.
final class StoreSubject: CallQueueContract.Subject {
    let bench: StoreBench
    private let settings: StoreSettings
    private let store: Mutex<DurableStore>

    init(_ bounds: CallQueueContract.Bounds, inMemory: Bool = true) throws {
        bench = StoreBench(inMemory: inMemory)
        var settings = bench.settings()
        settings.queueItemsMax = bounds.itemsMax
        settings.queueBytesMax = bounds.bytesMax
        settings.queuePerCallerMax = bounds.perCallerMax
        settings.whenFull = bounds.dropsOldest ? .dropOldest : .refuse
        settings.resultKeep = .seconds(bounds.resultKeepSeconds)
        settings.queueRetention = .seconds(bounds.retentionSeconds)
        settings.ledgerKeysMax = bounds.ledgerKeysMax
        settings.ledgerBytesMax = bounds.ledgerBytesMax
        self.settings = settings
        store = Mutex(try bench.open(settings))
    }

    var calls: any CallQueue & CallLedger { store.withLock { $0 }.calls }
    /// The writer sleeps until it is rung for, or something is due.
    var isAtRest: Bool { store.withLock { $0 }.calls.shared.inbox.withLock { $0.isIdle } }
    var now: Int64 { bench.time.wallMilliseconds() }
    func advance(seconds: Int64) { bench.time.advance(seconds: seconds) }
    func close() { store.withLock { $0 }.close() }

    func restart() throws {
        close()
        let next = try bench.open(settings)
        store.withLock { $0 = next }
    }
}

@Suite("The store as queue and ledger")
struct CallStoreTests {
    @Test("keeps the contract", arguments: CallQueueContract.cases)
    func contract(_ one: CallQueueContract.Case) async throws {
        try await CallQueueContract.run(one) { try StoreSubject($0) }
    }

    /// QUEUE_SIMULATION_STEPS=1000000 takes more seeds than `make test` does, QUEUE_SIMULATION_SEED the first of them.
    private static let seeds: Range<UInt64> = {
        func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }
        let first = number("QUEUE_SIMULATION_SEED") ?? 1
        let steps = number("QUEUE_SIMULATION_STEPS") ?? 18_000
        return first..<first + max(1, (steps + UInt64(stepsPerSeed) - 1) / UInt64(stepsPerSeed))
    }()
    private static let stepsPerSeed = 6_000

    @Test("does what the model does, step by step", arguments: seeds)
    func simulation(seed: UInt64) async throws {
        var bounds = CallQueueContract.Bounds(itemsMax: 40, bytesMax: 2_000, perCallerMax: 15)
        bounds.dropsOldest = seed % 2 == 0
        let subject = try StoreSubject(bounds)
        defer { subject.close() }
        var simulation = QueueSimulation(seed: seed, bounds: bounds)
        try await simulation.run(subject, steps: Self.stepsPerSeed)
    }

    @Test("a call expires although nobody asks for anything")
    func expiresAlone() async throws {
        let subject = try StoreSubject(CallQueueContract.Bounds())
        defer { subject.close() }
        try await CallQueueContract.accept("a", subject) { $0.expiresAt = subject.now + 200 }
        #expect(await StoreBench.eventually { subject.isAtRest })
        subject.advance(seconds: 1)
        #expect(await StoreBench.eventually { subject.calls.counts().items == [.expired: 1] })
    }

    @Test("the component says in words how the queue is and what to do")
    func health() async throws {
        let bench = StoreBench(inMemory: true)
        var settings = bench.settings()
        settings.queueItemsMax = 2
        let metrics = MetricsRegistry()
        let store = try bench.open(settings, metrics: metrics)
        var queue: ComponentStatus { store.components()[2] }
        func accept(_ handle: String) async throws {
            let new = NewStoredCall(
                handle: handle, upstream: "erp", tool: "t", target: "t", arguments: nil, caller: "ann",
                idempotencyKey: "", requestID: .random(), createdAt: bench.time.wallMilliseconds())
            _ = try await store.calls.accept(new)
        }
        #expect((queue.status, queue.detail) == (.healthy, "0 calls wait"))
        try await accept("a")
        bench.time.advance(seconds: 7_500)
        #expect((queue.status, queue.detail) == (.healthy, "1 call waits, the oldest for 2 h 5 min"))
        let text = String(decoding: metrics.render(), as: UTF8.self)
        #expect(text.contains("mcp_queue_size 1\n"))
        #expect(text.contains("mcp_queue_items{status=\"queued\"} 1\n"))
        #expect(text.contains("mcp_queue_oldest_age_seconds 7500\n"))
        try await accept("b")
        #expect(queue.status == .degraded)
        #expect(queue.detail.contains("the queue is full (2 calls, 256 MiB), new ones are refused"))
        let now = bench.time.wallMilliseconds()
        let one = await store.calls.lease(upstream: "erp", limit: 1, now: now)
        #expect(await store.calls.settle(one[0].call.id, .unknown(words: "x"), now: now))
        #expect(queue.status == .degraded)
        #expect(queue.detail.contains("1 call was sent without an answer coming back (status unknown)"))
        store.close()
    }

    @Test("a queue of few large calls is nearly full before one is refused")
    func bytes() async throws {
        let bench = StoreBench(inMemory: true)
        var settings = bench.settings()
        settings.queueItemsMax = 100
        settings.queueBytesMax = 4_096
        let metrics = MetricsRegistry()
        let store = try bench.open(settings, metrics: metrics)
        var queue: ComponentStatus { store.components()[2] }
        func accept(_ handle: String, bytes: Int) async throws {
            let arguments = [UInt8](repeating: 49, count: bytes)
            let new = NewStoredCall(
                handle: handle, upstream: "erp", tool: "t", target: "t", arguments: arguments,
                caller: "ann", idempotencyKey: "", requestID: .random(), createdAt: bench.time.wallMilliseconds())
            _ = try await store.calls.accept(new)
        }
        try await accept("a", bytes: 3_500)
        #expect(queue.status == .healthy)
        try await accept("b", bytes: 300)
        #expect(queue.status == .degraded)
        let words = "the queue is nearly full (2 of 100 calls, 3 of 4 KiB), at the end of it new ones are refused"
        #expect(queue.detail.contains(words))
        let text = String(decoding: metrics.render(), as: UTF8.self)
        #expect(text.contains("mcp_queue_bytes 3800\n") && text.contains("mcp_queue_limit_bytes 4096\n"))
        await #expect(throws: QueueRefusal.self) { try await accept("c", bytes: 300) }
        store.close()
    }

    @Test("timestamps come back to the millisecond", arguments: [1, 2, 3] as [UInt64])
    func timestamps(seed: UInt64) {
        var chance = Chance(seed: seed)
        for _ in 0..<5_000 {
            let wall = Int64.random(in: -62_135_596_800_000...253_402_300_799_999, using: &chance)
            #expect(WallTime.milliseconds(WallTime.text(milliseconds: wall)) == wall, "seed \(seed)")
        }
        #expect(WallTime.milliseconds("2026-11-23 18:20:01") == 1_795_458_001_000)
        let wrongs = ["", "now", "2026-11-23T18:20:01", "2026-13-23 18:20:01", "2026-11-23 18:20:01.1"]
        for wrong in wrongs {
            #expect(WallTime.milliseconds(wrong) == nil)
        }
    }
}
