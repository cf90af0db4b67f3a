// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// A second reading of RFC 8259, slow and plain: it decodes the text to characters first and shares no code with the
/// scanner. What both accept, and as what, has to be the same.
struct ReferenceJSON {
    private var rest: Substring.UnicodeScalarView
    private let depthMax: Int

    /// The tree, or nil when this is not acceptable.
    static func parse(_ bytes: [UInt8], depthMax: Int = 64) -> JSONValue? {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        var reader = ReferenceJSON(rest: text[...].unicodeScalars, depthMax: depthMax)
        reader.space()
        guard let value = reader.value(1) else { return nil }
        reader.space()
        return reader.rest.isEmpty ? value : nil
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard rest.first == scalar else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func space() {
        while let next = rest.first, " \t\r\n".unicodeScalars.contains(next) { rest.removeFirst() }
    }

    private mutating func value(_ depth: Int) -> JSONValue? {
        guard let next = rest.first else { return nil }
        switch next {
        case "{": return depth <= depthMax ? object(depth) : nil
        case "[": return depth <= depthMax ? array(depth) : nil
        case "\"": return string().map { .string($0) }
        case "t": return word("true") ? .bool(true) : nil
        case "f": return word("false") ? .bool(false) : nil
        case "n": return word("null") ? .null : nil
        default: return number()
        }
    }

    private mutating func word(_ word: String) -> Bool {
        for scalar in word.unicodeScalars where !take(scalar) { return false }
        return true
    }

    private mutating func object(_ depth: Int) -> JSONValue? {
        guard take("{") else { return nil }
        var members: [(key: String, value: JSONValue)] = []
        var seen: Set<[UInt8]> = []
        space()
        if take("}") { return .object([]) }
        repeat {
            space()
            guard let key = string(), seen.insert(Array(key.utf8)).inserted else { return nil }
            space()
            guard take(":") else { return nil }
            space()
            guard let value = value(depth + 1) else { return nil }
            members.append((key, value))
            space()
        } while take(",")
        return take("}") ? .object(members) : nil
    }

    private mutating func array(_ depth: Int) -> JSONValue? {
        guard take("[") else { return nil }
        var items: [JSONValue] = []
        space()
        if take("]") { return .array([]) }
        repeat {
            space()
            guard let item = value(depth + 1) else { return nil }
            items.append(item)
            space()
        } while take(",")
        return take("]") ? .array(items) : nil
    }

    private mutating func string() -> String? {
        guard take("\"") else { return nil }
        var units: [UInt16] = []
        while let next = rest.popFirst() {
            switch next {
            case "\"":
                // Half a surrogate pair cannot be decoded.
                return String(validating: units, as: UTF16.self)
            case "\\":
                guard let unit = escape() else { return nil }
                units.append(unit)
            default:
                guard next.value >= 0x20 else { return nil }
                units.append(contentsOf: String(Character(next)).utf16)
            }
        }
        return nil
    }

    private mutating func escape() -> UInt16? {
        guard let letter = rest.popFirst() else { return nil }
        let simple: [Unicode.Scalar: UInt16] = [
            "\"": 0x22, "\\": 0x5c, "/": 0x2f, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9,
        ]
        if let unit = simple[letter] { return unit }
        guard letter == "u", rest.count >= 4 else { return nil }
        var digits = ""
        for _ in 0..<4 { digits.unicodeScalars.append(rest.removeFirst()) }
        guard digits.unicodeScalars.allSatisfy({ $0.isASCII && $0.properties.isASCIIHexDigit }) else { return nil }
        return UInt16(digits, radix: 16)
    }

    private mutating func digits(_ text: inout String) -> Bool {
        let before = text
        while let next = rest.first, ("0"..."9").contains(next) {
            text.unicodeScalars.append(next)
            rest.removeFirst()
        }
        return text != before
    }

    private mutating func number() -> JSONValue? {
        var text = take("-") ? "-" : ""
        if take("0") {
            text += "0"
        } else if !digits(&text) {
            return nil
        }
        if take(".") {
            text += "."
            guard digits(&text) else { return nil }
        }
        if let letter = rest.first, letter == "e" || letter == "E" {
            rest.removeFirst()
            text.unicodeScalars.append(letter)
            if take("+") { text += "+" } else if take("-") { text += "-" }
            guard digits(&text) else { return nil }
        }
        return .number(text)
    }
}
