// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Sealing
import Testing

@testable import MCPFront

/// By which era a message is read, and what the transport itself answers.
@Suite("Endpoint") struct RoutingTests {
    @Test("A session carries its revision, whatever header a request sends", arguments: Revision.allCases)
    func sessionRevision(_ revision: Revision) async throws {
        guard !revision.isModern else { return }
        let bench = FrontBench()
        try await bench.use { client, _ async throws in
            let session = try await client.openSession(revision)
            for header in [nil, Revision.v2025_11_25] {
                let request = RequestText.legacy("tools/list", id: "5", session: session, revision: header)
                #expect(try await client.ask(request).id == "5")
            }
        }
        #expect(bench.service.messages.map(\.revision) == [revision, revision, revision])
        #expect(bench.service.messages.map(\.message.method) == [.initialize, .toolsList, .toolsList])
    }

    @Test("A session is good after a restart, and with an older key, but not with a strange one")
    func restart() async throws {
        let bench = FrontBench()
        let session = try await bench.use { client, _ async throws in try await client.openSession(.v2025_06_18) }
        let ping = RequestText.legacy("ping", session: session)
        #expect(try await FrontBench().use { client, _ async throws in try await client.ask(ping).status } == 200)
        var rotated = FrontBench()
        rotated.keys = SealKeys(
            current: .init(id: 2, secret: Array(repeating: 8, count: 32)),
            older: [.init(id: 1, secret: Array(repeating: 3, count: 32))])
        #expect(try await rotated.use { client, _ async throws in try await client.ask(ping).status } == 200)
        var strange = FrontBench()
        strange.keys = SealKeys(current: .init(id: 1, secret: Array(repeating: 8, count: 32)))
        #expect(try await strange.use { client, _ async throws in try await client.ask(ping).status } == 404)
    }

    @Test("An ended session leaves a tombstone that outlives it, also where it was never seen")
    func tombstone() async throws {
        let bench = FrontBench()
        let session = try await bench.use { client, _ async throws in
            let session = try await client.openSession(.v2025_06_18)
            let answer = try await client.ask(RequestText.http("DELETE", headers: [("mcp-session-id", session)]))
            #expect(answer.status == 200)
            #expect(answer.body.isEmpty)
            return session
        }
        let stone = try #require(bench.tombstones.all.first)
        #expect(stone.value > bench.time.wallMilliseconds() + 3_500_000)
        let answer = try await bench.use { client, _ async throws in
            try await client.ask(RequestText.legacy("ping", session: session))
        }
        #expect(answer.status == 404)
        #expect(answer.refusal?.code == "session_unknown")
    }

    @Test("A session is too old after its lifetime, remembered or not", arguments: [true, false])
    func lifetime(_ isRemembered: Bool) async throws {
        for (age, status) in [(3_500, 200), (3_601, 404)] {
            let bench = FrontBench()
            try await bench.use { client, sessions async throws in
                let session = try await client.openSession(.v2025_06_18)
                bench.time.advance(by: .seconds(age))
                if !isRemembered { sessions.releaseMemory() }
                // Another connection: the first one has been silent for too long.
                try await ScriptedClient.with(port: client.port) { late async throws in
                    #expect(try await late.ask(RequestText.legacy("ping", session: session)).status == status)
                }
            }
        }
    }

    @Test(
        "Client capabilities are read from initialize",
        arguments: [
            ("{}", []), (#"{"roots":{}}"#, .roots), (#"{"sampling":{}}"#, .sampling),
            (#"{"sampling":{"tools":{}}}"#, [.sampling, .samplingTools]), (#"{"elicitation":{}}"#, .elicitationForm),
            (#"{"elicitation":{"form":{}}}"#, .elicitationForm), (#"{"elicitation":{"url":{}}}"#, .elicitationURL),
            (#"{"elicitation":{"form":{},"url":{}},"roots":{}}"#, [.elicitationForm, .elicitationURL, .roots]),
            ("[]", []),
        ] as [(String, ClientCapabilities)])
    func capabilities(_ json: String, _ expected: ClientCapabilities) async throws {
        #expect(ClientCapabilities(try JSONValue.parse(json)) == expected)
        try await FrontBench().use { client, sessions async throws in
            let answer = try await client.ask(RequestText.initialize("2025-11-25", capabilities: json))
            let id = try #require(answer.header("mcp-session-id"))
            #expect(sessions.find(id)?.capabilities == expected)
        }
    }

    @Test("Responses of a client are noted in a session and refused in the stateless era")
    func responses() async throws {
        let body = #"{"jsonrpc":"2.0","id":9,"result":{}}"#
        try await FrontBench().use { client, _ async throws in
            let session = try await client.openSession(.v2025_11_25)
            let headers = [RequestText.json, RequestText.both]
            let inSession = RequestText.http(headers: headers + [("mcp-session-id", session)], body: body)
            #expect(try await client.ask(inSession).status == 202)
            let stateless = RequestText.http(headers: headers + [("mcp-protocol-version", "2026-07-28")], body: body)
            let answer = try await client.ask(stateless)
            #expect(answer.status == 400)
            #expect(answer.errorCode == -32600)
        }
    }

    @Test("Content types and Accept headers are read as RFC 9110 has them")
    func negotiation() {
        for type in [
            "application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x=y",
        ] {
            #expect(Negotiation.isJSON(type), "\(type)")
        }
        for type in [nil, "", "text/json", "application/jsonx", "application/xml", ";application/json"] {
            #expect(!Negotiation.isJSON(type), "\(type ?? "none")")
        }
        let table: [([String], Negotiation.Accepts)] = [
            ([], .json), (["*/*"], .json), (["application/json"], .json), (["text/event-stream"], .events),
            (["application/json, text/event-stream"], .both), (["application/json", "text/event-stream"], .both),
            (["TEXT/Event-Stream;q=0.5 , Application/JSON"], .both), (["text/html"], .neither), (["text/*"], .events),
            (["application/*, text/html"], .json), (["text/html, */*;q=0.1"], .json),
        ]
        for (values, expected) in table { #expect(Negotiation.accepts(values) == expected, "\(values)") }
    }
}
