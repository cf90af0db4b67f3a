// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Glibc
import NIOCore
import Resilience
import Testing

@testable import Gateway

/// People of all tempers before one turnstile, held step by step to a model that does the same with plain numbers.
///
///     SIMULATION_SEED=4711 swift test --filter TurnstileSimulation     plays the world of that seed again
@Suite("Turnstile, simulated") struct TurnstileSimulationTests {
    private static let seed =
        getenv("SIMULATION_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1_000_000_000)
    private static let worlds: UInt64 = 20
    private static let stepsPerWorld = 5_000

    @Test("whatever comes, goes, gives up and changes, the places are kept, in the order of the line")
    func simulated() async throws {
        let (worlds, steps) = (Self.worlds, Self.stepsPerWorld)
        print("simulation: turnstile, \(worlds) worlds of \(steps) steps, SIMULATION_SEED=\(Self.seed)")
        // Turnstile, people and the test itself on one loop, so that a seed replays exactly.
        let loop = TestLoop.one
        var coverage: [String: Int] = [:]
        for seed in Self.seed..<Self.seed + Self.worlds {
            let world = Task(executorPreference: LoopExecutor(loop)) {
                let world = TurnstileWorld(seed: seed, on: loop)
                for step in 0..<Self.stepsPerWorld where world.broken == nil { await world.step(step) }
                await world.close()
                return (broken: world.broken, coverage: world.coverage)
            }
            let end = try await world.soon("the world of seed \(seed)", within: .seconds(300))
            if let broken = end.broken {
                Issue.record("\(broken)\nSIMULATION_SEED=\(seed) swift test --filter TurnstileSimulation")
                return
            }
            coverage.merge(end.coverage, uniquingKeysWith: +)
        }
        // A world in which nothing happens proves nothing.
        for what in [
            "inside at once", "waits", "full", "late", "gives up", "handed on", "gone at the door", "more room",
            "less room", "over the cap",
        ] {
            #expect(coverage[what, default: 0] > 100, "\(what)")
        }
    }
}

/// Used on one loop only.
private final class TurnstileWorld {
    private typealias Fate = TurnstileBench.Fate
    private typealias Visitor = (name: String, task: Task<Fate, Never>)

    private(set) var broken: String?
    private(set) var coverage: [String: Int] = [:]
    private var chance: Chance
    private let bench: TurnstileBench
    private var made = 0
    /// As many may be in until somebody goes: those whom a lowered cap has found inside.
    private var runningMost: Int

    // MARK: The model

    private var runningMax: Int
    private var waitingMax: Int
    private let waitMax = Duration.seconds(3_600)
    private var inside: [Visitor] = []
    private var line: [Visitor] = []
    private var meanStay = 0.0
    /// Everybody who got in, in order.
    private var entered: [String] = []
    /// What has to have become of everybody in the end.
    private var fates: [(visitor: Visitor, fate: Fate)] = []

    init(seed: UInt64, on loop: any EventLoop) {
        chance = Chance(seed: seed)
        runningMax = 1 + Int(chance.below(8))
        runningMost = runningMax
        waitingMax = Int(chance.below(8))
        bench = TurnstileBench(running: runningMax, waiting: waitingMax, wait: waitMax, on: loop)
    }

    func step(_ step: Int) async {
        switch chance.below(100) {
        case 0..<45: await come()
        case 45..<82: leave()
        case 82..<92: giveUp()
        case 92..<95: goneAtTheDoor()
        case 95..<98: change()
        default:
            // Several at once, before anybody can notice.
            for _ in 0..<1 + chance.below(4) { if chance.below(2) == 0 { leave() } else { giveUp() } }
        }
        await settle("step \(step)")
    }

    /// Until everybody is gone; nobody may be missing then.
    func close() async {
        while broken == nil, !inside.isEmpty {
            leave()
            await settle("the end")
        }
        guard broken == nil else { return }
        let (running, waiting) = (bench.turnstile.running, bench.turnstile.waiting)
        if running != 0 || waiting != 0 { fail("the end: \(running) are said to be in, \(waiting) to wait") }
        if fates.count != made { fail("the end: \(made) came, and of \(fates.count) it is known what became of them") }
        for (visitor, fate) in fates where await visitor.task.value != fate { fail("\(visitor.name) is not \(fate)") }
    }

    private func note(_ what: String) { coverage[what, default: 0] += 1 }
    private func fail(_ words: String) { broken = broken ?? words }

