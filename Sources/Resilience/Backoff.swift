// Licensed under the Apache License 2.0; see LICENSE.

/// How long to wait before trying again: doubling from `base` up to `cap`, spread by chance.
///
/// Without chance everybody who failed together comes back together. Pure, 64 bytes, some 25 ns a question.
/// Delays are exact to the nanosecond and never longer than `cap`, at whatever attempt.
package struct Backoff: Sendable {
    /// How a delay is spread around its whole length.
    package enum Jitter: Sendable, CaseIterable {
        /// From nothing to all of it. Spreads best; for retries of calls, of which there may be many at once.
        case full
        /// From half to all of it. For whoever must not come back at once.
        case equal
        /// From all of it to a quarter more (at the cap: from all but a quarter of it). For times that are promised
        /// in the configuration as a least.
        case quarterMore
    }

    package let base: Duration
    package let cap: Duration
    package let jitter: Jitter
    private let baseNanoseconds: UInt64
    private let capNanoseconds: UInt64
    private var chance: Chance

    /// - Parameters:
    ///   - base: the whole length at attempt 0; more than zero.
    ///   - cap: what no delay exceeds; at least `base`, and at most 292 years.
    package init(base: Duration, cap: Duration, jitter: Jitter, seed: UInt64) {
        precondition(base > .zero && cap >= base, "a backoff grows from something to something longer")
        self.base = base
        self.cap = cap
        self.jitter = jitter
        baseNanoseconds = base.nanosecondsUnsigned
        capNanoseconds = cap.nanosecondsUnsigned
        chance = Chance(seed: seed)
    }

    /// The delay before the next try.
    ///
    /// - Parameter attempt: how many delays there have been before; 0 for the first, negative is taken for it.
    package mutating func delay(attempt: Int) -> Duration {
        let whole = wholeNanoseconds(attempt: attempt)
        let nanoseconds =
            switch jitter {
            case .full: chance.upTo(whole)
            case .equal: whole - whole / 2 + chance.upTo(whole / 2)
            // The cap holds for the sum, so near it the quarter is taken from below.
            case .quarterMore: min(whole, capNanoseconds - whole / 4) + chance.upTo(whole / 4)
            }
        return .nanoseconds(Int64(clamping: nanoseconds))
    }

    /// What `delay` spreads: `base` doubled `attempt` times, at most `cap`.
    private func wholeNanoseconds(attempt: Int) -> UInt64 {
        // Shifting as far as there are leading zeros loses no bit; further than that is beyond any cap.
        guard attempt < baseNanoseconds.leadingZeroBitCount else { return capNanoseconds }
        return min(baseNanoseconds << max(attempt, 0), capNanoseconds)
    }
}
