// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// Every place in which a URI stands, through the whole pipeline: clients see the label, owners never do.
@Suite("Places of a URI") struct ResourcePlacesTests {
    private static let definition =
        #"{"name":"n","_meta":{"ui":{"resourceUri":"ui://panel","x":1.0},"a":"ui://panel"}}"#

    private static var offers: Offers {
        func item(_ name: String) -> OfferedItem { OfferedItem(name: name, definition: Array(definition.utf8)) }
        var offers = Offers(
            tools: [item("do")], prompts: [item("ask")], resources: [item("file:///a"), item("ui://panel")],
            templates: [item("file:///{path}")])
        offers.completes = true
        return offers
    }

    private let seen = Collected<RoutedCall>()

    private func bench(_ answer: String, prefix: String = "up", isError: Bool = false) throws -> PipelineBench {
        let backend = AskingBackend(name: "server", asks: false, offers: Self.offers) {
            [seen] call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            return isError ? try .error(answer) : try .of(answer)
        }
        return try PipelineBench(backend, prefix: prefix)
    }

    @Test("Lists show URIs and templates that clients can ask for", arguments: Revision.allCases)
    func lists(_ revision: Revision) async throws {
        let bench = try bench("{}")
        let client = PipelineBench.Client(revision: revision)
        let resources = try await bench.ask("resources/list", "", client)?["result"]?["resources"]?.arrayValue ?? []
        #expect(resources.map { $0["uri"] } == ["up+file:///a", "ui://up/panel"])
        #expect(resources.map { $0["name"] } == ["n", "n"])
        let templates = try await bench.ask("resources/templates/list", "", client)?["result"]?["resourceTemplates"]
        #expect(templates?.arrayValue?.map { $0["uriTemplate"] } == ["up+file:///{path}"])
        let tools = try await bench.ask("tools/list", "", client)?["result"]?["tools"]?.arrayValue ?? []
        let meta = tools.first?["_meta"]?.text
        let shown = #"{"ui":{"resourceUri":"ui://up/panel","x":1.0},"a":"ui://panel"}"#
        #expect(meta == (revision >= .v2025_06_18 ? shown : nil))
    }

    static let reads: [(String, String, String)] = [
        ("up+file:///a", "file:///a", "up+file:///a"), ("ui://up/panel", "ui://panel", "up+file:///a"),
        ("file:///a", "file:///a", "up+file:///a"), ("up+file:///b%20c", "file:///b%20c", "up+file:///a"),
        ("up+x:\u{e9}\"", "x:\u{e9}\"", "up+file:///a"),
    ]

    @Test("A resource is read at its owner by the owner's URI, and shown by ours", arguments: reads)
    func read(_ asked: String, _ original: String, _ shown: String) async throws {
        let bench = try bench(#"{"contents":[{"uri":"file:///a","text":"file:///a"},{"uri":"https://a/","text":""}]}"#)
        for client in [PipelineBench.Client.modern(), .legacy(.v2024_11_05)] {
            let reply = try await bench.ask("resources/read", #""uri":\#(JSONText.quoted(asked))"#, client)
            let contents = reply?["result"]?["contents"]?.arrayValue
            #expect(contents?.map { $0["uri"]?.stringValue } == [shown, "https://a/"])
            #expect(contents?.first?["text"] == "file:///a", "text is nobody's to change")
        }
        #expect(seen.all.map(\.target) == [original, original])
        #expect(
            seen.all.map { String(decoding: $0.targetJSON, as: UTF8.self) }
                == Array(repeating: JSONText.quoted(original), count: 2))
    }

    @Test("Results of tools and prompts show ours, in links and inside, and leave structure and text alone")
    func results() async throws {
        let blocks =
            #"{"type":"resource_link","uri":"file:///a","name":"n"},"#
            + #"{"type":"resource","resource":{"uri":"ui://panel","text":"file:///a"}},"#
            + #"{"type":"text","text":"file:///a"}"#
        let tool = try bench(#"{"content":[\#(blocks)],"structuredContent":{"uri":"file:///a"}}"#)
        let called = try await tool.call(.modern())
        let shown = [JSONValue?.some("up+file:///a"), nil, nil]
        #expect(called?["result"]?["content"]?.arrayValue?.map { $0["uri"] } == shown)
        #expect(called?["result"]?["content"]?.arrayValue?[1]["resource"]?["uri"] == "ui://up/panel")
        #expect(called?["result"]?["structuredContent"]?.text == #"{"uri":"file:///a"}"#)
        let link = #"{"type":"resource_link","uri":"file:///a","name":"n"}"#
        let prompt = try bench(#"{"messages":[{"role":"user","content":\#(link)}]}"#)
        let asked = try await prompt.ask("prompts/get", #""name":"up__ask""#, .modern())
        #expect(asked?["result"]?["messages"]?.arrayValue?.first?["content"]?["uri"] == "up+file:///a")
    }

    @Test("A completion names prompts and templates as the owner knows them")
    func completions() async throws {
        let bench = try bench(#"{"completion":{"values":["file:///a"]}}"#)
        for reference in [
            #"{"type":"ref/resource","uri":"up+file:///{path}"}"#, #"{"type":"ref/prompt","name":"up__ask"}"#,
        ] {
            let reply = try await bench.ask(
                "completion/complete", #""ref":\#(reference),"argument":{"name":"path","value":"a"}"#, .modern())
            #expect(reply?["result"]?["completion"]?["values"] == ["file:///a"])
        }
        #expect(
            seen.all.map { String(decoding: $0.targetJSON, as: UTF8.self) } == [
                #"{"type":"ref/resource","uri":"file:///{path}"}"#, #"{"type":"ref/prompt","name":"ask"}"#,
            ])
        let unknown = #""ref":{"type":"ref/prompt","name":"none"}"#
        #expect(try await bench.ask("completion/complete", unknown, .modern())?.code == -32602)
    }

    @Test("What is missing is named as it was asked for, in the code of each era", arguments: [-32002, -32602])
    func missing(_ code: Int) async throws {
        let bench = try bench(#"{"code":\#(code),"message":"m","data":{"uri":"file:///a"}}"#, isError: true)
        for (client, expected) in [(PipelineBench.Client.modern(), -32602), (.legacy(), -32002)] {
            for uri in ["up+file:///a", "x:nobody"] {
                let reply = try await bench.ask("resources/read", #""uri":"\#(uri)""#, client)
                #expect(reply?.code == expected)
                #expect(reply?["error"]?["data"]?.text == #"{"uri":"\#(uri)"}"#)
            }
        }
        #expect(seen.count == 2)
    }

    @Test("An owner without a prefix is shown as it is, to the byte")
    func plain() async throws {
        let answer = #"{"content":[{"type":"resource_link","uri":"file:///a","name":"n" }],"uri":"file:///a"}"#
        let bench = try bench(answer, prefix: "")
        let reply = await bench.pipeline.handle(try bench.message("tools/call", #""name":"do""#, .legacy()))
        #expect(reply.text == #"{"jsonrpc":"2.0","id":1,"result":\#(answer)}"#)
        let meta = try await bench.ask("tools/list", "", .modern())?["result"]?["tools"]?.arrayValue?.first?["_meta"]
        #expect(meta?["ui"]?["resourceUri"] == "ui://panel")
    }
}
