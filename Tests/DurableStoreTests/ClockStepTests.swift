// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Telemetry
import Testing

@testable import DurableStore

/// The wall clock is set two hours back and two days forward, again and again, while calls wait, are being sent and
/// expire, logs are pruned and backups are made.
@Suite("Steps of the wall clock")
struct ClockStepTests {
    private struct Known {
        var id: Int64
        var lane: String
        var expiresAt: Int64?
        /// When its end was told, and how.
        var end: (at: Int64, status: String)?
        var isSending = false
    }

    private static let hour: Int64 = 3_600
    private static let keepDays: Int64 = 86_400_000

    @Test("nothing is lost, expires or goes before its time; order and times stay", arguments: [1, 2, 3] as [UInt64])
    func steps(seed: UInt64) async throws {
        let bench = StoreBench(inMemory: true)
        var settings = StoreSettings(directory: bench.directory, backups: BackupSettings(kept: 3))
        settings.queueRetention = .seconds(7 * 86_400)
        let store = try bench.open(settings)
        var chance = Chance(seed: seed)
        var known: [String: Known] = [:]
        var highest = bench.time.wallMilliseconds()
        for round in 0..<30 {
            try await accept(round, store, bench, &known)
            try await send(round, store, bench, &known)
            store.record(bench.call())
            store.record(bench.error("e\(round)"))
            store.add(.init([UInt8(round)]), expires: bench.time.wallMilliseconds() + 1_000)
            bench.time.step(seconds: [-2 * Self.hour, 48 * Self.hour].randomElement(using: &chance) ?? 0)
            bench.time.advance(seconds: 61)
            highest = max(highest, bench.time.wallMilliseconds())
            // A look has upkeep done; the caretaker makes a backup when it finds one due.
            _ = await store.calls.list(QueueFilter())
            await store.lookAround()
            await store.flush()
            try check(store, bench, known, highest: highest, "seed \(seed), round \(round)")
        }
        for call in known.values where call.isSending {
            #expect(await store.calls.settle(call.id, .unknown(words: "u"), now: bench.time.wallMilliseconds()))
        }
        // Once the clock is right, everything that waits goes, in the order in which it came.
        bench.time.step(seconds: (highest - bench.time.wallMilliseconds()) / 1_000 + 1)
        var last: [String: Int64] = [:]
        var sent = 0
        while case let calls = await lease(store, bench, 10), !calls.isEmpty {
            for call in calls {
                sent += 1
                let lane = try #require(known[call.handle]?.lane)
                #expect(call.id > last[lane] ?? 0, "seed \(seed)")
                last[lane] = call.id
                let end = Settlement.failed(words: "f")
                #expect(await store.calls.settle(call.id, end, now: bench.time.wallMilliseconds()))
            }
        }
        #expect(sent > 0)
        #expect(store.calls.counts().items[.queued] == nil)
        let backups = StorageFiles.names(in: bench.directory + "/backups").filter(BackupFiles.isDaily)
        #expect((1...3).contains(backups.count), "\(backups)")
        for name in backups {
            let path = bench.directory + "/backups/" + name
            #expect(try Connection(path: path, .mainFileOnly).text("PRAGMA integrity_check") == "ok")
        }
        store.close()
        try bench.open(settings).close()
        #expect(bench.names("").allSatisfy { !$0.contains(".corrupt") && !$0.contains(".from-") })
    }

    private func lease(_ store: DurableStore, _ bench: StoreBench, _ limit: Int) async -> [StoredCall] {
        await store.calls.lease(upstream: "erp", limit: limit, now: bench.time.wallMilliseconds()).map(\.call)
    }

    private func accept(
        _ round: Int, _ store: DurableStore, _ bench: StoreBench, _ known: inout [String: Known]
    ) async throws {
        let now = bench.time.wallMilliseconds()
        for (number, seconds) in [Self.hour, 96 * Self.hour, nil, nil].enumerated() {
            let handle = "r\(round)-\(number)"
            // One lane has nobody in it: what comes after a step does not wait for the clock to be there again.
            let caller = number == 3 ? "new\(round)" : "c\(number)"
            var new = NewStoredCall(
                handle: handle, upstream: "erp", tool: "t", target: "t", arguments: nil, caller: caller,
                idempotencyKey: handle, requestID: .random(), createdAt: now)
            new.expiresAt = seconds.map { now + $0 * 1_000 }
            let call = try await store.calls.accept(new).call
            #expect(call.id > known.values.map(\.id).max() ?? 0)
            known[handle] = Known(id: call.id, lane: caller, expiresAt: new.expiresAt)
        }
    }

    private func send(
        _ round: Int, _ store: DurableStore, _ bench: StoreBench, _ known: inout [String: Known]
    ) async throws {
        let now = bench.time.wallMilliseconds()
        let calls = await lease(store, bench, 100)
        #expect(calls.contains { $0.handle == "r\(round)-3" })
        for call in calls {
            #expect(known[call.handle]?.expiresAt.map { $0 > now } ?? true, "sent after its time")
            known[call.handle]?.isSending = true
        }
        // Those of one lane stay in flight for two rounds.
        for (handle, call) in known where call.isSending && !(call.lane == "c2" && round % 3 != 0) {
            let isDone = round % 2 == 0
            let end: Settlement = isDone ? .completed(.result([0x31])) : .failed(words: "f")
            #expect(await store.calls.settle(call.id, end, now: now))
            known[handle]?.end = (now, isDone ? "completed" : "failed")
            known[handle]?.isSending = false
        }
    }

    private func check(
        _ store: DurableStore, _ bench: StoreBench, _ known: [String: Known], highest: Int64, _ place: String
    ) throws {
        for component in store.components() where component.name != "disk" {
            #expect(component.status == .healthy, "\(place): \(component.detail)")
        }
        var found: [String: String] = [:]
        let reader = try Connection(path: bench.database, .read)
        let rows = try reader.prepare(
            "SELECT handle, status, created_at, updated_at, available_at, expires_at, keep_until FROM queue_items")
        try rows.each { row in
            found[row.text(0) ?? ""] = row.text(1)
            for column in 2..<7 as Range<Int32> {
                if let text = row.text(column) { #expect(WallTime.milliseconds(text) != nil, "\(place): \(text)") }
            }
        }
        for (handle, call) in known {
            let status = found[handle]
            if call.isSending {
                #expect(status == "in_flight", "\(place): \(handle)")
            } else if let end = call.end {
                let days: Int64 = end.status == "completed" ? 1 : 7
                let mayBeGone = end.at + days * Self.keepDays <= highest
                #expect(status == end.status || (status == nil && mayBeGone), "\(place): \(handle)")
            } else {
                // It expires when the clock has said so once, and goes a week after that at the earliest.
                let mayExpire = call.expiresAt.map { $0 <= highest } ?? false
                let mayBeGone = call.expiresAt.map { $0 + 7 * Self.keepDays <= highest } ?? false
                let isRight = status == "queued" || (status == "expired" && mayExpire) || (status == nil && mayBeGone)
                #expect(isRight, "\(place): \(handle) is \(status ?? "gone")")
            }
        }
        for table in ["request_log", "error_log"] {
            let times = try reader.prepare("SELECT timestamp FROM \(table)")
            try times.each { #expect(WallTime.milliseconds($0.text(0) ?? "") != nil) }
        }
    }
}
