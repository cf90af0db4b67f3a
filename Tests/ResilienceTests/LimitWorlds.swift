// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience

/// A bucket and callers of all tempers, held to exact sums in 128 bits.
struct BucketWorld: SimulatedWorld {
    private static let tokenParts: Int128 = 1_000_000_000_000

    private(set) var coverage = Tallies()
    private var chance: Chance
    private var bucket: TokenBucket
    private var now = Moment(nanoseconds: 1_000_000_000_000_000)
    /// The newest moment that the bucket was told.
    private var hand = Moment(nanoseconds: 1_000_000_000_000_000)
    private var rate: Int128
    private var burst: Int128
    private var burstMost: Int128
    /// All that was taken less all that was earned so far. A bucket that runs over loses what it cannot hold, so what
    /// counts is how far this has risen since its lowest.
    private var debt: Int128 = 0
    private var lowest: Int128 = 0
    /// The lowest since the last change, moved so that the level stays what it was.
    private var lowestOfRate: Int128 = 0

    init(seed: UInt64) {
        chance = Chance(seed: seed)
        let (rate, burst) = Self.limits(&chance)
        bucket = TokenBucket(rate: rate, burst: burst, at: hand)
        self.rate = Int128((rate * 1_000).rounded())
        self.burst = Int128(burst) * Self.tokenParts
        burstMost = self.burst
    }

    private static func limits(_ chance: inout Chance) -> (Double, Int) {
        let scale = chance.pick([0.001, 0.5, 3, 10, 999.999, 5_000, 100_000])
        return (scale * Double(1 + chance.below(10)), Int(1 + chance.below(chance.pick([3, 50, 1_000_000]))))
    }

    private var level: Int128 { burst - (debt - lowestOfRate) }

    mutating func step() throws(Broken) {
        let told = pass()
        if chance.once(in: 200) {
            let (rate, burst) = Self.limits(&chance)
            bucket.change(rate: rate, burst: burst, at: told)
            coverage.note("change")
            self.rate = Int128((rate * 1_000).rounded())
            let kept = min(level, Int128(burst) * Self.tokenParts)
            self.burst = Int128(burst) * Self.tokenParts
            lowestOfRate = debt - self.burst + kept
            burstMost = max(burstMost, self.burst)
            return
        }
        let count = chance.once(in: 4) ? Int(1 + chance.below(UInt64(burst / Self.tokenParts) + 2)) : 1
        let wanted = Int128(count) * Self.tokenParts
        let then = bucket.availableAt(count, at: told)
        if bucket.take(count, at: told) {
            try promise(wanted <= level, "gave \(count), with \(level) parts in it")
            try promise(then == hand, "gave at \(hand), promised for \(String(describing: then))")
            debt += wanted
            coverage.note("given")
        } else {
            try promise(wanted > level, "refused \(count), with \(level) parts in it")
            try checkPromise(then, count, wanted)
            coverage.note("refused")
        }
        // In no stretch of time, whenever it began, more than the burst and what was earned in it.
        try promise(debt - lowest <= burstMost, "\(debt - lowest) parts in a stretch, burst \(burstMost)")
        try promise(Int128(bucket.level(at: told)) == level / Self.tokenParts, "level \(bucket.level(at: told))")
    }

    private func checkPromise(_ then: Moment?, _ count: Int, _ wanted: Int128) throws(Broken) {
        guard let then else { return try promise(wanted > burst, "never, although it could hold \(count)") }
        var (early, punctual) = (bucket, bucket)
        let before = Moment(nanoseconds: then.nanoseconds - 1)
        try promise(then > hand && early.take(count, at: before) == false, "was there before the time it said")
        try promise(punctual.take(count, at: then), "was not there at the time it said")
    }

