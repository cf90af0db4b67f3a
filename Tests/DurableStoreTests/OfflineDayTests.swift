// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import DurableStore

/// Whole days on which an upstream is away, and comes back in the evening. OFFLINE_DAY_CALLS=100000 has each of them
/// bring more calls than in `make test`.
@Suite("Days without an upstream")
struct OfflineDayTests {
    private static let calls = getenv("OFFLINE_DAY_CALLS").flatMap { Int(String(cString: $0)) } ?? 40_000
    private static let lanes = 16

    /// Memory of this process that is in use, in MiB.
    private static func resident() -> Int {
        let words = StoreBench.run(["/bin/cat", "/proc/\(getpid())/statm"]).output.split(separator: " ")
        let pages = words.count > 1 ? Int(words[1]) ?? 0 : 0
        return pages * Int(getpagesize()) / (1 << 20)
    }

    private static func settings(_ bench: StoreBench) -> StoreSettings {
        var settings = bench.settings()
        settings.queueItemsMax = calls
        settings.queuePerCallerMax = calls
        settings.finishedMax = 2 * calls
        return settings
    }

    /// Calls of a stretch of the day, each lane's in order. Time passes meanwhile.
    private static func accept(_ numbers: Range<Int>, day: Int, _ store: DurableStore, _ bench: StoreBench) async {
        for start in stride(from: numbers.lowerBound, to: numbers.upperBound, by: calls / 24) {
            let hour = start..<min(start + calls / 24, numbers.upperBound)
            await withTaskGroup(of: Void.self) { group in
                for lane in 0..<lanes {
                    group.addTask {
                        for number in hour where number % lanes == lane {
                            let new = NewStoredCall(
                                handle: "d\(day)-\(number)", upstream: "erp", tool: "t", target: "t",
                                arguments: Array(#"{"order":12345,"lines":[1,2,3]}"#.utf8), caller: "c\(lane)",
                                idempotencyKey: "d\(day)-\(number)", requestID: .random(),
                                createdAt: bench.time.wallMilliseconds())
                            do { _ = try await store.calls.accept(new) } catch { Issue.record("\(number): \(error)") }
                        }
                    }
                }
            }
            bench.time.advance(seconds: 3_600)
        }
    }

    /// Sends everything, and looks that each lane's goes in order. How many went.
    private static func drain(_ store: DurableStore, _ bench: StoreBench) async -> Int {
        var last: [String: Int64] = [:]
        var count = 0
        while true {
            let now = bench.time.wallMilliseconds()
            let leased = await store.calls.lease(upstream: "erp", limit: lanes, now: now)
            if leased.isEmpty { return count }
            count += leased.count
            for one in leased {
                if one.call.id <= last[one.call.caller] ?? 0 { Issue.record("\(one.call.handle) is out of order") }
                last[one.call.caller] = one.call.id
            }
            await withTaskGroup(of: Void.self) { group in
                for one in leased {
                    group.addTask {
                        let end = Settlement.completed(.result([123, 125]))
                        let isWritten = await store.calls.settle(one.call.id, end, now: now)
                        if !isWritten { Issue.record("\(one.call.handle) was not settled") }
                    }
                }
            }
        }
    }

    @Test("each call of a day is kept over a restart and goes in order; a second day takes no more room than the first")
    func days() async throws {
        let bench = StoreBench(inMemory: true)
        let settings = Self.settings(bench)
        let before = Self.resident()
        #expect(before > 0)
        var sizes: [Int64] = []
        var memory: [Int] = []
        for day in 1...2 {
            var store = try bench.open(settings)
            await Self.accept(0..<Self.calls / 2, day: day, store, bench)
            store.close()
            store = try bench.open(settings)
            #expect(store.calls.counts().items == [.queued: Self.calls / 2])
            await Self.accept(Self.calls / 2..<Self.calls, day: day, store, bench)
            #expect(store.calls.counts().items == [.queued: Self.calls])
            let full = Self.resident()
            #expect(await Self.drain(store, bench) == Self.calls)
            #expect(store.calls.counts().items == [.completed: Self.calls])
            // Results are kept for a day, then the rows go, and their pages are used again.
            bench.time.advance(seconds: 86_401)
            while !store.calls.counts().items.isEmpty { _ = await store.calls.list(QueueFilter()) }
            #expect(store.calls.counts() == QueueCounts())
            await store.releaseMemory()
            let bytes = StorageFiles.bytes(of: bench.database)
            print("day \(day): \(bytes >> 10) KiB; resident \(before), full \(full), after \(Self.resident()) MiB")
            sizes.append(bytes)
            memory.append(full)
            #expect(try bench.number("SELECT count(*) FROM queue_items") == 0)
            store.close()
        }
        #expect(Double(sizes[1]) <= 1.1 * Double(sizes[0]), "\(sizes)")
        // Some two hundred bytes for a call that waits, and nothing that stays.
        #expect(memory[0] - before <= 32 + Self.calls / 2_000, "\(before) \(memory)")
        #expect(memory[1] - memory[0] <= 16, "\(memory)")
    }
}
