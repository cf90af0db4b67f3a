// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@testable import Gateway

/// How often requests may begin.
@Suite("Rate gate") struct RateGateTests {
    private let start = Moment(nanoseconds: 5_000_000_000)

    private func gate(all: RateLimit? = nil, perCaller: RateLimit? = nil) -> RateGate {
        let gate = RateGate()
        gate.change(to: RateGate.Settings(all: all, perCaller: perCaller), at: start)
        return gate
    }

    /// The scope that refuses; nil when it is let in.
    private func scope(_ gate: RateGate, _ caller: String = "anna", at moment: Moment) -> RateGate.Refusal.Scope? {
        refusal(gate, caller, at: moment)?.scope
    }

    private func refusal(_ gate: RateGate, _ caller: String = "anna", at moment: Moment) -> RateGate.Refusal? {
        do throws(RateGate.Refusal) {
            try gate.take(caller: caller, at: moment)
            return nil
        } catch {
            return error
        }
    }

    /// How many of so many are let in at one moment.
    private func admitted(_ count: Int, _ gate: RateGate, _ caller: String = "anna", at moment: Moment) -> Int {
        (0..<count).count { _ in scope(gate, caller, at: moment) == nil }
    }

    @Test("Without limits nobody is asked for a name")
    func off() throws {
        let gate = RateGate()
        func name() -> String {
            Issue.record("somebody was asked")
            return ""
        }
        for _ in 0..<100 { try gate.take(caller: name(), at: start) }
        #expect(gate.settings == RateGate.Settings())
    }

    @Test("All together get the burst, and then what the rate earns")
    func all() {
        let gate = gate(all: RateLimit(perSecond: 10, burst: 3))
        #expect(admitted(5, gate, at: start) == 3)
        #expect(scope(gate, "ben", at: start) == .all)
        #expect(admitted(5, gate, "ben", at: start + .milliseconds(250)) == 2)
        #expect(admitted(9, gate, at: start + .seconds(60)) == 3)
    }

