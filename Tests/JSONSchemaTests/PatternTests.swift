// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import JSONSchema

@Suite("Patterns") struct PatternTests {
    struct Search: Sendable, CustomTestStringConvertible {
        let pattern: String
        var found: [String] = []
        var missing: [String] = []
        var testDescription: String { pattern }
    }

    static let searches: [Search] = [
        Search(pattern: "", found: ["", "x"]),
        Search(pattern: "abc", found: ["xabcx"], missing: ["ab", "acb"]),
        Search(pattern: "^abc$", found: ["abc"], missing: ["xabc", "abc\n", ""]),
        Search(pattern: "a.c", found: ["abc", "a\u{1f600}c"], missing: ["a\nc", "a\u{2028}c", "ac"]),
        Search(pattern: "[a-c]x[^a-c]", found: ["bxd"], missing: ["bxb", "dxd", "bx"]),
        Search(pattern: "[]", missing: ["", "a"]),
        Search(pattern: "^[^]$", found: ["a", "\n"], missing: [""]),
        Search(pattern: "^[a-]+$", found: ["a-a"], missing: ["b"]),
        Search(pattern: "^[\\d-x]+$", found: ["1-x"], missing: ["a"]),
        Search(pattern: "^[\\]\\\\\\-^]+$", found: ["]\\-^"], missing: ["["]),
        Search(pattern: "^\\d+$", found: ["042"], missing: ["\u{9ea}", "4a", ""]),
        Search(pattern: "^\\w+$", found: ["aZ_9"], missing: ["\u{e9}", "a-b"]),
        Search(pattern: "^\\s+$", found: [" \t\u{a0}\u{feff}\u{2003}"], missing: ["a", "\u{200b}"]),
        Search(pattern: "^[\\D\\S]$", found: ["1", " ", "a"]),
        Search(pattern: "^[^\\w\\s]$", found: ["-", "\u{e9}"], missing: ["a", " "]),
        Search(pattern: "\\bcat\\b", found: ["a cat!", "cat"], missing: ["cats", "concat"]),
        Search(pattern: "\\Bat", found: ["cat"], missing: ["at", " at"]),
        Search(pattern: "^(ab|cd)*$", found: ["", "abcdab"], missing: ["abc"]),
        Search(pattern: "^(?:a|b|)c$", found: ["ac", "bc", "c"], missing: ["abc"]),
        Search(pattern: "^(?<year>\\d{4})-(?<month>\\d\\d)$", found: ["2026-07"], missing: ["226-07"]),
        Search(pattern: "^a{2,3}$", found: ["aa", "aaa"], missing: ["a", "aaaa"]),
        Search(pattern: "^a{2,}$", found: ["aa", "aaaaa"], missing: ["a"]),
        Search(pattern: "^a{0}b{1}$", found: ["b"], missing: ["ab", ""]),
        Search(pattern: "^a+?b*?c??$", found: ["aaab", "ac"], missing: ["bc"]),
        Search(pattern: "^{a}$", found: ["{a}"], missing: ["a"]),
        Search(pattern: "x{a,2}]", found: ["x{a,2}]"], missing: ["xx"]),
        Search(pattern: "^(^a$|b)$", found: ["a", "b"], missing: ["ab"]),
        Search(pattern: "a|^b", found: ["xa", "b"], missing: ["xb"]),
        Search(
            pattern: "^\\u00e9\\x41\\u{1F600}\\uD83D\\uDE00$", found: ["\u{e9}A\u{1f600}\u{1f600}"], missing: ["eA"]),
        Search(pattern: "^\\t\\n\\r\\f\\v\\0\\cA\\/\\.$", found: ["\t\n\r\u{c}\u{b}\0\u{1}/."]),
        Search(pattern: "^\\p{L}+$", found: ["a\u{e9}\u{4e2d}"], missing: ["1", "a1"]),
        Search(pattern: "^\\p{Lu}\\p{Ll}+\\P{L}$", found: ["\u{c9}t\u{e9}1"], missing: ["\u{e9}t\u{e9}1"]),
        Search(pattern: "^[\\p{Nd}\\p{Punctuation}]+$", found: ["\u{9ea}!"], missing: ["a"]),
        Search(pattern: "^[^\\p{Letter}]$", found: ["1"], missing: ["a"]),
        Search(pattern: "^\\p{gc=Sc}$", found: ["\u{20ac}"], missing: ["E"]),
        Search(pattern: "^(a*)*$", found: ["", "aaa"], missing: ["b"]),
        Search(pattern: "^(a?){20}a{20}$", found: [String(repeating: "a", count: 20)], missing: ["aaa"]),
        Search(pattern: "^(()|a)+b$", found: ["b", "aab"], missing: ["a"]),
        Search(pattern: "^\u{1f600}?e\u{301}$", found: ["e\u{301}"], missing: ["\u{e9}"]),
    ]

