// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import JSONSchema
internal import MCPWire

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
    let output: JSONSchema?

    init(
        headers: [HeaderParameter], hidesHeaders: Bool = false, outputShape: OutputShape, input: JSONSchema?,
        output: JSONSchema?
    ) {
        self.headers = headers
        self.hidesHeaders = hidesHeaders
        self.outputShape = outputShape
        self.input = input
        self.output = output
    }

    /// Throws in words why the tool cannot be offered.
    ///
    /// - Parameter takesHeaders: whether its owner looks at headers; only then senseless ones make the tool useless.
    static func of(
        _ definition: JSONValue, checksSchemas: Bool, takesHeaders: Bool = true
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
            output: output)
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
