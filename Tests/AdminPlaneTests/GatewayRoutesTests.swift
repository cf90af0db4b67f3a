// Licensed under the Apache License 2.0; see LICENSE.

import Access
import GatewayCore
import GatewayTestKit
import HTTPListener
import MCPWire
import Testing

@testable import AdminPlane

/// The gateway as a whole, by the admin routes: its state, its upstreams, its configuration, its tokens.
@Suite("Admin routes of the gateway") struct GatewayRoutesTests {
    @Test("The state of everything is one answer")
    func status() async throws {
        let site = AdminSite()
        try await site.store()
        try await site.use { client async throws in
            let answer = try await client.order("GET", "/admin/status")
            #expect(answer.status == 200)
            #expect(answer.sentence == "healthy, 120 calls in the last minute")
            let json = try #require(answer.json)
            #expect(json["status"] == "healthy" && json["version"] == "1.0-test" && json["draining"] == false)
            #expect(json["uptime_seconds"]?.text == "90.0" && json["in_flight"]?.intValue == 3)
            let minute = json["last_minute"]
            #expect(minute?["calls"]?.intValue == 120 && minute?["failed"]?.intValue == 3)
            #expect(minute?["limited"]?.intValue == 7 && minute?["calls_per_second"]?.text == "2.0")
            #expect(minute?["p50_ms"]?.text == "2.0" && minute?["p95_ms"]?.text == "40.0")
            #expect(json["queue"]?["waiting"]?.intValue == 1)
            #expect(json["load"]?["cores"]?.intValue == 2)
            #expect(json["components"]?.arrayValue?.first?["name"] == "upstream:erp")
            #expect(json["upstreams"]?.arrayValue?.count == 1)
            #expect(json["overrides"]?.arrayValue?.count == 0)
            // HEAD asks the same and is told nothing.
            let head = try await client.ask(RequestText.http("HEAD", "/admin/status"), toHead: true)
            #expect(head.status == 200)
        }
    }

    @Test("Upstreams are told with what is known of them by all rooms, modules are not among them")
    func upstreams() async throws {
        let site = AdminSite()
        for _ in 0..<2 { try await site.store() }
        try await site.use { client async throws in
            let answer = try await client.order("GET", "/admin/upstreams")
            #expect(answer.sentence == "all can be reached")
            let all = answer.json?["upstreams"]?.arrayValue ?? []
            #expect(all.count == 1)
            let erp = try #require(all.first)
            #expect(erp["name"] == "erp" && erp["status"] == "healthy" && erp["detail"] == "3 tools")
            #expect(erp["tools"]?.intValue == 1 && erp["in_flight"]?.intValue == 2 && erp["waiting"]?.intValue == 1)
            #expect(erp["stored"]?.intValue == 2)
            #expect(erp["breakers"]?.arrayValue?.first?["state"] == "open")
        }
    }

