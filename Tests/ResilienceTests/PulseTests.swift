// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

/// What calls came to over the last minute.
@Suite struct PulseTests {
    private let start = Moment(nanoseconds: 1_000_000_000_000)
    private let none = Pulse().reading(at: Moment(nanoseconds: 0))

    /// Each of these once, at the start.
    private func pulse(_ times: [Duration]) -> Pulse {
        var pulse = Pulse()
        for time in times { pulse.note(.good, took: time, at: start) }
        return pulse
    }

    @Test("says nothing of times where there were no calls")
    func empty() {
        let reading = Pulse().reading(at: start)
        #expect((reading.calls, reading.failed, reading.limited) == (0, 0, 0))
        #expect(reading.p50 == nil && reading.p95 == nil)
        #expect(reading.failedShare == 0)
    }

    @Test("counts a failure as a call, and a refusal as none")
    func counts() {
        var pulse = Pulse()
        for _ in 0..<6 { pulse.note(.good, took: .milliseconds(1), at: start) }
        for _ in 0..<2 { pulse.note(.failed, took: .milliseconds(1), at: start) }
        for _ in 0..<99 { pulse.note(.limited, took: .seconds(9), at: start) }
        let reading = pulse.reading(at: start)
        #expect((reading.calls, reading.failed, reading.limited) == (8, 2, 99))
        #expect(reading.failedShare == 0.25)
        // What was refused took no time that anybody waited for.
        #expect(reading.p95.map { $0 < .milliseconds(2) } == true)
    }

    @Test("only refusals are no calls at all")
    func onlyLimited() {
        var pulse = Pulse()
        pulse.note(.limited, took: .seconds(1), at: start)
        #expect(pulse.reading(at: start).failedShare == 0)
        #expect(pulse.reading(at: start).p50 == nil)
    }

    static let times: [Duration] = [
        .microseconds(101), .microseconds(150), .microseconds(151), .milliseconds(1), .milliseconds(7),
        .milliseconds(99), .milliseconds(100), .milliseconds(2_000), .seconds(5), .seconds(30), .seconds(300),
    ]

    @Test("a time is told no shorter than it was, and at most half longer", arguments: times)
    func precision(_ time: Duration) throws {
        let reading = pulse([time]).reading(at: start)
        for shown in [try #require(reading.p50), try #require(reading.p95)] {
            #expect(shown >= time)
            #expect(shown * 2 <= time * 3)
        }
    }

    @Test("the shortest times are told as a tenth of a millisecond", arguments: [0, 1, 99, 100])
    func shortest(_ microseconds: Int) {
        #expect(pulse([.microseconds(microseconds)]).reading(at: start).p50 == .microseconds(100))
    }

    @Test("the longest are told as very long, whatever they were")
    func longest() throws {
        let hours = try #require(pulse([.seconds(86_400)]).reading(at: start).p95)
        #expect(hours > .seconds(600))
        #expect(pulse([.seconds(800)]).reading(at: start).p95 == hours)
    }

    static let shares: [(fast: Int, slow: Int, isP50Slow: Bool, isP95Slow: Bool)] = [
        (1, 0, false, false), (0, 1, true, true), (1, 1, false, true), (95, 5, false, false), (94, 6, false, true),
        (19, 1, false, false), (18, 2, false, true), (50, 50, false, true), (49, 51, true, true),
    ]

    @Test("half took no longer than the one, all but a twentieth no longer than the other", arguments: shares)
    func percentiles(_ fast: Int, _ slow: Int, _ isP50Slow: Bool, _ isP95Slow: Bool) throws {
        let times =
            Array(repeating: Duration.milliseconds(1), count: fast)
            + Array(repeating: Duration.seconds(1), count: slow)
        let reading = pulse(times).reading(at: start)
        #expect((try #require(reading.p50) > .milliseconds(500)) == isP50Slow)
        #expect((try #require(reading.p95) > .milliseconds(500)) == isP95Slow)
    }

    @Test("looks back a minute, a tenth of it more or less, wherever in it a call was", arguments: 0..<12)
    func window(_ place: Int) {
        let noted = start + .milliseconds(place * 517)
        var pulse = Pulse()
        pulse.note(.failed, took: .zero, at: noted)
        #expect(pulse.reading(at: noted + .seconds(54)).failed == 1)
        #expect(pulse.reading(at: noted + .seconds(60)) == none)
        #expect(pulse.reading(at: noted + .seconds(86_400)) == none)
    }

    @Test("looks back as far as it was made for")
    func length() {
        var pulse = Pulse(length: .seconds(10))
        #expect(pulse.length == .seconds(10))
        pulse.note(.good, took: .zero, at: start)
        #expect(pulse.reading(at: start + .seconds(9)).calls == 1)
        #expect(pulse.reading(at: start + .seconds(10)).calls == 0)
    }

    @Test("a clock that goes back loses nothing, and counts nothing twice")
    func backwards() {
        var pulse = Pulse()
        pulse.note(.good, took: .zero, at: start + .seconds(10))
        pulse.note(.failed, took: .zero, at: start)
        #expect(pulse.reading(at: start) == pulse.reading(at: start + .seconds(10)))
        #expect(pulse.reading(at: start).calls == 2)
    }

    @Test("cleared it is as new")
    func clear() {
        var pulse = pulse([.seconds(1), .seconds(2)])
        pulse.clear()
        #expect(pulse.reading(at: start) == none)
        pulse.note(.good, took: .zero, at: start)
        #expect(pulse.reading(at: start).calls == 1)
    }
}
