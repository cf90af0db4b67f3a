// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@testable import GatewayDaemon

@Suite("What is printed of servers files") struct ServersImportTests {
    private func run(_ json: String?, file: String = "servers.json") -> ServersImport {
        var fixture = SettingsFixture("")
        if let json { fixture.texts["/etc/gw/servers.json"] = Array(json.utf8) }
        return ServersImport.run(file: file, withSecrets: false, files: fixture.files)
    }

    @Test func `tables go to one side, complaints to the other`() {
        let outcome = run(#"{"mcpServers": {"a": {"command": "x"}, "b": 1}}"#)
        #expect(outcome.exitCode == 0)
        #expect(outcome.output?.hasPrefix("# From \"servers.json\", by mcp-gateway upstreams import.") == true)
        #expect(outcome.output?.hasSuffix("\n\n[upstreams.a]\ncommand = \"x\"") == true)
        #expect(
            outcome.complaints == [
                "servers.json: \"b\": this is a number; an object with command or url would be right"
            ])
        #expect(run("{\"servers\":{\"a\":{\"url\":\"http://a\"}}}", file: "/etc/gw/servers.json").exitCode == 0)
    }

    @Test func `nothing imported is status 1`() {
        let none = run(#"{"mcpServers": {"b": {}}}"#)
        #expect(none.exitCode == 1 && none.output == nil && none.complaints.count == 2)
        #expect(
            run(nil)
                == ServersImport(
                    output: nil, complaints: ["servers.json: cannot read this file: there is no such file"], exitCode: 1
                )
        )
    }

    @Test(
        "Comments and trailing commas are taken for spaces",
        arguments: [
            ("[1, // one\n 2,]", "[1,2]"), ("{\"a\": [/* , */], /* ] */ }", "{\"a\":[]}"),
            ("[\"// no\", \"/* no */\", \"a\\\\\", \",]\"]", "[\"// no\",\"/* no */\",\"a\\\\\",\",]\"]"),
            ("\u{feff}{}//", "{}"), ("[1 , /* x */ // y\n ]", "[1]"), ("[\"\\\"//\",]", "[\"\\\"//\"]"),
        ])
    func relaxed(_ text: String, _ expected: String) throws {
        let plain = RelaxedJSON.plain(Array(text.utf8))
        #expect(plain.count == text.utf8.count)
        #expect(try JSONValue.parse(plain.span).text == expected)
    }

    @Test(arguments: ["[1,,]", "[1 2]", "/", "{\"a\": 1 /* ", "\"", "\"\\", "[,1]", "/*/", "{'a': 1}"])
    func `what else is wrong stays wrong`(_ text: String) {
        #expect(throws: WireError.self) { try RelaxedJSON.parse(Array(text.utf8)) }
    }

    /// Numbers that look like chance and are the same each time.
    private struct Chance {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15

        mutating func below(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
    }

    @Test func `a text comes through JSON, TOML and the notation of variables as it was`() throws {
        let pieces = [
            "$", "$$", "${", "{", "a", " ", "\"", "'", "\\", "\\u", "#", "\n", "\r\n", "\t", "\u{7f}", "\u{1b}", "é",
            "🙂",
            "e\u{301}", "\u{301}", "\u{85}", "\u{2028}", "=", "[x]", "'''", "\"\"\"", "\u{fffe}", "${A", "file:",
        ]
        var chance = Chance()
        for _ in 0..<40 {
            let texts = (0..<20).map { _ in
                (0..<chance.below(12)).map { _ in pieces[chance.below(pieces.count)] }.joined()
            }
            let environment = JSONValue.object(texts.enumerated().map { ("V\($0)", .string($1)) })
            let json: JSONValue = [
                "mcpServers": ["s": ["command": "x", "args": .array(texts.map { .string($0) }), "env": environment]]
            ]
            let file = ServersFile(Array(json.text.utf8), withSecrets: true)
            let upstream = SettingsFixture(file.toml).load().settings?.upstreams.first
            guard case .stdio(_, let arguments, let variables, _) = upstream?.transport else {
                Issue.record("\(file.remarks)")
                return
            }
            for (index, text) in texts.enumerated() {
                #expect(Array(arguments[index].utf8) == Array(text.utf8))
                let value = variables.first { $0.name == "V\(index)" }?.value.revealed
                #expect(value.map { Array($0.utf8) } == Array(text.utf8))
            }
        }
    }

    @Test func `whatever a file is made of, what is printed loads`() {
        let pieces = [
            "{", "}", "[", "]", ":", ",", "\"", "mcpServers", "\"command\": \"x\"", "\"url\": \"http://a/\"", "//",
            "/*",
            "*/", "\"env\": {", "\"args\": [", "\"headers\": {", "\"a b\": ", "\"TOKEN\": \"x\"", "1", "null", "${A}",
            "${A:-${B}}", "$${x}", "\\u0000", "\n", "\"Accept\": \"y\"", "${input:}", "${file:x}", "${env:a-b}", "__",
        ]
        var chance = Chance()
        var count = 0
        for _ in 0..<1_500 {
            let inside = (0..<chance.below(8)).map { _ in pieces[chance.below(pieces.count)] }.joined(separator: " ")
            let value = (0..<chance.below(4)).map { _ in pieces[chance.below(pieces.count)] }.joined()
            let text = "{\"mcpServers\": {\"s\": {\"command\": \"\(value)\", \(inside)}, \"t__\": {\(inside)}}}"
            for withSecrets in [false, true] {
                let file = ServersFile(Array(text.utf8), withSecrets: withSecrets)
                count += file.importedCount
                #expect((file.importedCount == 0) == file.toml.isEmpty)
                let problems = SettingsFixture(file.toml).load().problems.filter { $0.severity == .error }
                #expect(problems == [], "\(text)\n\(file.toml)")
            }
        }
        #expect(count > 100)
    }
}
