// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite struct SettingsLinesTests {
    @Test func `every way to write a key keeps its line`() {
        let text = """
            # a comment [with] = signs
            top = 1
            [a]
            plain = "x = [not] # a comment"
              dotted . key = 'lit # eral'
            "quo.ted" = \"""
            many [lines]
            a = 1 \\\""" still
            \"""
            list = [
              1, # first
              [ 2,
                3 ],
              { k = 4, l = [
                5 ] }
            ]
            inline = { x = 1, "y z" = { w = '''
            ]}''' } }
            [ a . "b\\u0041" ]
            k = -1_000.5e-3
            [[t]]
            n = 1
            [t.sub]
            m = 1
            [[t]]
            n = 2
            last = true
            """
        let lines = TOMLLines(Array(text.utf8))
        func element(_ index: Int) -> String { TOMLLines.element(index) }
        let expected: [([String], Int)] = [
            (["top"], 2), (["a"], 3), (["a", "plain"], 4), (["a", "dotted"], 5), (["a", "dotted", "key"], 5),
            (["a", "quo.ted"], 6), (["a", "list"], 10), (["a", "list", element(0)], 11),
            (["a", "list", element(1)], 12), (["a", "list", element(1), element(1)], 13),
            (["a", "list", element(2), "k"], 14), (["a", "list", element(2), "l", element(0)], 15),
            (["a", "inline"], 17),
            (["a", "inline", "y z", "w"], 17), (["a", "bA"], 19), (["a", "bA", "k"], 20), (["t"], 21),
            (["t", element(0), "n"], 22), (["t", element(0), "sub", "m"], 24), (["t", element(1)], 25),
            (["t", element(1), "n"], 26), (["t", element(1), "last"], 27),
        ]
        for (path, line) in expected { #expect(lines.lines[path] == line, "\(path)") }
        #expect(lines.refusal == nil)
        #expect(lines.repetitions.isEmpty)
        #expect(throws: Never.self) { try SettingsNode.parse(text) }
    }

    @Test func `line ends of another system and a byte order mark change nothing`() {
        let lines = TOMLLines(Array("\u{feff}a = 1\r\n[b]\r\nc = \"x\"\r\n".utf8))
        #expect(lines.lines == [["a"]: 1, ["b"]: 2, ["b", "c"]: 3])
    }
}
