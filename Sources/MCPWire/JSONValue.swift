// Licensed under the Apache License 2.0; see LICENSE.

/// A JSON tree, for the few places where a decision needs one: handshakes, tool lists, settings of a guest. Numbers
/// keep their spelling and objects their order, so that writing it again changes nothing. Never built for what is only
/// forwarded.
public enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// As it was written.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([(key: String, value: JSONValue)])

    public static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): isSame(a, b)
        case (.string(let a), .string(let b)): isSame(a, b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)):
            a.count == b.count && zip(a, b).allSatisfy { isSame($0.key, $1.key) && $0.value == $1.value }
        default: false
        }
    }

    /// Byte for byte. `==` of `String` is Unicode equivalence: it takes the Kelvin sign for a K, which no other JSON
    /// parser does.
    private static func isSame(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count && left.utf8.elementsEqual(right.utf8)
    }

    /// Builds the tree. Throws what the scanner throws; depth and size are bounded by `limits`.
    public static func parse(_ bytes: Span<UInt8>, limits: WireLimits = WireLimits()) throws(WireError) -> JSONValue {
        var scanner = JSONScanner(limits: limits)
        let document = try scanner.scanDocument(bytes, level: .elsewhere)
        var position = document.range.lowerBound
        return build(bytes, &position)
    }

    public static func parse(_ text: String, limits: WireLimits = WireLimits()) throws(WireError) -> JSONValue {
        let bytes = Array(text.utf8)
        return try parse(bytes.span, limits: limits)
    }

    /// Reads text that the scanner has accepted; the depth was bounded there.
    private static func build(_ bytes: Span<UInt8>, _ position: inout Int) -> JSONValue {
        JSONScanner.skipSpace(bytes, &position)
        switch bytes[position] {
        case UInt8(ascii: "\""): return .string(buildString(bytes, &position))
        case UInt8(ascii: "{"):
            var members: [(key: String, value: JSONValue)] = []
            while nextItem(bytes, &position) {
                let key = buildString(bytes, &position)
                JSONScanner.skipSpace(bytes, &position)
                position += 1
                members.append((key, build(bytes, &position)))
            }
            return .object(members)
        case UInt8(ascii: "["):
            var items: [JSONValue] = []
            while nextItem(bytes, &position) { items.append(build(bytes, &position)) }
            return .array(items)
        case UInt8(ascii: "t"):
            position += 4
            return .bool(true)
        case UInt8(ascii: "f"):
            position += 5
            return .bool(false)
        case UInt8(ascii: "n"):
            position += 4
            return .null
        default:
            let start = position
            while position < bytes.count, isNumberByte(bytes[position]) { position += 1 }
            return .number(JSONText.string(bytes, inside: start..<position, isEscaped: false))
        }
    }

    /// Steps over an opening bracket or a comma to the next item; false, past the closing bracket, when there is none.
    private static func nextItem(_ bytes: Span<UInt8>, _ position: inout Int) -> Bool {
        JSONScanner.skipSpace(bytes, &position)
        if bytes[position] == UInt8(ascii: "]") || bytes[position] == UInt8(ascii: "}") {
            position += 1
            return false
        }
        position += 1
        JSONScanner.skipSpace(bytes, &position)
        if bytes[position] == UInt8(ascii: "]") || bytes[position] == UInt8(ascii: "}") {
            position += 1
            return false
        }
        return true
    }

    private static func buildString(_ bytes: Span<UInt8>, _ position: inout Int) -> String {
        let start = position + 1
        let isEscaped = JSONScanner.passString(bytes, &position)
        return JSONText.string(bytes, inside: start..<(position - 1), isEscaped: isEscaped)
    }

    private static func isNumberByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    // MARK: Reading

    /// The member of an object, or nil. Keys are compared byte for byte.
    public subscript(_ key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { Self.isSame($0.key, key) }?.value
    }

    public var stringValue: String? {
        if case .string(let text) = self { text } else { nil }
    }

    public var arrayValue: [JSONValue]? {
        if case .array(let items) = self { items } else { nil }
    }

    public var objectValue: [(key: String, value: JSONValue)]? {
        if case .object(let members) = self { members } else { nil }
    }

    public var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The number as an integer, when it is written as one.
    public var intValue: Int? {
        if case .number(let text) = self { Int(text) } else { nil }
    }

    // MARK: Writing

    /// Compact JSON text.
    public func write(to out: inout [UInt8]) {
        switch self {
        case .null: out.append(contentsOf: "null".utf8)
        case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let text): out.append(contentsOf: text.utf8)
        case .string(let text): JSONText.append(text, to: &out)
        case .array(let items):
            out.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                item.write(to: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                JSONText.append(member.key, to: &out)
                out.append(UInt8(ascii: ":"))
                member.value.write(to: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    public var text: String {
        var out: [UInt8] = []
        write(to: &out)
        return String(decoding: out, as: UTF8.self)
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number(String(value)) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(elements.map { (key: $0.0, value: $0.1) })
    }
}
