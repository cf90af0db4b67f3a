// Licensed under the Apache License 2.0; see LICENSE.

/// An argument that a tool wants repeated in a header `Mcp-Param-<name>` (`x-mcp-header` in its input schema, revision
/// 2026-07-28).
public struct HeaderParameter: Sendable, Equatable {
    public enum Kind: Sendable, Equatable { case string, integer, boolean }

    /// What stands behind `Mcp-Param-`, as the schema writes it.
    public var name: String
    /// The way to the argument, from the root through `properties` only.
    public var path: [String]
    public var kind: Kind

    /// The whole header name, in lower case.
    public var header: String { "mcp-param-" + name.lowercased() }

    /// Whether this text can hold an annotation at all; most schemas do not.
    public static func mayOccur(in definition: some Sequence<UInt8>) -> Bool {
        // Nine bytes that nothing else in a schema is likely to hold.
        let word = Array("mcp-header".utf8)
        var matched = 0
        for byte in definition {
            matched = byte == word[matched] ? matched + 1 : (byte == word[0] ? 1 : 0)
            if matched == word.count { return true }
        }
        return false
    }

    /// The annotations of a schema, in their order; throws in words what makes the whole tool invalid.
    public static func all(in schema: JSONValue) throws(HeaderParameterError) -> [HeaderParameter] {
        var found: [HeaderParameter] = []
        try collect(schema, path: [], isReachable: true, depth: 0, into: &found)
        var names: Set<String> = []
        for parameter in found where !names.insert(parameter.name.lowercased()).inserted {
            throw HeaderParameterError(words: "two of its arguments want the same header")
        }
        return found
    }

    /// The schema without annotations, for those who would refuse the tool because of them.
    public static func removed(from schema: JSONValue) -> JSONValue {
        switch schema {
        case .array(let items): .array(items.map(removed))
        case .object(let members):
            .object(
                members.filter { $0.key != "x-mcp-header" }.map { (key: $0.key, value: removed(from: $0)) })
        case .null, .bool, .number, .string: schema
        }
    }

    private static func removed(from member: (key: String, value: JSONValue)) -> JSONValue {
        switch member.key {
        // Values, in which the word means nothing.
        case "default", "const", "enum", "examples": return member.value
        // Names of the writer's choice, with schemas behind them.
        case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
            guard case .object(let named) = member.value else { return member.value }
            return .object(named.map { (key: $0.key, value: removed(from: $0.value)) })
        default: return removed(from: member.value)
        }
    }

    private static func collect(
        _ schema: JSONValue, path: [String], isReachable: Bool, depth: Int, into found: inout [HeaderParameter]
    ) throws(HeaderParameterError) {
        guard depth < 64 else { return }
        if case .array(let items) = schema {
            for item in items {
                try collect(item, path: path, isReachable: false, depth: depth + 1, into: &found)
            }
        }
        guard case .object(let members) = schema else { return }
        if let annotation = schema["x-mcp-header"] {
            found.append(try parameter(annotation, schema, path: path, isReachable: isReachable))
        }
        for member in members {
            if member.key == "properties", case .object(let properties) = member.value {
                for property in properties {
                    try collect(
                        property.value, path: path + [property.key], isReachable: isReachable, depth: depth + 1,
                        into: &found)
                }
            } else if !["default", "const", "enum", "examples", "x-mcp-header"].contains(member.key) {
                try collect(member.value, path: path, isReachable: false, depth: depth + 1, into: &found)
            }
        }
    }

    private static func parameter(
        _ annotation: JSONValue, _ schema: JSONValue, path: [String], isReachable: Bool
    ) throws(HeaderParameterError) -> HeaderParameter {
        guard let name = annotation.stringValue, !name.isEmpty, name.utf8.allSatisfy(isToken) else {
            throw HeaderParameterError(words: "its x-mcp-header is no header name")
        }
        guard isReachable, !path.isEmpty else {
            throw HeaderParameterError(words: "its x-mcp-header stands where no single argument is")
        }
        let kind: Kind
        switch schema["type"]?.stringValue {
        case "string": kind = .string
        case "integer": kind = .integer
        case "boolean": kind = .boolean
        default: throw HeaderParameterError(words: "its x-mcp-header is on an argument that no header can carry")
        }
        return HeaderParameter(name: name, path: path, kind: kind)
    }

    /// RFC 9110, 5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    /// The argument as header text before any encoding; nil when it is absent or null, or no such value.
    public func text(in arguments: JSONValue) -> String? {
        var value = arguments
        for key in path {
            guard let inner = value[key] else { return nil }
            value = inner
        }
        switch (kind, value) {
        case (.string, .string(let text)): return text
        case (.integer, .number(let text)): return text
        case (.boolean, .bool(let flag)): return flag ? "true" : "false"
        default: return nil
        }
    }

    /// Whether a header's decoded value says the same as the argument. Integers are compared as numbers.
    public func agrees(_ header: String, with text: String) -> Bool {
        if header.utf8.elementsEqual(text.utf8) { return true }
        guard kind == .integer, let left = Self.integer(header), let right = Self.integer(text) else { return false }
        return left == right
    }

    /// An integer that a double holds exactly, of a spelling with an exponent.
    private static func small(_ text: String) -> String? {
        guard text.utf8.allSatisfy({ "0123456789.-+eE".utf8.contains($0) }), let value = Double(text),
            value.magnitude < 9_007_199_254_740_992, value == value.rounded()
        else { return nil }
        return String(Int64(value))
    }

    /// The digits of a whole number, however many, without a fraction of zeros; nil for what is spelled otherwise.
    private static func integer(_ text: String) -> String? {
        if text.utf8.contains(where: { $0 | 0x20 == UInt8(ascii: "e") }) { return small(text) }
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let isNegative = parts[0].hasPrefix("-")
        let digits = isNegative ? parts[0].dropFirst() : parts[0]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        if parts.count == 2 {
            guard !parts[1].isEmpty, parts[1].utf8.allSatisfy({ $0 == 0x30 }) else { return nil }
        }
        let kept = digits.drop { $0 == "0" }
        return kept.isEmpty ? "0" : (isNegative ? "-" : "") + kept
    }
}

/// Why an annotation cannot be followed, in words that end a sentence about the tool.
public struct HeaderParameterError: Error, Sendable, Equatable {
    public var words: String
}
