// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

/// Whether a change has made things clearly worse.
@Suite struct ProbationTests {
    private let start = Moment(nanoseconds: 1_000_000_000_000)
    /// When times count, too.
    private let later = Moment(nanoseconds: 1_030_000_000_000)
    private static let enough = Probation.callsMin
    private static let few = Probation.callsMin - 1

    struct Calls: Sendable, CustomTestStringConvertible {
        var good: Int
        var failed: Int
        var took: Duration
        var testDescription: String { "\(good) good, \(failed) failed, \(took)" }

        init(_ good: Int, failed: Int = 0, took: Duration = .milliseconds(10)) {
            (self.good, self.failed, self.took) = (good, failed, took)
        }

        var reading: Pulse.Reading {
            let now = Moment(nanoseconds: 1_000_000_000_000)
            var pulse = Pulse()
            for _ in 0..<good { pulse.note(.good, took: took, at: now) }
            for _ in 0..<failed { pulse.note(.failed, took: took, at: now) }
            return pulse.reading(at: now)
        }
    }

    private func probation(_ before: Calls) -> Probation {
        Probation(before: before.reading, for: .seconds(60), at: start)
    }

    private func isWorse(_ before: Calls, _ after: Calls) -> Bool {
        // What is new may take its time in the first seconds.
        if case .worse = probation(before).judge(after.reading, at: start + .seconds(5)) { true } else { false }
    }

    static let worse: [(Calls, Calls)] = [
        (Calls(100), Calls(0, failed: enough)), (Calls(100), Calls(18, failed: 2)),
        (Calls(90, failed: 10), Calls(16, failed: 4)), (Calls(50, failed: 50), Calls(8, failed: 12)),
        (Calls(enough, took: .milliseconds(100)), Calls(enough, took: .milliseconds(900))),
        (Calls(20, took: .seconds(1)), Calls(20, took: .seconds(4))),
        (Calls(100, took: .microseconds(10)), Calls(20, took: .seconds(1))),
    ]

    @Test("a tenth more failures is worse, and so is three times as long and half a second longer", arguments: worse)
    func isTold(_ before: Calls, _ after: Calls) {
        #expect(isWorse(before, after))
    }

    static let notWorse: [(Calls, Calls)] = [
        // Too few to say anything.
        (Calls(100), Calls(0, failed: few)), (Calls(100), Calls(0)), (Calls(0), Calls(0, failed: 100)),
        (Calls(100, took: .milliseconds(1)), Calls(few, took: .seconds(30))),
        (Calls(few, took: .milliseconds(1)), Calls(100, took: .seconds(30))),
        // As before, or a little worse.
        (Calls(100), Calls(100)), (Calls(100), Calls(91, failed: 9)), (Calls(0, failed: 100), Calls(0, failed: 100)),
        (Calls(50, failed: 50), Calls(9, failed: 11)),
        // Better.
        (Calls(0, failed: 50), Calls(50)), (Calls(50, took: .seconds(9)), Calls(50, took: .milliseconds(9))),
        // Three times as long, and nobody notices; half a second longer, of something slow.
        (Calls(50, took: .milliseconds(1)), Calls(50, took: .milliseconds(100))),
        (Calls(50, took: .seconds(1)), Calls(50, took: .milliseconds(2_500))),
        (Calls(50, took: .seconds(60)), Calls(50, took: .seconds(90))),
    ]

    @Test("what was so before, is little, or of too few calls, is nothing", arguments: notWorse)
    func isNotTold(_ before: Calls, _ after: Calls) {
        let probation = probation(before)
        for moment in [start, later] { #expect(probation.judge(after.reading, at: moment) == .open) }
        #expect(probation.judge(after.reading, at: start + .seconds(60)) == .passed)
    }

    @Test("the first calls may take their time, but not fail")
    func settling() {
        let before = Calls(100, took: .milliseconds(1))
        let (slow, failed) = (Calls(100, took: .seconds(9)).reading, Calls(0, failed: 100).reading)
        for (length, settled) in [(60, 5_000), (4, 2_000)] {
            let probation = Probation(before: before.reading, for: .seconds(length), at: start)
            #expect(probation.judge(slow, at: start + .milliseconds(settled - 1)) == .open)
            #expect(probation.judge(slow, at: start + .milliseconds(settled)) != .open)
            #expect(probation.judge(failed, at: start) != .open)
            let longer = probation.extended(to: start + .seconds(600))
            #expect(longer.judge(slow, at: start + .milliseconds(settled)) != .open)
        }
    }

    @Test("a few slow ones among many are not the 95th percentile")
    func fewSlow() {
        let now = later
        var pulse = Pulse()
        for number in 0..<100 { pulse.note(.good, took: number < 95 ? .milliseconds(1) : .seconds(30), at: now) }
        let probation = probation(Calls(100, took: .milliseconds(1)))
        #expect(probation.judge(pulse.reading(at: now), at: now) == .open)
        pulse.note(.good, took: .seconds(30), at: now)
        #expect(probation.judge(pulse.reading(at: now), at: now) != .open)
    }

    @Test("it is open until its time is over, and what is worse by then is worse all the same")
    func ends() {
        let probation = probation(Calls(100))
        #expect(probation.ends == start + .seconds(60))
        let good = Calls(30).reading
        #expect(probation.judge(good, at: start + .milliseconds(59_999)) == .open)
        #expect(probation.judge(good, at: start + .seconds(60)) == .passed)
        #expect(probation.judge(Calls(0).reading, at: start + .seconds(60)) == .passed)
        guard case .worse = probation.judge(Calls(0, failed: 30).reading, at: start + .seconds(61)) else {
            Issue.record("nobody noticed")
            return
        }
    }

    @Test("watched for longer it compares with the same, and never ends earlier")
    func extended() {
        let probation = probation(Calls(100))
        #expect(probation.extended(to: start + .seconds(30)).ends == start + .seconds(60))
        let longer = probation.extended(to: start + .seconds(90))
        #expect(longer.ends == start + .seconds(90))
        #expect(longer.judge(Calls(100).reading, at: start + .seconds(60)) == .open)
        #expect(longer.judge(Calls(100).reading, at: start + .seconds(90)) == .passed)
        #expect(longer.judge(Calls(0, failed: 100).reading, at: start) != .open)
    }

    @Test("it says what it saw, before and after")
    func words() {
        #expect(
            probation(Calls(57, failed: 3)).judge(Calls(14, failed: 6).reading, at: start)
                == .worse("30 % of 20 calls failed since, 5 % of 60 before"))
        let slower = probation(Calls(20, took: .microseconds(100))).judge(
            Calls(20, took: .microseconds(100) * 1_000_000).reading, at: start + .seconds(5))
        guard case .worse(let words) = slower else {
            Issue.record("nobody noticed")
            return
        }
        #expect(words.hasPrefix("calls take up to "))
        #expect(words.hasSuffix(" ms since (P95), up to 0 ms before"))
    }

    @Test("failures are told before times")
    func both() {
        let verdict = probation(Calls(50, took: .milliseconds(1))).judge(
            Calls(10, failed: 10, took: .seconds(9)).reading, at: later)
        #expect(verdict == .worse("50 % of 20 calls failed since, 0 % of 50 before"))
    }
}
