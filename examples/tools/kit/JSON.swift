// Licensed under the Apache License 2.0; see LICENSE.

/// One value inside a JSON text that was checked as a whole. Nothing is built until somebody asks: a value is a place
/// in the text, so reading one argument out of a large message costs one pass and no tree.
struct JSON {
    let text: [UInt8]
    let start: Int
    let end: Int

    /// Nested deeper than this is refused, so that no text can use up the stack.
    static let depthMax = 64

    /// The only value of `text`, or nil when that is no JSON.
    init?(parsing text: [UInt8]) {
        var position = 0
        JSON.skipSpace(text, &position)
        start = position
        guard JSON.skipValue(text, &position, depth: 1) else { return nil }
        end = position
        JSON.skipSpace(text, &position)
        guard position == text.count else { return nil }
        self.text = text
    }

    private init(_ text: [UInt8], _ start: Int, _ end: Int) {
        self.text = text
        self.start = start
        self.end = end
    }

    var isObject: Bool { text[start] == UInt8(ascii: "{") }
    var isString: Bool { text[start] == UInt8(ascii: "\"") }
    var isNumber: Bool { text[start] == UInt8(ascii: "-") || JSON.isDigit(text[start]) }

    /// The value exactly as it was written.
    var raw: ArraySlice<UInt8> { text[start..<end] }

    /// The member of an object with this key. The last one counts when a key stands twice.
    func member(_ key: Text) -> JSON? {
        guard isObject else { return nil }
        var found: JSON?
        var position = start + 1
        while true {
            JSON.skipSpace(text, &position)
            guard text[position] == UInt8(ascii: "\"") else { return found }
            let keyStart = position
            _ = JSON.skipString(text, &position)
            let isMatch = JSON(text, keyStart, position).equals(key)
            JSON.skipSpace(text, &position)
            position += 1
            JSON.skipSpace(text, &position)
            let valueStart = position
            _ = JSON.skipValue(text, &position, depth: 1)
            if isMatch { found = JSON(text, valueStart, position) }
            JSON.skipSpace(text, &position)
            guard text[position] == UInt8(ascii: ",") else { return found }
            position += 1
        }
    }

    /// Whether this is a string with that content.
    func equals(_ other: Text) -> Bool { string == other }

    /// The content of a string, escapes resolved.
    var string: Text? {
        guard isString else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(end - start)
        var position = start + 1
        while position < end - 1 {
            let byte = text[position]
            position += 1
            if byte == UInt8(ascii: "\\") {
                JSON.appendEscape(text, &position, to: &bytes)
            } else {
                bytes.append(byte)
            }
        }
        return Text(bytes)
    }

    /// The nearest `Double` to within one unit of the last place; infinite when the number is too large for one.
    var number: Double? {
        guard isNumber else { return nil }
        return Decimal.parse(text[start..<end])
    }
}

// MARK: - Scanning

extension JSON {
    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private static func skipSpace(_ text: [UInt8], _ position: inout Int) {
        while position < text.count, text[position] == 0x20 || (text[position] >= 0x09 && text[position] <= 0x0d) {
            position += 1
        }
    }

    private static func skipValue(_ text: [UInt8], _ position: inout Int, depth: Int) -> Bool {
        guard position < text.count, depth <= depthMax else { return false }
        switch text[position] {
        case UInt8(ascii: "\""): return skipString(text, &position)
        case UInt8(ascii: "{"): return skipList(text, &position, depth, closing: UInt8(ascii: "}"))
        case UInt8(ascii: "["): return skipList(text, &position, depth, closing: UInt8(ascii: "]"))
        case UInt8(ascii: "t"): return skipWord("true", text, &position)
        case UInt8(ascii: "f"): return skipWord("false", text, &position)
        case UInt8(ascii: "n"): return skipWord("null", text, &position)
        default: return skipNumber(text, &position)
        }
    }

    /// An object or an array; they differ in their brackets and in that an object's values have keys.
    private static func skipList(_ text: [UInt8], _ position: inout Int, _ depth: Int, closing: UInt8) -> Bool {
        let hasKeys = closing == UInt8(ascii: "}")
        position += 1
        skipSpace(text, &position)
        if position < text.count, text[position] == closing {
            position += 1
            return true
        }
        while true {
            skipSpace(text, &position)
            if hasKeys {
                guard position < text.count, text[position] == UInt8(ascii: "\"") else { return false }
                guard skipString(text, &position) else { return false }
                skipSpace(text, &position)
                guard position < text.count, text[position] == UInt8(ascii: ":") else { return false }
                position += 1
                skipSpace(text, &position)
            }
            guard skipValue(text, &position, depth: depth + 1) else { return false }
            skipSpace(text, &position)
            guard position < text.count else { return false }
            position += 1
            if text[position - 1] == closing { return true }
            guard text[position - 1] == UInt8(ascii: ",") else { return false }
        }
    }

