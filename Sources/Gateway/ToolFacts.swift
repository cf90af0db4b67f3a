// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import JSONSchema
internal import MCPWire
internal import Sealing

/// What the gateway has to know of a tool besides its definition, found out once for each list.
final class ToolFacts: Sendable {
    /// How `structuredContent` of this tool is shown to clients that only know objects (before 2026-07-28).
    enum OutputShape: Sendable {
        /// The tool promises nothing, or an object.
        case free, object
        /// Anything else: shown as the member `result` of an object.
        case wrapped
        /// Its schema cannot be wrapped: neither schema nor value is shown.
        case hidden
    }

    let headers: [HeaderParameter]
    /// Its wishes for headers make no sense and mean nothing to its owner: nobody is shown them.
    let hidesHeaders: Bool
    let outputShape: OutputShape
    /// Only for tools that run here: an upstream checks its own.
    let input: JSONSchema?
    /// The same for tools whose calls are stored: nobody would hear of wrong arguments for hours.
    let storedInput: JSONSchema?
    /// Tells one input schema from another; only where calls are stored.
    let inputDigest: String?
    let output: JSONSchema?

    init(
        headers: [HeaderParameter], hidesHeaders: Bool = false, outputShape: OutputShape, input: JSONSchema?,
        output: JSONSchema?, storedInput: JSONSchema? = nil, inputDigest: String? = nil
    ) {
        self.storedInput = storedInput
        self.inputDigest = inputDigest
        self.headers = headers
        self.hidesHeaders = hidesHeaders
        self.outputShape = outputShape
        self.input = input
        self.output = output
    }

    /// Throws in words why the tool cannot be offered.
    ///
    /// - Parameters:
    ///   - takesHeaders: whether its owner looks at headers; only then senseless ones make the tool useless.
    ///   - isStored: whether its calls are stored while its owner is away.
    static func of(
        _ definition: JSONValue, checksSchemas: Bool, takesHeaders: Bool = true, isStored: Bool = false
    ) throws(ToolFactsError) -> ToolFacts {
        var headers: [HeaderParameter] = []
        var hidesHeaders = false
        do throws(HeaderParameterError) {
            headers = try HeaderParameter.all(in: definition["inputSchema"] ?? [:])
        } catch {
            guard !takesHeaders else { throw ToolFactsError(words: error.words) }
            hidesHeaders = true
        }
        var (input, output): (JSONSchema?, JSONSchema?) = (nil, nil)
        if checksSchemas {
            do throws(SchemaError) {
                input = try definition["inputSchema"].map { schema throws(SchemaError) in try JSONSchema(schema) }
                output = try definition["outputSchema"].map { schema throws(SchemaError) in try JSONSchema(schema) }
            } catch {
                throw ToolFactsError(words: "its schema cannot be used: \(error.words)")
            }
        }
        return ToolFacts(
            headers: headers, hidesHeaders: hidesHeaders, outputShape: shape(definition["outputSchema"]), input: input,
            output: output,
            // A schema we cannot use is its owner's to check.
            storedInput: isStored ? definition["inputSchema"].flatMap { try? JSONSchema($0) } : nil,
            inputDigest: isStored ? digest(definition["inputSchema"] ?? [:]) : nil)
    }

    private static func digest(_ schema: JSONValue) -> String {
        var text: [UInt8] = []
        schema.canonical.write(to: &text)
        return Seal.digest(text).prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func shape(_ schema: JSONValue?) -> OutputShape {
        guard let schema else { return .free }
        if schema["type"]?.stringValue == "object" { return .object }
        return OutputWrapping.canWrap(schema) ? .wrapped : .hidden
    }
}

struct ToolFactsError: Error, Sendable {
    var words: String
}

/// Shows output of any kind to clients that only know objects: `{"result": value}`.
enum OutputWrapping {
    private static let shared = ["$schema", "$defs", "definitions"]

    /// References into shared definitions survive, because those are lifted to the top; references to the top do not.
    static func canWrap(_ schema: JSONValue) -> Bool {
        switch schema {
        case .array(let items): items.allSatisfy(canWrap)
        case .object(let members):
            members.allSatisfy { member in
                guard member.key == "$ref" || member.key == "$dynamicRef" else { return canWrap(member.value) }
                let target = member.value.stringValue ?? ""
                return target.hasPrefix("#/$defs/") || target.hasPrefix("#/definitions/")
            }
        case .null, .bool, .number, .string: true
        }
    }

    static func schema(_ schema: JSONValue) -> JSONValue {
        let members = schema.objectValue ?? []
        var outer: [(key: String, value: JSONValue)] = members.filter { shared.contains($0.key) }
        let inner = schema.isObject ? JSONValue.object(members.filter { !shared.contains($0.key) }) : schema
        outer.append(("type", "object"))
        outer.append(("properties", .object([(key: "result", value: inner)])))
        outer.append(("required", ["result"]))
        return .object(outer)
    }
}