    @Test("A reload says what is in force now, what waits, and for how long it is watched")
    func reload() async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            let answer = try await client.order("POST", "/admin/reload")
            #expect(answer.status == 200)
            #expect(answer.sentence == "in force: limits.burst; waits for a restart: server.listen")
            #expect(answer.json?["changed"]?.text == #"["limits.burst"]"#)
            #expect(answer.json?["waits_for_restart"]?.text == #"["server.listen"]"#)
            #expect(answer.json?["probation_seconds"]?.text == "60.0")
            site.configuration.answer(.success(ReloadReport(changed: [], waiting: [], probation: nil)))
            let same = try await client.order("POST", "/admin/reload", "{}")
            #expect(same.sentence == "nothing to change")
            #expect(same.json?["probation_seconds"] == .null)
        }
        #expect(site.log.lines.map { $0.fact("what") } == ["reload", "reload"])
    }

    @Test("A file that is refused is a conflict, with every mistake in it")
    func refused() async throws {
        let site = AdminSite()
        let problems = ["gateway.toml:3: x: unknown key; remove it", "gateway.toml:4: \"y\": is \u{1b}[31mred"]
        site.configuration.answer(.failure(ReloadRefusal(words: "It is as it was.", problems: problems)))
        try await site.use { client async throws in
            let answer = try await client.order("POST", "/admin/reload")
            #expect(answer.status == 409)
            #expect(answer.refusal?.code == "configuration_refused")
            #expect(answer.refusal?.words == "It is as it was.")
            // What would disturb a terminal is a space.
            let shown = problems.map { $0.replacing("\u{1b}", with: " ") }
            #expect(answer.error?["problems"]?.arrayValue?.compactMap(\.stringValue) == shown)
            #expect(answer.error?["request_id"]?.stringValue == answer.header("x-request-id"))
        }
        #expect(site.log.lines.first?.fact("status") == "409")
    }

    // MARK: Tokens

    /// The admin routes with a book of tokens that stays.
    private struct Tokens {
        let folder = TemporaryFolder()
        let book: TokenBook
        let site = AdminSite()

        init() throws { book = try TokenBook(directory: folder.path) }

        func use<T>(_ body: (ScriptedClient) async throws -> T) async throws -> T {
            let door = OperatorDoor(isPublic: false, local: LocalUsers(["root"])) { _ in 0 }
            let rooms = AdminRooms(
                queue: site.store, cache: site.store, care: site.care, traffic: site.traffic,
                configuration: site.configuration, tokens: book, time: site.time, version: "1", uptime: { .zero },
                health: { [] }, load: { .null }, sync: { .null })
            var router = Router()
            AdminRoutes(gate: AdminGate(door: door, log: site.log, time: site.time), rooms: rooms).add(to: &router)
            return try await TestSite.start(router).use { site in try await site.client(body) }
        }

        func visitor(_ secret: String?) -> Visitor? {
            book.visitor(bearer: Array((secret ?? "").utf8), now: site.time.wallMilliseconds())
        }
    }

    @Test("A token is made, shown once, listed without its secret, and revoked by its name or its id")
    func tokens() async throws {
        let tokens = try Tokens()
        try await tokens.use { client async throws in
            let made = try await client.order(
                "POST", "/admin/tokens", #"{"name":"anna","roles":["call","observe"],"for":"30d"}"#)
            #expect(made.status == 200, "\(made.text)")
            let secret = try #require(made.json?["secret"]?.stringValue)
            #expect(tokens.visitor(secret)?.roles == [.call, .observe])
            #expect(made.json?["token"]?["roles"]?.text == #"["call","observe"]"#)
            let id = try #require(made.json?["token"]?["id"]?.stringValue)
            _ = try await client.order("POST", "/admin/tokens", #"{"name":"ben","roles":["admin"]}"#)
            let list = try await client.order("GET", "/admin/tokens")
            #expect(list.sentence == "2 tokens")
            let names = list.json?["tokens"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
            #expect(names.sorted() == ["anna", "ben"])
            #expect(!list.text.contains(secret.suffix(20)))
            let ben = list.json?["tokens"]?.arrayValue?.first { $0["name"] == "ben" }
            #expect(ben?["expires_at"] == .null && ben?["expired"] == false)
            #expect(try await client.order("DELETE", "/admin/tokens/ben").status == 200)
            #expect(try await client.order("DELETE", "/admin/tokens/\(id)").status == 200)
            #expect(tokens.visitor(secret) == nil)
            #expect(try await client.order("DELETE", "/admin/tokens/\(id)").status == 404)
            for line in tokens.site.log.lines {
                for (key, value) in line.facts { #expect(!value.contains(secret.suffix(20)), "\(key)") }
            }
        }
        #expect(tokens.book.all().isEmpty)
    }

    static let mistakes: [(String, Int, String)] = [
        ("", 400, "name"), (#"{"name":"anna"}"#, 400, "roles"), (#"{"roles":["call"]}"#, 400, "name"),
        (#"{"name":"anna","roles":[]}"#, 400, "at least one of call, observe, admin"),
        (#"{"name":"anna","roles":["root"]}"#, 400, "call, observe, admin"),
        (#"{"name":"anna","roles":"call"}"#, 400, "a list of texts"),
        (#"{"name":"a b","roles":["call"]}"#, 400, "1 to 64"),
        (#"{"name":"anonymous","roles":["call"]}"#, 400, "callers without a token"),
        (#"{"name":"anna","roles":["call"],"for":"0d"}"#, 400, "no time at all"),
        (#"{"name":"taken","roles":["call"]}"#, 409, "choose another name"),
    ]

    @Test("A token that cannot be is refused in words, and none is made", arguments: mistakes)
    func mistake(_ body: String, _ status: Int, _ word: String) async throws {
        let tokens = try Tokens()
        _ = try tokens.book.add(
            name: "taken", roles: [.call], expiresAt: nil, now: tokens.site.time.wallMilliseconds())
        try await tokens.use { client async throws in
            let answer = try await client.order("POST", "/admin/tokens", body)
            #expect(answer.status == status)
            #expect(answer.refusal?.words.contains(word) == true, "\(answer.text)")
        }
        #expect(tokens.book.all().count == 1)
    }
}
