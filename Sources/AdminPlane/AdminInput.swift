// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import MCPWire
internal import NIOCore

/// The JSON object of an order, whatever its Content-Type says: `curl -d` calls everything a form. Members that are not
/// known are refused by name, because a word that is silently ignored is an order that was not carried out.
struct AdminBody: Sendable {
    private let members: [(key: String, value: JSONValue)]

    /// Nothing was said.
    static let none = AdminBody(members: [])

    private init(members: [(key: String, value: JSONValue)]) { self.members = members }

    init(_ body: ByteBuffer) throws(AdminRefusal) {
        guard body.readableBytes <= AdminGate.bodyBytesMax else {
            throw AdminRefusal(
                .contentTooLarge, "body_too_large",
                "The body is larger than the \(AdminGate.bodyBytesMax) bytes an order may take.")
        }
        let bytes = Array(body.readableBytesView)
        guard !bytes.isEmpty else {
            self = .none
            return
        }
        let value: JSONValue
        do {
            value = try JSONValue.parse(bytes.span, limits: WireLimits(bytesMax: AdminGate.bodyBytesMax, depthMax: 8))
        } catch {
            throw .bad("The body is not JSON: \(error.text). Send a JSON object, or nothing.")
        }
        guard let members = value.objectValue else {
            throw .bad("The body is \(value.kindWords); send a JSON object, or nothing.")
        }
        self.members = members
    }

    /// Refuses every member but these.
    func allow(_ fields: [AdminField]) throws(AdminRefusal) {
        let names = fields.map(\.name)
        var seen: Set<String> = []
        for (key, _) in members {
            guard names.contains(key) else {
                let known =
                    names.isEmpty ? "nothing is to be said here" : "known here: \(names.joined(separator: ", "))"
                throw .bad(
                    "The body has a member that is not known, \(JSONText.quoted(String(key.prefix(60)))); \(known).")
            }
            guard seen.insert(key).inserted else { throw .bad("The body has the member \"\(key)\" more than once.") }
        }
        for field in fields where field.isRequired && value(field.name) == nil {
            throw .bad("The body lacks \"\(field.name)\": \(field.about)")
        }
    }

    /// nil when it is left out, or null.
    func text(_ name: String) throws(AdminRefusal) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.stringValue, !text.isEmpty else {
            throw .bad("\"\(name)\" is \(value.kindWords); a text would be right.")
        }
        return text
    }

    func flag(_ name: String) throws(AdminRefusal) -> Bool? {
        guard let value = value(name) else { return nil }
        guard case .bool(let flag) = value else {
            throw .bad("\"\(name)\" is \(value.kindWords); true or false would be right.")
        }
        return flag
    }

    func number(_ name: String, _ range: ClosedRange<Double>) throws(AdminRefusal) -> Double? {
        guard let value = value(name) else { return nil }
        guard case .number(let text) = value, let number = Double(text), range.contains(number) else {
            let least = RateLimit.text(range.lowerBound)
            throw .bad(
                "\"\(name)\" is \(value.kindWords); a number from \(least) to \(RateLimit.text(range.upperBound)) "
                    + "would be right.")
        }
        return number
    }

    func texts(_ name: String) throws(AdminRefusal) -> [String]? {
        guard let value = value(name) else { return nil }
        let texts = value.arrayValue?.compactMap(\.stringValue)
        guard let texts, texts.count == value.arrayValue?.count else {
            throw .bad("\"\(name)\" is \(value.kindWords); a list of texts would be right.")
        }
        return texts
    }

    /// A text such as `30m`, `24h` or `7d`.
    func duration(_ name: String) throws(AdminRefusal) -> Duration? {
        guard let text = try text(name) else { return nil }
        guard let duration = Self.duration(text) else {
            throw .bad("\"\(name)\" cannot be read; a time such as \"30m\", \"24h\" or \"7d\" would be right.")
        }
        return duration
    }

    /// More than nothing: what holds for no time is no order.
    func lasting(_ name: String) throws(AdminRefusal) -> Duration? {
        guard let duration = try duration(name) else { return nil }
        guard duration > .zero else {
            throw .bad("\"\(name)\" is no time at all; one such as \"30m\" would be right, or leave it out.")
        }
        return duration
    }

    static func duration(_ text: String) -> Duration? {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        let digits = text.dropLast()
        guard let unit = text.last.flatMap({ units[$0] }), (1...6).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits)
        else { return nil }
        return .seconds(number * unit)
    }

    private func value(_ name: String) -> JSONValue? {
        members.first { $0.key == name && $0.value != .null }?.value
    }
}

/// What stands behind the question mark. Names that are not known are refused, as in a body.
struct AdminQuery: Sendable {
    private let items: [(name: String, value: String)]

    init(_ items: [(name: Substring, value: Substring)]) {
        self.items = items.map { (Self.decoded($0.name), Self.decoded($0.value)) }
    }

    func allow(_ fields: [AdminField]) throws(AdminRefusal) {
        let names = fields.map(\.name)
        for (name, _) in items where !names.contains(name) {
            let known = names.isEmpty ? "none is known here" : "known here: \(names.joined(separator: ", "))"
            throw .bad(
                "The query has a parameter that is not known, \(JSONText.quoted(String(name.prefix(60)))); \(known).")
        }
    }

    /// Every value that is not empty.
    func texts(_ name: String) -> [String] {
        items.filter { $0.name == name }.flatMap { $0.value.split(separator: ",").map(String.init) }
    }

    func text(_ name: String) -> String? { items.last { $0.name == name && !$0.value.isEmpty }?.value }

    func number(_ name: String, _ range: ClosedRange<Int64>) throws(AdminRefusal) -> Int64? {
        guard let text = items.last(where: { $0.name == name })?.value else { return nil }
        guard let number = Int64(text), range.contains(number) else {
            throw .bad(
                "\"\(name)\" cannot be read; a number from \(range.lowerBound) to \(range.upperBound) would be right.")
        }
        return number
    }

    /// Without `%2C` and its like; what is no such thing stays as it is.
    static func decoded(_ text: Substring, plusIsSpace: Bool = true) -> String {
        var out: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                out.append(value)
                rest = rest.dropFirst(2)
            } else {
                out.append(byte == UInt8(ascii: "+") && plusIsSpace ? 0x20 : byte)
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension JSONValue {
    /// What it is, as part of a sentence.
    fileprivate var kindWords: String {
        switch self {
        case .null: "null"
        case .bool: "true or false"
        case .number: "a number"
        case .string(let text): text.isEmpty ? "an empty text" : "a text"
        case .array: "a list"
        case .object: "an object"
        }
    }
}
