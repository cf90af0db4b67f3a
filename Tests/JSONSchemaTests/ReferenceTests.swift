// Licensed under the Apache License 2.0; see LICENSE.

import Testing

/// References within a document, dialects, and schemas that cannot be used.
@Suite("References and dialects") struct ReferenceTests {
    static let references: [Case] = [
        Case(
            "to a definition", ##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"integer"}}}"##, fits: ["1"],
            misfits: ["\"\""]),
        Case(
            "with neighbours", ##"{"$ref":"#/$defs/a","minimum":3,"$defs":{"a":{"type":"integer"}}}"##, fits: ["3"],
            misfits: ["2", "3.5"]),
        Case(
            "a list, by itself", ##"{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"integer"}}}"##,
            fits: [#"{"v":1,"next":{"v":2,"next":{}}}"#], misfits: [#"{"next":{"next":{"v":"x"}}}"#, #"{"next":1}"#]),
        Case(
            "a tree, by definitions that need each other",
            ##"""
            {"$ref":"#/$defs/node","$defs":{"node":{"properties":{"kids":{"$ref":"#/$defs/nodes"}},
            "required":["kids"]},"nodes":{"items":{"$ref":"#/$defs/node"}}}}
            """##,
            fits: [#"{"kids":[{"kids":[]},{"kids":[{"kids":[]}]}]}"#], misfits: [#"{"kids":[{"kids":[{}]}]}"#]),
        Case(
            "to an anchor", ##"{"$ref":"#int","$defs":{"x":{"$anchor":"int","type":"integer"}}}"##, fits: ["1"],
            misfits: ["\"\""]),
        Case(
            "to an address inside",
            ##"""
            {"$id":"https://example.com/a/root.json","$ref":"b/leaf.json#/$defs/n",
            "$defs":{"x":{"$id":"b/leaf.json","$defs":{"n":{"type":"integer"}}}}}
            """##,
            fits: ["1"], misfits: ["\"\""]),
        Case(
            "from an address inside, seen from there",
            ##"""
            {"$id":"https://example.com/a/root.json","items":{"$id":"sub/x",
            "properties":{"p":{"$ref":"../other"}}},"$defs":{"o":{"$id":"/a/other",
            "const":5}}}
            """##,
            fits: [#"[{"p":5}]"#], misfits: [#"[{"p":6}]"#]),
        Case(
            "to a URN",
            ##"""
            {"$id":"urn:example:root","properties":{"a":{"$ref":"urn:example:root#/$defs/n"}},
            "$defs":{"n":{"const":1}}}
            """##,
            fits: [#"{"a":1}"#], misfits: [#"{"a":2}"#]),
        Case(
            "with escapes",
            ##"""
            {"allOf":[{"$ref":"#/$defs/a~1b"},{"$ref":"#/$defs/c%25d"},{"$ref":"#/$defs/e~0f"}],
            "$defs":{"a/b":{"minimum":1},"c%d":{"maximum":5},"e~f":{"not":{"const":3}}}}
            """##,
            fits: ["1", "5"], misfits: ["0", "6", "3"]),
        Case(
            "to a place that is no keyword",
            ##"{"$ref":"#/components/schemas/0","components":{"schemas":[{"type":"integer"}]}}"##,
            fits: ["1"], misfits: ["\"\""]),
        Case(
            "an $id inside of const is no address",
            ##"""
            {"$id":"https://example.com/r","$ref":"x","$defs":{"a":{"const":{"$id":"x"}},
            "b":{"$id":"x","type":"integer"}}}
            """##,
            fits: ["1"], misfits: ["\"\""]),
        Case(
            "a property that is called $ref", ##"{"properties":{"$ref":{"type":"string"}}}"##,
            fits: [##"{"$ref":"a"}"##],
            misfits: [##"{"$ref":1}"##]),
        Case(
            "dynamic: the outermost anchor decides",
            ##"""
            {"$id":"https://example.com/strict","$dynamicAnchor":"node","$ref":"tree",
            "unevaluatedProperties":false,"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node",
            "properties":{"kids":{"items":{"$dynamicRef":"#node"}}}}}}
            """##,
            fits: [#"{"kids":[{"kids":[]}]}"#], misfits: [#"{"kids":[{"kid":[]}]}"#]),
        Case(
            "dynamic: like any other where nothing is dynamic",
            ##"{"properties":{"a":{"$dynamicRef":"#n"}},"$defs":{"x":{"$anchor":"n","type":"integer"}}}"##,
            fits: [#"{"a":1}"#], misfits: [#"{"a":"x"}"#]),
    ]

    @Test("a reference leads to what it names", arguments: references)
    func reference(_ one: Case) throws { try one.check() }

    static let dialects: [Case] = [
        Case(
            "draft-07: a reference stands alone",
            ##"""
            {\##(draft7),"properties":{"a":{"$ref":"#/definitions/n","minimum":5}},
            "definitions":{"n":{"type":"integer"}}}
            """##,
            fits: [#"{"a":1}"#], misfits: [#"{"a":"x"}"#]),
        Case(
            "draft-07: definitions beside the first reference",
            ##"{\##(draft7),"$ref":"#/definitions/n","definitions":{"n":{"type":"integer"}}}"##, fits: ["1"],
            misfits: ["\"\""]),
        Case(
            "draft-07: an anchor by $id",
            ##"{\##(draft7),"items":{"$ref":"#n"},"definitions":{"x":{"$id":"#n","type":"integer"}}}"##, fits: ["[1]"],
            misfits: ["[\"\"]"]),
        Case(
            "draft-07: items and additionalItems",
            #"{\#(draft7),"items":[{"type":"integer"}],"additionalItems":{"type":"string"}}"#, fits: ["[1,\"a\"]"],
            misfits: ["[\"a\"]", "[1,2]"]),
        Case(
            "draft-07: additionalItems without a list", #"{\#(draft7),"items":{},"additionalItems":false}"#,
            fits: ["[1,2]"]),
        Case(
            "draft-07: dependencies", #"{\#(draft7),"dependencies":{"a":["b"],"c":{"required":["d"]}}}"#,
            fits: [#"{"a":1,"b":2}"#, #"{"c":1,"d":1}"#], misfits: [#"{"a":1}"#, #"{"c":1}"#]),
        Case(
            "draft-07: later keywords say nothing",
            #"""
            {\#(draft7),"prefixItems":[false],"dependentRequired":{"a":["b"]},
            "unevaluatedProperties":false,"minContains":5,"contains":true}
            """#,
            fits: [#"{"a":1}"#, "[1]"]),
        Case(
            "2019-09: items and neighbours of a reference",
            ##"""
            {\##(draft2019),"$ref":"#/$defs/l","maxItems":2,"$defs":{"l":{"items":[{"type":"integer"}],
            "additionalItems":false}}}
            """##,
            fits: ["[1]"], misfits: ["[1,2]", "[\"a\"]"]),
        Case(
            "2019-09: contains evaluates nothing", #"{\#(draft2019),"contains":{"const":1},"unevaluatedItems":false}"#,
            fits: ["1"], misfits: ["[1]"]),
        Case(
            "2019-09: $recursiveRef",
            ##"""
            {\##(draft2019),"$id":"https://example.com/s","$recursiveAnchor":true,
            "$ref":"t","unevaluatedProperties":false,"$defs":{"t":{"$id":"t",
            "$recursiveAnchor":true,"properties":{"k":{"$recursiveRef":"#"}}}}}
            """##,
            fits: [#"{"k":{"k":{}}}"#], misfits: [#"{"k":{"x":1}}"#]),
        Case(
            "2020-12: earlier keywords say nothing",
            #"{\#(draft2020),"dependencies":{"a":["b"]},"additionalItems":false,"items":true}"#,
            fits: [#"{"a":1}"#, "[1]"]),
        Case(
            "no dialect named, and items of the old form", #"{"items":[{"type":"integer"}],"additionalItems":false}"#,
            fits: ["[1]"], misfits: ["[\"a\"]", "[1,2]"]),
        Case(
            "a part of another dialect",
            ##"""
            {"allOf":[{"$id":"https://example.com/old",\##(draft7),"items":[{"type":"integer"}]}],
            "prefixItems":[{"minimum":1}]}
            """##,
            fits: ["[1]"], misfits: ["[\"a\"]", "[0]"]),
    ]

    @Test("keywords mean what they mean in the dialect of the schema", arguments: dialects)
    func dialect(_ one: Case) throws { try one.check() }

    /// A schema and a word of the refusal.
    static let refused: [(String, String)] = [
        ("5", "a schema is an object or true or false, not the integer 5"),
        (#"{"items":null}"#, #"at "/items": a schema is an object"#),
        (#"{"$schema":"http://json-schema.org/draft-04/schema#"}"#, "draft-04"),
        (#"{"$schema":"https://example.com/mine"}"#, "known are JSON Schema 2020-12, 2019-09 and draft-07"),
        (#"{"$schema":7}"#, "$schema must be a string"),
        (#"{"$ref":"https://example.com/other.json"}"#, "never fetched"),
        (#"{"properties":{"a":{"$ref":"other.json#/x"}}}"#, #"at "/properties/a": the reference "other.json#/x""#),
        (#"{"$ref":"file:///etc/passwd"}"#, "file:///etc/passwd"),
        (#"{"$ref":"https://json-schema.org/draft/2020-12/schema"}"#, "never fetched"),
        (##"{"$ref":"#/$defs/missing"}"##, "leads to nothing"),
        (##"{"$ref":"#nowhere"}"##, "leads to nothing"),
        (##"{"$ref":"#/x/01","x":[true,true]}"##, "leads to nothing"),
        (##"{"$ref":"#/x","x":5}"##, "a schema is an object"),
        (##"{"$ref":"#"}"##, "without end"),
        (##"{"anyOf":[{"type":"string"},{"$ref":"#"}]}"##, "without end"),
        (
            ##"{"$ref":"#/$defs/a","$defs":{"a":{"not":{"$ref":"#/$defs/b"}},"b":{"if":{"$ref":"#/$defs/a"}}}}"##,
            "without end"
        ),
        (##"{"dependentSchemas":{"a":{"$ref":"#"}}}"##, "without end"),
        (#"{"$defs":{"a":{"$id":"x","type":"string"},"b":{"$id":"x","type":"null"}}}"#, "the same $id"),
        (#"{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}"#, "the same anchor"),
        (#"{"type":"text"}"#, "one of the seven types"),
        (#"{"type":{"a":1}}"#, "one of the seven types"),
        (#"{"required":true}"#, "required must be an array of property names, not true"),
        (#"{"required":[1]}"#, "required must be"),
        (#"{"properties":[]}"#, "properties must be an object of schemas"),
        (#"{"enum":"a"}"#, "enum must be an array"),
        (#"{"minLength":-1}"#, "minLength must be an integer of at least 0"),
        (#"{"maxItems":1.5}"#, "maxItems must be"),
        (#"{"minimum":"1"}"#, "minimum must be a number"),
        (#"{"exclusiveMinimum":true}"#, "exclusiveMinimum must be a number, not true"),
        (#"{"multipleOf":0}"#, "multipleOf must be a number above 0"),
        (#"{"multipleOf":-2}"#, "multipleOf must be a number above 0"),
        (#"{"anyOf":{}}"#, "anyOf must be an array of schemas"),
        (#"{"uniqueItems":1}"#, "uniqueItems must be true or false"),
        (#"{"pattern":"("}"#, "malformed"),
        (#"{"patternProperties":{"[":true}}"#, "malformed"),
        (#"{"dependentRequired":{"a":1}}"#, "dependentRequired must be"),
    ]

    @Test("a schema that cannot be used is refused in words", arguments: refused)
    func refuses(_ schema: String, _ words: String) throws {
        let reason = try #require(try refusal(schema))
        #expect(reason.contains(words), "\(reason)")
        #expect(reason.utf8.count < 500)
    }

    @Test("what a refusal quotes of the schema is short and escaped")
    func refusesShortly() throws {
        let long = String(repeating: "x", count: 1500) + "\\n\\u001b[31m"
        for schema in [
            "{\"$ref\":\"\(long)\"}", "{\"$schema\":\"\(long)\"}", "{\"type\":\"\(long)\"}",
            "{\"pattern\":\"\(long)(\"}",
            "{\"properties\":{\"\(long)\":5}}", "{\"minLength\":\"\\u001b\(long)\"}",
        ] {
            let reason = try #require(try refusal(schema))
            #expect(reason.utf8.count < 600)
            #expect(reason.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f })
        }
    }
}
