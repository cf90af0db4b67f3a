// Licensed under the Apache License 2.0; see LICENSE.

import Access
import GatewayCore
import GatewayTestKit
import HTTPListener
import Synchronization
import Telemetry
import Testing

@testable import AdminPlane

/// Operators with tokens, and what tokens do not open.
@Suite("Tokens at the operators' door") struct OperatorTokenTests {
    /// A book of tokens, and the door that asks it. Whoever shows none comes from this machine, as `uid`.
    private struct Bench {
        let folder = TemporaryFolder()
        let book: TokenBook
        var site = AdminSite()
        let lookups = Collected<UInt32?>()
        /// Wrong tokens that the door has told of.
        let wrong = Collected<String>()

        init(uid: UInt32? = 33, requiresToken: Bool = false) throws {
            book = try TokenBook(directory: folder.path)
            let (noted, told) = (lookups, wrong)
            site.door = OperatorDoor(
                isPublic: false, local: LocalUsers(["root"]), requiresToken: requiresToken,
                tokens: TokenDesk(book: book, time: site.time),
                owner: { _ in
                    noted.add(uid)
                    return uid
                }, wrongToken: { request, why in told.add("\(request.path): \(why)") })
        }

        func token(_ name: String, _ roles: Set<Role>, lasts: Int64? = nil) throws -> String {
            let now = site.time.wallMilliseconds()
            return try book.add(name: name, roles: roles, expiresAt: lasts.map { now + $0 }, now: now).secret
        }
    }

    private static func bearer(_ secret: String) -> [(String, String)] { [("authorization", "Bearer \(secret)")] }

    static let roles: [(Set<Role>, Bool, Bool)] = [
        ([.admin], true, true), ([.observe], false, true), ([.call], false, false), ([.call, .observe], false, true),
        ([.call, .admin], true, true), ([.admin, .observe], true, true),
    ]

