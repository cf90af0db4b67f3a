// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

/// White space around header values, and text for headers and addresses.
@Suite("Header values") struct HeaderValueTests {
    static let trimmed: [(String, String)] = [
        ("", ""), ("a", "a"), (" a", "a"), ("a ", "a"), ("\ta\t", "a"), (" \t a b \t ", "a b"), (" ", ""),
        ("\t \t", ""),
        ("a\tb", "a\tb"), ("\u{a0}a\u{a0}", "\u{a0}a\u{a0}"), (" \u{e9} ", "\u{e9}"), ("\u{3000}", "\u{3000}"),
        (" =?base64?YQ==?= ", "=?base64?YQ==?="),
    ]

    @Test("spaces and tabs around a value mean nothing, others are part of it", arguments: trimmed)
    func trims(_ value: String, _ expected: String) {
        #expect(HeaderText.trimmed(value).utf8.elementsEqual(expected.utf8))
        #expect(HeaderText.trimmed(HeaderText.trimmed(value)) == HeaderText.trimmed(value))
    }

    @Test(
        "bytes have the spelling of RFC 4648 with the safe alphabet",
        arguments: [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"), ("\u{3fb}\u{3ff}", "z7vPvw"), ("\u{ffff}??>", "77-_Pz8-"),
        ])
    func vectors(_ plain: String, _ encoded: String) {
        #expect(Base64URL.encode(Array(plain.utf8)) == encoded)
        #expect(Base64URL.decode(encoded) == Array(plain.utf8))
    }

    @Test("of all texts of two and three characters exactly those are taken that encoding writes")
    func oneSpelling() {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=".utf8)
        var taken = 0
        for first in alphabet {
            for second in alphabet {
                for third in [nil, UInt8(ascii: "A"), UInt8(ascii: "E"), UInt8(ascii: "4"), UInt8(ascii: "B")] {
                    let text = String(decoding: [first, second] + (third.map { [$0] } ?? []), as: UTF8.self)
                    guard let bytes = Base64URL.decode(text) else { continue }
                    taken += 1
                    #expect(Base64URL.encode(bytes) == text)
                }
            }
        }
        // One byte: 64 × 4 spellings; two bytes: each pair before A, E and 4, none before B.
        #expect(taken == 256 + 3 * 4_096)
    }

    @Test(
        "what is no such text is refused",
        arguments: ["A", "AAAAA", "Zg==", "Zg=", "Z g", "Zm9v\n", "Zm+v", "Zm/v", "Zh", "\u{e9}a"])
    func refuses(_ text: String) {
        #expect(Base64URL.decode(text) == nil)
    }
}
