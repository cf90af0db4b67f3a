// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// Two tools that stand for all others.
@Suite("Compact mode") struct CompactToolsTests {
    private static let search = #"{"type":"object","properties":{"city":{"type":"string","default":1.50}}}"#

    private static func tool(_ name: String, _ description: String) -> OfferedItem {
        let json =
            #"{"name":\#(JSONText.quoted(name)),"title":"T","description":\#(JSONText.quoted(description)),"#
            + #""inputSchema":\#(search),"annotations":{"readOnlyHint":true}}"#
        return OfferedItem(name: name, definition: Array(json.utf8))
    }

    private let seen = Collected<RoutedCall>()

    private func bench(_ tools: [OfferedItem]? = nil, prefix: String = "up") throws -> PipelineBench {
        let usual = [
            Self.tool("weather", "Tells the weather of a city"), Self.tool("mail", "Sends a letter"),
            Self.tool("calendar", "Lists appointments"),
        ]
        let backend = AskingBackend(name: "server", asks: false, offers: Offers(tools: tools ?? usual)) {
            [seen] call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            return try .of(#"{"content":[{"type":"text","text":"done"}]}"#)
        }
        return try PipelineBench(backend, prefix: prefix, isCompact: true)
    }

    private func find(_ bench: PipelineBench, _ arguments: String?) async throws -> JSONValue? {
        let more = arguments.map { #","arguments":\#($0)"# } ?? ""
        return try await bench.ask("tools/call", #""name":"search_tools"\#(more)"#, .legacy())
    }

    private func names(_ reply: JSONValue?) -> [String] {
        let tools = reply?["result"]?["structuredContent"]?["tools"]?.arrayValue ?? []
        return tools.compactMap { $0["name"]?.stringValue }
    }

    @Test("A client sees two tools, whose schemas are schemas", arguments: Revision.allCases)
    func list(_ revision: Revision) async throws {
        let reply = try await bench().ask("tools/list", "", PipelineBench.Client(revision: revision))
        let tools = reply?["result"]?["tools"]?.arrayValue ?? []
        #expect(tools.map { $0["name"]?.stringValue } == ["search_tools", "call_tool"])
        for tool in tools {
            let definition = tool.with("outputSchema", ["type": "object"])
            #expect(throws: Never.self) { try ToolFacts.of(definition, checksSchemas: true) }
            #expect(tool["description"]?.stringValue?.isEmpty == false)
            #expect((tool["title"] != nil) == (revision >= .v2025_06_18))
        }
    }

    @Test("A tool is found by what it does, with all that is needed to call it, in text and in structure")
    func finds() async throws {
        let reply = try await find(bench(), #"{"query":"what is the weather"}"#)
        #expect(names(reply) == ["up__weather"])
        let found = try #require(reply?["result"]?["structuredContent"]?["tools"]?.arrayValue?.first)
        #expect(found.objectValue?.map(\.key) == ["name", "title", "description", "inputSchema"])
        #expect(found["inputSchema"]?.text == Self.search)
        #expect(reply?["result"]?["isError"] == false)
        #expect(reply?.words == reply?["result"]?["structuredContent"]?.text)
    }

    static let limits: [(String, Int)] = [
        ("", 5), (#","limit":1"#, 1), (#","limit":20"#, 20), (#","limit":21"#, 20), (#","limit":1000000"#, 20),
        (#","limit":0"#, 1), (#","limit":-7"#, 1), (#","limit":"3""#, 5), (#","limit":2.5"#, 5), (#","limit":null"#, 5),
    ]

    @Test("As many are found as are wanted, within reason", arguments: limits)
    func bounded(_ more: String, _ count: Int) async throws {
        let tools = (0..<30).map { Self.tool("weather\($0)", "Tells the weather") }
        let reply = try await find(bench(tools), #"{"query":"weather"\#(more)}"#)
        #expect(names(reply).count == count)
    }

    @Test("Nothing found is said in words, and is no error")
    func nothing() async throws {
        for bench in [try bench(), try bench([])] {
            let reply = try await find(bench, #"{"query":"zeppelin"}"#)
            #expect(names(reply).isEmpty)
            #expect(reply?["result"]?["structuredContent"]?.text == #"{"tools":[]}"#)
            #expect(reply?["result"]?["isError"] == false)
            #expect(reply?.words?.contains("other words") == true)
        }
    }

    @Test(
        "A search without a query is an error that a model can read",
        arguments: [nil, "{}", #"{"query":5}"#, #"{"q":"x"}"#])
    func noQuery(_ arguments: String?) async throws {
        let reply = try await find(bench(), arguments)
        #expect(reply?["result"]?["isError"] == true)
        #expect(reply?.words?.contains("query") == true)
    }

    static let calls: [(String, String)] = [
        (#"{"name":"up__weather","arguments":{ "city":"x", "n":1.0 }}"#, #"{ "city":"x", "n":1.0 }"#),
        (#" { "arguments" : {"a":[1 ]} , "name" : "up__w\u0065ather" } "#, #"{"a":[1 ]}"#),
        (#"{"name":"up__weather"}"#, "nil"), (#"{"name":"up__weather","other":{"arguments":1}}"#, "nil"),
    ]

    @Test("A call inside reaches its tool with its arguments as they were written", arguments: calls)
    func callsInside(_ arguments: String, _ inner: String) async throws {
        let bench = try bench()
        let stream = ScriptedStream()
        var client = PipelineBench.Client.legacy(.v2025_11_25, [.roots], stream)
        client.session = ScriptedSession()
        let reply = try await bench.ask(
            "tools/call",
            #""_meta":{"progressToken":"t","a/b":1.0},"name":"call_tool","arguments":\#(arguments),"x":[2 ]"#, client,
            id: #""an id""#)
        #expect(reply?["id"]?.text == #""an id""#)
        #expect(reply?.words == "done")
        let call = try #require(seen.all.first)
        #expect(call.target == "weather")
        #expect(call.arguments.map { String(buffer: $0) } ?? "nil" == inner)
        #expect(call.wishes.progress)
        #expect(call.wishes.capabilities == .roots)
        let bytes = call.bytes.readableBytesUInt8Span
        #expect(
            call.message.metaMember("a/b", in: bytes).flatMap { call.slice($0.value) }.map { String(buffer: $0) }
                == "1.0")
        #expect(
            call.message.member("x", in: bytes).flatMap { call.slice($0.value) }.map { String(buffer: $0) } == "[2 ]")
        #expect(bench.journal.calls.map(\.tool) == ["up__weather"])
    }

    static let bad: [String] = [
        "{}", #"{"name":5}"#, #"{"name":"none"}"#, #"{"name":"weather"}"#, #"{"name":"call_tool"}"#,
        #"{"name":"search_tools"}"#, #"{"Name":"up__weather"}"#, #"{"name":"up__WEATHER"}"#,
    ]

    @Test("A call of no tool is an error that a model can read", arguments: bad)
    func badCall(_ arguments: String) async throws {
        let bench = try bench()
        let reply = try await bench.ask("tools/call", #""name":"call_tool","arguments":\#(arguments)"#, .modern())
        #expect(reply?["result"]?["isError"] == true)
        #expect(reply?.words?.contains("search_tools") == true)
        #expect(reply?.type == "complete")
        #expect(seen.count == 0)
    }

    @Test("Arguments of the call inside are an object, or there is no call", arguments: ["5", "[]", "null", #""x""#])
    func innerArguments(_ inner: String) async throws {
        let params = #""name":"call_tool","arguments":{"name":"up__weather","arguments":\#(inner)}"#
        let reply = try await bench().ask("tools/call", params, .modern())
        #expect(reply?["result"]?["isError"] == true)
        #expect(seen.count == 0)
    }

    @Test("Headers are asked for what a client can know of: not for arguments inside of a call")
    func headers() async throws {
        let schema = #"{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#
        let tool = OfferedItem(name: "do", definition: Array(#"{"name":"do","inputSchema":\#(schema)}"#.utf8))
        let bench = try bench([tool])
        var client = PipelineBench.Client.modern()
        client.headers = []
        let arguments = #"{"name":"up__do","arguments":{"a":"x"}}"#
        let inside = try await bench.ask("tools/call", #""name":"call_tool","arguments":\#(arguments)"#, client)
        #expect(inside?.words == "done")
        let byName = try await bench.ask("tools/call", #""name":"up__do","arguments":{"a":"x"}"#, client)
        #expect(byName?.code == -32020)
    }

    @Test("A tool that is known by name is called by it, listed or not")
    func byName() async throws {
        let bench = try bench()
        #expect(try await bench.ask("tools/call", #""name":"up__mail""#, .modern())?.words == "done")
        #expect(seen.all.map(\.target) == ["mail"])
        #expect(try await bench.ask("tools/call", #""name":"none""#, .modern())?.code == -32602)
    }

    @Test("No owner may take the two names: a tool of its own that is called so is not reached")
    func sameName() async throws {
        let bench = try bench([Self.tool("call_tool", "Theirs"), Self.tool("mail", "Sends a letter")], prefix: "")
        let call = #""name":"call_tool","arguments":{"name":"mail"}"#
        #expect(try await bench.ask("tools/call", call, .modern())?.words == "done")
        #expect(seen.all.map(\.target) == ["mail"])
    }

    @Test("Outside of compact mode the two names are nobody's", arguments: ["search_tools", "call_tool"])
    func otherMode(_ name: String) async throws {
        let backend = AskingBackend(name: "server", offers: Offers(tools: [.plain("do")])) {
            _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        let params = #""name":"\#(name)","arguments":{"query":"do","name":"up__do"}"#
        #expect(try await PipelineBench(backend).ask("tools/call", params, .modern())?.code == -32602)
    }

    @Test("The questions of a call inside are answered to the same call")
    func rounds() async throws {
        let backend = AskingBackend(name: "server", asks: false, offers: Offers(tools: [.plain("do")])) {
            [seen] call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            let form = #"{"method":"elicitation/create","params":{"message":"?"}}"#
            return try .of(
                call.resumption == nil
                    ? #"{"resultType":"input_required","inputRequests":{"k":\#(form)},"requestState":"s"}"#
                    : #"{"content":[{"type":"text","text":"done"}]}"#)
        }
        let bench = try PipelineBench(backend, isCompact: true)
        let client = PipelineBench.Client.modern(.elicitationForm)
        let params = #""name":"call_tool","arguments":{"name":"up__do","arguments":{"a":1}}"#
        let asked = try await bench.ask("tools/call", params, client)
        let state = try #require(asked?["result"]?["requestState"]).text
        let more = #","inputResponses":{"k":{"action":"decline"}},"requestState":\#(state)"#
        #expect(try await bench.ask("tools/call", params + more, client)?.words == "done")
        #expect(seen.all.last?.resumption?.state.map { String(decoding: $0, as: UTF8.self) } == #""s""#)
        let other = #""name":"call_tool","arguments":{"name":"up__do","arguments":{"a":2}}"#
        #expect(try await bench.ask("tools/call", other + more, client)?.code == -32602)
    }
}
