// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import Synchronization
import Telemetry
import Testing

@testable import AdminPlane

/// Who is let in, and what the others learn.
@Suite("The operators' door") struct OperatorDoorTests {
    static let strangers: [(String, String)] = [
        ("x-forwarded-for", "10.0.0.1"), ("X-Forwarded-Anything", "x"), ("forwarded", "for=10.0.0.1"),
        ("via", "1.1 proxy"), ("x-real-ip", "10.0.0.1"), ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "cross-site"), ("host", "gateway.example"),
    ]

    /// How often the user was looked up.
    private final class Tally: Sendable {
        private let number = Mutex(0)
        var count: Int { number.withLock { $0 } }
        func add() { number.withLock { $0 += 1 } }
    }

    @Test(
        "Whoever comes through a proxy or from a page is outside, and its user is not even looked up",
        arguments: strangers)
    func cheapChecks(_ name: String, _ value: String) async throws {
        let tally = Tally()
        var site = AdminSite()
        site.door = OperatorDoor(isPublic: false, local: LocalUsers(["root"])) { _ in
            tally.add()
            return 0
        }
        try await site.use { client async throws in
            let answer = try await client.order("GET", "/admin/queue", headers: [(name, value)])
            #expect(answer.status == 403)
            #expect(tally.count == 0)
            #expect(try await client.order("GET", "/admin/queue").status == 200)
            #expect(tally.count == 1)
        }
    }

    @Test(
        "A user who is not in admin.local is outside, and so is one who cannot be found",
        arguments: [33, nil] as [UInt32?])
    func wrongUser(_ uid: UInt32?) async throws {
        var site = AdminSite()
        site.uid = uid
        try await site.use { client async throws in
            let answer = try await client.order("POST", "/admin/cache/clear")
            #expect(answer.status == 403)
            #expect(answer.refusal?.code == "operators_only")
            #expect(answer.refusal?.words.contains("admin.local") == true)
            #expect(answer.refusal?.words.contains("control socket") == true)
            #expect(try await client.order("GET", "/metrics").status == 403)
        }
        let line = try #require(site.log.lines.first)
        #expect(line.event == "admin_refused")
        #expect(line.kind == .security)
        #expect(line.fact("path") == "/admin/cache/clear")
        #expect(line.fact("detail")?.contains("33") == (uid == 33))
    }

    @Test("A stranger is told the same whatever it asks for, there or not, right or wrong")
    func sameAnswer() async throws {
        var site = AdminSite()
        site.uid = 33
        try await site.store()
        try await site.use { client async throws in
            var texts: Set<String> = []
            for (verb, path, body) in [
                ("GET", "/admin/queue", ""), ("GET", "/admin/queue/1", ""), ("GET", "/admin/queue/999", ""),
                ("DELETE", "/admin/queue/1", ""), ("PUT", "/admin/queue/1", ""), ("GET", "/admin/queue/x/y", ""),
                ("POST", "/admin/backup", "no JSON"), ("POST", "/admin/backup", String(repeating: "x", count: 100_000)),
            ] {
                let answer = try await client.order(verb, path, body)
                #expect(answer.status == 403)
                #expect(answer.header("allow") == nil)
                texts.insert(answer.refusal.map { "\($0)" } ?? answer.text)
            }
            #expect(texts.count == 1)
        }
        #expect(site.care.orders == [])
        #expect(site.store.all.map(\.status) == [.queued])
    }

    @Test("Public metrics are no right to give orders")
    func publicMetrics() async throws {
        var site = AdminSite()
        site.uid = 33
        site.isPublic = true
        try await site.use { client async throws in
            #expect(try await client.order("GET", "/metrics").status == 200)
            #expect(try await client.order("GET", "/admin/queue").status == 403)
        }
    }

    @Test("A flood of strangers is not a flood of lines")
    func flood() async throws {
        var site = AdminSite()
        site.uid = nil
        try await site.use { client async throws in
            for _ in 0..<40 { _ = try await client.order("GET", "/admin/queue") }
            #expect(site.log.lines.count == 10)
            site.time.advance(by: .seconds(11))
            _ = try await client.order("GET", "/admin/queue")
        }
        #expect(site.log.lines.last?.fact("omitted_before") == "30")
    }

    @Test("The kernel tells whose a real connection is")
    func realSocket() async throws {
        var site = AdminSite()
        let owners = SocketOwners(time: site.time)
        site.door = OperatorDoor(isPublic: false, local: LocalUsers(["self"]), owner: owners.owner(of:))
        try await site.use { client async throws in
            #expect(try await client.order("GET", "/admin/queue").status == 200)
        }
        var accounts = Accounts.machine
        let own = accounts.own()
        accounts.own = { own + 1 }
        site.door = OperatorDoor(
            isPublic: false, local: LocalUsers(["self"], accounts: accounts), owner: owners.owner(of:))
        try await site.use { client async throws in
            #expect(try await client.order("GET", "/admin/queue").status == 403)
        }
        #expect(site.log.lines.last?.fact("detail") == "uid \(own) is not in admin.local")
    }
}
