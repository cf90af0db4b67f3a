// Licensed under the Apache License 2.0; see LICENSE.

import Gateway
import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

/// What clients are told when an upstream misbehaves, and that nobody else notices.
@Suite("Upstream trouble") struct UpstreamTroubleTests {
    /// One call through a house whose upstream answers calls by `script`; then one more, answered normally.
    private func call(
        _ personality: Personality = .modern, kind: ClientKind = .modern,
        plan change: (inout HousePlan) -> Void = { _ in },
        _ script: @escaping @Sendable (RecordedRequest) -> ScriptedAnswer?
    ) async throws -> RecordedAnswer {
        let upstream = try await ScriptedUpstream.start(personality)
        upstream.answerCalls { $0.param("arguments") == "{}" ? script($0) : nil }
        var plan = HousePlan(["up": upstream], timeout: .seconds(20), answerBytesMax: 100_000)
        change(&plan)
        let reply = try await withHouse(plan) { house async throws in
            try await house.client { client async throws in
                let asker = try await kind.begin(client)
                let reply = try await client.ask(asker.call("up__echo", id: "77"))
                let next = try await wait(forValue: "a normal answer after the trouble") {
                    let next = try await client.ask(asker.call("up__echo", id: "78", arguments: #"{"again":1}"#))
                    return next.words == "echo" ? next : nil
                }
                #expect(next.id == "78")
                return reply
            }
        }
        await upstream.goAway()
        // What the client lacks is the one thing that has a status of its own.
        #expect(reply.status == (reply.errorCode == -32021 ? 400 : 200))
        #expect(reply.id == "77")
        return reply
    }

    private func expectWords(_ reply: RecordedAnswer, _ parts: String...) {
        #expect(reply.saysError)
        for part in parts { #expect(reply.words?.contains(part) == true, "\(part) is missing in: \(reply.text)") }
    }

    static let kinds: [ClientKind] = [.modern, .legacy(.v2025_06_18)]

    @Test("An upstream that closes the connection in the middle leaves the outcome unknown", arguments: kinds)
    func closing(_ kind: ClientKind) async throws {
        let halves: [ScriptedAnswer] = [
            .closing,
            .bytes(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"j", closes: true),
            .bytes("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: wait\r\n\r\n", closes: true),
        ]
        for half in halves {
            let reply = try await call(kind: kind) { _ in half }
            expectWords(
                reply, "up__echo", "\"up\"", "Whether it was carried out is unknown", "check before calling it again")
        }
    }

    @Test(
        "An upstream's garbage is named as a fault of that server",
        arguments: [
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\nnot json!",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>",
            "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        ])
    func garbage(_ bytes: String) async throws {
        let reply = try await call { _ in .bytes(bytes, closes: false) }
        expectWords(reply, "\"up\"", "something that is no answer", "a fault of that server")
    }

    @Test("An empty answer tells nothing of what became of the call", arguments: [200, 202])
    func empty(_ status: Int) async throws {
        let reply = try await call { _ in
            .bytes("HTTP/1.1 \(status) OK\r\ncontent-length: 0\r\n\r\n", closes: false)
        }
        expectWords(reply, "\"up\"", "Whether it was carried out is unknown", "HTTP status \(status)")
    }

    @Test(
        "A result that is no object, or of a kind that was not asked for, is garbage",
        arguments: [
            "[]", #""text""#, "5", "null", #"{"resultType":"input_required","inputRequests":{}}"#, #"{"resultType":7}"#,
        ])
    func strangeResults(_ result: String) async throws {
        let reply = try await call { .json(#"{"jsonrpc":"2.0","id":\#($0.id),"result":\#(result)}"#) }
        expectWords(reply, "something that is no answer")
    }

    @Test("An answer with another number is not taken for ours", arguments: ["999999", #""1""#, "null"])
    func otherNumber(_ id: String) async throws {
        let reply = try await call { _ in .json(#"{"jsonrpc":"2.0","id":\#(id),"result":{"content":[]}}"#) }
        expectWords(reply, "something that is no answer")
    }

    @Test("An answer longer than the limit is refused, as a body and as events")
    func oversized() async throws {
        let long = String(repeating: "x", count: 120_000)
        let asBody = try await call { .result(#""content":[{"type":"text","text":"\#(long)"}]"#, to: $0) }
        expectWords(asBody, "longer than 100000 bytes")
        let asEvents = try await call {
            .events(
                [#"data: {"jsonrpc":"2.0","id":\#($0.id),"result":{"content":[],"x":"\#(long)"}}"# + "\n\n"], ends: true
            )
        }
        expectWords(asEvents, "something that is no answer")
    }

    @Test("An answer as an event stream is found among comments and notifications", arguments: [true, false])
    func events(_ ends: Bool) async throws {
        let reply = try await call { request in
            .events(
                [
                    ": hello\n\n", "event: other\ndata: {}\n\n",
                    #"data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#
                        + "\r\n\r\n",
                    #"id: 5"# + "\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":\(request.id),",
                    #""result":{"resultType":"complete","content":[{"type":"text","text":"by event"}]}}"# + "\n\n",
                ], ends: ends)
        }
        #expect(reply.words == "by event")
        #expect(!reply.saysError)
    }

    @Test(
        "An upstream's own error reaches the client with its words and data",
        arguments: [
            (-32602, -32602, -32602), (-32002, -32602, -32002), (-32021, -32021, -32603), (-32000, -32000, -32000),
            (42, 42, 42),
        ])
    func errors(_ code: Int, _ modern: Int, _ legacy: Int) async throws {
        for (kind, expected) in [(ClientKind.modern, modern), (.legacy(.v2025_11_25), legacy)] {
            let reply = try await call(kind: kind) {
                .json(
                    #"{"jsonrpc":"2.0","id":\#($0.id),"error":{"code":\#(code),"message":"n\u00e9","data":{"n":1.0}}}"#
                )
            }
            #expect(reply.errorCode == expected)
            #expect(reply.text.contains(#""message":"n\u00e9""#))
            #expect(reply.text.contains(#""data":{"n":1.0}"#))
        }
    }

    @Test("A hanging upstream is given up at the deadline, and the words say that it may have acted", arguments: kinds)
    func hanging(_ kind: ClientKind) async throws {
        let time = ManualTime(runs: true)
        let reply = try await call(
            kind: kind,
            plan: { $0.time = time },
            { _ in
                time.advance(by: .seconds(21))
                return .silence
            })
        expectWords(
            reply, "gave no answer within 2", "It may still have been carried out", "check before calling it again")
    }

    @Test("A call that outlives the deadline in a legacy upstream is cancelled there in words")
    func cancelledThere() async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: true))
        let time = ManualTime(runs: true)
        upstream.answerCalls { _ in
            time.advance(by: .seconds(21))
            return .silence
        }
        var plan = HousePlan(["up": upstream], timeout: .seconds(20))
        plan.time = time
        try await withHouse(plan) { house async throws in
            try await house.client { client async throws in
                let reply = try await client.ask(try await ClientKind.modern.begin(client).call("up__echo"))
                #expect(reply.saysError)
            }
            try await wait(for: "the notice") { !upstream.requests("notifications/cancelled").isEmpty }
            let notice = try #require(upstream.requests("notifications/cancelled").first)
            #expect(notice.json?["params"]?["requestId"]?.text == upstream.calls.first?.id)
            #expect(notice.header("mcp-session-id") == "session-1")
        }
        await upstream.goAway()
    }

    @Test("One hanging upstream delays nobody else")
    func neighbours() async throws {
        let hanging = try await ScriptedUpstream.start(.modern)
        let healthy = try await ScriptedUpstream.start(.modern)
        let silent = try await ScriptedUpstream.start(.modern)
        silent.answer { _ in .silence }
        hanging.answerCalls { _ in .silence }
        var plan = HousePlan(["hang": hanging, "live": healthy, "mute": silent])
        // The first list waits for the mute one just so long.
        plan.settle = .milliseconds(500)
        try await withHouse(plan, waits: false) { house in
            try await wait(for: "two upstreams") { house.catalogue.toolCount == 2 }
            var stuck: [ScriptedClient] = []
            for _ in 0..<8 {
                let client = try await ScriptedClient.connect(port: house.port)
                try await client.send(
                    RequestText.modern("tools/call", params: #""name":"hang__echo""#, name: "hang__echo"))
                stuck.append(client)
            }
            try await wait(for: "the calls at the hanging upstream") { hanging.calls.count == 8 }
            for _ in 0..<4 {
                try await house.client { client async throws in
                    let asker = try await ClientKind.modern.begin(client)
                    for _ in 0..<25 { #expect(try await client.ask(asker.call("live__echo")).words == "echo") }
                    #expect(try await client.ask(asker.list()).toolNames == ["hang__echo", "live__echo"])
                }
            }
            for client in stuck { await client.leave() }
        }
        for upstream in [hanging, healthy, silent] { await upstream.goAway() }
    }
}
