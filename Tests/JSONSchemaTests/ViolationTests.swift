// Licensed under the Apache License 2.0; see LICENSE.

import JSONSchema
import MCPWire
import Testing

/// What a language model is told.
@Suite("Words of violations") struct ViolationTests {
    struct Telling: Sendable, CustomTestStringConvertible {
        let schema: String
        let value: String
        let told: [String]
        var testDescription: String { "\(schema), \(value)" }

        init(_ schema: String, _ value: String, _ told: String...) {
            self.schema = schema
            self.value = value
            self.told = told
        }
    }

    static let tellings: [Telling] = [
        Telling(#"{"type":"string"}"#, "5", ": expected a string, got the integer 5"),
        Telling(#"{"type":["integer","null"]}"#, "1.5", ": expected an integer or null, got the number 1.5"),
        Telling(#"{"type":"integer"}"#, "\"5\"", #": expected an integer, got the string "5""#),
        Telling(#"{"type":"object"}"#, "[1,2]", ": expected an object, got an array of 2 items"),
        Telling(#"{"type":"array"}"#, #"{"a":1}"#, ": expected an array, got an object with 1 property"),
        Telling(#"{"properties":{"a":{"minimum":1}}}"#, #"{"a":0}"#, "/a: expected at least 1, got 0"),
        Telling(#"{"items":{"items":{"maximum":1}}}"#, "[[],[0,2]]", "/1/1: expected at most 1, got 2"),
        Telling(
            #"{"exclusiveMaximum":1,"multipleOf":2}"#, "1", ": expected less than 1, got 1",
            ": expected a multiple of 2, got 1"),
        Telling(#"{"enum":["a","b"]}"#, "\"c\"", #": expected one of "a" or "b", got "c""#),
        Telling(#"{"const":"a"}"#, "1", #": expected "a", got 1"#),
        Telling(#"{"minLength":3}"#, "\"ab\"", ": expected at least 3 characters, got 2"),
        Telling(#"{"pattern":"^a$"}"#, "\"b\"", #": expected text that matches the pattern ^a$, got "b""#),
        Telling(#"{"minItems":1}"#, "[]", ": expected at least 1 item, got 0"),
        Telling(#"{"prefixItems":[true],"items":false}"#, "[1,2]", ": expected at most 1 item, got 2"),
        Telling(
            #"{"uniqueItems":true}"#, "[1,2,1.0]",
            ": expected items that differ from each other, but items 0 and 2 are the same: 1.0"),
        Telling(#"{"required":["path"]}"#, "{}", #": the required property "path" is missing"#),
        Telling(#"{"required":["a","b","c"]}"#, #"{"b":1}"#, #": the required properties "a" and "c" are missing"#),
        Telling(
            #"{"properties":{"path":true,"limit":true},"additionalProperties":false}"#, #"{"pth":1}"#,
            #"/pth: the property is not allowed here; allowed are "path" and "limit""#),
        Telling(#"{"unevaluatedProperties":false}"#, #"{"a/b~c":1}"#, "/a~1b~0c: the property is not allowed here"),
        Telling(
            #"{"propertyNames":{"pattern":"^[a-z]+$"}}"#, #"{"A":1}"#,
            #": the property name "A" is not allowed: expected text that matches the pattern ^[a-z]+$"#),
        Telling(
            #"{"dependentRequired":{"a":["b"]}}"#, #"{"a":1}"#, #": beside the property "a" also "b" must be present"#),
        Telling(#"{"not":{"type":"null"}}"#, "null", ": null is of a form that is ruled out here: it must not be null"),
        Telling(
            #"{"contains":{"type":"string"}}"#, "[1]",
            ": expected at least 1 item of a particular form: expected a string, got 0"),
        Telling(#"{"properties":{"a":false}}"#, #"{"a":1}"#, "/a: no value is allowed here"),
        Telling(
            #"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, "1", ": expected a string or null, got the integer 1"),
        Telling(#"{"anyOf":[{"const":"a"},{"const":"b"}]}"#, "1", #": expected one of "a" or "b", got 1"#),
        Telling(
            #"{"anyOf":[{"type":"string"},{"type":"integer","minimum":5}]}"#, "1",
            ": expected at least 5, got 1 (to fit alternative 2 of 2, the nearest)"),
        Telling(
            #"""
            {"oneOf":[{"properties":{"kind":{"const":"a"},"x":{"type":"string"}},
            "required":["x"]},{"properties":{"kind":{"const":"b"},"y":{"type":"string"}},
            "required":["y"]}]}
            """#,
            #"{"kind":"b","x":"1","y":2}"#,
            "/y: expected a string, got the integer 2 (to fit alternative 2 of 2, the nearest)"),
        Telling(
            #"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#, "1",
            ": the value fits more than one of the 2 alternatives of which it must fit exactly one: "
                + "number 1 and number 2"
        ),
        Telling(#"{"if":{"type":"integer"},"then":{"minimum":5}}"#, "1", ": expected at least 5, got 1"),
        Telling(#"{"allOf":[{"minimum":5},{"minimum":5}]}"#, "1", ": expected at least 5, got 1"),
    ]

    @Test("what is wrong is said with its place and with what would be right", arguments: tellings)
    func tells(_ one: Telling) throws {
        let violations = try compile(one.schema).violations(of: parse(one.value))
        #expect(violations.map { "\($0.place): \($0.words)" } == one.told)
        #expect(violations.allSatisfy { !$0.isUnchecked })
    }

    @Test("no more is said than asked for")
    func countMax() throws {
        let value = try parse("[" + repeated("\"x\"", 50) + "]")
        let text = #"{"items":{"type":"integer"}}"#
        #expect(try compile(text).violations(of: value).map(\.place) == ["/0", "/1", "/2", "/3", "/4"])
        #expect(try compile(text, limits: SchemaLimits(violationsMax: 2)).violations(of: value).count == 2)
    }

    @Test("values and names are cut, schemas' values too")
    func cuts() throws {
        let long = String(repeating: "secret", count: 5000)
        let number = String(repeating: "7", count: 1000)
        let marks = String(repeating: "\u{301}", count: 10_000)
        let cases: [(String, JSONValue)] = [
            (#"{"type":"integer"}"#, .string(long)), (#"{"enum":["a"]}"#, .string(long)),
            (#"{"pattern":"^x"}"#, .string(long)),
            (#"{"maximum":1}"#, .number(number)), (#"{"type":"string"}"#, .number(number)),
            (#"{"additionalProperties":false}"#, [long: 1]),
            (#"{"additionalProperties":{"additionalProperties":false}}"#, [long: [long: 1]]),
            (#"{"propertyNames":{"maxLength":5}}"#, [long: 1]),
            (#"{"type":"integer"}"#, .string(marks)),
            ("{\"const\":\"\(long)\"}", 1), ("{\"enum\":[\(repeated("\"\(long)\"", 20))]}", 1),
            ("{\"enum\":[\((0..<500).map(String.init).joined(separator: ","))]}", "x"),
            ("{\"required\":[\((0..<500).map { "\"name\($0)\"" }.joined(separator: ","))]}", [:]),
            ("{\"minimum\":\(number)}", 1), ("{\"const\":[\(repeated("\"\(long)\"", 10))]}", 1),
            ("{\"pattern\":\"^\(long.prefix(5000))$\"}", "x"),
        ]
        for (schema, value) in cases {
            let violations = try compile(schema).violations(of: value)
            #expect(violations.count == 1, "\(schema.prefix(60))")
            for violation in violations {
                #expect(violation.words.utf8.count < 2500, "\(violation.words)")
                #expect(violation.place.utf8.count < 600)
            }
        }
    }

    @Test("control characters are escaped in words")
    func escapes() throws {
        let violations = try compile(#"{"type":"integer"}"#).violations(of: "a\u{1b}[31m\nb")
        #expect(violations.map(\.words) == [#"expected an integer, got the string "a\u001b[31m\nb""#])
    }
}

func repeated(_ text: String, _ count: Int) -> String {
    Array(repeating: text, count: count).joined(separator: ",")
}
