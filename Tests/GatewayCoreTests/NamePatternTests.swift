// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@Suite("Patterns of tool names") struct NamePatternTests {
    static let fitting: [(String, String)] = [
        ("", ""), ("echo", "echo"), ("*", ""), ("*", "anything"), ("**", "anything"), ("erp__*", "erp__get_price"),
        ("erp__*", "erp__"), ("*_delete", "erp__user_delete"), ("*delete*", "delete"), ("get_?", "get_a"),
        ("?*", "a"), ("*?", "ab"), ("a*b*c", "aXbYbZc"), ("a*b*c", "abc"), ("*ab", "aab"), ("*ab*ab", "ababab"),
        ("?", "é"), ("gr??e", "größe"), ("*?", "日本"), ("??", "日本"), ("[a]", "[a]"), ("a.b", "a.b"), ("a*", "a*"),
        ("*e\u{301}", "cafe\u{301}"),
    ]

    @Test("A name fits", arguments: fitting)
    func fits(_ pattern: String, _ name: String) {
        #expect(NamePattern(pattern).matches(name))
    }

    static let foreign: [(String, String)] = [
        ("", "a"), ("echo", ""), ("echo", "Echo"), ("echo", "echos"), ("echo", "ech"), ("erp__*", "erp_get"),
        ("?", ""), ("?", "ab"), ("??", "é"), ("???", "日本"), ("*?", ""), ("*???", "éa"), ("a*b", "abc"),
        ("a*b*c", "acb"), ("[a]", "a"), ("a.b", "aXb"), ("a\\*", "ab"),
        // Equal to Unicode, different names all the same.
        ("K", "\u{212a}"), ("\u{e9}", "e\u{301}"), ("*\u{e9}", "e\u{301}"), ("?", "e\u{301}"),
    ]

    @Test("A name does not fit", arguments: foreign)
    func fitsNot(_ pattern: String, _ name: String) {
        #expect(!NamePattern(pattern).matches(name))
    }

    /// The definition itself, by looking at every way to divide the name; for short texts only.
    private func reference(_ pattern: Substring.UnicodeScalarView, _ name: Substring.UnicodeScalarView) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        let rest = pattern.dropFirst()
        if first == "*" { return reference(rest, name) || (!name.isEmpty && reference(pattern, name.dropFirst())) }
        guard let letter = name.first, first == "?" || first == letter else { return false }
        return reference(rest, name.dropFirst())
    }

    @Test func `thousands of short patterns agree with the definition`() {
        var state: UInt64 = 0x2545_f491_4f6c_dd1d
        func text(_ letters: [Character]) -> String {
            var out = ""
            for _ in 0..<(state % 8) {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                out.append(letters[Int(state >> 33) % letters.count])
            }
            state = state &* 6_364_136_223_846_793_005 &+ 1
            return out
        }
        var count = 0
        for _ in 0..<20_000 {
            let (pattern, name) = (text(["a", "b", "é", "*", "*", "?"]), text(["a", "b", "é", "日"]))
            let expected = reference(pattern[...].unicodeScalars, name[...].unicodeScalars)
            #expect(NamePattern(pattern).matches(name) == expected, "\(pattern) on \(name)")
            if expected { count += 1 }
        }
        #expect(count > 500)
    }

    @Test func `a pattern made to be slow is answered all the same`() {
        let pattern = NamePattern(String(repeating: "a*", count: 500) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 2_000)))
        #expect(pattern.matches(String(repeating: "a", count: 2_000) + "b"))
    }

    @Test func `a pattern keeps its text, and bytes make two of them equal`() {
        #expect(NamePattern("erp__*").text == "erp__*")
        #expect(NamePattern("a*") == NamePattern("a*"))
        #expect(NamePattern("\u{e9}") != NamePattern("e\u{301}"))
    }

    static let decisions: [(String, NameFilter.Decision)] = [
        ("erp__get_price", .allowed(by: "erp__get_*")), ("notes__add", .allowed(by: "notes__*")),
        ("notes__delete", .denied(by: "*delete*")), ("erp__get_secret", .denied(by: "erp__get_secret")),
        ("erp__set_price", .notAllowed), ("", .notAllowed),
    ]

    @Test("A filter says which pattern decided", arguments: decisions)
    func decides(_ name: String, _ decision: NameFilter.Decision) {
        let filter = NameFilter(
            allow: ["erp__get_*", "notes__*", "*__get_*"].map(NamePattern.init),
            deny: ["*delete*", "erp__get_secret"].map(NamePattern.init))
        #expect(filter.decide(name) == decision)
    }

    @Test func `without patterns that allow everything is allowed that is not denied`() {
        let filter = NameFilter(deny: [NamePattern("*__drop_*")])
        #expect(filter.decide("db__select") == .allowed(by: nil))
        #expect(filter.decide("db__drop_table") == .denied(by: "*__drop_*"))
        #expect(NameFilter().decide("x") == .allowed(by: nil))
    }
}
