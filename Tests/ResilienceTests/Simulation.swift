// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Resilience
import Testing

/// Runs worlds made of chance, each from a seed of its own, and tells how to run the one again that broke.
///
///     SIMULATION_STEPS=50000000 swift test --filter ResilienceTests     many more steps than `make test` takes
///     SIMULATION_SEED=4711 swift test --filter ResilienceTests          begins with the world of that seed
enum Simulation {
    static let stepsPerWorld = 5_000

    /// All worlds' steps together.
    private static let steps = max(number("SIMULATION_STEPS") ?? 600_000, UInt64(stepsPerWorld))

    /// The first world's seed, told in every report. A new one each time: what chance has not found today it may
    /// tomorrow, and whatever it finds replays.
    static let seed = number("SIMULATION_SEED") ?? UInt64.random(in: 0..<1_000_000_000)

    /// - Parameter share: how much of all the steps, in hundredths.
    static func run<World: SimulatedWorld>(_: World.Type, share: UInt64) -> World.Coverage {
        var coverage = World.Coverage()
        let count = max(steps * share / 100 / UInt64(stepsPerWorld), 1)
        print("simulation: \(World.self), \(count) worlds of \(stepsPerWorld) steps, SIMULATION_SEED=\(seed)")
        for index in 0..<count {
            let (world, report) = play(World.self, seed: seed &+ index)
            coverage += world.coverage
            if let report {
                Issue.record("\(report)")
                break
            }
        }
        return coverage
    }

    /// The world after its last step, or after the one that broke something, and then what it broke.
    static func play<World: SimulatedWorld>(_: World.Type, seed: UInt64) -> (world: World, report: String?) {
        var world = World(seed: seed)
        for step in 1...stepsPerWorld {
            do throws(Broken) { try world.step() } catch {
                let replay = "SIMULATION_SEED=\(seed) swift test --filter ResilienceTests"
                return (world, "\(World.self) broke at step \(step): \(error.what)\n\(replay)")
            }
        }
        return (world, nil)
    }

    static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }
}

/// A promise that does not hold.
struct Broken: Error {
    let what: String
}

protocol SimulatedWorld {
    /// How often what happened: a world in which nothing happens proves nothing.
    associatedtype Coverage: Covering
    var coverage: Coverage { get }

    init(seed: UInt64)
    mutating func step() throws(Broken)
}

protocol Covering {
    init()
    static func += (left: inout Self, right: Self)
}

/// How often each of them happened.
struct Tallies: Covering {
    private(set) var counts: [String: Int] = [:]

    mutating func note(_ what: String) { counts[what, default: 0] += 1 }

    static func += (left: inout Tallies, right: Tallies) { left.counts.merge(right.counts, uniquingKeysWith: +) }

    subscript(what: String) -> Int { counts[what, default: 0] }
}

extension Chance {
    /// Once in `count` times.
    mutating func once(in count: UInt64) -> Bool { below(count) == 0 }

    /// Evenly from 0 up to, not including, `bound`.
    mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[Int(below(UInt64(elements.count)))] }
}

/// - Parameter what: made only when the promise is broken.
func promise(_ holds: Bool, _ what: @autoclosure () -> String) throws(Broken) {
    if !holds { throw Broken(what: what()) }
}
