// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// Results and errors, from whatever era to whatever era.
@Suite("Dialects") struct DialectTests {
    static let identity = ServerIdentity(version: "1.2", instructions: "")
    static let ownMeta = #""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mcp-gateway","version":"1.2"}}"#

    private func write(_ result: String, _ revision: Revision) throws -> String {
        var out = ByteBuffer()
        let backend = ScriptedBackend(name: "up", tools: []) { _ async throws(CallFailure) -> CallAnswer in
            throw .cancelled
        }
        let destination = Destination(.tool, "do", target: "do", owner: Owner(backend: backend, prefix: ""))
        ReplyBuilder(identity: Self.identity).dialect(of: revision)
            .write(try .of(result), of: destination, as: "complete", to: &out)
        return String(buffer: out)
    }

    struct Conversion: Sendable, CustomTestStringConvertible {
        let name: String
        let from: String
        let to: Revision
        let expected: String
        var testDescription: String { "\(name), for \(to.name)" }
    }

    static let structured = #"{"content":[],"structuredContent":{"n":1.0},"isError":false}"#
    /// The structure above as text, for whoever cannot read the other.
    static let spoken = #"{"content":[{"type":"text","text":"{\"n\":1.0}"}]"#
    static let told = #"{"content":[{"type":"text","text":"n is 1"}],"structuredContent":{"n":1.0}}"#
    static let list = #"{"content":[],"structuredContent":[1]}"#
    static let modern =
        #"{"resultType":"complete","content":[ ],"ttlMs":5,"cacheScope":"public","#
        + #""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"theirs"},"a/b":1.0}}"#

    static let conversions: [Conversion] = [
        Conversion(
            name: "no change", from: #"{ "content" : [] }"#, to: .v2024_11_05, expected: #"{ "content" : [] }"#),
        Conversion(name: "structure", from: structured, to: .v2024_11_05, expected: spoken + #","isError":false}"#),
        Conversion(name: "structure", from: structured, to: .v2025_03_26, expected: spoken + #","isError":false}"#),
        Conversion(name: "structure", from: structured, to: .v2025_06_18, expected: structured),
        Conversion(name: "structure", from: structured, to: .v2025_11_25, expected: structured),
        Conversion(
            name: "structure of the stateless era", from: #"{"resultType":"complete","# + structured.dropFirst(),
            to: .v2025_11_25, expected: spoken + #","structuredContent":{"n":1.0},"isError":false}"#),
        Conversion(name: "structure with its text", from: told, to: .v2025_11_25, expected: told),
        Conversion(
            name: "structure with its text", from: told, to: .v2024_11_05,
            expected: #"{"content":[{"type":"text","text":"n is 1"}]}"#),
        Conversion(
            name: "structure", from: structured, to: .v2026_07_28,
            expected: #"{"resultType":"complete","content":[],"structuredContent":{"n":1.0},"isError":false,"# + ownMeta
                + "}"),
        Conversion(
            name: "a list as structure", from: list, to: .v2025_11_25,
            expected: #"{"content":[{"type":"text","text":"[1]"}],"structuredContent":{"result":[1]}}"#),
        Conversion(
            name: "a list as structure", from: list, to: .v2026_07_28,
            expected: #"{"resultType":"complete","content":[],"structuredContent":[1],"# + ownMeta + "}"),
        Conversion(name: "modern", from: modern, to: .v2025_11_25, expected: #"{"content":[ ],"_meta":{"a/b":1.0}}"#),
        Conversion(
            name: "modern", from: modern, to: .v2026_07_28,
            expected: #"{"resultType":"complete","content":[ ],"ttlMs":5,"cacheScope":"public","_meta":{"a/b":1.0,"#
                + ownMeta.dropFirst(9) + "}"),
        Conversion(
            name: "only modern members", from: #"{"resultType":"complete"}"#, to: .v2025_11_25, expected: "{}"),
        Conversion(
            name: "only modern meta", from: #"{"_meta":{"io.modelcontextprotocol/x":1},"content":[]}"#,
            to: .v2025_11_25,
            expected: #"{"content":[]}"#),
        Conversion(
            name: "meta alone", from: #"{"_meta":{"io.modelcontextprotocol/x":1,"k":2}}"#, to: .v2025_11_25,
            expected: #"{"_meta":{"k":2}}"#),
        Conversion(
            name: "empty", from: "{}", to: .v2026_07_28, expected: #"{"resultType":"complete","# + ownMeta + "}"),
        Conversion(
            name: "a forged identity with an escaped key",
            from: #"{"_meta":{"io.modelcontextprotocol/server\u0049nfo":{}}}"#,
            to: .v2026_07_28, expected: #"{"resultType":"complete","# + ownMeta + "}"),
    ]

    @Test("A result is converted to the reader's revision and otherwise left alone", arguments: conversions)
    func results(_ one: Conversion) throws {
        let text = try write(one.from, one.to)
        #expect(text == one.expected)
        #expect(throws: Never.self) { try JSONValue.parse(text) }
    }

    @Test(
        "Codes are those the reader's era knows",
        arguments: [
            (-32002, -32002, -32602), (-32601, -32601, -32601), (-32602, -32602, -32602), (-32020, -32603, -32603),
            (-32022, -32603, -32603), (-32099, -32603, -32603), (-32100, -32100, -32100), (-32019, -32019, -32019),
            (7, 7, 7),
        ])
    func codes(_ code: Int, _ legacy: Int, _ modern: Int) {
        let replies = ReplyBuilder(identity: Self.identity)
        #expect(replies.dialect(of: .modern).errorCode(code) == modern)
        for revision in Revision.allCases where !revision.isModern {
            #expect(replies.dialect(of: revision).errorCode(code) == legacy)
        }
    }

    @Test(
        "Each era has its own methods",
        arguments: [
            (MCPWire.Method.initialize, true, false), (.initialized, true, false), (.ping, true, false),
            (.discover, false, true),
            (.toolsList, true, true), (.toolsCall, true, true), (.cancelled, true, false),
            (.resourcesList, true, true), (.promptsGet, true, true), (.complete, true, true), (.subscribe, true, false),
            (.setLevel, true, false), (.listen, false, true), (.tasksUpdate, false, true), (.elicit, false, false),
            (.other("resources/make"), false, false),
        ])
    func methods(_ method: MCPWire.Method, _ legacy: Bool, _ modern: Bool) {
        let replies = ReplyBuilder(identity: Self.identity)
        #expect(replies.dialect(of: .modern).offers(method) == modern)
        for revision in Revision.allCases where !revision.isModern {
            #expect(replies.dialect(of: revision).offers(method) == legacy)
        }
    }

    @Test("Tasks are of two revisions, each with methods of its own")
    func tasks() {
        let replies = ReplyBuilder(identity: Self.identity)
        for revision in Revision.allCases {
            let dialect = replies.dialect(of: revision)
            let has = [MCPWire.Method.tasksGet, .tasksCancel, .tasksResult, .tasksUpdate].map(dialect.offers)
            switch revision {
            case .v2025_11_25: #expect(has == [true, true, true, false])
            case .v2026_07_28: #expect(has == [true, true, false, true])
            default: #expect(has == [false, false, false, false])
            }
        }
    }
}
