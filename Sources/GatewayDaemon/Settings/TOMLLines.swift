// Licensed under the Apache License 2.0; see LICENSE.

/// On which line each key of a TOML text stands. The parser behind TOMLKit forgets that, so this walks the same text
/// once more. It is
/// lenient where the text is broken (the parser says what is wrong there) and strict about what would hurt the parser:
/// it runs first,
/// and refuses nesting, counts and zero bytes beyond its bounds. One pass; costs memory for each key.
struct TOMLLines {
    /// Why the text must not be handed to the parser.
    struct Refusal {
        let line: Int
        /// Counted in characters from 1.
        let column: Int
        let message: String
        /// The lines before this one may be parsed, and may have a mistake that explains this one.
        let isSyntax: Bool
    }
    /// A key that had been set before.
    struct Repetition {
        let path: [String]
        let firstLine: Int
    }

    static let nestingMax = 32
    static let keyPartsMax = 16
    static let keysMax = 20_000

    /// Elements of arrays are parts of a path too, see `element`.
    private(set) var lines: [[String]: Int] = [:]
    private(set) var repetitions: [Int: Repetition] = [:]
    private(set) var refusal: Refusal?

    private let bytes: [UInt8]
    private var position = 0
    private var line = 1
    private var arrayTables: [[String]: Int] = [:]

    /// The path part of element `index` of an array. No key of a file can look like it: control characters are not
    /// allowed in them.
    static func element(_ index: Int) -> String { "\u{1}\(index)" }

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var table: [String] = []
        while refusal == nil, let byte = skipBlank() {
            if byte == UInt8(ascii: "[") {
                table = header() ?? table
            } else {
                keyAndValue(in: table, depth: 0)
            }
            skipLine()
        }
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func peek(_ offset: Int) -> UInt8? { position + offset < bytes.count ? bytes[position + offset] : nil }

    private mutating func advance() {
        if current == UInt8(ascii: "\n") { line += 1 }
        if current == 0 { refuse("there is a zero byte in this line; configuration is plain UTF-8 text") }
        position += 1
    }

    private mutating func refuse(_ message: String, isSyntax: Bool = false) {
        if refusal == nil { refusal = Refusal(line: line, column: column, message: message, isSyntax: isSyntax) }
        position = bytes.count
    }

    private var column: Int {
        let start = bytes[..<position].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        return String(decoding: bytes[start..<position], as: UTF8.self).unicodeScalars.count + 1
    }

    private mutating func skipSpaces() {
        while current == UInt8(ascii: " ") || current == UInt8(ascii: "\t") { advance() }
    }

    private mutating func skipLine() {
        while let byte = current {
            advance()
            if byte == UInt8(ascii: "\n") { return }
        }
    }

