// Licensed under the Apache License 2.0; see LICENSE.

/// A UTF-8 text with literals, interpolation and `+`: what a tool needs of Swift's `String` without the 40 KB that
/// `String` adds to a module (views, indices, normalisation). Equality is that of the bytes.
struct Text: ExpressibleByStringInterpolation, Equatable {
    var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }
    init(_ text: StaticString) {
        bytes = Array(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
    init(stringLiteral text: StaticString) { self.init(text) }
    init(stringInterpolation parts: Interpolation) { bytes = parts.bytes }

    init(_ number: Int) {
        var rest = number.magnitude
        var digits: [UInt8] = []
        repeat {
            digits.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        if number < 0 { digits.append(UInt8(ascii: "-")) }
        digits.reverse()
        bytes = digits
    }

    var isEmpty: Bool { bytes.isEmpty }

    static func + (left: Text, right: Text) -> Text { Text(left.bytes + right.bytes) }
    static func += (left: inout Text, right: Text) { left.bytes.append(contentsOf: right.bytes) }

    /// The Unicode scalars; bytes that are no UTF-8 count as U+FFFD each.
    var scalars: Scalars { Scalars(bytes: bytes) }

    /// Whole numbers only, with an optional minus; nil for anything else.
    var integer: Int? {
        let digits = bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
        guard !digits.isEmpty, digits.count <= 9 else { return nil }
        var value = 0
        for byte in digits {
            guard JSON.isDigit(byte) else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return digits.count < bytes.count ? -value : value
    }

    struct Interpolation: StringInterpolationProtocol {
        var bytes: [UInt8] = []
        init(literalCapacity: Int, interpolationCount: Int) { bytes.reserveCapacity(literalCapacity) }
        mutating func appendLiteral(_ text: StaticString) { bytes.append(contentsOf: Text(text).bytes) }
        mutating func appendInterpolation(_ text: Text) { bytes.append(contentsOf: text.bytes) }
        mutating func appendInterpolation(_ number: Int) { bytes.append(contentsOf: Text(number).bytes) }
    }

    struct Scalars: Sequence, IteratorProtocol {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func next() -> UInt32? {
            guard position < bytes.count else { return nil }
            let first = bytes[position]
            position += 1
            if first < 0x80 { return UInt32(first) }
            let more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1
            guard first >= 0xc2, first < 0xf5, position + more <= bytes.count else { return 0xfffd }
            var scalar = UInt32(first) & (0x3f >> UInt32(more))
            for index in position..<(position + more) {
                guard bytes[index] & 0xc0 == 0x80 else { return 0xfffd }
                scalar = scalar << 6 | UInt32(bytes[index] & 0x3f)
            }
            position += more
            return scalar
        }
    }
}
