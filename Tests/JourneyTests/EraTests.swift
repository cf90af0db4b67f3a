// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

/// Clients of each era against upstreams of each era.
@Suite("Eras") struct EraTests {
    struct Pair: Sendable, CustomTestStringConvertible {
        let client: ClientKind
        let upstreamName: String
        let upstream: Personality
        var testDescription: String { "\(client.testDescription), upstream: \(upstreamName)" }
    }

    static let pairs: [Pair] = ClientKind.all.flatMap { client in
        [
            Pair(client: client, upstreamName: "modern", upstream: .modern),
            Pair(
                client: client, upstreamName: "newest legacy", upstream: .legacy(.v2025_11_25, hasSessions: true)),
            Pair(
                client: client, upstreamName: "oldest legacy, no session",
                upstream: .legacy(.v2024_11_05, hasSessions: false)),
        ]
    }

    @Test("Every client lists and calls the tool of every upstream", arguments: pairs)
    func listAndCall(_ pair: Pair) async throws {
        let upstream = try await ScriptedUpstream.start(pair.upstream)
        defer { Task { await upstream.goAway() } }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await pair.client.begin(client)
                let list = try await client.ask(asker.list(id: "41"))
                #expect(list.status == 200)
                #expect(list.id == "41")
                #expect(list.toolNames == ["up__echo"])
                #expect((list.result?["resultType"] != nil) == pair.client.revision.isModern)

                let reply = try await client.ask(asker.call("up__echo", id: #""abc""#, arguments: #"{"n":1.0}"#))
                #expect(reply.status == 200)
                #expect(reply.id == #""abc""#)
                #expect(reply.words == "echo")
                #expect((reply.result?["resultType"]?.stringValue == "complete") == pair.client.revision.isModern)
                let hasStructure = pair.client.revision >= .v2025_06_18
                #expect(reply.resultMember("structuredContent") == (hasStructure ? #"{"n":1.0}"# : nil))
            }
        }
        let call = try #require(upstream.calls.first)
        #expect(upstream.calls.count == 1)
        #expect(call.tool == "echo")
        #expect(call.header("authorization") == "Bearer of-up")
        expectManners(call, of: pair.upstream)
    }

    private func expectManners(_ call: RecordedRequest, of personality: Personality) {
        switch personality {
        case .modern:
            #expect(call.header("mcp-protocol-version") == "2026-07-28")
            #expect(call.header("mcp-method") == "tools/call")
            #expect(call.header("mcp-name") == "echo")
            #expect(call.header("mcp-session-id") == nil)
            let meta = call.json?["params"]?["_meta"]
            #expect(meta?["io.modelcontextprotocol/protocolVersion"]?.stringValue == "2026-07-28")
            #expect(meta?["io.modelcontextprotocol/clientCapabilities"] == [:])
            #expect(meta?["io.modelcontextprotocol/clientInfo"]?["name"]?.stringValue == "mcp-gateway")
        case .legacy(let revision, let hasSessions):
            #expect(call.header("mcp-method") == nil)
            #expect(call.header("mcp-session-id") == (hasSessions ? "session-1" : nil))
            #expect(call.header("mcp-protocol-version") == (revision >= .v2025_06_18 ? revision.name : nil))
            #expect(call.json?["params"]?["_meta"] == nil)
        }
    }

    @Test(
        "A legacy client is answered in the revision it asked for",
        arguments: [
            ("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"), ("2026-07-28", "2025-11-25"), ("1999-01-01", "2025-11-25"),
        ])
    func negotiation(_ asked: String, _ given: String) async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let answer = try await client.ask(RequestText.initialize(asked, id: "9007199254740993"))
                #expect(answer.status == 200)
                #expect(answer.id == "9007199254740993")
                #expect(answer.result?["protocolVersion"]?.stringValue == given)
                #expect(answer.result?["serverInfo"]?["name"]?.stringValue == "mcp-gateway")
                #expect(answer.header("mcp-session-id") != nil)
            }
        }
    }

    @Test("The gateway probes with server/discover only and never with a call")
    func probing() async throws {
        let modern = try await ScriptedUpstream.start(.modern)
        let legacy = try await ScriptedUpstream.start(.legacy(.v2025_06_18, hasSessions: true))
        try await withHouse(HousePlan(["a": modern, "b": legacy])) { _ in }
        #expect(modern.requests.map(\.method) == ["server/discover", "tools/list"])
        // The session's own stream is asked for too, which is no message.
        #expect(
            legacy.requests.compactMap(\.method)
                == ["server/discover", "initialize", "notifications/initialized", "tools/list"])
        let opening = try #require(legacy.requests("initialize").first)
        #expect(opening.header("mcp-protocol-version") == nil)
        await modern.goAway()
        await legacy.goAway()
    }

    @Test("Discovery tells a modern client all revisions and how long that is true")
    func discovery() async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let answer = try await client.ask(RequestText.modern("server/discover"))
                let versions = answer.result?["supportedVersions"]?.arrayValue?.compactMap(\.stringValue)
                #expect(versions == ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
                #expect(answer.result?["resultType"]?.stringValue == "complete")
                #expect(answer.result?["ttlMs"]?.intValue != nil)
                #expect(answer.result?["cacheScope"]?.stringValue != nil)
                let info = answer.result?["_meta"]?["io.modelcontextprotocol/serverInfo"]
                #expect(info?["name"]?.stringValue == "mcp-gateway")
            }
        }
    }

    @Test("A session that was ended stays ended, and another goes on")
    func deletion() async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let first = try await client.openSession(.v2025_11_25)
                let second = try await client.openSession(.v2025_11_25)
                let deleted = try await client.ask(RequestText.http("DELETE", headers: [("mcp-session-id", first)]))
                #expect(deleted.status == 200)
                #expect(try await client.ask(RequestText.legacy("ping", session: first)).status == 404)
                #expect(
                    try await client.ask(RequestText.http("DELETE", headers: [("mcp-session-id", first)])).status == 404
                )
                let alive = try await client.ask(RequestText.legacy("ping", id: "5", session: second))
                #expect(alive.status == 200)
                #expect(alive.text == #"{"jsonrpc":"2.0","id":5,"result":{}}"#)
            }
        }
    }
}
