// Licensed under the Apache License 2.0; see LICENSE.

/// The keys one object has so far, to refuse the second of a name.
///
/// Kept as 64-bit hashes: two honest keys do not meet, and whoever forges two that do only has his own message refused.
/// Up to 24 keys lie on the stack and are compared one by one; past that a set takes over, so that an object of many
/// keys costs no quadratic time.
struct KeySet {
    private static let smallMax = 24
    private var small = InlineArray<24, UInt64>(repeating: 0)
    private var count = 0
    private var large: Set<UInt64> = []

    /// Notes a key, given between its quotes; false when the object has it already, escapes resolved.
    mutating func insert(_ bytes: Span<UInt8>, _ key: Range<Int>, isEscaped: Bool) -> Bool {
        let hash = isEscaped ? Self.hash(JSONText.unescape(bytes, key).span) : Self.hash(bytes.extracting(key))
        if count < Self.smallMax {
            for index in 0..<count where small[index] == hash { return false }
            small[count] = hash
            count += 1
            return true
        }
        if large.isEmpty {
            large.reserveCapacity(4 * Self.smallMax)
            for index in 0..<count { large.insert(small[index]) }
        }
        return large.insert(hash).inserted
    }

    /// FNV-1a, 64 bits: quick on the short keys of real messages.
    private static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in bytes.indices {
            hash = (hash ^ UInt64(bytes[index])) &* 0x0000_0100_0000_01b3
        }
        return hash
    }
}
