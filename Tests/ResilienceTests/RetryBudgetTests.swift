// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@Suite struct RetryBudgetTests {
    private let start = Moment(nanoseconds: 3_000_000_000_000)

    static let rows: [(calls: Int, percent: Int, least: Int, allowed: Int)] = [
        (0, 10, 5, 5), (9, 10, 5, 5), (10, 10, 5, 6), (1_000, 10, 5, 105), (1_000, 10, 0, 100), (9, 10, 0, 0),
        (50, 0, 3, 3), (50, 0, 0, 0), (50, 100, 0, 50),
    ]

    @Test("a share of the calls and a few more, to the last one", arguments: rows)
    func share(_ calls: Int, _ percent: Int, _ least: Int, _ allowed: Int) {
        var budget = RetryBudget(RetryBudget.Settings(percent: percent, retriesMin: least))
        for _ in 0..<calls { budget.noteCall(at: start) }
        #expect((0..<calls + 20).filter { _ in budget.spend(at: start) }.count == allowed)
        #expect(budget.counts(at: start).calls == calls && budget.counts(at: start).retries == allowed)
    }

    @Test("calls pay for retries as long as they are in the window")
    func window() {
        var budget = RetryBudget(RetryBudget.Settings(retriesMin: 0))
        for _ in 0..<20 { budget.noteCall(at: start) }
        #expect(budget.spend(at: start + .seconds(26)) == true)
        #expect(budget.spend(at: start + .seconds(30)) == false)
        // The clock seems to go back: still gone.
        #expect(budget.spend(at: start) == false)
    }

    @Test("the few of a window come again with the next one, and not before")
    func least() {
        var budget = RetryBudget(RetryBudget.Settings(retriesMin: 2))
        #expect(
            [0, 0, 1, 26, 30, 31, 32].map { budget.spend(at: start + .seconds($0)) } == [
                true, true, false, false, true, true, false,
            ])
    }

    @Test("limits are held")
    func limits() async {
        await #expect(processExitsWith: .failure) { _ = RetryBudget.Settings(percent: 101) }
        await #expect(processExitsWith: .failure) { _ = RetryBudget.Settings(retriesMin: -1) }
        await #expect(processExitsWith: .failure) { _ = RetryBudget.Settings(window: .zero) }
    }
}

@Suite struct ConcurrencyCapTests {
    @Test("so many and no more; who leaves makes room for one")
    func counts() {
        var cap = ConcurrencyCap(runningMax: 2)
        #expect([cap.admit(), cap.admit(), cap.admit()] == [true, true, false])
        #expect(cap.running == 2 && cap.free == 0)
        cap.leave()
        #expect(cap.free == 1)
        #expect([cap.admit(), cap.admit()] == [true, false])
    }

    @Test("a lowered cap puts nobody out, and admits again when enough have left")
    func lowers() {
        var cap = ConcurrencyCap(runningMax: 3)
        for _ in 0..<3 { #expect(cap.admit() == true) }
        cap.change(runningMax: 1)
        #expect(cap.running == 3 && cap.free == 0)
        cap.leave()
        cap.leave()
        #expect(cap.admit() == false)
        cap.leave()
        #expect(cap.admit() == true)
        cap.change(runningMax: 2)
        #expect([cap.admit(), cap.admit()] == [true, false])
    }

    @Test("nobody leaves who was not in, and a cap of none is none")
    func refuses() async {
        await #expect(processExitsWith: .failure) {
            var cap = ConcurrencyCap(runningMax: 1)
            cap.leave()
        }
        await #expect(processExitsWith: .failure) { _ = ConcurrencyCap(runningMax: 0) }
    }
}
