// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@Suite struct MomentTests {
    private let end = Moment(nanoseconds: .max)

    static let sums: [(UInt64, Duration, UInt64)] = [
        (0, .zero, 0), (5, .nanoseconds(7), 12), (0, .seconds(3), 3_000_000_000),
        (1, .milliseconds(1_500), 1_500_000_001),
        (0, .microseconds(1), 1_000), (10, Duration(secondsComponent: 0, attosecondsComponent: 999_999_999), 10),
        (.max, .zero, .max), (.max - 1, .nanoseconds(1), .max), (.max, .nanoseconds(1), .max),
        (.max - 5, .seconds(1), .max),
        (0, .seconds(Int64.max), .max), (.max, .seconds(Int64.max), .max),
        (0, .seconds(18_446_744_073), 18_446_744_073_000_000_000),
        (0, .seconds(18_446_744_074), .max),
        (0, Duration(secondsComponent: 18_446_744_073, attosecondsComponent: 999_999_999_000_000_000), .max),
        // A moment does not go back.
        (100, .nanoseconds(-1), 100), (100, .seconds(-5), 100), (100, .milliseconds(-1), 100),
        (.max, .seconds(-1), .max),
        (0, .seconds(Int64.min), 0),
    ]

    @Test("adding saturates at both ends", arguments: sums)
    func adds(_ start: UInt64, _ duration: Duration, _ sum: UInt64) {
        #expect((Moment(nanoseconds: start) + duration).nanoseconds == sum)
    }

    @Test("the time between moments is never negative and never wraps")
    func measures() {
        let zero = Moment(nanoseconds: 0)
        #expect(Moment(nanoseconds: 12).since(Moment(nanoseconds: 5)) == .nanoseconds(7))
        #expect(Moment(nanoseconds: 5).since(Moment(nanoseconds: 12)) == .zero)
        #expect(zero.since(end) == .zero)
        #expect(end.since(zero) == .nanoseconds(Int64.max))
        #expect(end.since(end) == .zero)
        #expect(zero < end && !(end < zero) && !(end < end))
    }

    @Test("a deadline has passed from its own moment on")
    func passes() {
        let deadline = Deadline(Moment(nanoseconds: 100))
        #expect(!deadline.hasPassed(at: Moment(nanoseconds: 99)))
        #expect(deadline.hasPassed(at: Moment(nanoseconds: 100)))
        #expect(deadline.hasPassed(at: end))
        #expect(deadline.remaining(at: Moment(nanoseconds: 40)) == .nanoseconds(60))
        #expect(deadline.remaining(at: Moment(nanoseconds: 140)) == .zero)
        #expect(deadline.earlier(of: Deadline(end)) == deadline)
        #expect(Deadline(end).earlier(of: deadline) == deadline)
    }

    @Test("durations turn into milliseconds and nanoseconds")
    func converts() {
        #expect(Duration.milliseconds(1_500).milliseconds == 1_500)
        #expect(Duration.microseconds(1).milliseconds == 0.001)
        #expect(Duration.milliseconds(-2_500).milliseconds == -2_500)
        #expect(Duration.zero.nanosecondsClamped == 0)
        #expect(Duration.seconds(2).nanosecondsClamped == 2_000_000_000)
        #expect(Duration.nanoseconds(-1).nanosecondsClamped == -1)
        #expect(Duration.milliseconds(-1_500).nanosecondsClamped == -1_500_000_000)
        #expect(Duration.seconds(Int64.max).nanosecondsClamped == .max)
    }
}
