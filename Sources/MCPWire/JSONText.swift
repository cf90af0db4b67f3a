// Licensed under the Apache License 2.0; see LICENSE.

/// Reading and writing pieces of JSON text that has been scanned before. Nothing here checks the text again.
public enum JSONText {
    /// The bytes at `position` are exactly `word`.
    static func matches(_ bytes: Span<UInt8>, _ position: Int, _ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard position + count <= bytes.count else { return false }
        // A StaticString of ASCII characters is a pointer to bytes that live as long as the program.
        let expected = unsafe UnsafeBufferPointer(start: word.utf8Start, count: count)
        for index in 0..<count where unsafe bytes[position + index] != expected[index] { return false }
        return true
    }

    static func key(_ bytes: Span<UInt8>, _ range: Range<Int>, _ isEscaped: Bool, equals word: StaticString) -> Bool {
        if isEscaped {
            let plain = unescape(bytes, range)
            return plain.count == word.utf8CodeUnitCount && matches(plain.span, 0, word)
        }
        return range.count == word.utf8CodeUnitCount && matches(bytes, range.lowerBound, word)
    }

    /// The characters of a string, given the range between its quotes. Allocates the result.
    public static func string(_ bytes: Span<UInt8>, inside range: Range<Int>) -> String {
        let piece = bytes.extracting(range)
        for index in piece.indices where piece[index] == UInt8(ascii: "\\") {
            return String(decoding: unescape(bytes, range), as: UTF8.self)
        }
        return unsafe piece.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// The characters of a string value, given its range with quotes.
    public static func string(_ bytes: Span<UInt8>, value range: Range<Int>) -> String {
        string(bytes, inside: (range.lowerBound + 1)..<(range.upperBound - 1))
    }

    /// UTF-8 of the text between the quotes, escapes resolved.
    static func unescape(_ bytes: Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            guard bytes[index] == UInt8(ascii: "\\") else {
                out.append(bytes[index])
                index += 1
                continue
            }
            let letter = bytes[index + 1]
            index += 2
            switch letter {
            case UInt8(ascii: "b"): out.append(0x08)
            case UInt8(ascii: "f"): out.append(0x0c)
            case UInt8(ascii: "n"): out.append(0x0a)
            case UInt8(ascii: "r"): out.append(0x0d)
            case UInt8(ascii: "t"): out.append(0x09)
            case UInt8(ascii: "u"):
                var scalar = hexValue(bytes, index)
                index += 4
                if scalar & 0xfc00 == 0xd800 {
                    scalar = 0x10000 + (scalar & 0x3ff) << 10 + hexValue(bytes, index + 2) & 0x3ff
                    index += 6
                }
                out.append(contentsOf: Array(String(Unicode.Scalar(scalar) ?? "\u{fffd}").utf8))
            default: out.append(letter)
            }
        }
        return out
    }

    private static func hexValue(_ bytes: Span<UInt8>, _ start: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in start..<(start + 4) { value = value << 4 | UInt32(hexDigit(bytes[index]) ?? 0) }
        return value
    }

    static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// Appends `text` as a JSON string, quotes included. What could end a line or a page early is escaped too.
    public static func append(_ text: some StringProtocol, to out: inout [UInt8]) {
        let digits: [UInt8] = Array("0123456789abcdef".utf8)
        out.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                out.append(UInt8(ascii: "\\"))
                out.append(byte)
            case 0x0a: out.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
            case 0x0d: out.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "r")])
            case 0x09: out.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "t")])
            case 0..<0x20, 0x7f:
                out.append(contentsOf: Array("\\u00".utf8))
                out.append(digits[Int(byte >> 4)])
                out.append(digits[Int(byte & 15)])
            default: out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
    }

    /// `text` as a JSON string, quotes included.
    public static func quoted(_ text: some StringProtocol) -> String {
        var out: [UInt8] = []
        append(text, to: &out)
        return String(decoding: out, as: UTF8.self)
    }
}
