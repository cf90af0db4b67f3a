// Licensed under the Apache License 2.0; see LICENSE.

extension JSONScanner {
    static func skipSpace(_ bytes: Span<UInt8>, _ position: inout Int) {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0a, 0x0d, 0x09: position += 1
            default: return
            }
        }
    }

    static func expect(_ word: StaticString, _ bytes: Span<UInt8>, _ position: inout Int) throws(WireError) {
        guard JSONText.matches(bytes, position, word) else {
            throw WireError(.notJSON, "a JSON value was expected here", offset: position)
        }
        position += word.utf8CodeUnitCount
    }

    /// Number grammar of RFC 8259: no leading zeros, no bare point, no `NaN`.
    static func scanNumber(_ bytes: Span<UInt8>, _ position: inout Int) throws(WireError) {
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        guard position < bytes.count else { throw badNumber(position) }
        if bytes[position] == UInt8(ascii: "0") {
            position += 1
        } else {
            try skipDigits(bytes, &position)
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            try skipDigits(bytes, &position)
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
                position += 1
            }
            try skipDigits(bytes, &position)
        }
    }

    private static func skipDigits(_ bytes: Span<UInt8>, _ position: inout Int) throws(WireError) {
        let start = position
        while position < bytes.count, bytes[position] &- UInt8(ascii: "0") < 10 { position += 1 }
        guard position > start else { throw badNumber(position) }
    }

    private static func badNumber(_ offset: Int) -> WireError {
        WireError(.notJSON, "this is not a JSON number", offset: offset)
    }

    /// Passes one string, quotes included; returns whether it has a backslash in it.
    static func scanString(_ bytes: Span<UInt8>, _ position: inout Int) throws(WireError) -> Bool {
        position += 1
        var escaped = false
        while true {
            skipPlain(bytes, &position)
            guard position < bytes.count else {
                throw WireError(.notJSON, "the JSON text ends inside a string", offset: position)
            }
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return escaped
            case UInt8(ascii: "\\"):
                escaped = true
                try scanEscape(bytes, &position)
            case 0..<0x20:
                throw WireError(.notJSON, "a control character stands unescaped in a string", offset: position)
            case 0x80...:
                repeat { try scanMultibyte(bytes, &position) } while position < bytes.count && bytes[position] >= 0x80
            default:
                position += 1
            }
        }
    }

    /// Runs over bytes that need no look, sixteen at a time, to the first one that is a quote, a backslash, a control
    /// character or not ASCII, or to the last seven of the text. Long strings are most of a large payload, so this loop
    /// decides what a megabyte costs.
    static func skipPlain(_ bytes: Span<UInt8>, _ position: inout Int) {
        let raw = unsafe bytes.bytes
        while position + 16 <= bytes.count {
            // In bounds by the loop's own condition.
            let low = unsafe raw.unsafeLoadUnaligned(fromUncheckedByteOffset: position, as: UInt64.self)
            let high = unsafe raw.unsafeLoadUnaligned(fromUncheckedByteOffset: position + 8, as: UInt64.self)
            if marks(low) | marks(high) != 0 { break }
            position += 16
        }
        while position + 8 <= bytes.count {
            let word = unsafe raw.unsafeLoadUnaligned(fromUncheckedByteOffset: position, as: UInt64.self)
            let marks = marks(UInt64(littleEndian: word))
            if marks != 0 {
                // A borrow can only mark bytes above a true one, so the lowest mark is always true.
                position += marks.trailingZeroBitCount / 8
                return
            }
            position += 8
        }
    }

    /// The highest bit of each of eight bytes that needs a look; zero when none does.
    private static func marks(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quotes = word ^ (ones &* 0x22)
        let slashes = word ^ (ones &* 0x5c)
        let isQuote = (quotes &- ones) & ~quotes
        let isSlash = (slashes &- ones) & ~slashes
        let isControl = (word &- (ones &* 0x20)) & ~word
        return (isQuote | isSlash | isControl | word) & (ones &* 0x80)
    }

    /// Passes a string that was accepted before, quotes included; returns whether it has a backslash in it.
    static func passString(_ bytes: Span<UInt8>, _ position: inout Int) -> Bool {
        position += 1
        var escaped = false
        while true {
            skipPlain(bytes, &position)
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return escaped
            case UInt8(ascii: "\\"):
                escaped = true
                position += 2
            default:
                repeat { position += 1 } while bytes[position] >= 0x80
            }
        }
    }

    private static func scanEscape(_ bytes: Span<UInt8>, _ position: inout Int) throws(WireError) {
        guard position + 1 < bytes.count else {
            throw WireError(.notJSON, "the JSON text ends inside a string", offset: position)
        }
        switch bytes[position + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 2
        case UInt8(ascii: "u"):
            let first = try hexUnit(bytes, position)
            if first & 0xfc00 == 0xdc00 {
                throw WireError(.notJSON, "half of a surrogate pair stands alone", offset: position)
            }
            if first & 0xfc00 == 0xd800 {
                let low = position + 6
                guard low + 1 < bytes.count, bytes[low] == UInt8(ascii: "\\"), bytes[low + 1] == UInt8(ascii: "u"),
                    try hexUnit(bytes, low) & 0xfc00 == 0xdc00
                else {
                    throw WireError(.notJSON, "half of a surrogate pair stands alone", offset: position)
                }
                position += 6
            }
            position += 6
        default:
            throw WireError(.notJSON, "there is no such escape in JSON", offset: position)
        }
    }

    /// The four hex digits behind a `\u` that begins at `position`.
    private static func hexUnit(_ bytes: Span<UInt8>, _ position: Int) throws(WireError) -> UInt16 {
        guard position + 6 <= bytes.count else {
            throw WireError(.notJSON, "the JSON text ends inside a string", offset: position)
        }
        var unit: UInt16 = 0
        for index in (position + 2)..<(position + 6) {
            guard let digit = JSONText.hexDigit(bytes[index]) else {
                throw WireError(.notJSON, "four hexadecimal digits were expected here", offset: index)
            }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }

    /// One character of two to four bytes: no overlong forms, no surrogates, nothing above U+10FFFF.
    private static func scanMultibyte(_ bytes: Span<UInt8>, _ position: inout Int) throws(WireError) {
        let first = bytes[position]
        let length: Int
        var secondRange: ClosedRange<UInt8> = 0x80...0xbf
        switch first {
        case 0xc2...0xdf: length = 2
        case 0xe0: (length, secondRange) = (3, 0xa0...0xbf)
        case 0xed: (length, secondRange) = (3, 0x80...0x9f)
        case 0xe1...0xef: length = 3
        case 0xf0: (length, secondRange) = (4, 0x90...0xbf)
        case 0xf1...0xf3: length = 4
        case 0xf4: (length, secondRange) = (4, 0x80...0x8f)
        default: throw WireError(.notJSON, "the text is not valid UTF-8", offset: position)
        }
        guard position + length <= bytes.count, secondRange.contains(bytes[position + 1]) else {
            throw WireError(.notJSON, "the text is not valid UTF-8", offset: position)
        }
        var index = position + 2
        while index < position + length {
            guard bytes[index] & 0xc0 == 0x80 else {
                throw WireError(.notJSON, "the text is not valid UTF-8", offset: position)
            }
            index += 1
        }
        position += length
    }
}
