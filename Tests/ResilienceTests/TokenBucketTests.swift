// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@Suite struct TokenBucketTests {
    private let start = Moment(nanoseconds: 5_000_000_000)

    @Test("begins full, gives its burst, then one per interval to the nanosecond")
    func gives() {
        var bucket = TokenBucket(rate: 10, burst: 3, at: start)
        #expect((0..<4).map { _ in bucket.take(at: start) } == [true, true, true, false])
        #expect(bucket.availableAt(at: start) == start + .milliseconds(100))
        #expect(bucket.take(at: start + .nanoseconds(99_999_999)) == false)
        #expect(bucket.take(at: start + .milliseconds(100)) == true)
        #expect(bucket.take(at: start + .milliseconds(100)) == false)
    }

    @Test(
        "holds no more than its burst, however long nobody comes", arguments: [Duration.seconds(60), .seconds(1 << 33)])
    func idle(_ quiet: Duration) {
        var bucket = TokenBucket(rate: 1_000_000, burst: 5, at: start)
        #expect(bucket.take(5, at: start) == true)
        let later = start + quiet
        #expect(bucket.level(at: later) == 5)
        #expect((0..<7).filter { _ in bucket.take(at: later) }.count == 5)
    }

    /// Rates that do not divide a second, asked often: what would drift if anything was rounded.
    static let odd: [(Double, Int)] = [(3, 2), (7, 10), (0.3, 2), (999.999, 50), (0.001, 2), (333_333, 3)]

    @Test("asked at odd times for long, gives exactly what the rate earns", arguments: odd)
    func exact(_ rate: Double, _ burst: Int) {
        var bucket = TokenBucket(rate: rate, burst: burst, at: start)
        var now = start
        var chance = Chance(seed: 17)
        var taken = 0
        let interval = UInt64(1e9 / rate)
        for _ in 0..<20_000 {
            // Less than a token is left, less than one is earned: it never runs over, so nothing may be lost.
            while bucket.take(at: now) { taken += 1 }
            now = now + .nanoseconds(Int64(chance.next() % max(interval, 1)))
        }
        while bucket.take(at: now) { taken += 1 }
        let earned = UInt64((rate * 1_000).rounded()) * (now.nanoseconds - start.nanoseconds) / 1_000_000_000_000
        #expect(taken == burst + Int(earned))
        #expect(taken > burst)
    }

    @Test("takes several at once or none, and never more than it can hold")
    func several() {
        var bucket = TokenBucket(rate: 2, burst: 10, at: start)
        #expect(bucket.take(7, at: start) == true)
        #expect(bucket.take(4, at: start) == false)
        #expect(bucket.level(at: start) == 3)
        #expect(bucket.availableAt(4, at: start) == start + .milliseconds(500))
        #expect(bucket.take(3, at: start) == true)
        #expect(bucket.availableAt(11, at: start) == nil)
        #expect(bucket.availableAt(Int.max, at: start) == nil)
        #expect(bucket.take(11, at: start + .seconds(100)) == false)
        #expect(bucket.take(10, at: start + .seconds(100)) == true)
    }

    static let waits: [(Double, Int)] = [(3, 1), (7, 5), (0.7, 2), (999.9, 100), (1_000_000, 1_000_000)]

    @Test("what it says of when is true to the nanosecond", arguments: waits)
    func available(_ rate: Double, _ count: Int) throws {
        var bucket = TokenBucket(rate: rate, burst: count, at: start)
        #expect(bucket.availableAt(count, at: start) == start)
        #expect(bucket.take(count, at: start) == true)
        let then = try #require(bucket.availableAt(count, at: start))
        #expect(bucket.take(count, at: Moment(nanoseconds: then.nanoseconds - 1)) == false)
        #expect(bucket.take(count, at: then) == true)
    }

    @Test("time that goes back earns nothing, and nothing twice")
    func backwards() {
        var bucket = TokenBucket(rate: 1, burst: 1, at: start)
        #expect(bucket.take(at: start + .seconds(10)) == true)
        for _ in 0..<10 {
            #expect(bucket.take(at: start) == false)
            #expect(bucket.take(at: start + .seconds(10)) == false)
        }
        #expect(bucket.availableAt(at: start) == start + .seconds(11))
        #expect(bucket.take(at: start + .seconds(11)) == true)
    }

    @Test("a change holds at once, keeps what was earned, and gives no second burst")
    func changes() {
        var bucket = TokenBucket(rate: 10, burst: 10, at: start)
        #expect(bucket.take(8, at: start) == true)
        bucket.change(rate: 1, burst: 100, at: start + .milliseconds(300))
        #expect(bucket.level(at: start + .milliseconds(300)) == 5)
        #expect(bucket.level(at: start + .milliseconds(1_300)) == 6)
        bucket.change(rate: 1, burst: 2, at: start + .milliseconds(1_300))
        #expect(bucket.level(at: start + .seconds(100)) == 2)
        #expect(bucket.rate == 1 && bucket.burst == 2)
    }

    @Test("the end of time is no trap")
    func endOfTime() {
        let end = Moment(nanoseconds: .max)
        var bucket = TokenBucket(rate: 1_000_000, burst: 1_000_000, at: Moment(nanoseconds: 0))
        #expect(bucket.take(1_000_000, at: end) == true)
        #expect(bucket.availableAt(1, at: end) == end)
        #expect(bucket.take(at: end) == false)
    }

    @Test("limits are held", arguments: [0, -1, 1_000_001])
    func limits(_ burst: Int) async {
        await #expect(processExitsWith: .failure) { [burst] in
            _ = TokenBucket(rate: 1, burst: burst, at: Moment(nanoseconds: 0))
        }
    }

    @Test("rates beyond the limits are refused", arguments: [0, -1, 0.000_9, 1_000_001, 1e300])
    func rates(_ rate: Double) async {
        await #expect(processExitsWith: .failure) { [rate] in
            _ = TokenBucket(rate: rate, burst: 1, at: Moment(nanoseconds: 0))
        }
    }

    @Test("a rate that is no number is refused")
    func noNumber() async {
        await #expect(processExitsWith: .failure) {
            _ = TokenBucket(rate: .nan, burst: 1, at: Moment(nanoseconds: 0))
        }
    }
}
