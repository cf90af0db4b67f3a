// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import MCPWire

/// Arguments that a tool wants repeated in headers.
@Suite("Header parameters") struct HeaderParameterTests {
    struct Good: Sendable, CustomTestStringConvertible {
        let name: String
        let schema: String
        let found: [HeaderParameter]
        var testDescription: String { name }

        init(_ name: String, _ schema: String, _ found: [(String, [String], HeaderParameter.Kind)]) {
            self.name = name
            self.schema = schema
            self.found = found.map { HeaderParameter(name: $0.0, path: $0.1, kind: $0.2) }
        }
    }

    private static func property(_ name: String, _ schema: String) -> String {
        #"{"type":"object","properties":{"\#(name)":\#(schema)}}"#
    }

    private static let one = #"{"type":"string","x-mcp-header":"A"}"#

    static let good: [Good] = [
        Good("no schema to speak of", "{}", []),
        Good("a schema that is no object", "true", []),
        Good("properties without annotation", property("a", #"{"type":"string"}"#), []),
        Good("a text", property("a", one), [("A", ["a"], .string)]),
        Good(
            "an integer", property("a", #"{"type":"integer","x-mcp-header":"Tenant-Id"}"#),
            [("Tenant-Id", ["a"], .integer)]),
        Good("a flag", property("a", #"{"x-mcp-header":"F","type":"boolean"}"#), [("F", ["a"], .boolean)]),
        Good(
            "every character of a token", property("a", ##"{"type":"string","x-mcp-header":"!#$%&'*+-.^_`|~09azAZ"}"##),
            [("!#$%&'*+-.^_`|~09azAZ", ["a"], .string)]),
        Good(
            "an object inside an object", property("a", #"{"type":"object","properties":{"b":\#(one)}}"#),
            [("A", ["a", "b"], .string)]),
        Good(
            "several, in their order",
            #"{"properties":{"z":{"type":"string","x-mcp-header":"One"},"a":{"type":"integer","x-mcp-header":"Two"}}}"#,
            [("One", ["z"], .string), ("Two", ["a"], .integer)]),
        Good("an argument called properties", property("properties", one), [("A", ["properties"], .string)]),
        Good("an argument called default", property("default", one), [("A", ["default"], .string)]),
        Good("an argument called items", property("items", one), [("A", ["items"], .string)]),
        Good(
            "an argument called x-mcp-header", property("x-mcp-header", #"{"type":"string"}"#), []),
        Good(
            "what looks like an annotation and is a value",
            property(
                "a", #"{"type":"object","default":\#(one),"examples":[\#(one)],"enum":[\#(one)],"const":\#(one)}"#),
            []),
        Good("a key that only begins so", property("a", #"{"type":"number","x-mcp-headers":"A"}"#), []),
    ]

    @Test("annotations are found where a single argument is", arguments: good)
    func finds(_ one: Good) throws {
        #expect(try HeaderParameter.all(in: JSONValue.parse(one.schema)) == one.found)
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let name: String
        let schema: String
        let words: String
        var testDescription: String { name }

        init(_ name: String, _ schema: String, _ words: String) {
            (self.name, self.schema, self.words) = (name, schema, words)
        }
    }

    private static func annotated(_ annotation: String, type: String = #""string""#) -> String {
        property("a", #"{"type":\#(type),"x-mcp-header":\#(annotation)}"#)
    }

    static let names: [Bad] = [
        #""""#, #""a b""#, #"" a""#, "\"\u{e9}\"", #""a:b""#, #""a/b""#, #""(a)""#, #""a\r\nb""#, #""a\u0000""#,
        #""\u007f""#,
        #""a,b""#, #""\"a\"""#, "5", "null", "true", "[]", #"["A"]"#, "{}",
    ].map { Bad("the name \($0)", annotated($0), "no header name") }

    static let types: [Bad] = [
        #""number""#, #""array""#, #""object""#, #""null""#, #""String""#, #""""#, "5", #"["string"]"#,
        #"["string","null"]"#,
    ].map { Bad("the type \($0)", annotated(#""A""#, type: $0), "no header can carry") }

    static let places: [Bad] =
        [
            Bad("the root itself", one, "no single argument"),
            Bad("no type", property("a", #"{"x-mcp-header":"A"}"#), "no header can carry"),
            Bad(
                "two of one name",
                #"{"properties":{"a":\#(one),"b":{"type":"string","x-mcp-header":"A"}}}"#, "same header"),
            Bad(
                "two that differ in case only, one of them inside",
                #"{"properties":{"a":\#(one),"b":{"properties":{"c":{"type":"string","x-mcp-header":"a"}}}}}"#,
                "same header"),
        ]
        + ["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"].map {
            Bad("below \($0)", property("a", #"{"type":"object","\#($0)":\#(one)}"#), "no single argument")
        }
        + ["items", "prefixItems", "oneOf", "anyOf", "allOf"].map {
            Bad("in the list \($0)", property("a", #"{"type":"array","\#($0)":[{},\#(one)]}"#), "no single argument")
        }
        + ["$defs", "definitions", "patternProperties", "dependentSchemas"].map {
            Bad("in \($0)", #"{"type":"object","\#($0)":{"x":\#(one)}}"#, "no single argument")
        }
        + [
            Bad(
                "properties of an item",
                property("a", #"{"type":"array","items":{"type":"object","properties":{"b":\#(one)}}}"#),
                "no single argument"),
            Bad(
                "properties of a choice", #"{"type":"object","anyOf":[{"properties":{"b":\#(one)}}]}"#,
                "no single argument"),
        ]

    @Test("an annotation that cannot be followed makes the tool invalid, in words", arguments: names + types + places)
    func refuses(_ one: Bad) throws {
        let schema = try JSONValue.parse(one.schema)
        do throws(HeaderParameterError) {
            let found = try HeaderParameter.all(in: schema)
            Issue.record("taken as \(found)")
        } catch {
            #expect(error.words.contains(one.words), "\(error.words)")
        }
    }

    @Test("a schema of any depth is gone through without an end to the stack")
    func depth() throws {
        var schema = JSONValue.parseable(#"{"type":"string","x-mcp-header":"A"}"#)
        for _ in 0..<5_000 { schema = ["type": "object", "properties": ["a": schema]] }
        #expect(try HeaderParameter.all(in: schema).isEmpty)
    }

    @Test(
        "a look at the bytes tells whether there can be an annotation",
        arguments: [
            (#"{"x-mcp-header":"A"}"#, true), ("mcp-header", true), ("x-mcp-heade", false), ("", false),
            ("mcp-mcp-header", true), ("mmcp-header", true), ("mcp-heamcp-header", true), ("MCP-Header", false),
            ("mcp_header", false), (String(repeating: "mcp-heade", count: 50), false),
        ])
    func mayOccur(_ text: String, _ expected: Bool) {
        #expect(HeaderParameter.mayOccur(in: Array(text.utf8)) == expected)
        // However it lies among other bytes.
        #expect(HeaderParameter.mayOccur(in: Array("{\"m\":\(text)m".utf8)) == expected)
    }

    @Test(
        "annotations are taken out of a schema and nothing else is changed",
        arguments: [
            (property("a", one), property("a", #"{"type":"string"}"#)),
            (
                #"{"x-mcp-header":5,"anyOf":[{"x-mcp-header":"A"},{"b":1.50}],"n":null}"#,
                #"{"anyOf":[{},{"b":1.50}],"n":null}"#
            ),
            ("[1.0]", "[1.0]"), (#""x-mcp-header""#, #""x-mcp-header""#),
        ])
    func removal(_ before: String, _ after: String) throws {
        #expect(HeaderParameter.removed(from: try JSONValue.parse(before)).text == after)
    }

    static let texts: [(HeaderParameter.Kind, [String], String, String?)] = [
        (.string, ["a"], #"{"a":"x y"}"#, "x y"), (.string, ["a"], #"{"a":""}"#, ""),
        (.string, ["a"], #"{"a":5}"#, nil), (.string, ["a"], #"{"a":null}"#, nil), (.string, ["a"], "{}", nil),
        (.integer, ["a"], #"{"a":42}"#, "42"), (.integer, ["a"], #"{"a":42.0}"#, "42.0"),
        (.integer, ["a"], #"{"a":"42"}"#, nil), (.integer, ["a"], #"{"a":true}"#, nil),
        (.boolean, ["a"], #"{"a":true}"#, "true"), (.boolean, ["a"], #"{"a":false}"#, "false"),
        (.boolean, ["a"], #"{"a":"true"}"#, nil), (.boolean, ["a"], #"{"a":1}"#, nil),
        (.string, ["a", "b"], #"{"a":{"b":"in"},"b":"out"}"#, "in"), (.string, ["a", "b"], #"{"a":"b"}"#, nil),
        (.string, ["a", "b"], #"{"a":[{"b":"x"}]}"#, nil), (.string, ["K"], "{\"\u{212a}\":\"x\"}", nil),
        (.string, ["a"], "[]", nil),
    ]

    @Test("an argument is header text when it is there and of its kind", arguments: texts)
    func text(_ kind: HeaderParameter.Kind, _ path: [String], _ arguments: String, _ expected: String?) throws {
        let parameter = HeaderParameter(name: "A", path: path, kind: kind)
        #expect(parameter.text(in: try JSONValue.parse(arguments)) == expected)
    }

    @Test(
        "integers are compared as numbers, everything else byte for byte",
        arguments: [
            (HeaderParameter.Kind.integer, "42", "42", true), (.integer, "42.0", "42", true),
            (.integer, "4.2e1", "42", true),
            (.integer, "-0", "0", true), (.integer, "43", "42", false), (.integer, "", "42", false),
            (.integer, "forty", "42", false), (.integer, "nan", "42", false), (.string, "42.0", "42", false),
            (.string, "x", "x", true), (.string, "X", "x", false), (.string, "\u{e9}", "e\u{301}", false),
            (.string, "\u{212a}", "K", false), (.boolean, "true", "true", true), (.boolean, "True", "true", false),
            (.boolean, "1", "true", false),
        ])
    func agreement(_ kind: HeaderParameter.Kind, _ header: String, _ argument: String, _ agrees: Bool) {
        #expect(HeaderParameter(name: "A", path: ["a"], kind: kind).agrees(header, with: argument) == agrees)
    }

    @Test("the whole header name is in lower case")
    func headerName() {
        #expect(HeaderParameter(name: "Tenant-ID", path: ["a"], kind: .string).header == "mcp-param-tenant-id")
    }
}

extension JSONValue {
    /// For texts of the test's own, which are right.
    fileprivate static func parseable(_ text: String) -> JSONValue { (try? parse(text)) ?? .null }
}