    @Test("The role admin orders and sees, observe sees, and call does neither", arguments: roles)
    func rights(_ roles: Set<Role>, _ orders: Bool, _ sees: Bool) async throws {
        let bench = try Bench()
        let headers = Self.bearer(try bench.token("anna", roles))
        try await bench.site.use { client async throws in
            let order = try await client.order("POST", "/admin/drain", headers: headers)
            #expect(order.status == (orders ? 200 : 403))
            let look = try await client.order("GET", "/admin/drain", headers: headers)
            #expect(look.status == (orders ? 200 : 403))
            #expect(try await client.order("GET", "/metrics", headers: headers).status == (sees ? 200 : 403))
            if !orders { #expect(order.refusal?.code == "operators_only") }
        }
        #expect(bench.site.traffic.orders == (orders ? ["drain true"] : []))
        #expect(bench.lookups.count == 0, "whoever shows a token is not looked up as a user")
        let line = try #require(bench.site.log.lines.first)
        if orders {
            #expect(line.fact("who") == "token anna")
        } else {
            #expect(line.event == "admin_refused")
            let why = sees ? "token anna has no role admin" : "token anna has no role observe or admin"
            #expect(line.fact("detail") == why)
        }
    }

    @Test("A token works through a proxy and from a page, where a user of this machine does not")
    func proxied() async throws {
        let bench = try Bench(uid: 0)
        let headers = Self.bearer(try bench.token("anna", [.admin]))
        let more = [("x-forwarded-for", "192.0.2.1"), ("origin", "http://localhost:3000"), ("via", "1.1 proxy")]
        try await bench.site.use { client async throws in
            for header in more {
                #expect(try await client.order("GET", "/admin/drain", headers: headers + [header]).status == 200)
                #expect(try await client.order("GET", "/admin/drain", headers: [header]).status == 403)
            }
        }
    }

    static let wrong: [(String, [String])] = [
        ("of nobody", ["Bearer mcpgw_0123abcd_" + String(repeating: "A", count: 43)]), ("of no form", ["Bearer x"]),
        ("of another scheme", ["Basic cm9vdDpyb290"]), ("empty", [""]), ("without a secret", ["Bearer"]),
        ("two of them", ["Bearer x", "Bearer y"]),
    ]

    @Test(
        "A wrong token is 401, with a word how to get a right one, and is not made good by coming from root",
        arguments: wrong)
    func refused(_ what: String, _ values: [String]) async throws {
        let bench = try Bench(uid: 0)
        let good = try bench.token("anna", [.admin])
        try await bench.site.use { client async throws in
            let headers = values.map { ("authorization", $0) }
            let answer = try await client.order("GET", "/admin/drain", headers: headers)
            #expect(answer.status == 401)
            #expect(answer.refusal?.code == "token_refused")
            #expect(answer.header("www-authenticate") == "Bearer realm=\"mcp-gateway\"")
            #expect(answer.refusal?.words.contains("mcp-gateway token new") == true)
            // The same user without a token, and a good one beside it.
            #expect(try await client.order("GET", "/admin/drain").status == 200)
            #expect(try await client.order("GET", "/admin/drain", headers: Self.bearer(good)).status == 200)
            let both = try await client.order("GET", "/admin/drain", headers: headers + Self.bearer(good))
            #expect(both.status == 401, "of two nobody knows which one counts")
        }
        #expect(bench.site.log.lines.first?.fact("detail") == "its token is not good")
    }

    @Test("A token that is revoked or expired opens nothing from then on")
    func ended() async throws {
        let bench = try Bench()
        let revoked = Self.bearer(try bench.token("anna", [.admin]))
        let short = Self.bearer(try bench.token("ben", [.admin], lasts: 60_000))
        let (book, time) = (bench.book, bench.site.time)
        try await bench.site.use { client async throws in
            for headers in [revoked, short] {
                #expect(try await client.order("GET", "/admin/drain", headers: headers).status == 200)
            }
            _ = try book.revoke("anna")
            #expect(try await client.order("GET", "/admin/drain", headers: revoked).status == 401)
            time.advance(by: .seconds(59))
            #expect(try await client.order("GET", "/admin/drain", headers: short).status == 200)
            time.advance(by: .seconds(1))
            #expect(try await client.order("GET", "/admin/drain", headers: short).status == 401)
        }
    }

    @Test("Where a token is asked for, being root on this machine is not enough")
    func required() async throws {
        let bench = try Bench(uid: 0, requiresToken: true)
        let headers = Self.bearer(try bench.token("anna", [.admin]))
        try await bench.site.use { client async throws in
            for path in ["/admin/drain", "/metrics"] {
                #expect(try await client.order("GET", path).status == 403)
                #expect(try await client.order("GET", path, headers: headers).status == 200)
            }
        }
        #expect(bench.site.log.lines.first?.fact("detail") == "admin.require_token asks for a token")
        #expect(bench.lookups.count == 0)
    }

    @Test("A wrong token is told of wherever it is shown; a good one, or none, is no failure")
    func wrongOnesAreTold() async throws {
        let bench = try Bench()
        let good = try bench.token("anna", [.call])
        try await bench.site.use { client async throws in
            for path in ["/metrics", "/admin/drain"] {
                for headers in [[], Self.bearer(good), Self.bearer("mcpgw_00000000_wrong")] {
                    let status = try await client.order("GET", path, headers: headers).status
                    #expect(status == 403 || status == 401)
                }
            }
        }
        #expect(bench.wrong.all == ["/metrics", "/admin/drain"].map { "\($0): a token that is not good" })
    }

    @Test("Without a book nobody looks at what is shown")
    func noBook() async throws {
        var site = AdminSite()
        site.door = OperatorDoor(isPublic: false, local: LocalUsers(["root"])) { _ in 0 }
        try await site.use { client async throws in
            #expect(try await client.order("GET", "/admin/drain", headers: Self.bearer("x")).status == 200)
        }
    }

    @Test("Nothing that was shown is written down")
    func secrets() async throws {
        let bench = try Bench()
        let secrets = [try bench.token("anna", [.admin]), try bench.token("ben", [.call]), "mcpgw_00000000_wrong"]
        try await bench.site.use { client async throws in
            for secret in secrets { _ = try await client.order("GET", "/admin/drain", headers: Self.bearer(secret)) }
        }
        #expect(bench.site.log.lines.count == 3)
        for line in bench.site.log.lines {
            for (key, value) in line.facts {
                for secret in secrets { #expect(!value.contains(secret.suffix(20)), "\(key)") }
            }
        }
    }

    /// A look costs, and a wrong token counts: ten of them keep an address out for a while.
    @Test("Who asks is looked at once a request, whatever comes of it")
    func once() async throws {
        let bench = try Bench(uid: 33)
        try await bench.site.use { client async throws in
            #expect(try await client.order("GET", "/admin/drain").status == 403)
            #expect(bench.lookups.count == 1)
            #expect(try await client.order("GET", "/metrics").status == 403)
            #expect(bench.lookups.count == 2)
        }
    }
}