    @Test("a pattern is found where ECMA-262 finds it", arguments: searches)
    func search(_ one: Search) throws {
        let pattern = try Pattern(one.pattern)
        for text in one.found {
            var effort = 10_000
            #expect(pattern.search(text, effort: &effort) == .found, "\(text.debugDescription)")
        }
        for text in one.missing {
            var effort = 10_000
            #expect(pattern.search(text, effort: &effort) == .missing, "\(text.debugDescription)")
        }
    }

    @Test(
        "what cannot be run in one pass is not supported",
        arguments: [
            "(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", "(a)\\1", "(?<n>a)\\k<n>", "(?i)a", "(?P<n>a)", "\\Aa\\Z", "a++",
            "a{,3}", "\\p{Script=Greek}", "\\p{Han}", "\\pL", "\\01", "\\ud800", "(?>a)", "a{1000000}",
            "((a{1000}){1000}){1000}", String(repeating: "(", count: 500),
        ])
    func unsupported(_ text: String) {
        let problem = #expect(throws: PatternProblem.self) { try Pattern(text) }
        if case .malformed(let words) = problem { Issue.record("\(words)") }
    }

    @Test(
        "what no dialect would take is malformed",
        arguments: [
            "(", "a)", "(a", "[a", "[", "\\", "[\\", "*a", "a|*", "(+)", "{2}", "a{3,2}", "[b-a]", "\\x4", "\\u12",
            "\\u{110000}",
            "\\c1",
        ])
    func malformed(_ text: String) {
        let problem = #expect(throws: PatternProblem.self) { try Pattern(text) }
        if case .unsupported(let words) = problem { Issue.record("\(words)") }
    }

    /// Effort is counted, not timed: the same on every machine.
    @Test(
        "the effort grows with the text and not with the ways through the pattern",
        arguments: ["(a*)*b", "(a|a)*b", "(a|aa)+$b", "(.*)(.*)(.*)(.*)x", "^(([a-z])+.)+[A-Z]([a-z])+$", "(()*|a*)*b"])
    func linear(_ text: String) throws {
        let pattern = try Pattern(text)
        func effort(_ count: Int) -> Int {
            var left = Int.max
            #expect(pattern.search(String(repeating: "a", count: count), effort: &left) == .missing)
            return Int.max - left
        }
        let (small, large) = (effort(1000), effort(10_000))
        #expect(large < small * 11)
        #expect(large < 10_000 * (pattern.size * 3 + 2))
    }

    @Test("a search ends when its effort is used up")
    func exhausted() throws {
        let pattern = try Pattern("(a*)*b")
        var effort = 1000
        #expect(pattern.search(String(repeating: "a", count: 10_000), effort: &effort) == .exhausted)
        var enough = 1000
        #expect(pattern.search("aab", effort: &enough) == .found)
    }

    @Test("an anchored pattern is given up where it fails")
    func anchored() throws {
        var effort = 100
        let text = "b" + String(repeating: "a", count: 100_000)
        #expect(try Pattern("^a").search(text, effort: &effort) == .missing)
        #expect(try Pattern("^(?:a|^c)").search(text, effort: &effort) == .missing)
    }

    @Test("repeating nothing a hundred thousand times is nothing")
    func nothing() throws {
        #expect(try Pattern("((){100000}){100000}").size < 10)
    }
}
