// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

/// Changes to a tree, and the one text for what says the same.
@Suite("JSON editing") struct JSONValueEditingTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONValue.parse(text) }

    @Test(
        "members are taken away by their bytes, and nothing else changes",
        arguments: [
            (#"{"a":1.0,"b":2,"c":3}"#, #"{"a":1.0,"c":3}"#), (#"{"b":1}"#, "{}"), (#"{"B":1}"#, #"{"B":1}"#),
            (#"{"x":{"b":1}}"#, #"{"x":{"b":1}}"#), ("[1]", "[1]"), (#""b""#, #""b""#), ("null", "null"), ("{}", "{}"),
            (#"{"\u0062":1}"#, "{}"),
        ])
    func removesOne(_ before: String, _ after: String) throws {
        #expect(try parse(before).without("b").text == after)
        #expect(try parse(before).without().text == parse(before).text)
    }

    @Test("several members are taken away at once, and look-alikes stay")
    func withoutSeveral() throws {
        let value = try parse("{\"K\":1,\"\u{212a}\":2,\"e\u{301}\":3,\"\u{e9}\":4}")
        #expect(value.without("K", "\u{e9}").text == "{\"\u{212a}\":2,\"e\u{301}\":3}")
    }

    @Test(
        "a member is set in its place, or at the end when it is new",
        arguments: [
            (#"{"a":1,"b":2,"c":3}"#, #"{"a":1,"b":[],"c":3}"#), (#"{"a":1}"#, #"{"a":1,"b":[]}"#),
            ("{}", #"{"b":[]}"#),
            ("[1]", "[1]"), ("5", "5"), ("{\"\u{212a}\":1}", "{\"\u{212a}\":1,\"b\":[]}"),
        ])
    func sets(_ before: String, _ after: String) throws {
        #expect(try parse(before).with("b", []).text == after)
    }

    @Test("a look-alike is another member")
    func withLookAlike() throws {
        #expect(try parse("{\"\u{212a}\":1}").with("K", 2).text == "{\"\u{212a}\":1,\"K\":2}")
    }

    @Test(
        "a member is changed when there is one",
        arguments: [
            (#"{"a":1,"b":2}"#, #"{"a":1,"b":[2]}"#), (#"{"b":null}"#, #"{"b":[null]}"#), (#"{"a":1}"#, #"{"a":1}"#),
            ("[]", "[]"), ("true", "true"),
        ])
    func changes(_ before: String, _ after: String) throws {
        #expect(try parse(before).mapping("b") { [$0] }.text == after)
    }

    static let canonical: [(String, String)] = [
        (#"{"b":1,"a":2}"#, #"{"a":2,"b":1}"#),
        (#"{"b":{"d":1,"c":[{"f":1,"e":2}]},"a":0}"#, #"{"a":0,"b":{"c":[{"e":2,"f":1}],"d":1}}"#),
        ("[2,1,1]", "[2,1,1]"), (#"{"n":1.0,"m":1e2}"#, #"{"m":1e2,"n":1.0}"#),
        (#"{"\u0061":"\u0062"}"#, #"{"a":"b"}"#),
        (#"{"a":1,"A":2,"":3,"aa":4}"#, #"{"":3,"A":2,"a":1,"aa":4}"#),
        ("{\"\u{ff5e}\":1,\"\u{1f600}\":2,\"\u{e9}\":3}", "{\"\u{e9}\":3,\"\u{ff5e}\":1,\"\u{1f600}\":2}"),
        (" [ { } , null ] ", "[{},null]"), (#""x""#, #""x""#),
    ]

    @Test("two texts that say the same have one canonical form, and it is its own", arguments: canonical)
    func canonicalForm(_ text: String, _ expected: String) throws {
        let value = try parse(text).canonical
        #expect(value.text == expected)
        #expect(value.canonical.text == expected)
    }

    @Test("the order of members never matters to the canonical form, the order of items does")
    func permutations() throws {
        let members = ["\"a\":1", "\"b\":[1,2]", "\"c\":{\"x\":1,\"y\":2}"]
        var forms: Set<String> = []
        for first in 0..<3 {
            for second in 0..<3 where second != first {
                let order = [first, second, 3 - first - second].map { members[$0] }
                forms.insert(try parse("{\(order.joined(separator: ","))}").canonical.text)
            }
        }
        #expect(forms.count == 1)
        #expect(try parse("[1,2]").canonical != parse("[2,1]").canonical)
        #expect(try parse(#"{"a":1}"#).canonical != parse(#"{"a":1.0}"#).canonical)
        #expect(try parse("{\"K\":1}").canonical != parse("{\"\u{212a}\":1}").canonical)
    }

    @Test("only an object is an object")
    func isObject() throws {
        #expect(try parse("{}").isObject)
        for other in ["[]", "null", "5", #""{}""#, "true"] { #expect(try !parse(other).isObject, "\(other)") }
    }
}
