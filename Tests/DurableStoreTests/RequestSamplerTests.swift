// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@testable import DurableStore

@Suite("Sampling of request rows")
struct RequestSamplerTests {
    private func record(
        _ milliseconds: Int64, took: Double = 1, status: String = "ok", id: UInt64 = 0
    ) -> CallRecord {
        CallRecord(
            wallMilliseconds: milliseconds, method: "tools/call", tool: "t", upstream: nil, route: "wasm",
            status: status,
            responseMilliseconds: took, caller: "anonymous", requestID: RequestID(high: 0, low: id))
    }

    @Test("up to the rate every call has its row, whenever rows are taken", arguments: [1, 7, 99, 100])
    func all(count: Int) {
        var sampler = RequestSampler(rowsPerSecond: 100, seed: 1)
        var rows: [SampledCall] = []
        for second in 0..<20 {
            for call in 0..<count {
                sampler.offer(record(Int64(second * 1_000 + call * 1_000 / count), took: Double(call % 13)))
                if call % 17 == 3 { rows += sampler.take(second: Int64(second), force: call % 2 == 0).rows }
            }
        }
        rows += sampler.take(second: 100, force: true).rows
        #expect(rows.count == 20 * count)
        #expect(rows.allSatisfy { $0.weight == 1 })
        #expect(sampler.isEmpty)
    }

    @Test(
        "above the rate the weights add up, rows stay bounded, errors and the slowest are kept",
        arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func sampled(seed: UInt64) {
        var chance = Chance(seed: seed)
        var sampler = RequestSampler(rowsPerSecond: 50, seed: seed)
        var rows: [SampledCall] = []
        var offered: Int64 = 0
        var errors = 0
        var slowest: [Int64: Double] = [:]
        for second in 0..<30 as Range<Int64> {
            let count = Int64(chance.below(4_000))
            for call in 0..<count {
                let isError = chance.below(40) == 0
                let took = Double(chance.below(1_000_000)) / 1_000
                let milliseconds = second * 1_000 + call * 999 / max(1, count)
                sampler.offer(record(milliseconds, took: took, status: isError ? "failed" : "ok"))
                offered += 1
                if isError { errors += 1 } else { slowest[second] = max(slowest[second] ?? 0, took) }
                // The writer looks five times a second.
                if call % max(1, count / 5) == 0 { rows += sampler.take(second: second, force: false).rows }
            }
        }
        let last = sampler.take(second: 1_000, force: true)
        rows += last.rows
        #expect(last.lost == 0)
        #expect(rows.reduce(0) { $0 + $1.weight } == offered)
        #expect(rows.count { $0.record.isError } == errors)
        for (second, took) in slowest {
            #expect(
                rows.contains { $0.record.wallMilliseconds / 1_000 == second && $0.record.responseMilliseconds == took }
            )
        }
        let perSecond = Dictionary(grouping: rows.filter { !$0.record.isError }) { $0.record.wallMilliseconds / 1_000 }
        // The slowest of the second may come on top, and so may each slowest that was handed out before.
        for (_, rows) in perSecond { #expect(rows.count <= 55) }
    }

    @Test("the sample is even: early and late calls of a second have the same chance")
    func even() {
        var early = 0
        var late = 0
        for seed in 0..<200 as Range<UInt64> {
            var sampler = RequestSampler(rowsPerSecond: 20, seed: seed)
            for id in 0..<400 as Range<UInt64> { sampler.offer(record(Int64(id) * 2, id: id)) }
            for row in sampler.take(second: 9, force: true).rows {
                if row.record.wallMilliseconds < 400 { early += 1 } else { late += 1 }
            }
        }
        #expect(early + late == 200 * 21)
        #expect(abs(early - late) < 400)
    }

    @Test("rows that nobody takes are bounded, and those lost are counted")
    func bounded() {
        var sampler = RequestSampler(rowsPerSecond: 100, seed: 1, readyMax: 1_000)
        for second in 0..<50 as Range<Int64> {
            for _ in 0..<200 { sampler.offer(record(second * 1_000)) }
        }
        let (rows, lost) = sampler.take(second: 100, force: true)
        #expect(rows.count == 1_000)
        #expect(rows.reduce(0) { $0 + $1.weight } + lost == 10_000)
    }

    @Test("a clock set back does not stop it")
    func clockSetBack() {
        var sampler = RequestSampler(rowsPerSecond: 10, seed: 1)
        for _ in 0..<5 { sampler.offer(record(10_000_000)) }
        var rows = sampler.take(second: 10_000, force: false).rows
        rows += sampler.take(second: 0, force: false).rows
        for second in 0..<3 as Range<Int64> {
            for _ in 0..<10 { sampler.offer(record(second * 1_000)) }
        }
        rows += sampler.take(second: 3, force: true).rows
        #expect(rows.count == 35)
    }
}

@Suite("Ended sessions in memory")
struct TombstoneSetTests {
    @Test("the set is bounded; the dead go first, then those that end soonest")
    func bounded() {
        var set = TombstoneSet(countMax: 100)
        for number in 0..<100 { set.add(SessionKey([UInt8(number)]), expires: Int64(1_000 + number), now: 0) }
        set.add(SessionKey([200]), expires: 5_000, now: 1_010)
        #expect(!set.contains(SessionKey([9])))
        #expect(set.contains(SessionKey([50])))
        for number in 101..<200 { set.add(SessionKey([UInt8(number)]), expires: 9_000, now: 1_010) }
        #expect(set.count <= 100)
        #expect(set.contains(SessionKey([200])))
        #expect(!set.contains(SessionKey([15])))
    }
}
