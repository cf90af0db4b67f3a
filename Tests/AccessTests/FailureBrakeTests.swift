// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

@testable import Access

@Suite("Brake on wrong tokens")
struct FailureBrakeTests {
    private let start = Moment(nanoseconds: 5_000_000_000)
    private let address = "192.0.2.7"

    /// Fails ten times at one moment; what the last one says.
    private func failTen(_ brake: inout FailureBrake, _ address: String, at now: Moment) -> Duration? {
        for _ in 0..<9 { #expect(brake.fail(address, isLocal: false, at: now) == nil) }
        return brake.fail(address, isLocal: false, at: now)
    }

    @Test("the tenth failure within a minute refuses the address for a minute, to the nanosecond")
    func tenth() {
        var brake = FailureBrake()
        for second in 0..<9 { #expect(brake.fail(address, isLocal: false, at: start + .seconds(second)) == nil) }
        #expect(brake.refusal(of: address, isLocal: false, at: start + .seconds(8)) == nil)
        let last = start + .nanoseconds(59_999_999_999)
        #expect(brake.fail(address, isLocal: false, at: last) == .seconds(60))
        #expect(brake.refusal(of: address, isLocal: false, at: last) == .seconds(60))
        #expect(brake.refusal(of: address, isLocal: false, at: last + .nanoseconds(59_999_999_999)) == .nanoseconds(1))
        #expect(brake.refusal(of: address, isLocal: false, at: last + .seconds(60)) == nil)
        #expect(brake.refusal(of: "192.0.2.8", isLocal: false, at: last) == nil)
    }

    @Test("ten failures that lie a minute apart refuse nobody, however long they go on")
    func slow() {
        var brake = FailureBrake()
        for number in 0..<1_000 {
            let now = start + .milliseconds(number * 60_000 / 9)
            #expect(brake.fail(address, isLocal: false, at: now + .milliseconds(number)) == nil)
        }
    }

    @Test("each further time doubles it, up to fifteen minutes; fifteen quiet minutes forget it")
    func doubles() {
        var brake = FailureBrake()
        var now = start
        for seconds in [60, 120, 240, 480, 900, 900, 900] {
            #expect(failTen(&brake, address, at: now) == .seconds(seconds))
            now = now + .seconds(seconds)
            #expect(brake.refusal(of: address, isLocal: false, at: now) == nil)
        }
        #expect(failTen(&brake, address, at: now + .milliseconds(899_999)) == .seconds(900))
        now = now + .milliseconds(899_999) + .seconds(900)
        #expect(failTen(&brake, address, at: now + .seconds(900)) == .seconds(60))
    }

    @Test("a success lets it begin anew")
    func success() {
        var brake = FailureBrake()
        for _ in 0..<9 { #expect(brake.fail(address, isLocal: false, at: start) == nil) }
        brake.succeed(address)
        #expect(brake.addressCount == 0)
        #expect(failTen(&brake, address, at: start) == .seconds(60))
        brake.succeed(address)
        #expect(brake.refusal(of: address, isLocal: false, at: start) == nil)
        #expect(failTen(&brake, address, at: start) == .seconds(60))
        brake.succeed("192.0.2.99")
        #expect(brake.refusal(of: address, isLocal: false, at: start) == .seconds(60))
    }

    @Test("failures of what was under way when the refusal began make it no longer")
    func underWay() {
        var brake = FailureBrake()
        #expect(failTen(&brake, address, at: start) == .seconds(60))
        for second in 1..<60 { #expect(brake.fail(address, isLocal: false, at: start + .seconds(second)) == nil) }
        #expect(brake.refusal(of: address, isLocal: false, at: start + .seconds(60)) == nil)
        #expect(brake.fail(address, isLocal: false, at: start + .seconds(60)) == nil)
    }

    @Test("whoever is on this machine is never refused, nor remembered")
    func local() {
        var brake = FailureBrake()
        for _ in 0..<100 { #expect(brake.fail("127.0.0.1", isLocal: true, at: start) == nil) }
        #expect(brake.refusal(of: "127.0.0.1", isLocal: true, at: start) == nil)
        #expect(brake.addressCount == 0)
        // The same address may also stand for somebody behind a proxy.
        #expect(failTen(&brake, "127.0.0.1", at: start) == .seconds(60))
        #expect(brake.refusal(of: "127.0.0.1", isLocal: true, at: start) == nil)
        #expect(brake.refusal(of: "127.0.0.1", isLocal: false, at: start) == .seconds(60))
    }

    @Test("remembers 4,096 addresses and forgets the oldest for the next")
    func bounded() {
        var brake = FailureBrake()
        #expect(failTen(&brake, "first", at: start) == .seconds(60))
        #expect(failTen(&brake, "second", at: start) == .seconds(60))
        for number in 2..<FailureBrake.addressesMax { _ = brake.fail("a\(number)", isLocal: false, at: start) }
        #expect(brake.addressCount == FailureBrake.addressesMax)
        #expect(brake.refusal(of: "first", isLocal: false, at: start) != nil)
        _ = brake.fail("one more", isLocal: false, at: start)
        #expect(brake.addressCount == FailureBrake.addressesMax)
        #expect(brake.refusal(of: "first", isLocal: false, at: start) == nil)
        #expect(brake.refusal(of: "second", isLocal: false, at: start) != nil)
        for number in 0..<20_000 { _ = brake.fail("b\(number)", isLocal: false, at: start) }
        #expect(brake.addressCount == FailureBrake.addressesMax)
        #expect(brake.refusal(of: "second", isLocal: false, at: start) == nil)
    }

    @Test("of an address without end only the beginning counts")
    func longAddress() {
        var brake = FailureBrake()
        let long = String(repeating: "x", count: 64)
        for number in 0..<9 { #expect(brake.fail("\(long)\(number)", isLocal: false, at: start) == nil) }
        #expect(brake.fail(long, isLocal: false, at: start) == .seconds(60))
        #expect(brake.addressCount == 1)
    }

    @Test("time that goes back stands still")
    func backwards() {
        var brake = FailureBrake()
        #expect(failTen(&brake, address, at: start + .seconds(100)) == .seconds(60))
        #expect(brake.refusal(of: address, isLocal: false, at: start) == .seconds(60))
        #expect(brake.fail("192.0.2.8", isLocal: false, at: start) == nil)
        #expect(brake.refusal(of: address, isLocal: false, at: start + .seconds(160)) == nil)
    }

    /// The rules once more, with every failure kept.
    private struct Model {
        var failures: [Moment] = []
        var refusals = 0
        var refusedUntil = Moment(nanoseconds: 0)
        var last = Moment(nanoseconds: 0)

        mutating func fail(at now: Moment) -> Duration? {
            guard now >= refusedUntil else { return nil }
            if now.since(max(last, refusedUntil)) >= .seconds(900) { self = Model() }
            last = now
            failures.append(now)
            failures.removeAll { now.since($0) >= .seconds(60) }
            guard failures.count >= 10 else { return nil }
            let length = [60, 120, 240, 480, 900][min(refusals, 4)]
            (failures, refusals, refusedUntil) = ([], refusals + 1, now + .seconds(length))
            return .seconds(length)
        }
    }

    @Test("does what the rules say over long random stories", arguments: [1, 2, 3, 4, 5] as [UInt64])
    func simulation(_ seed: UInt64) {
        var chance = Chance(seed: seed)
        var brake = FailureBrake()
        var models: [String: Model] = [:]
        var now = start
        var refusals = 0
        for step in 0..<30_000 {
            let address = "10.0.0.\(chance.below(8))"
            let pause: UInt64 = chance.below(400) == 0 ? 1_500_000 : chance.below(1_500)
            now = now + .milliseconds(Int64(pause))
            var model = models[address] ?? Model()
            let isRefused = brake.refusal(of: address, isLocal: false, at: now) != nil
            #expect(isRefused == (model.refusedUntil > now), "seed \(seed), step \(step)")
            if !isRefused, chance.below(60) == 0 {
                brake.succeed(address)
                model = Model()
            } else {
                let told = brake.fail(address, isLocal: false, at: now)
                #expect(told == model.fail(at: now), "seed \(seed), step \(step)")
                if told != nil { refusals += 1 }
            }
            models[address] = model
        }
        // A story in which nobody is ever refused proves nothing.
        #expect(refusals > 20, "seed \(seed)")
    }
}
