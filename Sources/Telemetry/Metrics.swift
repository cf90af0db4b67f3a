// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// A number that only grows. Hold on to the handle: finding it again costs a lock and a look-up, adding to it a few
/// nanoseconds.
package final class Counter: Sendable {
    private let total = Atomic<UInt64>(0)

    init() {}

    /// Lock-free, allocates nothing.
    package func increment(by amount: UInt64 = 1) {
        total.wrappingAdd(amount, ordering: .relaxed)
    }

    package var value: UInt64 { total.load(ordering: .relaxed) }
}

/// A number that goes up and down and is set by whoever knows it.
package final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    init() {}

    /// Lock-free, allocates nothing.
    package func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    /// Adds, which may be a negative amount. Lock-free.
    package func add(_ amount: Double) {
        var seen = bits.load(ordering: .relaxed)
        while true {
            let wanted = (Double(bitPattern: seen) + amount).bitPattern
            let outcome = bits.weakCompareExchange(expected: seen, desired: wanted, ordering: .relaxed)
            if outcome.exchanged { return }
            seen = outcome.original
        }
    }

    package var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// How often values fell below each of a few bounds.
package final class Histogram: Sendable {
    /// Bounds in seconds that suit the duration of a request. One of them is 2, the limit that operators alert on.
    package static let requestSeconds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60,
    ]

    /// Bounds for what stays open: a second to a day.
    package static let streamSeconds: [Double] = [1, 10, 60, 300, 900, 3_600, 14_400, 43_200, 86_400]

    let bounds: [Double]
    /// One cell a bound and a last one for what is above all of them; each holds its own count, not the running total.
    private let cells: [Counter]
    private let sumNanos = Counter()

    init(bounds: [Double]) {
        precondition(!bounds.isEmpty && bounds.count <= 64, "a histogram has 1 to 64 bounds")
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "bounds of a histogram rise")
        self.bounds = bounds
        cells = (0...bounds.count).map { _ in Counter() }
    }

    /// Counts one value. Lock-free, allocates nothing. What is negative or not a number counts as zero.
    package func observe(seconds: Double) {
        let value = seconds > 0 ? seconds : 0
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        cells[index].increment()
        sumNanos.increment(by: UInt64(min(value, 1e9) * 1e9))
    }

    /// The values so far, as `count` per bound (running totals, the last one over everything) and their sum in seconds.
    func read() -> (running: [UInt64], sum: Double) {
        var total: UInt64 = 0
        let running = cells.map { cell in
            total += cell.value
            return total
        }
        return (running, Double(sumNanos.value) / 1e9)
    }

    /// How many values there have been.
    package var count: UInt64 { cells.reduce(0) { $0 + $1.value } }
}
