// Licensed under the Apache License 2.0; see LICENSE.

import JSONSchema
import Testing

/// Keywords about the parts of arrays and objects.
@Suite("Arrays and objects") struct StructureTests {
    static let arrays: [Case] = [
        Case("items", #"{"items":{"type":"integer"}}"#, fits: ["[]", "[1,2]", "{}"], misfits: ["[1,\"2\"]"]),
        Case("items of nothing", #"{"items":false}"#, fits: ["[]"], misfits: ["[null]"]),
        Case(
            "prefixItems", #"{"prefixItems":[{"type":"integer"},{"type":"string"}]}"#,
            fits: ["[]", "[1]", "[1,\"a\"]", "[1,\"a\",null]"], misfits: ["[\"a\"]", "[1,2]"]),
        Case(
            "prefixItems and items", #"{"prefixItems":[{"type":"integer"}],"items":{"type":"string"}}"#,
            fits: ["[1,\"a\",\"b\"]"], misfits: ["[1,2]", "[\"a\"]"]),
        Case("a tuple", #"{"prefixItems":[true,true],"items":false}"#, fits: ["[1,2]", "[1]"], misfits: ["[1,2,3]"]),
        Case(
            "minItems and maxItems", #"{"minItems":1,"maxItems":2}"#, fits: ["[1]", "\"\""],
            misfits: ["[]", "[1,2,3]"]),
        Case("contains", #"{"contains":{"minimum":5}}"#, fits: ["[1,5]", "0"], misfits: ["[]", "[1,2]"]),
        Case(
            "minContains and maxContains", #"{"contains":{"const":1},"minContains":2,"maxContains":3}"#,
            fits: ["[1,1]", "[1,2,1,1]"], misfits: ["[1,2]", "[1,1,1,1]"]),
        Case("minContains of zero", #"{"contains":{"const":1},"minContains":0}"#, fits: ["[]", "[2]"]),
        Case("bounds without contains", #"{"minContains":2,"maxContains":0}"#, fits: ["[]", "[1]"]),
        Case(
            "uniqueItems", #"{"uniqueItems":true}"#,
            fits: [
                "[]", "[1,true,\"1\",0,false,null]", "[[1],[2]]", #"[{"a":1},{"a":2},{"b":1}]"#,
                #"[{"a":false},{"a":0}]"#,
            ],
            misfits: ["[1,1.0]", "[\"a\",\"a\"]", #"[{"a":1,"b":2},{"b":2,"a":1}]"#, "[[1,[2]],3,[1.0,[2e0]]]"]),
        Case("uniqueItems that is false", #"{"uniqueItems":false}"#, fits: ["[1,1]"]),
        Case(
            "unevaluatedItems", #"{"allOf":[{"prefixItems":[true]}],"unevaluatedItems":{"type":"string"}}"#,
            fits: ["[1]", "[1,\"a\"]"], misfits: ["[1,2]"]),
        Case(
            "unevaluatedItems after contains", #"{"contains":{"type":"integer"},"unevaluatedItems":false}"#,
            fits: ["[1,2]"], misfits: ["[1,\"a\"]"]),
    ]

    @Test("arrays are as their schema says", arguments: arrays)
    func array(_ one: Case) throws { try one.check() }

    static let objects: [Case] = [
        Case(
            "properties", #"{"properties":{"a":{"type":"integer"},"b":false}}"#,
            fits: ["{}", #"{"a":1}"#, #"{"c":"x"}"#, "[]"], misfits: [#"{"a":"x"}"#, #"{"b":1}"#]),
        Case("required", #"{"required":["a","b"]}"#, fits: [#"{"b":1,"a":null}"#, "1"], misfits: ["{}", #"{"a":1}"#]),
        Case(
            "additionalProperties",
            #"{"properties":{"a":true},"patternProperties":{"^x":true},"additionalProperties":false}"#,
            fits: [#"{"a":1,"x1":2}"#], misfits: [#"{"b":1}"#, #"{"ax":1}"#]),
        Case(
            "additionalProperties with a schema",
            #"{"properties":{"a":true},"additionalProperties":{"type":"integer"}}"#,
            fits: [#"{"a":"x","b":1}"#], misfits: [#"{"b":"x"}"#]),
        Case(
            "patternProperties", #"{"patternProperties":{"^a":{"type":"integer"},"b$":{"minimum":5}}}"#,
            fits: [#"{"ab":5,"a":1,"c":null}"#], misfits: [#"{"ab":1}"#, #"{"a":"x"}"#]),
        Case(
            "propertyNames", #"{"propertyNames":{"maxLength":2}}"#, fits: [#"{"ab":1}"#, "{}"], misfits: [#"{"abc":1}"#]
        ),
        Case(
            "minProperties and maxProperties", #"{"minProperties":1,"maxProperties":2}"#, fits: [#"{"a":1}"#],
            misfits: ["{}", #"{"a":1,"b":2,"c":3}"#]),
        Case(
            "dependentRequired", #"{"dependentRequired":{"card":["address"]}}"#,
            fits: ["{}", #"{"address":1}"#, #"{"card":1,"address":2}"#], misfits: [#"{"card":1}"#]),
        Case(
            "dependentSchemas", #"{"dependentSchemas":{"a":{"properties":{"b":{"type":"integer"}}}}}"#,
            fits: [#"{"b":"x"}"#, #"{"a":1,"b":2}"#], misfits: [#"{"a":1,"b":"x"}"#]),
        Case(
            "names that only look alike", "{\"properties\":{\"\u{e9}\":false},\"required\":[\"e\u{301}\"]}",
            fits: ["{\"e\u{301}\":1}"], misfits: ["{\"\u{e9}\":1}", "{\"\u{e9}\":1,\"e\u{301}\":1}"]),
        Case(
            "names of JavaScript", #"{"properties":{"__proto__":{"type":"number"},"constructor":{"type":"number"}}}"#,
            fits: ["{}", #"{"__proto__":1}"#], misfits: [#"{"__proto__":"x"}"#, #"{"constructor":{}}"#]),
        Case(
            "unevaluatedProperties",
            #"{"allOf":[{"properties":{"a":true}}],"properties":{"b":true},"unevaluatedProperties":false}"#,
            fits: [#"{"a":1,"b":2}"#], misfits: [#"{"c":1}"#]),
        Case(
            "unevaluatedProperties and what an alternative has seen",
            #"""
            {"anyOf":[{"properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":true}}],
            "unevaluatedProperties":false}
            """#,
            fits: [#"{"a":1}"#, #"{"b":1}"#, #"{"a":1,"b":1}"#], misfits: [#"{"a":2}"#, #"{"a":1,"c":1}"#]),
        Case(
            "unevaluatedProperties and if",
            #"""
            {"if":{"properties":{"a":{"const":1}},"required":["a"]},"then":{"properties":{"b":true}},
            "unevaluatedProperties":false}
            """#,
            fits: [#"{"a":1,"b":1}"#, "{}"], misfits: [#"{"a":2}"#, #"{"b":1}"#]),
        Case(
            "not shows nothing to unevaluatedProperties",
            #"{"not":{"not":{"properties":{"a":true}}},"unevaluatedProperties":false}"#,
            fits: ["{}"], misfits: [#"{"a":1}"#]),
    ]

    @Test("objects are as their schema says", arguments: objects)
    func object(_ one: Case) throws { try one.check() }

    @Test("many properties are found as surely as a few")
    func manyProperties() throws {
        let names = (0..<100).map { "\"p\($0)\"" }
        let properties = names.map { "\($0):{\"type\":\"integer\"}" }.joined(separator: ",")
        let required = names.joined(separator: ",")
        let text = #"{"properties":{\#(properties)},"required":[\#(required)],"additionalProperties":false}"#
        let schema = try compile(text)
        let right = names.map { "\($0):1" }
        #expect(try schema.violations(of: parse("{\(right.joined(separator: ","))}")).isEmpty)
        #expect(try schema.violations(of: parse("{\(right.dropFirst().joined(separator: ","))}")).count == 1)
        #expect(try schema.violations(of: parse("{\((right + ["\"p\":1"]).joined(separator: ","))}")).count == 1)
        let wrong = right.dropLast() + ["\"p99\":null"]
        #expect(try schema.violations(of: parse("{\(wrong.joined(separator: ","))}")).map(\.place) == ["/p99"])
    }

    static let combined: [Case] = [
        Case("allOf", #"{"allOf":[{"minimum":1},{"maximum":3}]}"#, fits: ["2", "\"x\""], misfits: ["0", "4"]),
        Case("anyOf", #"{"anyOf":[{"type":"string"},{"minimum":5}]}"#, fits: ["\"a\"", "5", "null"], misfits: ["4"]),
        Case("oneOf", #"{"oneOf":[{"multipleOf":2},{"multipleOf":3}]}"#, fits: ["4", "9"], misfits: ["6", "5"]),
        Case("not", #"{"not":{"type":["string","null"]}}"#, fits: ["1"], misfits: ["null", "\"\""]),
        Case("not everything", #"{"not":{}}"#, misfits: ["1"]),
        Case(
            "if, then, else", #"{"if":{"type":"integer"},"then":{"minimum":10},"else":{"type":"string"}}"#,
            fits: ["10", "\"x\""], misfits: ["9", "null"]),
        Case("then without if", #"{"then":false,"else":false}"#, fits: ["1"]),
        Case("if alone", #"{"if":false}"#, fits: ["1"]),
        Case(
            "all at once", #"{"allOf":[{"multipleOf":2}],"anyOf":[{"multipleOf":3}],"oneOf":[{"multipleOf":5}]}"#,
            fits: ["30", "0"], misfits: ["15", "6", "10"]),
    ]

    @Test("schemas are combined", arguments: combined)
    func combination(_ one: Case) throws { try one.check() }
}
