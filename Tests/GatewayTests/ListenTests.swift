// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// Changes through the whole pipeline: `subscriptions/listen`, and subscriptions of sessions.
@Suite("Listening") struct ListenTests {
    private static func item(_ name: String) -> OfferedItem {
        OfferedItem(name: name, definition: Array(#"{"name":"n"}"#.utf8))
    }

    private static func offers(_ uris: [String], announces: Bool = true, tools: [String] = ["do"]) -> Offers {
        var offers = Offers(tools: tools.map { .plain($0) }, resources: uris.map(item))
        offers.announcesUpdates = announces
        return offers
    }

    private let up = AskingBackend(name: "server", offers: offers(["file:///a", "file:///b"])) {
        _ async throws(CallFailure) -> CallAnswer in
        throw .unknownTool
    }
    private let mute = AskingBackend(name: "mute", offers: offers(["file:///m"], announces: false)) {
        _ async throws(CallFailure) -> CallAnswer in
        throw .unknownTool
    }

    private func bench() throws -> PipelineBench {
        try PipelineBench([
            CatalogueEntry(backend: up, prefix: "up"), CatalogueEntry(backend: mute, prefix: "mute"),
        ])
    }

    /// A listen that is under way and acknowledged.
    private struct Open {
        let stream: ScriptedStream
        let reply: Task<JSONValue?, any Error>
        /// `notifications` of the acknowledgement.
        let honoured: String?
    }

    private func open(_ bench: PipelineBench, _ filter: String, id: String = "1") async throws -> Open {
        let stream = ScriptedStream()
        let reply = Task {
            try await bench.ask("subscriptions/listen", #""notifications":\#(filter)"#, .modern([], stream), id: id)
        }
        // Whoever is acknowledged hears; the acknowledgement alone is sent a moment earlier.
        let message = try await wait(forValue: "the acknowledgement") { stream.messages.first }
        #expect(message["method"] == "notifications/subscriptions/acknowledged")
        #expect(message["params"]?["_meta"]?["io.modelcontextprotocol/subscriptionId"]?.text == id)
        return Open(stream: stream, reply: reply, honoured: message["params"]?["notifications"]?.text)
    }

    @Test(
        "First the acknowledgement, then changes with its mark, at the end the result with it",
        arguments: ["7", #""seven""#])
    func whole(_ id: String) async throws {
        let bench = try bench()
        let listen = try await open(bench, #"{"toolsListChanged":true}"#, id: id)
        #expect(listen.honoured == #"{"toolsListChanged":true}"#)
        // Changed until it is heard: the listen opens a moment after its acknowledgement.
        var number = 0
        try await wait(for: "the change") {
            number += 1
            up.offer(Self.offers(["file:///a"], tools: ["do", "more\(number)"]))
            bench.pipeline.offersChanged()
            return listen.stream.sent.count >= 2
        }
        let change = listen.stream.messages[1]
        #expect(change["method"] == "notifications/tools/list_changed")
        #expect(change["params"]?["_meta"]?["io.modelcontextprotocol/subscriptionId"]?.text == id)
        bench.pipeline.drain()
        let reply = try await listen.reply.soon()
        #expect(reply?["id"]?.text == id)
        #expect(reply?.type == "complete")
        #expect(reply?["result"]?["_meta"]?["io.modelcontextprotocol/subscriptionId"]?.text == id)
        // After the drain nobody begins.
        let late = try await bench.ask("subscriptions/listen", #""notifications":{}"#, .modern([], ScriptedStream()))
        #expect(late?.code == -32603)
    }

    static let filters: [(String, String)] = [
        ("{}", "{}"),
        (
            #"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#,
            #"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#
        ),
        (#"{"toolsListChanged":false,"other":true}"#, "{}"),
        (#"{"resourceSubscriptions":[]}"#, "{}"),
        (
            #"{"resourceSubscriptions":["up+file:///b","up+file:///a"]}"#,
            #"{"resourceSubscriptions":["up+file:///b","up+file:///a"]}"#
        ),
        // Not there, not announced, and by the owner's own name where that is clear.
        (
            #"{"resourceSubscriptions":["x:none","mute+file:///m","file:///a"]}"#,
            #"{"resourceSubscriptions":["file:///a"]}"#
        ),
        (#"{"resourceSubscriptions":["mute+file:///m"],"promptsListChanged":true}"#, #"{"promptsListChanged":true}"#),
    ]

    @Test("The acknowledgement says what of the wish is honoured", arguments: filters)
    func honoured(_ filter: String, _ expected: String) async throws {
        let bench = try bench()
        let listen = try await open(bench, filter)
        #expect(listen.honoured == expected)
        listen.reply.cancel()
        #expect(try await listen.reply.soon() != nil)
        #expect(listen.stream.sent.count == 1)
    }

    static let refused: [(String, Int, ClientCapabilities, Bool)] = [
        ("", -32602, [], true), (#""notifications":[]"#, -32602, [], true),
        (#""notifications":null"#, -32602, [], true),
        (#""notifications":{"toolsListChanged":1}"#, -32602, [], true),
        (#""notifications":{"resourcesListChanged":"true"}"#, -32602, [], true),
        (#""notifications":{"resourceSubscriptions":"up+file:///a"}"#, -32602, [], true),
        (#""notifications":{"resourceSubscriptions":["a",5]}"#, -32602, [], true),
        (#""notifications":{"taskIds":["t"]}"#, -32021, [], true),
        (#""notifications":{"taskIds":"t"}"#, -32602, .tasks, true), (#""notifications":{}"#, -32602, [], false),
    ]

    @Test("A wish that cannot be is refused, and nobody listens", arguments: refused)
    func refusals(_ params: String, _ code: Int, _ capabilities: ClientCapabilities, _ hasStream: Bool) async throws {
        let bench = try bench()
        let stream = ScriptedStream()
        let client = PipelineBench.Client.modern(capabilities, hasStream ? stream : nil)
        #expect(try await bench.ask("subscriptions/listen", params, client)?.code == code)
        #expect(stream.sent.isEmpty)
        let tooMany = (0...1_000).map { "\"x:\($0)\"" }.joined(separator: ",")
        let many = #""notifications":{"resourceSubscriptions":[\#(tooMany)]}"#
        #expect(try await bench.ask("subscriptions/listen", many, .modern([], stream))?.code == -32602)
    }

    @Test("Owners are told what all listeners together want, by their own URIs, and only when that changes")
    func watches() async throws {
        let bench = try bench()
        let one = try await open(bench, #"{"resourceSubscriptions":["up+file:///a"]}"#)
        #expect(up.watches == [["file:///a"]], "the owner must know before the client is told")
        let two = try await open(bench, #"{"resourceSubscriptions":["up+file:///a","file:///b"]}"#, id: "2")
        let three = try await open(
            bench, #"{"resourceSubscriptions":["up+file:///a"],"toolsListChanged":true}"#, id: "3")
        #expect(up.watches == [["file:///a"], ["file:///a", "file:///b"]])
        for open in [one, two, three] {
            open.reply.cancel()
            _ = try await open.reply.soon()
        }
        #expect(up.watches == [["file:///a"], ["file:///a", "file:///b"], ["file:///a"], []])
        #expect(up.orders == up.orders.sorted())
        #expect(Set(up.orders).count == up.orders.count)
        #expect(mute.watches.isEmpty)
    }

    @Test("A change is told by the URI that clients know, with everything below it, to those who want it")
    func updates() async throws {
        let bench = try bench()
        let one = try await open(bench, #"{"resourceSubscriptions":["up+file:///a"]}"#)
        let two = try await open(bench, #"{"resourceSubscriptions":["up+file:///b"],"resourcesListChanged":true}"#)
        // Told until it is heard: the listen opens a moment after its acknowledgement.
        try await wait(for: "the update") {
            bench.pipeline.updated("file:///a/sub", of: "server")
            return one.stream.sent.count >= 2
        }
        let told = one.stream.messages[1]
        #expect(told["method"] == "notifications/resources/updated")
        #expect(told["params"]?["uri"] == "up+file:///a/sub")
        bench.pipeline.updated("file:///a", of: "mute")
        bench.pipeline.updated("file:///a", of: "nobody")
        bench.pipeline.updated("file:///ab", of: "server")
        #expect(one.stream.messages.dropFirst().allSatisfy { $0["params"]?["uri"] == "up+file:///a/sub" })
        #expect(two.stream.sent.count == 1)
        for open in [one, two] {
            open.reply.cancel()
            _ = try await open.reply.soon()
        }
    }

    @Test("A session subscribes, hears, and ends it; what cannot be watched is refused")
    func sessions() async throws {
        let bench = try bench()
        let session = ScriptedSession()
        let client = PipelineBench.Client.legacy(session: session)
        bench.pipeline.began(session)
        for (uri, code) in [("x:none", -32002), ("mute+file:///m", -32602)] {
            let reply = try await bench.ask("resources/subscribe", #""uri":"\#(uri)""#, client)
            #expect(reply?.code == code, "\(uri)")
        }
        #expect(try await bench.ask("resources/subscribe", "", client)?.code == -32602)
        #expect(try await bench.ask("resources/subscribe", #""uri":"up+file:///a""#, client)?["result"] == [:])
        #expect(up.watches == [["file:///a"]])
        bench.pipeline.updated("file:///a", of: "server")
        bench.pipeline.updated("file:///b", of: "server")
        #expect(
            session.delivered == [
                #"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"up+file:///a"}}"#
            ])
        #expect(try await bench.ask("resources/unsubscribe", #""uri":"up+file:///a""#, client)?["result"] == [:])
        #expect(up.watches == [["file:///a"], []])
        #expect(try await bench.ask("resources/subscribe", #""uri":"up+file:///b""#, client)?["result"] == [:])
        bench.pipeline.ended(session.key)
        try await wait(for: "the owner to hear that nobody listens") { up.watches.last == [] }
        bench.pipeline.updated("file:///b", of: "server")
        #expect(session.delivered.count == 1)
    }

    @Test("A resource that is named in its owner's own words is told of in ours, and ended by either name")
    func ownWords() async throws {
        let bench = try bench()
        let session = ScriptedSession()
        let client = PipelineBench.Client.legacy(session: session)
        bench.pipeline.began(session)
        _ = try await bench.ask("resources/subscribe", #""uri":"file:///a""#, client)
        _ = try await bench.ask("resources/subscribe", #""uri":"up+file:///a""#, client)
        #expect(up.watches == [["file:///a"]])
        bench.pipeline.updated("file:///a", of: "server")
        #expect(session.delivered.count == 1)
        #expect(session.delivered.first?.contains(#""uri":"up+file:///a""#) == true)
        _ = try await bench.ask("resources/unsubscribe", #""uri":"up+file:///a""#, client)
        #expect(up.watches.last == [])
        bench.pipeline.updated("file:///a", of: "server")
        #expect(session.delivered.count == 1)
    }

    @Test("A URI that is longer than any should be is nobody's")
    func longURI() async throws {
        let bench = try bench()
        let session = ScriptedSession()
        bench.pipeline.began(session)
        for (length, code) in [(8_192, nil), (8_193, -32002)] {
            let uri = "up+x:" + String(repeating: "y", count: length - 5)
            let reply = try await bench.ask("resources/subscribe", #""uri":"\#(uri)""#, .legacy(session: session))
            #expect(reply?.code == code, "\(length)")
        }
    }

    @Test("Only lists that really differ are told of")
    func realChanges() async throws {
        let bench = try bench()
        let session = ScriptedSession()
        bench.pipeline.began(session)
        bench.pipeline.offersChanged()
        up.offer(Self.offers(["file:///a", "file:///b"]))
        bench.pipeline.offersChanged()
        #expect(session.delivered.isEmpty)
        up.offer(Self.offers(["file:///a"]))
        bench.pipeline.offersChanged()
        #expect(session.delivered == [#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#])
    }
}