    /// Skips spaces, line ends and comments; the byte after them.
    private mutating func skipBlank() -> UInt8? {
        while let byte = current {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): advance()
            case UInt8(ascii: "#"): skipLine()
            case 0xef where position == 0 && peek(1) == 0xbb && peek(2) == 0xbf: position += 3
            default: return byte
            }
        }
        return nil
    }

    private mutating func header() -> [String]? {
        let start = line
        advance()
        let isArray = current == UInt8(ascii: "[")
        if isArray { advance() }
        skipSpaces()
        guard let parts = key(), current == UInt8(ascii: "]") else { return nil }
        var path: [String] = []
        for (index, part) in parts.enumerated() {
            path.append(part)
            let isLast = index == parts.count - 1
            if isLast && isArray {
                let number = arrayTables[path, default: -1] + 1
                arrayTables[path] = number
                note(path, start, isNew: false)
                path.append(Self.element(number))
                note(path, start, isNew: true)
            } else if let number = arrayTables[path] {
                path.append(Self.element(number))
            } else {
                note(path, start, isNew: isLast)
            }
        }
        return path
    }

    private mutating func keyAndValue(in table: [String], depth: Int) {
        let start = line
        guard let parts = key(), current == UInt8(ascii: "=") else { return }
        advance()
        var path = table
        for (index, part) in parts.enumerated() {
            path.append(part)
            note(path, start, isNew: index == parts.count - 1)
        }
        skipSpaces()
        value(at: path, depth: depth)
    }

    private mutating func note(_ path: [String], _ at: Int, isNew: Bool) {
        guard let first = lines[path] else {
            lines[path] = at
            if lines.count > Self.keysMax {
                refuse("more than \(Self.keysMax) keys in one file; split it, or remove some")
            }
            return
        }
        if isNew { repetitions[at] = Repetition(path: path, firstLine: first) }
    }

    /// The parts of a dotted key, and the spaces after it.
    private mutating func key() -> [String]? {
        var parts: [String] = []
        while true {
            skipSpaces()
            guard let part = keyPart() else {
                // The parser takes it for granted in some places that a key begins where one should, and ends the
                // process if not.
                refuse("a key is expected here; letters, digits, - and _ would be right", isSyntax: true)
                return nil
            }
            parts.append(part)
            if parts.count > Self.keyPartsMax {
                refuse("a key of more than \(Self.keyPartsMax) parts; no key of this gateway has that many")
                return nil
            }
            skipSpaces()
            guard current == UInt8(ascii: ".") else { return parts }
            advance()
        }
    }

    private mutating func keyPart() -> String? {
        switch current {
        case UInt8(ascii: "\""): return quoted(UInt8(ascii: "\""))
        case UInt8(ascii: "'"): return quoted(UInt8(ascii: "'"))
        default:
            let start = position
            while let byte = current, SettingsUnits.isNameByte(byte) { advance() }
            return position > start ? String(decoding: bytes[start..<position], as: UTF8.self) : nil
        }
    }

    private mutating func value(at path: [String], depth: Int) {
        guard depth <= Self.nestingMax else {
            return refuse("values nested deeper than \(Self.nestingMax); no key of this gateway needs that")
        }
        switch current {
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            let mark = bytes[position]
            if peek(1) == mark && peek(2) == mark { multiline(mark) } else { _ = quoted(mark) }
        case UInt8(ascii: "["): array(at: path, depth: depth)
        case UInt8(ascii: "{"): inlineTable(at: path, depth: depth)
        default: scalar()
        }
    }

    /// A value without quotes. The parser has assertions that broken dates and numbers run into, so only what is
    /// certainly a number or a flag gets to it. No key takes a date.
    private mutating func scalar() {
        var end = position
        while end < bytes.count, !",]}#\r\n".utf8.contains(bytes[end]) { end += 1 }
        var token = bytes[position..<end]
        while let last = token.last, last == 0x20 || last == 0x09 { token.removeLast() }
        guard token.isEmpty || Self.isPlain(token) else {
            return refuse("a value is true, false, a number, or a text in quotes", isSyntax: true)
        }
        position = end
    }

    private static func isPlain(_ token: ArraySlice<UInt8>) -> Bool {
        if token.elementsEqual("true".utf8) || token.elementsEqual("false".utf8) { return true }
        var rest = token
        if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        func skipDigits() -> Bool {
            let count = rest.prefix { ($0 >= 0x30 && $0 <= 0x39) || $0 == UInt8(ascii: "_") }.count
            rest = rest.dropFirst(count)
            return count > 0
        }
        guard skipDigits() else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            guard skipDigits() else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest.removeFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
            guard skipDigits() else { return false }
        }
        return rest.isEmpty
    }

    private mutating func array(at path: [String], depth: Int) {
        advance()
        var index = 0
        while let byte = skipBlank(), byte != UInt8(ascii: "]") {
            guard byte > 0x20, byte < 0x7f, byte != UInt8(ascii: "}") else {
                // Another place where the parser would end the process.
                return refuse("a value is expected here; a text in quotes would be right", isSyntax: true)
            }
            let before = position
            let place = path + [Self.element(index)]
            note(place, line, isNew: false)
            value(at: place, depth: depth + 1)
            index += 1
            if skipBlank() == UInt8(ascii: ",") { advance() } else if position == before { return }
        }
        if current != nil { advance() }
    }

    private mutating func inlineTable(at path: [String], depth: Int) {
        advance()
        skipSpaces()
        // Such a table stands on one line. Where it does not, the parser says so, and we go on with the next line.
        while let byte = current, !"}\r\n#".utf8.contains(byte) {
            keyAndValue(in: path, depth: depth + 1)
            skipSpaces()
            guard current == UInt8(ascii: ",") else { break }
            advance()
            skipSpaces()
        }
        if current == UInt8(ascii: "}") { advance() }
    }

    /// A string on one line; none when it does not end there.
    private mutating func quoted(_ mark: UInt8) -> String? {
        advance()
        let start = position
        var hasEscapes = false
        while let byte = current, byte != mark {
            if byte == UInt8(ascii: "\n") { return nil }
            if byte == UInt8(ascii: "\\") && mark == UInt8(ascii: "\"") {
                hasEscapes = true
                checkEscape()
                advance()
            }
            if current != nil { advance() }
        }
        guard current != nil else { return nil }
        let text = bytes[start..<position]
        advance()
        return hasEscapes ? Self.unescaped(text) : String(decoding: text, as: UTF8.self)
    }

    private mutating func multiline(_ mark: UInt8) {
        position += 3
        while let byte = current {
            if byte == UInt8(ascii: "\\") && mark == UInt8(ascii: "\"") {
                checkEscape()
                advance()
            } else if byte == mark && peek(1) == mark && peek(2) == mark {
                position += 3
                // Up to two more marks belong to the text.
                for _ in 0..<2 where current == mark { position += 1 }
                return
            }
            if current != nil { advance() }
        }
    }

    /// TOMLKit hands texts over as C strings, which a zero would cut short without a word.
    private mutating func checkEscape() {
        let digits = peek(1) == UInt8(ascii: "u") ? 4 : peek(1) == UInt8(ascii: "U") ? 8 : 0
        guard digits > 0, (0..<digits).allSatisfy({ peek(2 + $0) == UInt8(ascii: "0") }) else { return }
        refuse("the escape for a zero byte is not allowed here; configuration is plain text")
    }

    /// Quoted keys with escapes are rare, and wrong escapes are the parser's to report.
    private static func unescaped(_ text: ArraySlice<UInt8>) -> String {
        var out = String.UnicodeScalarView()
        var scalars = String(decoding: text, as: UTF8.self).unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            guard scalar == "\\", let letter = scalars.popFirst() else {
                out.append(scalar)
                continue
            }
            switch letter {
            case "n": out.append("\n")
            case "t": out.append("\t")
            case "r": out.append("\r")
            case "b": out.append("\u{8}")
            case "f": out.append("\u{c}")
            case "u", "U":
                let digits = String(String.UnicodeScalarView(scalars.prefix(letter == "u" ? 4 : 8)))
                scalars = scalars.dropFirst(digits.unicodeScalars.count)
                out.append(UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init) ?? "\u{fffd}")
            default: out.append(letter)
            }
        }
        return String(out)
    }
}
