// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@Suite struct HeaderTextTests {
    static let pairs: [(text: String, header: String)] = [
        ("echo", "echo"), ("a b", "a b"), ("a\tb", "a\tb"), ("", "=?base64??="), (" a", "=?base64?IGE=?="),
        ("a ", "=?base64?YSA=?="), ("\n", "=?base64?Cg==?="), ("Gr\u{fc}\u{df}e", "=?base64?R3LDvMOfZQ==?="),
        ("\u{1f600}", "=?base64?8J+YgA==?="), ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ("=?base64?", "=?base64?"),
        ("=?utf-8?q?a?=", "=?utf-8?q?a?="), ("\u{7f}", "=?base64?fw==?="),
    ]

    @Test("text is written as a header and read back as it was", arguments: pairs)
    func roundTrip(_ text: String, _ header: String) {
        #expect(HeaderText.encode(text) == header)
        #expect(HeaderText.decode(header) == text)
    }

    @Test("every length comes back")
    func everyLength() {
        for length in 0..<70 {
            let text = String(repeating: "\u{e9}", count: length) + "x"
            #expect(HeaderText.decode(HeaderText.encode(text)) == text)
        }
    }

    @Test(
        "base64 that is not exactly that is refused",
        arguments: [
            "YQ=", "YQ", "Y", "YQ===", "====", "Y===", "YR==", "YWJ=", "YQ==YQ==", "Y Q=", "YQ==\n", "_-8=", "/w==",
            "7aCA", "wIA=", "*AAA",
        ])
    func refuses(_ inner: String) {
        #expect(HeaderText.decode("=?base64?\(inner)?=") == nil)
    }
}
