// Licensed under the Apache License 2.0; see LICENSE.

/// A set of code points: ranges and properties, or everything but them.
struct ScalarClass: Sendable {
    /// Sorted, without overlap.
    private let ranges: [ClosedRange<UInt32>]
    private let properties: [ScalarProperty]
    private let isNegated: Bool
    /// The answer for the 128 code points of ASCII, which are almost all there ever are.
    private let ascii: (UInt64, UInt64)

    init(_ ranges: [ClosedRange<UInt32>], properties: [ScalarProperty] = [], isNegated: Bool = false) {
        let merged = Self.merged(ranges)
        self.ranges = merged
        self.properties = properties
        self.isNegated = isNegated
        var ascii: (UInt64, UInt64) = (0, 0)
        for value in UInt32(0)..<128 {
            guard let scalar = Unicode.Scalar(value),
                Self.holds(scalar, ranges: merged, properties: properties) != isNegated
            else { continue }
            if value < 64 { ascii.0 |= 1 << UInt64(value) } else { ascii.1 |= 1 << UInt64(value - 64) }
        }
        self.ascii = ascii
    }

    func contains(_ scalar: Unicode.Scalar) -> Bool {
        let value = scalar.value
        if value < 64 { return ascii.0 >> UInt64(value) & 1 == 1 }
        if value < 128 { return ascii.1 >> UInt64(value - 64) & 1 == 1 }
        return Self.holds(scalar, ranges: ranges, properties: properties) != isNegated
    }

    private static func holds(
        _ scalar: Unicode.Scalar, ranges: [ClosedRange<UInt32>], properties: [ScalarProperty]
    ) -> Bool {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].contains(scalar.value) { return true }
            if ranges[middle].lowerBound > scalar.value { high = middle } else { low = middle + 1 }
        }
        return properties.contains { $0.holds(scalar) }
    }

    private static func merged(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var merged: [ClosedRange<UInt32>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    /// All code points that are in none of the ranges.
    static func complement(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var rest: [ClosedRange<UInt32>] = []
        var start: UInt32 = 0
        for range in merged(ranges) {
            if range.lowerBound > start { rest.append(start...(range.lowerBound - 1)) }
            start = range.upperBound + 1
        }
        if start <= 0x10_ffff { rest.append(start...0x10_ffff) }
        return rest
    }

    // MARK: What ECMA-262 names

    static let digits: [ClosedRange<UInt32>] = [0x30...0x39]
    static let letters: [ClosedRange<UInt32>] = [0x30...0x39, 0x41...0x5a, 0x5f...0x5f, 0x61...0x7a]
    static let spaces: [ClosedRange<UInt32>] = [
        0x09...0x0d, 0x20...0x20, 0xa0...0xa0, 0x1680...0x1680, 0x2000...0x200a, 0x2028...0x2029, 0x202f...0x202f,
        0x205f...0x205f, 0x3000...0x3000, 0xfeff...0xfeff,
    ]
    static let lineEnds: [ClosedRange<UInt32>] = [0x0a...0x0a, 0x0d...0x0d, 0x2028...0x2029]

    /// Letters, digits and the underscore, for edges of words.
    static let word = ScalarClass(letters)

    /// The ranges that `\d`, `\w` and `\s` stand for, and their opposites.
    static func ranges(escape: Unicode.Scalar) -> [ClosedRange<UInt32>]? {
        switch escape {
        case "d": digits
        case "D": complement(digits)
        case "w": letters
        case "W": complement(letters)
        case "s": spaces
        case "S": complement(spaces)
        default: nil
        }
    }
}
