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

    /// Whether the text between two quotes is the ASCII `word`, escapes resolved. Allocates nothing, and gives up at
    /// the first character that differs: a key of a megabyte costs no more than a short one.
    static func key(_ bytes: Span<UInt8>, _ range: Range<Int>, _ isEscaped: Bool, equals word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard isEscaped else { return range.count == count && matches(bytes, range.lowerBound, word) }
        // The longest spelling of an ASCII character is `\u0061`.
        guard range.count > count, range.count <= 6 * count else { return false }
        let expected = unsafe UnsafeBufferPointer(start: word.utf8Start, count: count)
        var (index, matched) = (range.lowerBound, 0)
        while index < range.upperBound {
            var character = UInt32(bytes[index])
            if character == UInt8(ascii: "\\") {
                character = escapedScalar(bytes, &index)
            } else {
                index += 1
            }
            guard matched < count, unsafe character == UInt32(expected[matched]) else { return false }
            matched += 1
        }
        return matched == count
    }

    /// Whether scanned text between two quotes has a backslash in it.
    static func hasEscape(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        let piece = bytes.extracting(range)
        var index = 0
        while true {
            JSONScanner.skipPlain(piece, &index)
            guard index < piece.count else { return false }
            if piece[index] == UInt8(ascii: "\\") { return true }
            index += 1
        }
    }

    /// The characters of a string, given the range between its quotes. Allocates the result.
    public static func string(_ bytes: Span<UInt8>, inside range: Range<Int>) -> String {
        string(bytes, inside: range, isEscaped: hasEscape(bytes, range))
    }

    /// The characters of a string value, given its range with quotes.
    public static func string(_ bytes: Span<UInt8>, value range: Range<Int>) -> String {
        string(bytes, inside: (range.lowerBound + 1)..<(range.upperBound - 1))
    }

    static func string(_ bytes: Span<UInt8>, inside range: Range<Int>, isEscaped: Bool) -> String {
        if isEscaped { return String(decoding: unescape(bytes, range), as: UTF8.self) }
        return unsafe bytes.extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// UTF-8 of the text between the quotes, escapes resolved.
    static func unescape(_ bytes: Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(range.count)
        let piece = bytes.extracting(range)
        var index = 0
        while index < piece.count {
            let start = index
            JSONScanner.skipPlain(piece, &index)
            while index < piece.count, piece[index] != UInt8(ascii: "\\") { index += 1 }
            unsafe piece.extracting(start..<index).withUnsafeBufferPointer { unsafe out.append(contentsOf: $0) }
            // Escapes come in rows: a row is taken here without another look for plain text.
            while index < piece.count, piece[index] == UInt8(ascii: "\\") {
                append(escapedScalar(piece, &index), to: &out)
            }
        }
        return out
    }

    /// The character of the escape that begins at `index`, and past it. Pairs of surrogates were checked by the
    /// scanner.
    private static func escapedScalar(_ bytes: Span<UInt8>, _ index: inout Int) -> UInt32 {
        let letter = bytes[index + 1]
        index += 2
        switch letter {
        case UInt8(ascii: "b"): return 0x08
        case UInt8(ascii: "f"): return 0x0c
        case UInt8(ascii: "n"): return 0x0a
        case UInt8(ascii: "r"): return 0x0d
        case UInt8(ascii: "t"): return 0x09
        case UInt8(ascii: "u"):
            let unit = hexValue(bytes, index)
            index += 4
            guard unit & 0xfc00 == 0xd800 else { return unit }
            let low = hexValue(bytes, index + 2)
            index += 6
            return 0x10000 + (unit & 0x3ff) << 10 + low & 0x3ff
        default: return UInt32(letter)
        }
    }

    private static func append(_ scalar: UInt32, to out: inout [UInt8]) {
        if scalar < 0x80 {
            out.append(UInt8(scalar))
            return
        }
        if scalar < 0x800 {
            out.append(0xc0 | UInt8(scalar >> 6))
        } else {
            if scalar < 0x10000 {
                out.append(0xe0 | UInt8(scalar >> 12))
            } else {
                out.append(0xf0 | UInt8(scalar >> 18))
                out.append(0x80 | UInt8(scalar >> 12 & 0x3f))
            }
            out.append(0x80 | UInt8(scalar >> 6 & 0x3f))
        }
        out.append(0x80 | UInt8(scalar & 0x3f))
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

    /// Appends `text` as a JSON string, quotes included. All control characters are escaped, DEL too, so that the text
    /// stays on one line; it is not made safe for HTML.
    public static func append(_ text: some StringProtocol, to out: inout [UInt8]) {
        // One concrete loop: a generic one that is called from another module would dispatch for each byte.
        append(string: String(text), to: &out)
    }

    private static func append(string text: String, to out: inout [UInt8]) {
        var text = text
        out.append(UInt8(ascii: "\""))
        text.withUTF8 { buffer in
            let span = unsafe buffer.span
            var index = 0
            while index < span.count {
                let start = index
                while index < span.count, !needsEscape(span[index]) { index += 1 }
                unsafe span.extracting(start..<index).withUnsafeBufferPointer { unsafe out.append(contentsOf: $0) }
                if index < span.count { escape(span[index], to: &out) }
                index += 1
            }
        }
        out.append(UInt8(ascii: "\""))
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == 0x7f || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private static func escape(_ byte: UInt8, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): out.append(byte)
        case 0x0a: out.append(UInt8(ascii: "n"))
        case 0x0d: out.append(UInt8(ascii: "r"))
        case 0x09: out.append(UInt8(ascii: "t"))
        default:
            out.append(contentsOf: "u00".utf8)
            out.append(hexLetter(byte >> 4))
            out.append(hexLetter(byte & 15))
        }
    }

    private static func hexLetter(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }

    /// `text` as a JSON string, quotes included.
    public static func quoted(_ text: some StringProtocol) -> String {
        var out: [UInt8] = []
        append(text, to: &out)
        return String(decoding: out, as: UTF8.self)
    }
}
