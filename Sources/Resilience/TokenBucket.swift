// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// So many per second on average, and so many at once after a quiet time.
///
/// In any stretch of time no more is taken than `burst` plus what the rate earns in it. Integers only: a token is 10¹²
/// parts, a rate is a whole number of parts per nanosecond, so nothing is rounded and nothing drifts, however often or
/// seldom it is asked. Pure, 32 bytes, no allocation, some 25 ns a question.
///
/// Time that goes backwards stands still: it earns nothing, and nothing is earned twice.
package struct TokenBucket: Sendable {
    /// From one in a thousand seconds to a million a second.
    package static let rates = 0.001...1_000_000.0
    package static let bursts = 1...1_000_000

    private static let tokenParts: UInt64 = 1_000_000_000_000

    /// Thousandths of a token per second, which are parts per nanosecond.
    private var partsPerNanosecond: UInt64
    private var capacityParts: UInt64
    private var levelParts: UInt64
    private var hand = Clockhand()

    /// A full one.
    ///
    /// - Parameters:
    ///   - rate: tokens per second, within `rates`, to a thousandth.
    ///   - burst: how many it holds, within `bursts`.
    package init(rate: Double, burst: Int, at moment: Moment) {
        partsPerNanosecond = Self.partsPerNanosecond(rate)
        capacityParts = Self.capacityParts(burst)
        levelParts = capacityParts
        _ = hand.advance(to: moment)
    }

    /// Tokens per second, as it is kept.
    package var rate: Double { Double(partsPerNanosecond) / 1_000 }
    package var burst: Int { Int(capacityParts / Self.tokenParts) }

    /// Takes `count` tokens, or none.
    ///
    /// - Parameter count: at least 1. More than `burst` are never there.
    /// - Returns: whether they were there.
    package mutating func take(_ count: Int = 1, at moment: Moment) -> Bool {
        precondition(count > 0, "nobody takes nothing")
        earn(until: moment)
        guard let wanted = Self.parts(of: count), wanted <= levelParts else { return false }
        levelParts -= wanted
        return true
    }

    /// Whole tokens in it.
    package func level(at moment: Moment) -> Int { Int(levelParts(at: hand.reading(moment)) / Self.tokenParts) }

    /// When `count` tokens will be there if nobody takes any before.
    ///
    /// - Returns: the first nanosecond at which `take` succeeds, not before `moment`; nil when that will never be.
    package func availableAt(_ count: Int = 1, at moment: Moment) -> Moment? {
        guard let wanted = Self.parts(of: count), wanted <= capacityParts else { return nil }
        let now = hand.reading(moment)
        let level = levelParts(at: now)
        guard wanted > level else { return now }
        // Up: a nanosecond less would not do.
        let wait = (wanted - level + partsPerNanosecond - 1) / partsPerNanosecond
        return Moment(nanoseconds: Self.saturated(now.nanoseconds.addingReportingOverflow(wait)))
    }

    /// Another rate and burst, in force at once. What has been earned stays, as far as the new one holds it: a change
    /// gives nobody a second burst.
    package mutating func change(rate: Double, burst: Int, at moment: Moment) {
        earn(until: moment)
        partsPerNanosecond = Self.partsPerNanosecond(rate)
        // What a smaller one cannot hold is lost when the level is next looked at.
        capacityParts = Self.capacityParts(burst)
    }

    private mutating func earn(until moment: Moment) {
        let now = hand.reading(moment)
        levelParts = levelParts(at: now)
        _ = hand.advance(to: now)
    }

    /// - Parameter now: not before the hand.
    private func levelParts(at now: Moment) -> UInt64 {
        let earned = (now.nanoseconds - hand.latest.nanoseconds).multipliedReportingOverflow(by: partsPerNanosecond)
        return min(Self.saturated(levelParts.addingReportingOverflow(Self.saturated(earned))), capacityParts)
    }

    private static func saturated(_ result: (partialValue: UInt64, overflow: Bool)) -> UInt64 {
        result.overflow ? .max : result.partialValue
    }

    private static func parts(of count: Int) -> UInt64? {
        bursts.contains(count) ? UInt64(count) * tokenParts : nil
    }

    private static func capacityParts(_ burst: Int) -> UInt64 {
        precondition(bursts.contains(burst), "a bucket holds 1 to 1,000,000 tokens")
        return UInt64(burst) * tokenParts
    }

    private static func partsPerNanosecond(_ rate: Double) -> UInt64 {
        precondition(rates.contains(rate), "a rate is 0.001 to 1,000,000 tokens per second")
        return UInt64(rate * 1_000 + 0.5)
    }
}
