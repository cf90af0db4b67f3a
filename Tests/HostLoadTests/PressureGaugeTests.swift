// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@testable import HostLoad

@Suite struct PressureGaugeTests {
    /// A gauge and its clock.
    final class Bench {
        var gauge: PressureGauge
        var now = Moment(nanoseconds: 5_000_000_000)
        private var spent = 100.0

        init(_ gauge: PressureGauge = PressureGauge()) { self.gauge = gauge }

        @discardableResult
        func memory(_ share: Double?, after pause: Duration = .seconds(1)) -> Pressure {
            now = now + pause
            let used = share.map { Int($0 * 1_000_000) }
            gauge.note(LoadReading(memoryUsedBytes: used, memoryLimitBytes: 1_000_000, cpuCores: 2), at: now)
            return gauge.pressure
        }

        /// A look each second, for so many, while so much of the cores is used.
        @discardableResult
        func cpu(_ share: Double, seconds: Int, cores: Double = 2) -> Bool {
            for _ in 0..<seconds {
                now = now + .seconds(1)
                spent += share * cores
                gauge.note(LoadReading(cpuCores: cores, cpuSeconds: spent), at: now)
            }
            return gauge.isBusy
        }
    }

    static let steps: [[(share: Double, wanted: Pressure)]] = [
        [(0, .none), (0.799, .none), (0.801, .high), (0.899, .high), (0.901, .severe), (0.951, .critical)],
        [(0.96, .critical), (0.925, .critical), (0.915, .severe), (0.875, .severe), (0.865, .high), (0.775, .high)],
        [(0.81, .high), (0.775, .high), (0.765, .none), (0.795, .none), (0.805, .high)],
        [(0.99, .critical), (0.1, .none), (1.5, .critical), (0.88, .severe), (0.92, .severe), (0.78, .high)],
    ]

    @Test("a level is reached at its threshold and left 0.03 below it", arguments: steps)
    func levels(_ steps: [(share: Double, wanted: Pressure)]) {
        let bench = Bench()
        for (share, wanted) in steps { #expect(bench.memory(share) == wanted, "at \(share)") }
    }

    @Test(
        "the upper two levels lie half and three quarters of the way from the first to the whole",
        arguments: [(0.8, 0.9, 0.95), (0.6, 0.8, 0.9), (0.5, 0.75, 0.875)])
    func thresholds(_ high: Double, _ severe: Double, _ critical: Double) {
        let gauge = PressureGauge(memoryShare: high)
        for (level, wanted) in [(Pressure.high, high), (.severe, severe), (.critical, critical)] {
            #expect(abs(gauge.threshold(of: level) - wanted) < 1e-12)
            let (below, above) = (Bench(gauge), Bench(gauge))
            #expect(below.memory(wanted - 0.001) < level)
            #expect(above.memory(wanted + 0.001) == level)
        }
    }

    @Test("a reading that tells nothing changes nothing for 30 s, and then nothing is known")
    func unread() {
        let bench = Bench()
        #expect(!bench.gauge.knowsMemory)
        bench.memory(0.97)
        #expect(bench.memory(nil, after: .seconds(10)) == .critical)
        #expect(bench.memory(nil, after: .seconds(20)) == .critical && bench.gauge.knowsMemory)
        #expect(bench.memory(nil, after: .nanoseconds(1)) == .none && !bench.gauge.knowsMemory)
        #expect(bench.memory(0.97) == .critical)
    }

    @Test("busy is what has lasted for 30 s above the limit, and is over after 10 s well below it")
    func busy() {
        let bench = Bench()
        // One second gives no share yet.
        bench.cpu(1, seconds: 1)
        #expect(bench.gauge.cpuShare == nil)
        #expect(!bench.cpu(1, seconds: 30))
        #expect(bench.cpu(1, seconds: 1))
        // Neither below one limit nor above the other: it stays as it is.
        #expect(bench.cpu(0.82, seconds: 120))
        // The mean is below 0.80 after one second, and then that has to last.
        #expect(bench.cpu(0.5, seconds: 9))
        #expect(!bench.cpu(0.5, seconds: 10))
        #expect(!bench.cpu(0.82, seconds: 120))
    }

    @Test("a moment of quiet begins the 30 s anew")
    func interrupted() {
        let bench = Bench()
        bench.cpu(1, seconds: 25)
        bench.cpu(0, seconds: 5)
        #expect(!bench.cpu(1, seconds: 25))
        #expect(bench.cpu(1, seconds: 20))
    }

    @Test("the share is of the cores that were allowed meanwhile, over about ten seconds")
    func share() throws {
        let bench = Bench()
        bench.cpu(0.5, seconds: 60)
        #expect(abs(try #require(bench.gauge.cpuShare) - 0.5) < 1e-9)
        // Five seconds on four cores at a quarter and five on two at a half: 10 of 30.
        bench.cpu(0.25, seconds: 5, cores: 4)
        #expect(abs(try #require(bench.gauge.cpuShare) - 10.0 / 30) < 1e-9)
        bench.cpu(1, seconds: 10)
        #expect(abs(try #require(bench.gauge.cpuShare) - 1) < 1e-9)
    }

    @Test("many looks a second and few a minute give the same share")
    func cadence() throws {
        for pause: Duration in [.milliseconds(1), .milliseconds(250), .seconds(1), .seconds(7), .seconds(60)] {
            var (gauge, now, spent) = (PressureGauge(), Moment(nanoseconds: 0), 0.0)
            let looks = max(3, Int(30_000 / pause.milliseconds))
            for _ in 0..<looks {
                now = now + pause
                spent += pause.milliseconds / 1_000 * 1.5 * 0.9
                gauge.note(LoadReading(cpuCores: 1.5, cpuSeconds: spent), at: now)
            }
            #expect(abs(try #require(gauge.cpuShare) - 0.9) < 1e-6, "\(pause)")
        }
    }

    @Test("however often it is told something, it remembers no more than two dozen marks")
    func bound() {
        var window = CPUWindow()
        for step: UInt64 in 0..<60_000 {
            window.note(usedSeconds: Double(step) / 1_000, cores: 1, at: Moment(nanoseconds: step * 1_000_000))
            #expect(window.marks.count <= 24)
        }
    }

    @Test("time that is not read, or runs backwards, makes nobody busy")
    func cpuUnread() {
        let bench = Bench()
        bench.cpu(1, seconds: 40)
        #expect(bench.gauge.isBusy)
        bench.memory(0.5, after: .seconds(30))
        #expect(bench.gauge.isBusy && bench.gauge.cpuShare != nil)
        bench.memory(0.5, after: .seconds(2))
        #expect(!bench.gauge.isBusy && bench.gauge.cpuShare == nil)

        var gauge = PressureGauge()
        for step: UInt64 in 0..<100 {
            // The clock stands, and what was used becomes less.
            gauge.note(
                LoadReading(cpuCores: 1, cpuSeconds: Double(100 - step)), at: Moment(nanoseconds: 1_000 - step * 10))
            #expect(gauge.cpuShare == nil && !gauge.isBusy)
        }
        // What comes after that is counted from there.
        for second: UInt64 in 1...3 {
            gauge.note(
                LoadReading(cpuCores: 1, cpuSeconds: Double(second) / 4),
                at: Moment(nanoseconds: second * 1_000_000_000))
        }
        #expect(gauge.cpuShare == 0.25)
    }
}