    private static func skipString(_ text: [UInt8], _ position: inout Int) -> Bool {
        position += 1
        while position < text.count {
            let byte = text[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return true }
            if byte < 0x20 { return false }
            guard byte == UInt8(ascii: "\\") else { continue }
            guard position < text.count else { return false }
            let letter = text[position]
            position += 1
            if letter == UInt8(ascii: "u") {
                guard position + 4 <= text.count, hex(text, position) != nil else { return false }
                position += 4
            } else if !Text("\"\\/bfnrt").bytes.contains(letter) {
                return false
            }
        }
        return false
    }

    private static func skipWord(_ word: StaticString, _ text: [UInt8], _ position: inout Int) -> Bool {
        guard position + word.utf8CodeUnitCount <= text.count else { return false }
        for index in 0..<word.utf8CodeUnitCount where text[position + index] != word.utf8Start[index] { return false }
        position += word.utf8CodeUnitCount
        return true
    }

    private static func skipNumber(_ text: [UInt8], _ position: inout Int) -> Bool {
        if text[position] == UInt8(ascii: "-") { position += 1 }
        let first = position
        guard skipDigits(text, &position) else { return false }
        if text[first] == UInt8(ascii: "0"), position > first + 1 { return false }
        if position < text.count, text[position] == UInt8(ascii: ".") {
            position += 1
            guard skipDigits(text, &position) else { return false }
        }
        if position < text.count, text[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < text.count, text[position] == UInt8(ascii: "+") || text[position] == UInt8(ascii: "-") {
                position += 1
            }
            return skipDigits(text, &position)
        }
        return true
    }

    private static func skipDigits(_ text: [UInt8], _ position: inout Int) -> Bool {
        let first = position
        while position < text.count, isDigit(text[position]) { position += 1 }
        return position > first
    }
}

// MARK: - Strings

extension JSON {
    private static func hex(_ text: [UInt8], _ position: Int) -> UInt32? {
        var value: UInt32 = 0
        for index in position..<(position + 4) {
            let digit: UInt8
            switch text[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = text[index] - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = text[index] - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = text[index] - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// `position` is behind the backslash. A half of a surrogate pair becomes U+FFFD.
    private static func appendEscape(_ text: [UInt8], _ position: inout Int, to bytes: inout [UInt8]) {
        let letter = text[position]
        position += 1
        switch letter {
        case UInt8(ascii: "n"): bytes.append(0x0a)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "r"): bytes.append(0x0d)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0c)
        case UInt8(ascii: "u"):
            var scalar = hex(text, position) ?? 0xfffd
            position += 4
            if scalar >= 0xd800, scalar < 0xdc00, position + 6 <= text.count, text[position] == UInt8(ascii: "\\"),
                text[position + 1] == UInt8(ascii: "u"), let low = hex(text, position + 2), low >= 0xdc00, low < 0xe000
            {
                position += 6
                scalar = 0x10000 + (scalar - 0xd800) << 10 + (low - 0xdc00)
            }
            if scalar >= 0xd800, scalar < 0xe000 { scalar = 0xfffd }
            appendScalar(scalar, to: &bytes)
        default: bytes.append(letter)
        }
    }

    /// Encodes one Unicode scalar as UTF-8.
    static func appendScalar(_ scalar: UInt32, to bytes: inout [UInt8]) {
        switch scalar {
        case 0..<0x80: bytes.append(UInt8(scalar))
        case 0x80..<0x800:
            bytes.append(UInt8(0xc0 | scalar >> 6))
            bytes.append(UInt8(0x80 | scalar & 0x3f))
        case 0x800..<0x10000:
            bytes.append(UInt8(0xe0 | scalar >> 12))
            bytes.append(UInt8(0x80 | scalar >> 6 & 0x3f))
            bytes.append(UInt8(0x80 | scalar & 0x3f))
        default:
            bytes.append(UInt8(0xf0 | scalar >> 18))
            bytes.append(UInt8(0x80 | scalar >> 12 & 0x3f))
            bytes.append(UInt8(0x80 | scalar >> 6 & 0x3f))
            bytes.append(UInt8(0x80 | scalar & 0x3f))
        }
    }

    /// Writes a string with its quotes, escaping what JSON demands and nothing else.
    static func appendQuoted(_ content: Text, to bytes: inout [UInt8]) {
        let digits = Text("0123456789abcdef").bytes
        bytes.append(UInt8(ascii: "\""))
        for byte in content.bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x0a:
                bytes.append(contentsOf: Text("\\n").bytes)
            case 0..<0x20:
                bytes.append(contentsOf: Text("\\u00").bytes)
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            default:
                bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
