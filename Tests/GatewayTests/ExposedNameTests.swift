// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Gateway

/// The names clients see.
@Suite("Exposed names") struct ExposedNameTests {
    /// Written down once and for ever: a name that changes breaks every prompt and policy that mentions it.
    static let fixed: [(String, String, String)] = [
        ("up", "echo", "up__echo"),
        ("", "echo", "echo"),
        ("up", "read.file", "up__read_file_6489d661"),
        ("up", "a/b", "up__a_b_91eb34db"),
        ("up", "a.b", "up__a_b_91962ea6"),
        ("up", "größe", "up__gr____e_2e94b094"),
        ("p", String(repeating: "x", count: 70), "p__\(String(repeating: "x", count: 52))_49747c9d"),
        ("p", String(repeating: "x", count: 61), "p__\(String(repeating: "x", count: 61))"),
        ("", "", "_4fd0bfc1"),
    ]

    @Test("The same tool has the same name for ever", arguments: fixed)
    func stable(_ prefix: String, _ tool: String, _ name: String) {
        #expect(ExposedName.make(prefix: prefix, tool: tool) == name)
    }

    static var corpus: [String] {
        var names: [String] = []
        let pieces = [
            "a", "b", ".", "/", " ", "é", "e\u{301}", "日", "😀", "_", "-", "", "\u{0}", "A", "\n", "K", "\u{212a}",
        ]
        for one in pieces { for two in pieces { for three in pieces { names.append(one + two + three) } } }
        for length in 55...140 {
            names.append(String(repeating: "y", count: length))
            names.append(String(repeating: "y", count: length) + ".")
        }
        for number in 0..<2_000 { names.append("get.item/\(number)") }
        return names
    }

    @Test("Every name is legal, and two tools of one owner never have one name", arguments: ["", "up", "github-work"])
    func injective(_ prefix: String) {
        var owners: [[UInt8]: [UInt8]] = [:]
        let legal = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-".utf8)
        for tool in Self.corpus {
            let name = Array(ExposedName.make(prefix: prefix, tool: tool).utf8)
            #expect((1...64).contains(name.count))
            #expect(name.allSatisfy(legal.contains))
            let other = owners.updateValue(Array(tool.utf8), forKey: name)
            #expect(other == nil || other == Array(tool.utf8), "\(tool) shares its name")
        }
    }
}