    // MARK: What happens

    private func come() async {
        made += 1
        // Hours of this world are no time at all: whoever stands in the line waits for his turn, or gives up.
        let rest = chance.below(8) == 0 ? Duration.zero : .seconds(600 + Int64(chance.below(4_000)))
        let expected = Duration.nanoseconds(Int64(meanStay * Double(line.count + 1) / Double(runningMax)))
        let fate: Fate?
        if line.isEmpty, inside.count < runningMax {
            fate = .inside
            note("inside at once")
        } else if line.count >= waitingMax {
            fate = .full(running: inside.count, waiting: line.count)
            note("full")
        } else if rest == .zero || expected > min(waitMax, rest) {
            fate = .late(after: .zero)
            note("late")
        } else {
            fate = nil
            note("waits")
        }
        let visitor = (name: "\(made)", task: bench.come("\(made)", by: Deadline(TurnstileBench.now + rest)))
        guard let fate else { return line.append(visitor) }
        if fate == .inside { enter(visitor) } else { fates.append((visitor, fate)) }
        let found = await visitor.task.value
        if found != fate { fail("\(visitor.name) was to be \(fate), and is \(found)") }
    }

    private func enter(_ visitor: Visitor) {
        inside.append(visitor)
        entered.append(visitor.name)
        fates.append((visitor, .inside))
    }

    /// Somebody who is in goes, and the first in the line gets his place.
    private func leave() {
        guard !inside.isEmpty else { return }
        inside.remove(at: Int(chance.below(UInt64(inside.count))))
        // Seldom for hours.
        let most: UInt64 = chance.below(8) == 0 ? 8_000_000 : 9_000
        let stay: Duration? = chance.below(3) == 0 ? nil : .milliseconds(Int64(chance.below(most)))
        if let stay {
            let nanoseconds = stay.milliseconds * 1e6
            meanStay = meanStay == 0 ? nanoseconds : meanStay * 0.9 + nanoseconds * 0.1
        }
        bench.turnstile.leave(after: stay)
        admit()
    }

    private func admit() {
        if inside.count > runningMax { note("over the cap") }
        while !line.isEmpty, inside.count < runningMax {
            enter(line.removeFirst())
            note("handed on")
        }
    }

    private func giveUp() {
        guard !line.isEmpty else { return }
        let gone = line.remove(at: Int(chance.below(UInt64(line.count))))
        gone.task.cancel()
        fates.append((gone, .left))
        note("gives up")
    }

    /// The first in the line gets a place, and is gone before he notices.
    private func goneAtTheDoor() {
        guard !line.isEmpty, inside.count == runningMax else { return }
        let first = line.removeFirst()
        inside.remove(at: Int(chance.below(UInt64(inside.count))))
        bench.turnstile.leave(after: nil)
        first.task.cancel()
        fates.append((first, .left))
        note("gone at the door")
        admit()
    }

    private func change() {
        let before = runningMax
        runningMax = 1 + Int(chance.below(8))
        waitingMax = Int(chance.below(8))
        note(runningMax > before ? "more room" : "less room")
        bench.change(running: runningMax, waiting: waitingMax, wait: waitMax)
        runningMost = max(runningMax, inside.count)
        admit()
    }

    // MARK: What has to hold

    /// Lets everybody notice what happened, looks meanwhile, and compares in the end.
    private func settle(_ place: String) async {
        for _ in 0..<1_000 {
            let (running, waiting) = (bench.turnstile.running, bench.turnstile.waiting)
            if running > runningMost { fail("\(place): \(running) are in, and \(runningMost) may be") }
            if waiting > 0, running < runningMax { fail("\(place): a place is free, and \(waiting) wait") }
            if isAlike { break }
            await Task.yield()
        }
        runningMost = max(runningMax, min(runningMost, bench.turnstile.running))
        guard !isAlike else { return }
        fail(
            "\(place): \(bench.turnstile.running) in and \(bench.turnstile.waiting) in the line, \(inside.count) and "
                + "\(line.count) would be right; entered \(bench.entered.all.suffix(8)), right \(entered.suffix(8))")
    }

    private var isAlike: Bool {
        bench.turnstile.running == inside.count && bench.turnstile.waiting == line.count
            && bench.entered.count == entered.count && bench.entered.all.suffix(9) == entered.suffix(9)
    }
}
