// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience

/// A row of `request_log` and how many calls it stands for.
struct SampledCall: Sendable {
    var record: CallRecord
    var weight: Int64
}

/// Chooses which calls get a row. A pure machine: the second comes with the records, chance from a seed.
///
/// Up to the rate every call has its row. Above it an even sample of each second is kept, weighted so that the
/// weights of a second add up to its calls. The slowest call of each second is always among them; errors are kept
/// apart and only sampled beyond ten times the rate.
struct RequestSampler: Sendable {
    /// An even sample of a stream whose length nobody knows beforehand.
    private struct Reservoir: Sendable {
        var kept: [CallRecord] = []
        var seen: Int64 = 0
        var capacity: Int

        mutating func offer(_ record: CallRecord, chance: inout Chance) {
            seen += 1
            if kept.count < capacity {
                kept.append(record)
            } else if case let place = chance.below(UInt64(seen)), place < UInt64(capacity) {
                kept[Int(place)] = record
            }
        }

        /// What was kept, the weights adding up to what was seen.
        mutating func drain(into rows: inout [SampledCall]) {
            guard !kept.isEmpty else { return }
            let (share, rest) = seen.quotientAndRemainder(dividingBy: Int64(kept.count))
            for (index, record) in kept.enumerated() {
                rows.append(SampledCall(record: record, weight: share + (index < rest ? 1 : 0)))
            }
            kept.removeAll(keepingCapacity: true)
            seen = 0
        }
    }

    static let errorFactor = 10
    private(set) var rowsPerSecond: Int
    private let readyMax: Int
    private var chance: Chance
    private var second: Int64 = .min
    private var calls: Reservoir
    private var errors: Reservoir
    private var slowest: CallRecord?
    /// The slowest of this second that has been handed out already.
    private var slowestTaken = -1.0
    private var ticks = 0
    private var ready: [SampledCall] = []
    /// Calls whose rows were lost because nobody took them in time, since the last `take`.
    private var lost: Int64 = 0

    init(rowsPerSecond: Int, seed: UInt64, readyMax: Int = 20_000) {
        self.rowsPerSecond = rowsPerSecond
        self.readyMax = readyMax
        chance = Chance(seed: seed)
        calls = Reservoir(capacity: rowsPerSecond)
        errors = Reservoir(capacity: rowsPerSecond * Self.errorFactor)
    }

    /// Rows that a `take` would hand out now, at least.
    var readyCount: Int { ready.count + errors.kept.count }
    var isEmpty: Bool { ready.isEmpty && errors.kept.isEmpty && calls.kept.isEmpty && slowest == nil }

    mutating func offer(_ record: CallRecord) {
        let its = record.wallMilliseconds / 1_000
        // Records come out of order, also long after their time: only a later second begins a new one.
        if its > second { begin(its) }
        if record.isError {
            errors.offer(record, chance: &chance)
        } else if record.responseMilliseconds > max(slowest?.responseMilliseconds ?? -1, slowestTaken) {
            if let former = slowest { calls.offer(former, chance: &chance) }
            slowest = record
        } else {
            calls.offer(record, chance: &chance)
        }
    }

    /// The rows that can be written now, and how many calls lost theirs. Called five times a second. A second is
    /// handed out when it is over, or bit by bit when it is so quiet that sampling is not in sight; `force` hands out
    /// everything.
    mutating func take(second now: Int64, force: Bool) -> (rows: [SampledCall], lost: Int64) {
        ticks += 1
        let isSetBack = now + 5 < second
        if now > second || ticks >= 8 || isSetBack {
            seal()
            if isSetBack { second = now }
        } else {
            let seen = Int(calls.seen) + (slowest == nil ? 0 : 1) + rowsPerSecond - calls.capacity
            if force || seen <= ticks * rowsPerSecond / 10 { handOut() } else { errors.drain(into: &ready) }
        }
        defer { lost = 0 }
        let rows = ready
        ready = []
        return (rows, lost)
    }

    /// What came before is sampled by the former rate; the rest of this second counts as one of its own.
    mutating func change(rowsPerSecond next: Int) {
        guard next != rowsPerSecond else { return }
        rowsPerSecond = next
        seal()
        errors.capacity = next * Self.errorFactor
    }

    /// Takes rows back that could not be written yet.
    mutating func giveBack(_ rows: [SampledCall]) {
        ready.insert(contentsOf: rows, at: 0)
        bound()
    }

    private mutating func begin(_ its: Int64) {
        seal()
        second = its
    }

    private mutating func seal() {
        handOut()
        calls.capacity = rowsPerSecond
        slowestTaken = -1
        ticks = 0
    }

    private mutating func handOut() {
        let before = ready.count
        if let slowest {
            slowestTaken = slowest.responseMilliseconds
            ready.append(SampledCall(record: slowest, weight: 1))
        }
        slowest = nil
        calls.drain(into: &ready)
        // What is left of this second has so many rows less.
        calls.capacity = max(1, calls.capacity - (ready.count - before))
        errors.drain(into: &ready)
        bound()
    }

    private mutating func bound() {
        guard ready.count > readyMax else { return }
        for row in ready[readyMax...] { lost += row.weight }
        ready.removeSubrange(readyMax...)
    }
}
