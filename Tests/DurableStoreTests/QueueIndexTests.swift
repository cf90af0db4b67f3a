// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@testable import DurableStore

@Suite("What is known of the queue in memory")
struct QueueIndexTests {
    /// Everything that can be asked.
    private struct Answers: Equatable {
        var items: [StoredStatus: Int]
        var callers: [String: Int]
        var lanes: [LaneKey: [Int64?]]
        var bytes: Int64
        var keys: [Int64]
        var oldest: Int64?
        var least: Int64?
        var soonest: [String: Int64?]

        init(_ index: inout QueueIndex, _ upstreams: [String]) {
            items = index.items
            callers = index.callers
            lanes = index.lanes.mapValues { [Int64($0.count), $0.inFlight, $0.head?.id, $0.head?.availableAt] }
            bytes = index.bytes
            keys = [Int64(index.ledgerKeys), index.ledgerBytes]
            oldest = index.oldestWaiting
            least = index.leastWorthKeeping
            soonest = [:]
            for upstream in upstreams { soonest[upstream] = index.soonest(upstream: upstream)?.head.id }
        }
    }

    private struct World {
        static let upstreams = ["erp", "crm"]
        var index = QueueIndex()
        var calls: [Int64: (facts: QueueIndex.Facts, status: StoredStatus)] = [:]
        var last: Int64 = 0

        mutating func step(_ chance: inout Chance) {
            if calls.isEmpty || Int.random(in: 0..<3, using: &chance) == 0 {
                last += 1
                let lane = LaneKey(
                    upstream: Self.upstreams.randomElement(using: &chance) ?? "",
                    caller: "c\(Int.random(in: 0..<3, using: &chance))")
                let facts = QueueIndex.Facts(
                    id: last, lane: lane, priority: Int.random(in: 0..<2, using: &chance), createdAt: last * 10)
                index.move(facts, from: nil, to: QueueIndex.Place(.queued, bytes: 5))
                calls[last] = (facts, .queued)
                refresh(lane)
                return
            }
            guard let id = calls.keys.sorted().randomElement(using: &chance), let (facts, status) = calls[id] else {
                return
            }
            var next = StoredStatus.allCases.randomElement(using: &chance) ?? .queued
            if next == .inFlight, index.lanes[facts.lane]?.inFlight != nil { next = .queued }
            let isGone = status.isOver && Bool.random(using: &chance)
            if next == .inFlight { index.set(facts.lane, head: nil) }
            index.move(
                facts, from: QueueIndex.Place(status, bytes: 5), to: isGone ? nil : QueueIndex.Place(next, bytes: 5))
            calls[id] = isGone ? nil : (facts, next)
            if Bool.random(using: &chance) { index.countLedger(Int.random(in: -1...1, using: &chance), bytes: last) }
            refresh(facts.lane)
        }

        private mutating func refresh(_ key: LaneKey) {
            guard let lane = index.lanes[key], lane.inFlight == nil else { return }
            let waiting = calls.values.filter { $0.facts.lane == key && $0.status == .queued }.map(\.facts)
            let first = waiting.min { (-$0.priority, $0.id) < (-$1.priority, $1.id) }
            index.set(
                key, head: first.map { LaneHead(id: $0.id, priority: $0.priority, availableAt: $0.id % 7) })
        }
    }

    @Test("everything can be taken back, in one piece or to any point", arguments: [11, 12, 13] as [UInt64])
    func undo(seed: UInt64) {
        var chance = Chance(seed: seed)
        var world = World()
        for round in 0..<150 {
            for _ in 0..<Int.random(in: 0..<20, using: &chance) { world.step(&chance) }
            let (before, calls) = (Answers(&world.index, World.upstreams), world.calls)
            let mark = world.index.mark
            for _ in 0..<Int.random(in: 1..<30, using: &chance) { world.step(&chance) }
            world.index.undo(to: mark)
            world.calls = calls
            #expect(Answers(&world.index, World.upstreams) == before, "seed \(seed), round \(round)")
            if round % 3 == 0 { world.index.settled() }
            // What is said agrees with what there is.
            let waiting = calls.values.filter { !$0.status.isOver }
            #expect(world.index.bytes == Int64(5 * calls.count))
            let finished = calls.values.filter { $0.status.isOver && $0.status != .unknown }
            #expect(world.index.finishedBytes == Int64(5 * finished.count))
            #expect(before.oldest == waiting.map(\.facts.createdAt).min(), "seed \(seed), round \(round)")
            #expect(world.index.waiting == waiting.count)
            let queued = waiting.filter { $0.status == .queued }.map(\.facts)
            let least = queued.min { ($0.priority, $0.id) < ($1.priority, $1.id) }
            #expect(before.least == least?.id, "seed \(seed), round \(round)")
        }
    }

    @Test("memory of what came and went does not stay")
    func flat() {
        var index = QueueIndex()
        let stuck = QueueIndex.Facts(id: 1, lane: LaneKey(upstream: "u", caller: "stuck"), priority: 0, createdAt: 1)
        index.move(stuck, from: nil, to: QueueIndex.Place(.queued, bytes: 1))
        for id in 2..<20_000 as Range<Int64> {
            let lane = LaneKey(upstream: "u", caller: "c\(id)")
            let facts = QueueIndex.Facts(id: id, lane: lane, priority: 0, createdAt: id)
            index.move(facts, from: nil, to: QueueIndex.Place(.queued, bytes: 1))
            index.set(lane, head: LaneHead(id: id, priority: 0, availableAt: 1_000_000 - id))
            index.move(facts, from: QueueIndex.Place(.queued, bytes: 1), to: nil)
            index.settled()
        }
        #expect(index.lanes.count == 1)
        #expect(index.callers.count == 1)
        #expect(index.readyCount(upstream: "u") < 100)
        #expect(index.mark == 0)
        #expect(index.oldestWaiting == 1)
    }
}
