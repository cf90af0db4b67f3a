// Licensed under the Apache License 2.0; see LICENSE.

import Resilience
import Testing

@Suite struct BackoffTests {
    /// Attempt, least and most in milliseconds, for a base of 100 ms and a cap of 1 s.
    static let ranges: [(Backoff.Jitter, Int, Int, Int)] = [
        (.full, -3, 0, 100), (.full, 0, 0, 100), (.full, 1, 0, 200), (.full, 3, 0, 800), (.full, 4, 0, 1_000),
        (.full, 63, 0, 1_000), (.full, Int.max, 0, 1_000),
        (.equal, 0, 50, 100), (.equal, 2, 200, 400), (.equal, 4, 500, 1_000), (.equal, Int.max, 500, 1_000),
        (.quarterMore, Int.min, 100, 125), (.quarterMore, 0, 100, 125), (.quarterMore, 2, 400, 500),
        (.quarterMore, 3, 800, 1_000), (.quarterMore, 4, 750, 1_000), (.quarterMore, 64, 750, 1_000),
    ]

    @Test("delays lie in their range and fill it", arguments: ranges)
    func range(_ jitter: Backoff.Jitter, _ attempt: Int, _ least: Int, _ most: Int) throws {
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(1), jitter: jitter, seed: 11)
        let delays = (0..<2_000).map { _ in backoff.delay(attempt: attempt) }
        let (shortest, longest) = (try #require(delays.min()), try #require(delays.max()))
        #expect(shortest >= .milliseconds(least) && longest <= .milliseconds(most))
        // Evenly spread, the ends are nearly met.
        let margin = Duration.milliseconds(most - least) / 50
        #expect(shortest < .milliseconds(least) + margin && longest > .milliseconds(most) - margin)
    }

    @Test("a seed replays, another seed is another chance")
    func replays() {
        func delays(_ seed: UInt64) -> [Duration] {
            var backoff = Backoff(base: .milliseconds(100), cap: .seconds(10), jitter: .full, seed: seed)
            return (0..<20).map { backoff.delay(attempt: $0) }
        }
        #expect(delays(5) == delays(5))
        #expect(delays(5) != delays(6))
    }

    @Test("the longest and the shortest that there are stay in range", arguments: Backoff.Jitter.allCases)
    func extremes(_ jitter: Backoff.Jitter) {
        var longest = Backoff(base: .seconds(Int64.max), cap: .seconds(Int64.max), jitter: jitter, seed: 1)
        var shortest = Backoff(base: .nanoseconds(1), cap: .nanoseconds(1), jitter: jitter, seed: 1)
        for attempt in 0..<100 {
            #expect(longest.delay(attempt: attempt) >= .zero)
            #expect(shortest.delay(attempt: attempt) <= .nanoseconds(1))
        }
    }

    @Test("nothing grows from nothing")
    func refuses() async {
        await #expect(processExitsWith: .failure) {
            _ = Backoff(base: .zero, cap: .seconds(1), jitter: .full, seed: 1)
        }
        await #expect(processExitsWith: .failure) {
            _ = Backoff(base: .seconds(2), cap: .seconds(1), jitter: .full, seed: 1)
        }
    }
}