    @Test("Each caller has a bucket of his own")
    func perCaller() {
        let gate = gate(perCaller: RateLimit(perSecond: 1, burst: 2))
        for name in ["anna", "ben", ""] { #expect(admitted(4, gate, name, at: start) == 2) }
        #expect(scope(gate, at: start) == .caller)
        #expect(admitted(4, gate, "anna", at: start + .seconds(1)) == 1)
        #expect(admitted(4, gate, "ben", at: start + .seconds(5)) == 2)
    }

    @Test("Who is refused by one of the two takes nothing from the other")
    func both() {
        let gate = gate(all: RateLimit(perSecond: 0.001, burst: 5), perCaller: RateLimit(perSecond: 0.001, burst: 2))
        #expect(admitted(50, gate, "greedy", at: start) == 2)
        // The greedy one has used up two places of five, not all of them.
        #expect(admitted(50, gate, "anna", at: start) == 2)
        #expect(admitted(50, gate, "ben", at: start) == 1)
        #expect(scope(gate, "ben", at: start) == .all)
        // What he was refused by the other is his still.
        gate.change(to: RateGate.Settings(all: nil, perCaller: RateLimit(perSecond: 0.001, burst: 2)), at: start)
        #expect(admitted(50, gate, "ben", at: start) == 1)
        #expect(admitted(50, gate, "cyd", at: start) == 2)
    }

    static let waits: [(RateLimit, Int)] = [
        (RateLimit(perSecond: 100, burst: 1), 1), (RateLimit(perSecond: 1, burst: 1), 1),
        (RateLimit(perSecond: 0.5, burst: 1), 2), (RateLimit(perSecond: 0.4, burst: 1), 3),
        (RateLimit(perSecond: 0.001, burst: 1), 1_000),
    ]

    @Test("The time it names is whole seconds, and enough", arguments: waits)
    func retryAfter(_ limit: RateLimit, _ seconds: Int) {
        for isForAll in [true, false] {
            let gate = isForAll ? gate(all: limit) : gate(perCaller: limit)
            #expect(scope(gate, at: start) == nil)
            let refused = refusal(gate, at: start)
            #expect(refused?.retryAfter == seconds)
            #expect(refused?.limit == limit)
            if seconds > 1 { #expect(scope(gate, at: start + .seconds(seconds - 1)) != nil) }
            #expect(scope(gate, at: start + .seconds(seconds)) == nil)
        }
    }

    @Test("It says whose limit it is, what it allows, that nothing was done, and when to come again")
    func words() {
        let limit = RateLimit(perSecond: 10, burst: 20)
        for (scope, whose) in [
            (RateGate.Refusal.Scope.all, "This gateway takes"), (.caller, "One caller of this gateway may make"),
            (.tool, "This tool takes"),
        ] {
            let words = RateGate.Refusal(scope: scope, limit: limit, retryAfter: 7).words
            #expect(words == "Too many calls: \(whose) 10/s, burst 20. Nothing was done. Try again in 7 s.")
        }
        #expect(RateGate.Refusal.Scope.allCases.map(\.rawValue) == ["global", "caller", "tool"])
    }

    @Test("A change holds at once and gives nobody a second burst")
    func change() {
        let gate = gate(all: RateLimit(perSecond: 1, burst: 4), perCaller: RateLimit(perSecond: 1, burst: 4))
        #expect(admitted(9, gate, at: start) == 4)
        let more = RateLimit(perSecond: 1, burst: 100)
        gate.change(to: RateGate.Settings(all: more, perCaller: more), at: start)
        #expect(gate.settings == RateGate.Settings(all: more, perCaller: more))
        #expect(scope(gate, at: start) == .caller)
        #expect(scope(gate, "ben", at: start) == .all)
        #expect(admitted(9, gate, at: start + .seconds(3)) == 3)
        // The same again is no change for those who have used theirs up.
        gate.change(to: RateGate.Settings(all: nil, perCaller: more), at: start + .seconds(3))
        #expect(scope(gate, at: start + .seconds(3)) == .caller)
        gate.change(to: RateGate.Settings(), at: start + .seconds(3))
        #expect(admitted(50, gate, at: start + .seconds(3)) == 50)
    }

    @Test("Callers that were quiet for long are forgotten first, and the busy ones stay counted")
    func manyCallers() {
        let gate = gate(perCaller: RateLimit(perSecond: 1, burst: 1))
        for number in 0..<9_999 { #expect(scope(gate, "old \(number)", at: start) == nil) }
        #expect(scope(gate, "busy", at: start + .milliseconds(900)) == nil)
        // By now the old ones are as good as new, and the busy one is not.
        let later = start + .milliseconds(1_500)
        #expect(scope(gate, "new", at: later) == nil)
        #expect(scope(gate, "busy", at: later) == .caller)
        #expect(scope(gate, "new", at: later) == .caller)
        #expect(scope(gate, "old 0", at: later) == nil)
    }

    @Test("When all of very many are busy, the bound holds and everybody begins anew")
    func tooManyCallers() {
        let gate = gate(perCaller: RateLimit(perSecond: 1, burst: 1))
        for number in 0..<10_000 { #expect(scope(gate, "\(number)", at: start) == nil) }
        #expect(scope(gate, "0", at: start) == .caller)
        #expect(scope(gate, "one more", at: start) == nil)
        #expect(scope(gate, "0", at: start) == nil)
    }

    /// Two callers read the clock, and the later one is served first: that is no reason to refuse the earlier one.
    @Test("A moment that is a little older than the last one is refused nothing that is there")
    func outOfOrder() {
        let limit = RateLimit(perSecond: 10, burst: 10)
        for gate in [gate(all: limit), gate(perCaller: limit)] {
            #expect(scope(gate, at: start + .milliseconds(1)) == nil)
            #expect(scope(gate, at: start) == nil, "nine of ten are there")
        }
    }
}
