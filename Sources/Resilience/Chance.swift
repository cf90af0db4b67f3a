// Licensed under the Apache License 2.0; see LICENSE.

/// Chance that replays from its seed (splitmix64): a machine that holds one does the same thing again for the same
/// seed and the same moments.
///
/// For spreading things in time only. Whoever sees a few delays can compute the next ones, so nothing that has to be
/// unguessable comes from here.
package struct Chance: Sendable, RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 up to, not including, `bound`.
    package mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

    /// Evenly from 0 up to and including `most`.
    mutating func upTo(_ most: UInt64) -> UInt64 {
        most == .max ? next() : next().multipliedFullWidth(by: most + 1).high
    }
}
