// Licensed under the Apache License 2.0; see LICENSE.

import JSONSchema
import MCPWire
import Testing

/// Schemas and values that were made to hurt. Each has to end with an answer; nothing here is timed.
@Suite("Bounds") struct BoundTests {
    /// Each definition asks for the one below twice: the ways to the bottom double with each floor.
    private func tower(_ keyword: String, floors: Int, ground: String) -> String {
        let floors = (1...floors).map { floor in
            let below = ##"{"$ref":"#/$defs/d\##(floor - 1)"}"##
            return #""d\#(floor)":{"\#(keyword)":[\#(below),\#(below)]}"#
        }
        let top = ##"{"$ref":"#/$defs/d\##(floors.count)","##
        return top + #""$defs":{"d0":\#(ground),\#(floors.joined(separator: ","))}}"#
    }

    private func onlyUnchecked(_ violations: [SchemaViolation]) -> Bool {
        violations.count == 1 && violations[0].isUnchecked && violations[0].place.isEmpty
            && violations[0].words.contains("could not be checked within bounds")
    }

    @Test("towers of alternatives end with the budget", arguments: ["anyOf", "oneOf", "allOf"])
    func towers(_ keyword: String) throws {
        let wrong = try compile(tower(keyword, floors: 40, ground: #"{"type":"string"}"#))
        let violations = wrong.violations(of: 1)
        #expect(keyword == "allOf" ? violations.count == 1 : onlyUnchecked(violations))
        let right = try compile(tower(keyword, floors: 40, ground: #"{"type":"integer"}"#))
        #expect(keyword == "anyOf" ? right.violations(of: 1).isEmpty : onlyUnchecked(right.violations(of: 1)))
    }

    @Test("explaining a tower that could be checked ends as well")
    func explainsTowers() throws {
        for floors in [1, 5, 12, 16] {
            let schema = try compile(tower("anyOf", floors: floors, ground: #"{"type":"string"}"#))
            let violations = schema.violations(of: 1)
            #expect(!violations.isEmpty && violations.count <= 5)
        }
    }

    @Test("not does not turn an unfinished check into a fit")
    func notUnchecked() throws {
        let inside = tower("anyOf", floors: 40, ground: #"{"type":"string"}"#)
        let schema = try compile(##"{"not":{"$ref":"#/$defs/t/$defs/d40"},"$defs":{"t":\##(inside)}}"##.replacingRoot())
        #expect(onlyUnchecked(schema.violations(of: 1)))
    }

    @Test("a million items are not all looked at")
    func millionItems() throws {
        let items = JSONValue.array((0..<1_000_000).map { .number(String($0)) })
        #expect(onlyUnchecked(try compile(#"{"uniqueItems":true}"#).violations(of: items)))
        #expect(onlyUnchecked(try compile(#"{"items":{"type":"integer"}}"#).violations(of: items)))
        #expect(onlyUnchecked(try compile(#"{"contains":{"type":"string"}}"#).violations(of: items)))
        #expect(
            onlyUnchecked(try compile(#"{"unevaluatedItems":false,"items":{}, "contains":{}}"#).violations(of: items)))
        #expect(try compile(#"{"type":"array","items":true,"minItems":1}"#).violations(of: items).isEmpty)
        #expect(try compile(#"{"maxItems":10}"#).violations(of: items).count == 1)
        let wide = SchemaLimits(stepsMax: 20_000_000)
        #expect(try compile(#"{"uniqueItems":true}"#, limits: wide).violations(of: items).isEmpty)
    }

    @Test("long texts and numbers are charged for")
    func longTexts() throws {
        let text = JSONValue.string(String(repeating: "a", count: 2_000_000))
        #expect(onlyUnchecked(try compile(#"{"pattern":"(a*)*b"}"#).violations(of: text)))
        #expect(try compile(#"{"pattern":"^b"}"#).violations(of: text).count == 1)
        #expect(try compile(#"{"maxLength":2000000,"minLength":2000000}"#).violations(of: text).isEmpty)
        let number = JSONValue.number(String(repeating: "1", count: 2_000_000))
        #expect(onlyUnchecked(try compile(#"{"multipleOf":3}"#).violations(of: number)))
        #expect(onlyUnchecked(try compile(#"{"enum":[1,2]}"#).violations(of: number)))
        #expect(onlyUnchecked(try compile(#"{"const":[1]}"#).violations(of: .array([number]))))
    }

    @Test("hostile patterns compile or are left unchecked")
    func patterns() throws {
        let huge = try compile(#"{"pattern":"((a{1000}){1000}){1000}"}"#)
        #expect(huge.violations(of: "b").isEmpty)
        #expect(huge.uncheckedPatterns == [""])
        let many = (0..<40).map { #""p\#($0)":{"pattern":"^[a-z]{1,2000}$"}"# }.joined(separator: ",")
        let schema = try compile(#"{"properties":{\#(many)}}"#)
        #expect(schema.uncheckedPatterns.count == 8)
        #expect(schema.violations(of: ["p0": "A"]).count == 1)
        #expect(schema.violations(of: ["p39": "A"]).isEmpty)
        #expect(
            try compile(#"{"pattern":"^(a*)*b$"}"#).violations(of: .string(String(repeating: "a", count: 5000))).count
                == 1)
    }

    @Test("a pattern that is not checked refuses nothing, wherever it stands")
    func unchecked() throws {
        let look = #"{"pattern":"^(?=x)y"}"#
        for text in [
            look, #"{"not":\#(look)}"#, #"{"not":{"not":\#(look)}}"#, #"{"oneOf":[\#(look),\#(look)]}"#,
            #"{"oneOf":[\#(look),{"type":"string"}]}"#, #"{"if":\#(look),"then":false,"else":true}"#,
            #"{"anyOf":[{"type":"null"},\#(look)]}"#,
        ] {
            #expect(try compile(text).violations(of: "a") == [], "\(text)")
        }
        #expect(try compile(#"{"oneOf":[\#(look),{"type":"string"},{}]}"#).violations(of: "a").count == 1)
        #expect(try compile(#"{"contains":\#(look),"maxContains":1}"#).violations(of: ["a", "b"]) == [])
        let names =
            #"{"properties":{"a":true},"patternProperties":{"^(?!b)":{"type":"string"}},"additionalProperties":false}"#
        #expect(try compile(names).violations(of: ["c": 1]) == [])
        #expect(try compile(names).uncheckedPatterns == [""])
        let kind = #"{"properties":{"kind":\#(look)}}"#
        let condition = #"{"if":\#(kind),"then":{"properties":{"x":true}},"unevaluatedProperties":false}"#
        #expect(try compile(condition).violations(of: ["kind": "a", "x": 1]) == [])
        #expect(try compile(#"{"properties":{"q":\#(look)}}"#).uncheckedPatterns == ["/properties/q"])
    }

    @Test("nesting is bounded in schemas, values and both together")
    func nesting() throws {
        let deep = String(repeating: #"{"items":"#, count: 64) + "true" + String(repeating: "}", count: 64)
        #expect(try refusal(deep)?.contains("nested deeper than 64") == true)
        let shallow = String(repeating: #"{"items":"#, count: 63) + "false" + String(repeating: "}", count: 63)
        let list = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        #expect(try compile(shallow).violations(of: parse(list)).count == 1)

        let recursive = try compile(##"{"items":{"$ref":"#"}}"##)
        #expect(
            try recursive.violations(of: parse(String(repeating: "[", count: 200) + String(repeating: "]", count: 200)))
                == [])
        let deepest = String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
        #expect(onlyUnchecked(try recursive.violations(of: parse(deepest))))
        #expect(try refusal("{\"const\":\(deepest)}")?.contains("nested deeper than 64") == true)

        let chain = (0..<2000).map { ##""c\##($0)":{"$ref":"#/$defs/c\##($0 + 1)"}"## }.joined(separator: ",")
        let schema = try compile(##"{"$ref":"#/$defs/c0","$defs":{\##(chain),"c2000":true}}"##)
        #expect(onlyUnchecked(schema.violations(of: 1)))
    }

    @Test("a circle by dynamic references ends")
    func dynamicCircle() throws {
        // Without the way through "outer" the reference leads to a string; with it, back to where it came from.
        let inner = ##"{"$id":"inner","$dynamicRef":"#t","$defs":{"t":{"$dynamicAnchor":"t","type":"string"}}}"##
        let text = #"{"$id":"https://example.com/outer","$dynamicAnchor":"t","$ref":"inner","$defs":{"i":\#(inner)}}"#
        #expect(onlyUnchecked(try compile(text).violations(of: 1)))
    }

    @Test("a schema is bounded in size")
    func sizes() throws {
        let many = "{\"anyOf\":[\(repeated("{}", 5000))]}"
        #expect(try refusal(many)?.contains("more than 4096 subschemas") == true)
        #expect(try refusal(many, limits: SchemaLimits(subschemasMax: 6000)) == nil)
        let names = (0..<20_000).map { "\"k\($0)\":{}" }.joined(separator: ",")
        let walks = (0..<2000).map { ##"{"$ref":"#/x/k\##($0)"}"## }.joined(separator: ",")
        #expect(try refusal("{\"x\":{\(names)},\"anyOf\":[\(walks)]}")?.contains("steps to compile") == true)
        let base = String(repeating: "a/", count: 900)
        let addresses = (0..<4000).map { "{\"$id\":\"\($0)\"}" }.joined(separator: ",")
        #expect(
            try refusal("{\"$id\":\"http://x/\(base)\",\"anyOf\":[\(addresses)]}")?.contains("steps to compile") == true
        )
        #expect(
            try refusal("{\"$ref\":\"\(String(repeating: "a", count: 3000))\"}")?.contains("longer than 2000 bytes")
                == true)
    }

    @Test("wide objects are looked through once, not once for each rule")
    func wideObjects() throws {
        let wide = JSONValue.object((0..<20_000).map { (key: "k\($0)", value: .null) })
        let required = (0..<2000).map { "\"k\($0 * 10)\"" }.joined(separator: ",")
        #expect(try compile("{\"required\":[\(required)]}").violations(of: wide).isEmpty)
        let again = repeated(#"{"required":["k1"]}"#, 1000)
        #expect(onlyUnchecked(try compile("{\"allOf\":[\(again)]}").violations(of: wide)))
        let marks = repeated(#"{"anyOf":[{"unevaluatedProperties":true},true]}"#, 500)
        #expect(
            onlyUnchecked(try compile("{\"allOf\":[\(marks)],\"unevaluatedProperties\":false}").violations(of: wide)))
    }

    @Test("one schema is used from many tasks at once")
    func shared() async throws {
        let schema = try compile(#"{"type":"object","properties":{"a":{"pattern":"^x+$"}},"required":["a"]}"#)
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<50 {
                group.addTask {
                    (0..<50).allSatisfy { _ in
                        let value: JSONValue = number % 2 == 0 ? ["a": "xxx"] : ["a": "y"]
                        return schema.violations(of: value).isEmpty == (number % 2 == 0)
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }
}

extension String {
    /// References inside a document that was put into another one lead into its definitions there.
    fileprivate func replacingRoot() -> String {
        split(separator: ##""#/$defs/d"##, omittingEmptySubsequences: false).joined(separator: ##""#/$defs/t/$defs/d"##)
    }
}