    /// - Returns: what the bucket is told, which may be older than what it knows.
    private mutating func pass() -> Moment {
        // In units of what it earns: much faster callers, much slower ones, and now and then nobody for long.
        let interval = UInt64(Self.tokenParts / rate)
        let most = chance.once(in: 100) ? interval * 1_000_000 : interval * chance.pick([0, 1, 2, 20])
        now = now + .nanoseconds(Int64(chance.below(most + 1)))
        let told = chance.once(in: 10) ? Moment(nanoseconds: now.nanoseconds - chance.below(interval * 3)) : now
        if told < hand { coverage.note("backwards") }
        debt -= Int128(max(told, hand).nanoseconds - hand.nanoseconds) * rate
        hand = max(told, hand)
        lowest = min(lowest, debt)
        lowestOfRate = min(lowestOfRate, debt)
        return told
    }
}

/// A retry budget with calls that come in floods and drops.
struct BudgetWorld: SimulatedWorld {
    private(set) var coverage = Tallies()
    private var chance: Chance
    private var budget: RetryBudget
    private let settings: RetryBudget.Settings
    private let start = Moment(nanoseconds: 1_000_000_000_000)
    private var now: Moment
    /// The newest moment that the budget was told.
    private var hand: Moment
    private var calls: (least: ExactWindow, most: ExactWindow)
    private var retries: (least: ExactWindow, most: ExactWindow)
    private var callCount = 0
    private var retryCount = 0
    private var flood: UInt64 = 100

    init(seed: UInt64) {
        chance = Chance(seed: seed)
        settings =
            chance.once(in: 2)
            ? RetryBudget.Settings()
            : RetryBudget.Settings(
                percent: Int(chance.below(101)), retriesMin: Int(chance.below(12)),
                window: .milliseconds(Int64(1 + chance.below(60_000))))
        budget = RetryBudget(settings)
        // No clock is ever read earlier than the start, however late somebody comes with it.
        (now, hand) = (start + .seconds(2), start)
        let tenth = UInt64(settings.window.nanosecondsClamped) / 10
        calls = (ExactWindow(length: tenth * 9 + 1), ExactWindow(length: tenth * 10))
        retries = calls
    }

    mutating func step() throws(Broken) {
        if chance.once(in: 100) { flood = chance.pick([1, 30, 300, 3_000, 30_000]) }
        now = now + .microseconds(Int64(chance.below(flood * 1_000)))
        let told = chance.once(in: 10) ? Moment(nanoseconds: now.nanoseconds - chance.below(2_000_000_000)) : now
        if told < hand { coverage.note("backwards") }
        hand = max(told, hand)
        calls.least.pass(to: hand)
        calls.most.pass(to: hand)
        retries.least.pass(to: hand)
        retries.most.pass(to: hand)
        if chance.once(in: 2) {
            budget.noteCall(at: told)
            callCount += 1
            calls.least.add(isBad: false, at: hand)
            calls.most.add(isBad: false, at: hand)
        } else {
            try spend(at: told)
        }
        let counts = budget.counts(at: told)
        try promise(
            counts.calls >= calls.least.calls && counts.calls <= calls.most.calls, "\(counts.calls) calls counted")
        try promise(
            counts.retries >= retries.least.calls && counts.retries <= retries.most.calls,
            "\(counts.retries) retries counted")
    }

    private mutating func spend(at told: Moment) throws(Broken) {
        let free = settings.retriesMin
        if budget.spend(at: told) {
            coverage.note("spent")
            let bound = free + calls.most.calls * settings.percent / 100
            try promise(retries.least.calls < bound, "\(retries.least.calls) retries, and one more; at most \(bound)")
            retryCount += 1
            retries.least.add(isBad: false, at: hand)
            retries.most.add(isBad: false, at: hand)
            // Over the whole time: the share of all calls, and the few of each window there has been.
            let windows = Int(hand.since(start) / (settings.window * 9 / 10)) + 1
            let most = callCount * settings.percent / 100 + free * windows
            try promise(retryCount <= most, "\(retryCount) retries for \(callCount) calls in \(windows) windows")
        } else {
            coverage.note("refused")
            let bound = free + calls.least.calls * settings.percent / 100
            try promise(retries.most.calls >= bound, "refused with \(retries.most.calls) retries; at least \(bound)")
        }
    }
}
