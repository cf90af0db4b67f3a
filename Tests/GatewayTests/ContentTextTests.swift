// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// Blocks and URIs inside of results, for each revision.
@Suite("Content") struct ContentTextTests {
    private func text(_ prefix: String, _ revision: Revision) -> ContentText {
        ContentText(resources: ResourceNames(prefix: prefix), revision: revision)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let block: String
        /// For an owner with the prefix `up`.
        let shown: [Revision: String]
        var testDescription: String { name }

        /// - Parameter since: from this revision on it is `new`, before it is `old`.
        init(_ name: String, _ block: String, new: String, since: Revision, old: String) {
            self.name = name
            self.block = block
            shown = Dictionary(uniqueKeysWithValues: Revision.allCases.map { ($0, $0 >= since ? new : old) })
        }

        init(_ name: String, _ block: String, always: String? = nil) {
            self.init(name, block, new: always ?? block, since: .v2024_11_05, old: "")
        }
    }

    static let cases: [Case] = [
        Case("text", #"{"type":"text","text":"file:///a","x":1.0}"#),
        Case("an image", #"{"type":"image","data":"AA==","mimeType":"image/png"}"#),
        Case(
            "a resource inside", #"{"type":"resource","resource":{"uri":"file:///a","text":"t"},"annotations":{}}"#,
            always: #"{"type":"resource","resource":{"uri":"up+file:///a","text":"t"},"annotations":{}}"#),
        Case(
            "a resource of the web inside", #"{"type":"resource","resource":{"uri":"https://a.example/","text":"t"}}"#),
        Case(
            "an app inside", #"{"type":"resource","resource":{"uri":"ui://panel","text":"t"}}"#,
            always: #"{"type":"resource","resource":{"uri":"ui://up/panel","text":"t"}}"#),
        Case("a resource without a URI", #"{"type":"resource","resource":{"text":"t"}}"#),
        Case("a resource whose URI is no text", #"{"type":"resource","resource":{"uri":5}}"#),
        Case("a resource that is none", #"{"type":"resource","resource":"uri"}"#),
        Case(
            "a link", #"{"type":"resource_link","uri":"file:///a","name":"n","mimeType":"m"}"#,
            new: #"{"type":"resource_link","uri":"up+file:///a","name":"n","mimeType":"m"}"#, since: .v2025_06_18,
            old: #"{"type":"text","text":"n: up+file:///a"}"#),
        Case(
            "a link with a title", #"{"type":"resource_link","uri":"https://a/","name":"n","title":"T"}"#,
            new: #"{"type":"resource_link","uri":"https://a/","name":"n","title":"T"}"#, since: .v2025_06_18,
            old: #"{"type":"text","text":"T: https://a/"}"#),
        Case(
            "a link without a name", #"{"type":"resource_link","uri":"x:\"y\""}"#,
            new: #"{"type":"resource_link","uri":"up+x:\"y\""}"#, since: .v2025_06_18,
            old: #"{"type":"text","text":"up+x:\"y\": up+x:\"y\""}"#),
        Case(
            "a sound", #"{"type":"audio","data":"AA==","mimeType":"audio/wav"}"#,
            new: #"{"type":"audio","data":"AA==","mimeType":"audio/wav"}"#, since: .v2025_03_26,
            old: #"{"type":"resource","resource":{"uri":"data:audio","mimeType":"audio/wav","blob":"AA=="}}"#),
        Case("a block nobody knows", #"{"type":"hologram","uri":"file:///a"}"#),
        Case("a block without a type", #"{"uri":"file:///a"}"#),
        Case("no block at all", "5"),
    ]

    @Test("A block is one that its reader's revision knows, with URIs that it can ask for", arguments: cases)
    func blocks(_ one: Case) throws {
        let block = try JSONValue.parse(one.block)
        for revision in Revision.allCases {
            let text = text("up", revision)
            let shown = try #require(one.shown[revision])
            #expect(text.blocks(.array([block, block])).text == "[\(shown),\(shown)]", "\(revision.name)")
            let message: JSONValue = ["role": "user", "content": block]
            #expect(
                text.messages(.array([message])).text == #"[{"role":"user","content":\#(shown)}]"#, "\(revision.name)")
            let several: JSONValue = ["role": "user", "content": .array([block])]
            #expect(
                text.messages(.array([several])).text == #"[{"role":"user","content":[\#(shown)]}]"#, "\(revision.name)"
            )
        }
    }

    @Test("What was read has the URI that it was asked for by")
    func contents() throws {
        let contents = try JSONValue.parse(
            #"[{"uri":"file:///a","text":"uri"},{"uri":"https://a/","blob":""},{"text":"t"},5]"#)
        #expect(
            text("up", .modern).contents(contents).text
                == #"[{"uri":"up+file:///a","text":"uri"},{"uri":"https://a/","blob":""},{"text":"t"},5]"#)
        #expect(text("", .modern).contents(contents).text == contents.text)
    }

    @Test("What should be a list and is none becomes an empty one", arguments: ["{}", "null", "5", #""uri""#])
    func noList(_ json: String) throws {
        let value = try JSONValue.parse(json)
        let text = text("up", .modern)
        #expect(text.blocks(value).text == "[]")
        #expect(text.messages(value).text == "[]")
        #expect(text.contents(value).text == "[]")
    }

    static let looks: [(String, String, Revision, Bool)] = [
        ("up", #"[{"type":"text","text":"plain"}]"#, .modern, false),
        ("up", #"[{"type":"resource_link"}]"#, .modern, true), ("up", #"[{"uri":"x"}]"#, .modern, true),
        ("up", #"[{"type":"audio"}]"#, .v2024_11_05, true), ("up", #"[{"type":"audio"}]"#, .v2025_03_26, false),
        ("", #"[{"type":"resource_link"}]"#, .modern, false),
        ("", #"[{"type":"resource_link"}]"#, .v2025_06_18, false),
        ("", #"[{"type":"resource_link"}]"#, .v2025_03_26, true), ("", #"[{"type":"audio"}]"#, .v2024_11_05, true),
        ("", #"[{"type":"text","text":"plain"}]"#, .v2024_11_05, false), ("up", "[]", .v2024_11_05, false),
        // A prefix of the word at the very end is not the word.
        ("up", #"["resourc"]"#, .modern, false),
    ]

    @Test("A result is taken apart only when something in it may have to change", arguments: looks)
    func mustChange(_ prefix: String, _ content: String, _ revision: Revision, _ expected: Bool) throws {
        let payload = try Payload.of(#"{"content":\#(content),"uri":"resource audio"}"#)
        let member = try #require(payload.member("content"))
        #expect(text(prefix, revision).mustChange(member, payload) == expected)
    }

    @Test("Words are found wherever they stand in a range, and never past its end")
    func holds() throws {
        for distance in 0..<20 {
            let text = String(repeating: "r", count: distance) + "resource"
            let payload = try Payload.of(#"{"a":"\#(text)","resource":1}"#)
            let member = try #require(payload.member("a"))
            #expect(payload.holds("resource", in: member.value))
            let short = member.value.lowerBound..<(member.value.upperBound - 2)
            #expect(!payload.holds("resource", in: short))
            #expect(!payload.holds("resources", in: member.value))
        }
    }
}
