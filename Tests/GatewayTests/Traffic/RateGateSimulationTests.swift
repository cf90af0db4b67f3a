// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Resilience
import Testing

@testable import Gateway

/// Callers of all tempers before one gate, held to exact sums in whole parts of a token.
///
///     SIMULATION_SEED=4711 swift test --filter RateGateSimulation     plays the world of that seed again
@Suite("Rate gate, simulated") struct RateGateSimulationTests {
    private static let seed =
        getenv("SIMULATION_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1_000_000_000)

    @Test("each caller and all together get exactly what their limits allow, over any change of them")
    func simulated() {
        print("simulation: rate gate, 20 worlds of 5000 steps, SIMULATION_SEED=\(Self.seed)")
        var coverage: [String: Int] = [:]
        for seed in Self.seed..<Self.seed + 20 {
            var world = RateGateWorld(seed: seed)
            for step in 0..<5_000 {
                guard let broken = world.step() else { continue }
                Issue.record("step \(step): \(broken)\nSIMULATION_SEED=\(seed) swift test --filter RateGateSimulation")
                return
            }
            coverage.merge(world.coverage, uniquingKeysWith: +)
        }
        // A world in which nothing happens proves nothing.
        for what in ["let in", "refused to one", "refused to all", "no limit at all", "change"] {
            #expect(coverage[what, default: 0] > 100, "\(what)")
        }
    }
}

/// A gate, and the same in whole numbers.
private struct RateGateWorld {
    /// What is left in a bucket, in thousandths of a billionth of a token, and until when it was counted.
    private struct Purse {
        static let token: Int128 = 1_000_000_000_000
        var parts: Int128
        var counted: UInt64

        init(_ limit: RateLimit, at now: UInt64) {
            parts = Int128(limit.burst) * Self.token
            counted = now
        }

        mutating func earn(_ limit: RateLimit, until now: UInt64) {
            let earned = Int128(now - counted) * Int128((limit.perSecond * 1_000).rounded())
            parts = min(parts + earned, Int128(limit.burst) * Self.token)
            counted = now
        }

        /// A smaller bucket holds less, a larger one no more than there was.
        mutating func change(from old: RateLimit, to new: RateLimit, at now: UInt64) {
            earn(old, until: now)
            parts = min(parts, Int128(new.burst) * Self.token)
        }
    }

    private(set) var coverage: [String: Int] = [:]
    private var chance: Chance
    private let gate = RateGate()
    private var now: UInt64 = 1_000_000_000
    private var settings = RateGate.Settings()
    private var all: Purse?
    /// Of those who were let in while there was a limit for each; the others have a full one.
    private var own: [String: Purse] = [:]
    private static let names = ["anna", "ben", "cyd", "dan", "eve", "kai"]

    init(seed: UInt64) {
        chance = Chance(seed: seed)
        change()
    }

    /// In words what is wrong.
    mutating func step() -> String? {
        let most: UInt64 = chance.below(50) == 0 ? 20_000_000_000 : 60_000_000
        now += chance.below(most)
        if chance.below(200) == 0 { change() }
        return ask(Self.names[Int(chance.below(UInt64(Self.names.count)))])
    }

    private mutating func note(_ what: String) { coverage[what, default: 0] += 1 }

    private mutating func limit() -> RateLimit? {
        guard chance.below(4) > 0 else { return nil }
        let rates = [0.001, 0.7, 3, 9.999, 40, 1_000]
        return RateLimit(
            perSecond: rates[Int(chance.below(UInt64(rates.count)))], burst: 1 + Int(chance.below(20)))
    }

    private mutating func change() {
        let new = RateGate.Settings(all: limit(), perCaller: limit())
        if let limit = new.all {
            if let old = settings.all { all?.change(from: old, to: limit, at: now) } else { all = nil }
            all = all ?? Purse(limit, at: now)
        } else {
            all = nil
        }
        if let limit = new.perCaller, let old = settings.perCaller {
            for name in own.keys where old != limit { own[name]?.change(from: old, to: limit, at: now) }
        } else {
            own = [:]
        }
        settings = new
        gate.change(to: new, at: Moment(nanoseconds: now))
        note("change")
    }

    private mutating func ask(_ name: String) -> String? {
        if settings == RateGate.Settings() { note("no limit at all") }
        var purse = settings.perCaller.map { own[name] ?? Purse($0, at: now) }
        if let limit = settings.perCaller { purse?.earn(limit, until: now) }
        if let limit = settings.all { all?.earn(limit, until: now) }
        let isHisEmpty = purse.map { $0.parts < Purse.token } ?? false
        let isAllEmpty = all.map { $0.parts < Purse.token } ?? false
        let wanted: RateGate.Refusal.Scope? = isHisEmpty ? .caller : isAllEmpty ? .all : nil
        do throws(RateGate.Refusal) {
            try gate.take(caller: name, at: Moment(nanoseconds: now))
            if let wanted { return "\(name) was let in, and \(wanted.rawValue) has not enough" }
            all?.parts -= Purse.token
            purse?.parts -= Purse.token
            own[name] = purse
            note("let in")
            return nil
        } catch {
            guard error.scope == wanted else {
                return "\(name) was refused by \(error.scope), not by \(wanted.map { "\($0)" } ?? "nobody")"
            }
            note(wanted == .caller ? "refused to one" : "refused to all")
            return wrongTime(error, (wanted == .caller ? purse : all)?.parts ?? 0)
        }
    }

    /// The seconds it names are enough, and a second less would not be.
    private func wrongTime(_ refusal: RateGate.Refusal, _ parts: Int128) -> String? {
        let earned = Int128((refusal.limit.perSecond * 1_000).rounded()) * 1_000_000_000
        guard parts + Int128(refusal.retryAfter) * earned >= Purse.token else {
            return "\(refusal.retryAfter) s are not enough"
        }
        let isLeast = refusal.retryAfter == 1 || parts + Int128(refusal.retryAfter - 1) * earned < Purse.token
        return isLeast ? nil : "\(refusal.retryAfter) s are more than needed"
    }
}
