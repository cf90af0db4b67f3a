// Licensed under the Apache License 2.0; see LICENSE.

import Gateway
import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

/// Bad input through the whole gateway: the right refusal, and the next request is served as if nothing had been.
@Suite("Manners") struct MannersTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let request: String
        let status: Int
        var code: Int?
        var testDescription: String { name }
    }

    private static func post(_ body: String, _ headers: [(String, String)] = []) -> String {
        RequestText.http(headers: [RequestText.json, RequestText.both] + headers, body: body)
    }

    static let cases: [Case] = [
        Case(name: "not JSON", request: post("{nope"), status: 400, code: -32700),
        Case(name: "empty body", request: post(""), status: 400, code: -32700),
        Case(name: "a control character", request: post("\u{1}"), status: 400, code: -32700),
        Case(name: "duplicate keys", request: post(#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#), status: 400),
        Case(name: "a lone surrogate", request: post(#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#), status: 400),
        Case(name: "a batch without a session", request: post("[]"), status: 400, code: -32600),
        Case(name: "no version of JSON-RPC", request: post(#"{"id":1,"method":"ping"}"#), status: 400, code: -32600),
        Case(
            name: "nesting of 100", status100: String(repeating: "[", count: 100) + String(repeating: "]", count: 100)),
        Case(
            name: "a request without a session", request: post(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#),
            status: 400),
        Case(
            name: "a session of somebody else", request: RequestText.legacy("ping", session: "nonsense"), status: 404),
        Case(
            name: "another content type",
            request: RequestText.http(headers: [("content-type", "text/plain"), RequestText.both], body: "{}"),
            status: 415),
        Case(
            name: "no acceptable answer",
            request: RequestText.http(headers: [RequestText.json, ("accept", "text/html")], body: "{}"), status: 406),
        Case(name: "GET", request: RequestText.http("GET", headers: [RequestText.both]), status: 405),
        Case(name: "PUT", request: RequestText.http("PUT", headers: [RequestText.both]), status: 405),
        Case(name: "DELETE without a session", request: RequestText.http("DELETE"), status: 400),
        Case(name: "another path", request: RequestText.http("GET", "/nowhere"), status: 404),
        Case(
            name: "a Host of elsewhere",
            request: RequestText.http("GET", "/health", headers: [("host", "evil.example")]),
            status: 421),
        Case(
            name: "an Origin of elsewhere",
            request: RequestText.http("GET", "/health", headers: [("origin", "https://evil.example")]), status: 403),
        Case(name: "a removed method", request: RequestText.modern("ping"), status: 404, code: -32601),
        Case(
            name: "initialize in the modern way", request: RequestText.modern("initialize"), status: 404, code: -32601),
        Case(
            name: "an unknown tool", request: RequestText.modern("tools/call", params: #""name":"none""#, name: "none"),
            status: 200, code: -32602),
        Case(name: "a call without a name", request: RequestText.modern("tools/call"), status: 200, code: -32602),
        Case(
            name: "arguments that are a list",
            request: RequestText.modern("tools/call", params: #""name":"x","arguments":[]"#, name: "x"), status: 200,
            code: -32602),
        Case(
            name: "a strange cursor", request: RequestText.modern("tools/list", params: #""cursor":"x""#), status: 200,
            code: -32602),
        Case(
            name: "initialize without a version",
            request: post(#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#), status: 200, code: -32602),
        Case(
            name: "a version nobody knows, in both places",
            request: RequestText.modern("tools/list").replacing("2026-07-28", with: "2031-01-01"), status: 400,
            code: -32022),
    ]

    @Test("Bad input is refused in the right words and the connection goes on", arguments: cases)
    func badInput(_ one: Case) async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let answer = try await client.ask(one.request)
                #expect(answer.status == one.status, "\(answer.text)")
                if let code = one.code { #expect(answer.errorCode == code, "\(answer.text)") }
                #expect(answer.json?["error"]?["message"]?.stringValue?.isEmpty == false)
                let next = try await client.ask(RequestText.modern("server/discover", id: "2"))
                #expect(next.status == 200)
                #expect(next.id == "2")
            }
        }
    }

    @Test("Bytes that are not UTF-8 are no JSON")
    func notUTF8() async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let head =
                    "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                    + "content-length: 5\r\n\r\n"
                try await client.send(Array(head.utf8) + [0x22, 0xc3, 0x28, 0xff, 0x22])
                let answer = try await client.answer()
                #expect(answer.status == 400)
                #expect(answer.errorCode == -32700)
            }
        }
    }

    @Test("Notifications are accepted without a word, in both eras")
    func notifications() async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let session = try await client.openSession(.v2025_06_18)
                for method in ["notifications/cancelled", "notifications/roots/list_changed", "notifications/x"] {
                    let answer = try await client.ask(RequestText.legacy(method, id: nil, session: session))
                    #expect(answer.status == 202)
                    #expect(answer.body.isEmpty)
                }
                let modern = RequestText.modern("notifications/cancelled").replacing(#""id":1,"#, with: "")
                    .replacing("content-length: ", with: "x-old-length: ")
                let body = modern.split(separator: "\r\n\r\n")[1]
                let answer = try await client.ask(
                    modern.replacing("x-old-length: ", with: "content-length: \(body.utf8.count)\r\nx-old-length: "))
                #expect(answer.status == 202)
            }
        }
    }

    @Test("A batch is taken apart for 2025-03-26 and refused for the others")
    func batches() async throws {
        let batch =
            #"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},"#
            + #"{"jsonrpc":"2.0","id":"b","method":"tools/list"},{"jsonrpc":"2.0","id":3,"method":"initialize"}]"#
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                for revision in Revision.allCases where !revision.isModern {
                    let session = try await client.openSession(revision)
                    let answer = try await client.ask(
                        RequestText.http(
                            headers: [RequestText.json, RequestText.both, ("mcp-session-id", session)], body: batch))
                    guard revision == .v2025_03_26 else {
                        #expect(answer.status == 400)
                        continue
                    }
                    let replies = answer.json?.arrayValue ?? []
                    #expect(replies.map { $0["id"]?.text } == ["1", #""b""#, "3"])
                    #expect(replies.last?["error"]?["code"]?.intValue == -32600)
                    let silent = try await client.ask(
                        RequestText.http(
                            headers: [RequestText.json, RequestText.both, ("mcp-session-id", session)],
                            body: #"[{"jsonrpc":"2.0","method":"notifications/x"}]"#))
                    #expect(silent.status == 202)
                    #expect(silent.body.isEmpty)
                }
            }
        }
    }

    @Test("More calls than allowed are turned away in the manner of each era, and go through later")
    func overload() async throws {
        let gate = Gate()
        let entered = Gate()
        let backend = ScriptedBackend(name: "b", tools: [.plain("hold")]) { _ async throws(CallFailure) -> CallAnswer in
            entered.open()
            await gate.pass()
            throw .badArguments(detail: "held")
        }
        var plan = HousePlan()
        plan.inFlightMax = 1
        plan.backends = [CatalogueEntry(backend: backend, prefix: "")]
        let call = RequestText.modern("tools/call", params: #""name":"hold""#, name: "hold")
        try await withHouse(plan) { house async throws in
            let holder = try await ScriptedClient.connect(port: house.port)
            try await holder.send(call)
            try await house.client { client async throws in
                let session = try await client.openSession(.v2025_11_25)
                await entered.pass()
                let refused = try await client.ask(
                    RequestText.legacy("tools/call", params: #""name":"hold""#, session: session))
                #expect(refused.saysError)
                #expect(refused.status == 200)
                #expect(refused.words?.contains("limits.max_in_flight") == true)
                let modern = try await client.ask(call)
                #expect(modern.status == 503)
                #expect(modern.header("retry-after") == "1")
                #expect(modern.errorCode == -32603)
                gate.open()
                #expect(try await holder.answer().words?.contains("held") == true)
                #expect(try await client.ask(call).words?.contains("held") == true)
            }
            await holder.leave()
        }
    }

    @Test("A client that takes only events gets its answer as one event")
    func eventsOnly() async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let answer = try await client.ask(
                    RequestText.modern("tools/list", id: "3", accept: "text/event-stream"))
                #expect(answer.isStream)
                #expect(answer.id == "3")
                let begun = try await client.ask(
                    RequestText.initialize("2025-06-18").replacing(
                        "application/json, text/event-stream", with: "text/event-stream"))
                #expect(begun.isStream)
                #expect(begun.header("mcp-session-id") != nil)
            }
        }
    }
}

extension MannersTests.Case {
    fileprivate init(name: String, status100 params: String) {
        let body = #"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":\#(params)}}"#
        self.init(
            name: name, request: RequestText.http(headers: [RequestText.json, RequestText.both], body: body),
            status: 400,
            code: -32600)
    }
}
