// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@testable import HostLoad

/// A gauge that is told what chance brings, each walk from a seed of its own.
@Suite struct PressureWalkTests {
    private static let limits = [0.5, 0.7, 0.8, 0.9, 0.97]

    /// Evenly from 0 to 1.
    private func fraction(_ chance: inout Chance) -> Double { Double(chance.below(1_000_001)) / 1_000_000 }

    @Test("memory: never lower than the share demands, never left within 0.03 of its threshold", arguments: 0..<100)
    func memory(_ seed: UInt64) {
        var chance = Chance(seed: seed)
        let gaugeLimit = Self.limits[Int(chance.below(UInt64(Self.limits.count)))]
        var gauge = PressureGauge(memoryShare: gaugeLimit)
        var (now, readAt, share, moves) = (Moment(nanoseconds: 0), Moment(nanoseconds: 0), gaugeLimit, 0)
        for step in 0..<2_000 {
            now = now + .milliseconds(Int64(chance.below(3_000)))
            share = min(max(share + (fraction(&chance) - 0.5) * 0.06, gaugeLimit - 0.2), 1.1)
            if chance.below(200) == 0 { share = fraction(&chance) }
            // Now and then nothing can be read for a while.
            let isRead = step % 500 < 460 || chance.below(20) == 0
            let used = Int(share * 1e12)
            let before = gauge.pressure
            gauge.note(
                LoadReading(memoryUsedBytes: isRead ? used : nil, memoryLimitBytes: 1_000_000_000_000, cpuCores: 1),
                at: now)
            let after = gauge.pressure
            if before != after { moves += 1 }
            guard isRead else {
                let isKnown = now.since(readAt) <= .seconds(30)
                #expect(after == (isKnown ? before : .none), "seed \(seed), step \(step)")
                continue
            }
            readAt = now
            let read = Double(used) / 1e12
            let reached = Pressure.allCases.last { read >= gauge.threshold(of: $0) } ?? .none
            #expect(after >= reached, "seed \(seed), step \(step): \(read) is \(after)")
            if after > before { #expect(after == reached, "seed \(seed), step \(step): \(read) is \(after)") }
            for left in Pressure.allCases where left > after && left <= before {
                #expect(read <= gauge.threshold(of: left) - 0.03, "seed \(seed), step \(step): \(read) left \(left)")
            }
            for kept in Pressure.allCases where kept > reached && kept <= after {
                #expect(read > gauge.threshold(of: kept) - 0.03, "seed \(seed), step \(step): \(read) kept \(kept)")
            }
        }
        // A walk on which nothing happens proves nothing.
        #expect(moves > 10)
    }

    @Test("CPU: busy begins after 30 s above the limit and ends after 10 s below, and only so", arguments: 0..<100)
    func cpu(_ seed: UInt64) {
        var chance = Chance(seed: seed)
        var gauge = PressureGauge(cpuShare: 0.85)
        var (now, spent, load, flips) = (Moment(nanoseconds: 0), 0.0, 0.5, 0)
        /// Since when each has been true without a break.
        var (above, below): (Moment?, Moment?)
        for step in 0..<3_000 {
            let pause = 200 + Int64(chance.below(2_000))
            now = now + .milliseconds(pause)
            if chance.below(30) == 0 { load = [0.3, 0.7, 0.84, 0.95, 1][Int(chance.below(5))] }
            let cores = [0.5, 1, 4][Int(chance.below(3))]
            spent += load * cores * Double(pause) / 1_000
            let wasBusy = gauge.isBusy
            gauge.note(LoadReading(cpuCores: cores, cpuSeconds: spent), at: now)
            let share = gauge.cpuShare ?? 0
            #expect(share >= 0 && share < 1 + 1e-9, "seed \(seed), step \(step)")
            above = share > 0.85 ? above ?? now : nil
            below = share < 0.80 ? below ?? now : nil
            let lastsAbove = above.map { now.since($0) >= .seconds(30) } ?? false
            let lastsBelow = below.map { now.since($0) >= .seconds(10) } ?? false
            let wanted = wasBusy ? !lastsBelow : lastsAbove
            #expect(gauge.isBusy == wanted, "seed \(seed), step \(step)")
            if gauge.isBusy != wasBusy { flips += 1 }
        }
        #expect(flips > 4)
    }
}
