// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@Suite struct JSONValueTests {
    static let kept = [
        "null", "true", "false", "0", "-0", "1.50", "1E+2", "123456789012345678901234567890", "\"\"", "\"a\\\"b\\\\c\"",
        "[]", "{}",
        "[1,[2,[3]],{}]", "{\"b\":1,\"a\":2}", "{\"z\":[{\"y\":null}],\"\":\"\"}", "\"\\n\\r\\t\"",
        "\"\\u0000\\u001f\\u007f\"",
        "\"\u{e9}\u{20ac}\u{1f600}\"", "{\"\\\"\":\"/\"}",
    ]

    @Test("compact text comes back as it was: spelling of numbers, order of members", arguments: kept)
    func keepsText(_ text: String) throws {
        #expect(try JSONValue.parse(text).text == text)
    }

    @Test("white space and the spelling of escapes are all that writing changes")
    func normalises() throws {
        #expect(
            try JSONValue.parse(" { \"a\" : [ 1 , 2 ] , \"b\" : { } , \"c\" : [ ] } ").text
                == #"{"a":[1,2],"b":{},"c":[]}"#)
        #expect(try JSONValue.parse(#""\u0061\/\b\f\u00e9\ud83d\ude00""#).text == "\"a/\\u0008\\u000c\u{e9}\u{1f600}\"")
    }

    @Test("values are read by what they are")
    func reads() throws {
        let value = try JSONValue.parse(
            #"{"s":"x","n":42,"f":1.0,"big":9223372036854775808,"b":true,"l":[1],"z":null}"#)
        #expect(value["s"]?.stringValue == "x")
        #expect(value["n"]?.intValue == 42)
        #expect(value["f"]?.intValue == nil)
        #expect(value["big"]?.intValue == nil)
        #expect(value["b"]?.boolValue == true)
        #expect(value["l"]?.arrayValue?.count == 1)
        #expect(value["z"] == .null)
        #expect(value["missing"] == nil)
        #expect(value["s"]?["x"] == nil)
        #expect(value.objectValue?.map(\.key) == ["s", "n", "f", "big", "b", "l", "z"])
        #expect(value.stringValue == nil)
    }

    @Test("keys and strings that only look alike are different")
    func comparesBytes() throws {
        let value = try JSONValue.parse("{\"\u{212a}ey\":1,\"Key\":2,\"e\u{301}\":3,\"\u{e9}\":4}")
        #expect(value["Key"]?.intValue == 2)
        #expect(value["\u{e9}"]?.intValue == 4)
        #expect(JSONValue.string("\u{e9}") != JSONValue.string("e\u{301}"))
        #expect(JSONValue.object([(key: "K", value: 1)]) != JSONValue.object([(key: "\u{212a}", value: 1)]))
        #expect(JSONValue.number("1") != JSONValue.number("1.0"))
        #expect(try JSONValue.parse("{\"a\":1,\"b\":2}") != JSONValue.parse("{\"b\":2,\"a\":1}"))
    }

    @Test("literals build the tree they look like")
    func literals() {
        let value: JSONValue = ["a": [1, true, "x"], "b": ["c": -5]]
        #expect(value.text == #"{"a":[1,true,"x"],"b":{"c":-5}}"#)
    }

    @Test("every character is written so that it can be read again, on one line")
    func writesStrings() throws {
        for code in UInt8(0)..<0x80 {
            for padding in [0, 3, 20] {
                let text = String(repeating: "p", count: padding) + String(Character(Unicode.Scalar(code))) + "q"
                let written = JSONText.quoted(text)
                #expect(written.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }, "byte \(code)")
                #expect(try JSONValue.parse(written) == .string(text), "byte \(code)")
            }
        }
        #expect(JSONText.quoted("\"\\\n\r\t\u{8}\u{7f}/") == #""\"\\\n\r\t\u0008\u007f/""#)
        #expect(JSONText.quoted("abcdef".dropFirst(2)) == "\"cdef\"")
        #expect(JSONText.quoted("") == "\"\"")
        var out: [UInt8] = [0x78]
        JSONText.append("y", to: &out)
        #expect(out == Array("x\"y\"".utf8))
    }

    @Test("a string of any length and any place of the first special character is read whole")
    func readsAroundWideSteps() throws {
        for length in 0..<40 {
            for place in 0...length {
                for special in ["\"", "\\", "\n", "\u{e9}", "\u{1f600}", ""] {
                    let text =
                        String(repeating: "a", count: place) + special + String(repeating: "b", count: length - place)
                    let parsed = try JSONValue.parse("[" + JSONText.quoted(text) + ",1]")
                    #expect(parsed == .array([.string(text), 1]), "\(length), \(place)")
                }
            }
        }
    }
}
