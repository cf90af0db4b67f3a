// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@Suite struct GrammarTests {
    static let accepted: [String] = [
        "{}", "[]", "[[]]", "[{}]", "{\"a\":{}}", "null", "true", "false", "0", "\"\"", "\"a\"", " 1 ",
        "\t\r\n[\n1\t,\r2 ]\n",
        "{ \"a\" : 1 , \"b\" : [ ] }", "[null,true,false,1,\"x\",{},[]]", "{\"\":0}", "{\"\":0,\" \":1}",
        "-0", "-1", "10", "1234567890123456789012345678901234567890", "0.0", "-0.5", "1.25", "1e1", "1E1", "1e+1",
        "1e-1",
        "0e0", "0E+00", "1.5e300", "1e99999", "-0.0e-0", "[1e0]",
        "\"/\"", "\"\\/\"", "\"\u{7f}\"", "\"\u{2028}\u{2029}\"", "\"\u{fffe}\u{10ffff}\"", "\"\u{feff}\"",
        "\"a\u{0301}\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"", "\"\\u00e9\\u00E9\"", "\"\\uD83D\\uDE00\"",
        "\"\\udbff\\udfff\"",
        "\"\\uffff\\ud7ff\\ue000\"", "\"\\\\u0061\"", "\"\\\\\"", "[\"\\\\\",\"\"]", "{\"a\":\"}\",\"b\":\"]\"}",
    ]

    @Test("JSON of RFC 8259 is accepted", arguments: accepted)
    func accepts(_ text: String) throws {
        _ = try JSONValue.parse(text)
    }

    static let refused: [String] = [
        // Nothing, or more than one value.
        "", " ", "\n", "1 2", "{}{}", "[] []", "null,", "{}x", "\"a\"\"b\"", "1,", ",", ":", "\u{feff}{}", "{}\u{0}",
        "\u{0}",
        "\u{a0}1", "\u{2003}{}", "\u{b}1", "\u{c}1", "//c\n1", "/**/1", "#1",
        // Words.
        "nul", "nulll", "True", "TRUE", "tru", "truee", "fals", "undefined", "NaN", "Infinity", "-Infinity", "n", "t",
        "f",
        // Numbers.
        "01", "-01", "00", "-", "+1", ".5", "-.5", "1.", "-1.", "1.e1", "1e", "1E+", "1e-", "1e1.5", "0x10", "1_000",
        "1 000",
        "--1", "1-", "1e1e1", "0.1.2", "-a", "1a", "12e", "\u{ff11}", "\u{661}", "0b1", "1f",
        // Arrays and objects.
        "[", "]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1:2]", "[1}", "[[]", "[]]", "(1)", "['a']",
        "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,\"a\":1}", "{\"a\" 1}", "{\"a\"::1}",
        "{\"a\",1}",
        "{a:1}", "{'a':1}", "{1:1}", "{null:1}", "{\"a\":1 \"b\":2}", "{\"a\":1;\"b\":2}", "{\"a\":1]", "{\"a\":}",
        "{\"a\":,}",
        "{{}}", "{[]:1}", "{\"a\":1,,\"b\":2}", "{\"a\":1}}", "{\"a\":1,\"b\"}", "{:1}",
        // Strings.
        "\"", "\"a", "\"\\", "\"\\\"", "\"a\\\"", "'a'", "\"\\a\"", "\"\\v\"", "\"\\'\"", "\"\\0\"", "\"\\x41\"",
        "\"\\U0041\"",
        "\"\\ \"", "\"\\\n\"", "\"\n\"", "\"\t\"", "\"\u{0}\"", "\"\u{1f}\"", "\"12345678901234567\n\"",
        "\"1234567\u{0}\"",
        "\"\\u\"", "\"\\u1\"", "\"\\u12\"", "\"\\u123\"", "\"\\u123", "\"\\u\\u0061\"", "\"\\u12g4\"", "\"\\u+123\"",
        "\"\\u-123\"",
        "\"\\u 123\"", "\"\\u{61}\"", "\"\\u00\u{e9}\"", "\"\\\u{e9}\"",
        // Surrogates.
        "\"\\ud800\"", "\"\\uD800\"", "\"\\udbff\"", "\"\\udc00\"", "\"\\udfff\"", "\"\\ud800x\"", "\"\\ud800\\n\"",
        "\"\\ud800\\ud800\"", "\"\\ud800\\u0061\"", "\"\\udc00\\ud800\"", "\"\\ud83d\\ude00\\ude00\"", "\"\\ud800\\",
        "\"\\ud800\\u",
        "\"\\ud800\\udc0\"", "\"\\ud800\\\\udc00\"", "{\"\\ud800\":1}",
    ]

    @Test("text that is not JSON is refused as such", arguments: refused)
    func refuses(_ text: String) {
        #expect(refusal(Array(text.utf8))?.kind == .notJSON)
        // The same fault deeper inside, behind enough plain text for the wide steps of the scanner.
        let inside = Array("{\"k\":[\"0123456789abcdef0123456789\",".utf8) + Array(text.utf8) + Array("]}".utf8)
        #expect(refusal(inside)?.kind == .notJSON)
    }

    static let brokenUTF8: [(String, [UInt8])] = [
        ("a lone continuation byte", [0x80]), ("the last continuation byte alone", [0xbf]),
        ("a lead byte alone", [0xc3]), ("a lead byte before ASCII", [0xc3, 0x41]),
        ("two lead bytes", [0xc3, 0xc3, 0xa9]),
        ("overlong NUL in two bytes", [0xc0, 0x80]), ("overlong slash", [0xc0, 0xaf]), ("overlong DEL", [0xc1, 0xbf]),
        ("overlong quote", [0xc0, 0xa2]), ("overlong in three bytes", [0xe0, 0x80, 0xaf]),
        ("overlong U+07FF", [0xe0, 0x9f, 0xbf]), ("overlong in four bytes", [0xf0, 0x80, 0x80, 0xaf]),
        ("overlong U+FFFF", [0xf0, 0x8f, 0xbf, 0xbf]), ("a surrogate", [0xed, 0xa0, 0x80]),
        ("the last surrogate", [0xed, 0xbf, 0xbf]), ("a pair of surrogates", [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]),
        ("above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]), ("lead byte F5", [0xf5, 0x80, 0x80, 0x80]),
        ("five bytes", [0xf8, 0x88, 0x80, 0x80, 0x80]), ("six bytes", [0xfc, 0x84, 0x80, 0x80, 0x80, 0x80]),
        ("FE", [0xfe]), ("FF", [0xff]), ("three bytes cut after two", [0xe2, 0x82]),
        ("four bytes cut after three", [0xf0, 0x9f, 0x98]),
        ("third byte wrong", [0xe2, 0x82, 0x41]), ("fourth byte wrong", [0xf0, 0x9f, 0x98, 0x22]),
        ("a good character and a bad one", [0xc3, 0xa9, 0xa9]),
    ]

    @Test("broken UTF-8 is refused in values and in keys, at every distance from the quote", arguments: brokenUTF8)
    func refusesBrokenUTF8(_ name: String, _ broken: [UInt8]) {
        for padding in 0..<18 {
            let padded = [UInt8](repeating: 0x61, count: padding) + broken
            for tail in [[], [UInt8](repeating: 0x62, count: 17)] {
                let string = [0x22] + padded + tail + [0x22]
                let found = refusal(string)
                #expect(found?.kind == .notJSON, "\(name) behind \(padding)")
                #expect(found?.offset.map { $0 > padding } == true, "\(name) behind \(padding)")
                #expect(refusal([0x7b] + string + Array(":1}".utf8)) != nil, "\(name) in a key")
            }
            #expect(refusal([0x22] + padded) != nil, "\(name) at the end of the text")
        }
        #expect(refusal(broken) != nil, "\(name) outside a string")
    }

    @Test("every character from one to four bytes comes back as it was, plain and escaped")
    func keepsEveryCharacter() throws {
        var scalars =
            Array(0x20...0x2ff) + [0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd000, 0xd7ff, 0xe000, 0xfffd, 0xffff]
        scalars += [0x10000, 0x1f600, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10ffff]
        for value in scalars {
            let scalar = try #require(Unicode.Scalar(UInt32(value)))
            let text = "ab" + String(Character(scalar)) + "cdefghijklmnopqrstuvwxyz"
            var escaped = ""
            for unit in text.utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
            #expect(try JSONValue.parse(JSONText.quoted(text)) == .string(text), "U+\(String(value, radix: 16))")
            #expect(
                try JSONValue.parse("\"" + escaped + "\"") == .string(text), "U+\(String(value, radix: 16)) escaped")
        }
    }

    @Test("a refusal names the byte")
    func namesTheOffset() {
        let found: [(String, Int)] = [
            ("{\"a\":x}", 5), ("[1,]", 3), ("{\"a\":1,\"a\":2}", 8), ("\"abc\\q\"", 4), ("[01]", 2), ("{} {}", 3),
            ("[1", 2),
            ("\"0123456789abcdef\u{1}\"", 17), ("nulx", 0), ("[-]", 2), ("\"\\uD800 \"", 1),
        ]
        for (text, offset) in found { #expect(refusal(Array(text.utf8))?.offset == offset, "\(text)") }
    }

    private func refusal(_ bytes: [UInt8]) -> WireError? {
        do {
            _ = try JSONValue.parse(bytes.span)
            return nil
        } catch { return error }
    }
}
