// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

/// What passes through is not rewritten.
@Suite("Bytes") struct ByteTests {
    static let personalities: [(String, Personality)] = [
        ("modern", .modern), ("legacy", .legacy(.v2025_11_25, hasSessions: true)),
    ]

    /// Spellings that a JSON library would tidy up.
    static let arguments = [
        #"{}"#,
        #"{ }"#,
        #"{"n":1.0}"#,
        #"{"n":1e400,"m":-0,"k":0.10000000000000000000001,"big":123456789012345678901234567890}"#,
        #"{"z":1,"a":2,"m":{"y":[1 , 2,3],"b":null}}"#,
        #"{"s":"caf\u00e9 \/ \ud83d\ude00 \u0000 \"quoted\""}"#,
        #"{"text":"日本語 😀 é"}"#,
        "{\n  \"pretty\" : [\n    true ,\tfalse\n  ]\r\n}",
        #"{"\u006eame":"not the tool","arguments":{"_meta":{"progressToken":1}}}"#,
        #"{"long":"\#(String(repeating: "x", count: 40_000))"}"#,
    ]

    @Test("Arguments reach the upstream and results the client byte for byte", arguments: [0, 1], ClientKind.all)
    func passThrough(_ personality: Int, _ kind: ClientKind) async throws {
        let upstream = try await ScriptedUpstream.start(Self.personalities[personality].1)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await kind.begin(client)
                for (index, arguments) in Self.arguments.enumerated() {
                    let reply = try await client.ask(asker.call("up__echo", id: "\(index)", arguments: arguments))
                    #expect(upstream.calls.last?.param("arguments") == arguments)
                    guard kind.revision >= .v2025_06_18 else { continue }
                    #expect(reply.resultMember("structuredContent") == arguments)
                }
            }
        }
        await upstream.goAway()
    }

    @Test(
        "Ids come back as they were written",
        arguments: [
            "0", "-1", "9007199254740993", "9223372036854775807", "18446744073709551616", #""""#, #""1""#,
            #""a\u0062\/c""#,
            #""日本""#, "12345678901234567890123456789012345678901234567890",
        ])
    func ids(_ id: String) async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                for kind in [ClientKind.modern, .legacy(.v2025_11_25)] {
                    let asker = try await kind.begin(client)
                    for request in [asker.call("up__echo", id: id), asker.list(id: id), asker.call("nobody", id: id)] {
                        let answer = try await client.ask(request)
                        #expect(answer.text.hasPrefix(#"{"jsonrpc":"2.0","id":\#(id),"#), "\(answer.text.prefix(80))")
                    }
                }
            }
        }
        await upstream.goAway()
    }

    static let results = [
        #"{"content":[{"type":"text","text":"a\/b \u00e9"}]}"#,
        #"{ "content" : [ ] , "isError" : false }"#,
        #"{"content":[],"structuredContent":{"n":1.0,"z":1E5,"a":2},"x-unknown":[1.50]}"#,
        #"{"content":[],"_meta":{"example.com/trace":"t","progress":1e2}}"#,
        #"{"content":[],"isError":true}"#,
    ]

    @Test("A legacy result reaches a legacy client without a byte changed", arguments: results)
    func legacyResult(_ result: String) async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: false))
        upstream.answerCalls { .json(#"{"jsonrpc":"2.0","id":\#($0.id),"result":\#(result)}"#) }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await ClientKind.legacy(.v2025_11_25).begin(client)
                let reply = try await client.ask(asker.call("up__echo"))
                #expect(reply.rawResult == result)
            }
        }
        await upstream.goAway()
    }

    @Test("Client _meta goes on, what belongs to the client's own hop does not", arguments: [0, 1])
    func meta(_ personality: Int) async throws {
        let upstream = try await ScriptedUpstream.start(Self.personalities[personality].1)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                for kind in [ClientKind.modern, .legacy(.v2025_11_25)] {
                    let asker = try await kind.begin(client)
                    let meta = #""traceparent":"00-ab-cd-01","progressToken":7,"com.example/x":{"k":1.0}"#
                    _ = try await client.ask(asker.call("up__echo", meta: meta))
                    let sent = try #require(upstream.calls.last?.param("_meta"))
                    #expect(sent.contains(#""traceparent":"00-ab-cd-01""#))
                    #expect(sent.contains(#""com.example/x":{"k":1.0}"#))
                    let tree = try JSONValue.parse(sent)
                    // The token is the gateway's own: the number of its request.
                    #expect(tree["progressToken"]?.text == upstream.calls.last?.id)
                    #expect((tree["io.modelcontextprotocol/protocolVersion"] != nil) == (personality == 0))
                }
            }
        }
        await upstream.goAway()
    }

    @Test("Members that belong to the client's own hop end at the gateway")
    func ownHop() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let params =
                    #""name":"up__echo","task":{"ttl":1},"requestState":null,"extra":1.50,"arguments":{}"#
                _ = try await client.ask(RequestText.modern("tools/call", params: params, name: "up__echo"))
                let call = try #require(upstream.calls.last)
                #expect(call.param("task") == nil)
                #expect(call.param("requestState") == nil)
                #expect(call.param("extra") == "1.50")
            }
        }
        await upstream.goAway()
    }
}
