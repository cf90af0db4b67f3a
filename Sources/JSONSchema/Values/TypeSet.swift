// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// The types a schema allows.
struct TypeSet: OptionSet, Sendable {
    let rawValue: UInt8

    static let null = TypeSet(rawValue: 1)
    static let boolean = TypeSet(rawValue: 2)
    static let integer = TypeSet(rawValue: 4)
    static let number = TypeSet(rawValue: 8)
    static let string = TypeSet(rawValue: 16)
    static let array = TypeSet(rawValue: 32)
    static let object = TypeSet(rawValue: 64)

    /// Each type with the word schemas have for it and the one people have.
    static let named: [(type: TypeSet, keyword: String, words: String)] = [
        (.string, "string", "a string"), (.integer, "integer", "an integer"), (.number, "number", "a number"),
        (.boolean, "boolean", "true or false"), (.object, "object", "an object"), (.array, "array", "an array"),
        (.null, "null", "null"),
    ]

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The type that a schema calls so.
    init?(keyword: String) {
        guard let found = Self.named.first(where: { Name.isSame($0.keyword, keyword) }) else { return nil }
        self = found.type
    }

    /// Whether the value is of one of the types. An integer is a number without fraction, however it is written.
    func accepts(_ value: JSONValue) -> Bool {
        switch value {
        case .null: contains(.null)
        case .bool: contains(.boolean)
        case .string: contains(.string)
        case .array: contains(.array)
        case .object: contains(.object)
        case .number(let text):
            contains(.number) || (contains(.integer) && Self.isInteger(text))
        }
    }

    static func isInteger(_ text: String) -> Bool {
        let isPlain = text.utf8.allSatisfy { $0 == UInt8(ascii: "-") || (0x30...0x39).contains($0) }
        return isPlain || Decimal(text).isInteger
    }

    /// "a string, an integer or null".
    var words: String {
        Words.list(Self.named.filter { contains($0.type) }.map(\.words), last: "or")
    }
}
