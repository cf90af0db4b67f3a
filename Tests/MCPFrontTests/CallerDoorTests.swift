// Licensed under the Apache License 2.0; see LICENSE.

import Access
import GatewayCore
import GatewayTestKit
import Testing

@testable import MCPFront

/// Who makes a request, and who may not call.
@Suite("Callers' door") struct CallerDoorTests {
    // MARK: Open

    @Test("While the door is open everybody is let in, and a token that is good gives a name")
    func open() async throws {
        let bench = try DoorBench(.open)
        let (anna, eve) = (try bench.token("anna"), try bench.token("eve", [.observe]))
        try await bench.use { client async throws in
            for request in [
                DoorBench.request([]), DoorBench.bearer(anna), DoorBench.bearer(eve),
                DoorBench.bearer(DoorBench.stranger),
                DoorBench.request(["Basic cm9vdDpyb290"]), DoorBench.request(["Bearer \(anna)", "Bearer \(anna)"]),
                DoorBench.request(["bearer  \(anna)"]),
            ] {
                #expect(try await client.ask(request).status == 200)
            }
        }
        let anonymous = Caller.anonymous.name
        #expect(
            bench.service.messages.map(\.caller.name)
                == [anonymous, "anna", anonymous, anonymous, anonymous, anonymous, "anna"])
        #expect(bench.lines.all.count == 0)
        #expect(bench.failures == "0")
    }

    // MARK: Token

    @Test("With a token of the role call its name is the caller's")
    func good() async throws {
        let bench = try DoorBench()
        let requests = [try bench.token("anna"), try bench.token("ben", [.call, .admin])].map(DoorBench.bearer)
        try await bench.use { client async throws in
            for request in requests { #expect(try await client.ask(request).status == 200) }
        }
        #expect(bench.service.messages.map(\.caller.name) == ["anna", "ben"])
        #expect(bench.lines.all.count == 0)
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let values: [String]
        let status: Int
        let code: String
        let why: String
        var counts = true
    }

    static let refusals: [Refusal] = [
        Refusal(
            testDescription: "none", values: [], status: 401, code: "token_missing", why: "no token", counts: false),
        Refusal(
            testDescription: "one of nobody", values: ["Bearer \(DoorBench.stranger)"], status: 401,
            code: "token_refused", why: "a token that is not good"),
        Refusal(
            testDescription: "no token at all", values: ["Basic cm9vdDpyb290"], status: 401, code: "token_refused",
            why: "a token that is not good"),
        Refusal(
            testDescription: "an empty one", values: [""], status: 401, code: "token_refused",
            why: "a token that is not good"),
        Refusal(
            testDescription: "two", values: Array(repeating: "Bearer \(DoorBench.stranger)", count: 2), status: 401,
            code: "token_refused", why: "a token that is not good"),
    ]

    @Test("Who shows none, or a wrong one, is told so in words, and nothing reaches the service", arguments: refusals)
    func refused(_ one: Refusal) async throws {
        let bench = try DoorBench()
        try await bench.use { client async throws in
            let answer = try await client.ask(DoorBench.request(one.values))
            #expect(answer.status == one.status)
            #expect(answer.refusal?.code == one.code)
            #expect(answer.header("www-authenticate") == "Bearer realm=\"mcp-gateway\"")
            #expect(answer.header("x-request-id") == bench.lines.fact("request_id").first)
        }
        #expect(bench.service.messages.isEmpty)
        #expect(bench.lines.fact("event") == ["auth_failure"])
        #expect(bench.lines.fact("kind") == ["auth"])
        #expect(bench.lines.fact("detail") == [one.why])
        #expect(bench.lines.fact("peer") == ["127.0.0.1"])
        #expect(bench.failures == (one.counts ? "1" : "0"))
    }

    @Test("A token without the role call is told which role it lacks, and asking for another one helps nobody")
    func role() async throws {
        let bench = try DoorBench()
        let secret = try bench.token("eve", [.admin, .observe])
        try await bench.use { client async throws in
            let answer = try await client.ask(DoorBench.bearer(secret))
            #expect(answer.status == 403)
            #expect(answer.refusal?.code == "role_missing")
            #expect(answer.header("www-authenticate") == nil)
        }
        #expect(bench.lines.fact("detail") == ["token eve has no role call"])
        #expect(bench.failures == "0")
        #expect(bench.service.messages.isEmpty)
    }

    @Test("A token that is revoked or expired opens nothing from then on")
    func ended() async throws {
        let bench = try DoorBench()
        let anna = DoorBench.bearer(try bench.token("anna"))
        let ben = DoorBench.bearer(try bench.token("ben", lasts: 3_600_000))
        let (book, time) = (bench.book, bench.time)
        try await bench.use { client async throws in
            for request in [anna, ben] { #expect(try await client.ask(request).status == 200) }
            _ = try book.revoke("anna")
            #expect(try await client.ask(anna).refusal?.code == "token_refused")
            #expect(try await client.ask(ben).status == 200)
            time.advance(by: .seconds(3_600))
            #expect(try await client.ask(ben).refusal?.code == "token_refused")
        }
    }

    @Test("A reload that opens or closes the door is in force for the next request")
    func change() async throws {
        let bench = try DoorBench(.open)
        let anna = DoorBench.bearer(try bench.token("anna"))
        let door = bench.door
        try await bench.use { client async throws in
            #expect(try await client.ask(DoorBench.request([])).status == 200)
            door.change(to: .token)
            #expect(try await client.ask(DoorBench.request([])).status == 401)
            #expect(try await client.ask(anna).status == 200)
            door.change(to: .open)
            #expect(try await client.ask(DoorBench.request([])).status == 200)
        }
    }

    @Test("A door that asks for tokens and has nobody who knows them lets nobody in")
    func noDesk() async throws {
        let bench = try DoorBench(hasDesk: false)
        try await bench.use { client async throws in
            for request in [DoorBench.request([]), DoorBench.bearer(DoorBench.stranger)] {
                #expect(try await client.ask(request).status == 401)
            }
        }
        #expect(bench.service.messages.isEmpty)
        let open = try DoorBench(.open, hasDesk: false)
        try await open.use { client async throws in #expect(try await client.ask(DoorBench.request([])).status == 200) }
    }

    // MARK: Every way in

    @Test("Every verb and every transport asks at the door first", arguments: ["GET", "DELETE", "POST", "PUT"])
    func verbs(_ verb: String) async throws {
        let bench = try DoorBench()
        try await bench.use { client async throws in
            for path in ["/mcp", "/sse", "/messages?session_id=x"] {
                let headers = [RequestText.both, RequestText.json, ("mcp-session-id", "x")]
                let isServed = path == "/mcp" || (path == "/sse" ? verb == "GET" : verb == "POST")
                let body = verb == "POST" ? "{}" : ""
                let answer = try await client.ask(RequestText.http(verb, path, headers: headers, body: body))
                #expect(answer.status == (isServed ? 401 : 405), "\(verb) \(path)")
            }
        }
        #expect(bench.service.messages.isEmpty)
    }

    @Test("A session belongs to whoever has opened it")
    func sessions() async throws {
        let bench = try DoorBench()
        let (anna, ben) = (try bench.token("anna"), try bench.token("ben"))
        func headers(_ secret: String, _ session: String? = nil) -> [(String, String)] {
            [RequestText.json, RequestText.both, ("authorization", "Bearer \(secret)")]
                + (session.map { [("mcp-session-id", $0)] } ?? [])
        }
        let params =
            #"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#
        let greeting = #"{"jsonrpc":"2.0","id":0,"method":"initialize","params":\#(params)}"#
        let ping = #"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
        try await bench.use { client async throws in
            let begun = try await client.ask(RequestText.http(headers: headers(anna), body: greeting))
            let session = try #require(begun.header("mcp-session-id"))
            func status(_ verb: String, _ secret: String) async throws -> Int {
                let body = verb == "POST" ? ping : ""
                return try await client.ask(
                    RequestText.http(verb, headers: headers(secret, session), body: body)
                ).status
            }
            #expect(try await status("POST", ben) == 404)
            #expect(try await status("DELETE", ben) == 404)
            #expect(try await status("POST", anna) == 200)
            #expect(try await status("DELETE", anna) == 200)
            #expect(try await status("POST", anna) == 404)
        }
        #expect(bench.service.messages.map(\.caller.name) == ["anna", "anna"])
    }

    @Test("Nothing that was shown is written down")
    func secrets() async throws {
        let bench = try DoorBench()
        let eve = try bench.token("eve", [.observe])
        try await bench.use { client async throws in
            for secret in [eve, DoorBench.stranger] { _ = try await client.ask(DoorBench.bearer(secret)) }
        }
        #expect(bench.lines.all.count == 2)
        for line in bench.lines.all.all {
            for (key, value) in line {
                for secret in [eve, DoorBench.stranger] { #expect(!value.contains(secret.suffix(20)), "\(key)") }
            }
        }
    }
}
