// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import NIOCore
import Testing

/// Answers with its own name; where there is a gate, when that opens.
private final class NamedRoute: HTTPRoute {
    let name: String
    let entered = Gate()
    let gate: Gate?

    init(_ name: String, gate: Gate? = nil) {
        self.name = name
        self.gate = gate
    }

    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        entered.open()
        if let gate { await gate.pass() }
        exchange.answer(.ok, .text, ByteBuffer(string: name))
    }
}

/// A listener gets other routes, bounds and names while clients are connected.
@Suite("Changing a listener") struct ChangeTests {
    private static let limits = HTTPLimits(bodyBytesMax: 100, connectionsMax: 100, receiveTimeout: .seconds(60))
    /// More than there are loops on most machines, so that several share one.
    private static let clientsMany = 24

    private func router(_ routes: [(String, NamedRoute)]) -> Router {
        var router = Router()
        for (path, route) in routes { router.add(path, route) }
        return router
    }

    private func withSite<T>(
        _ routes: [(String, NamedRoute)], limits: HTTPLimits = limits, guardian: OriginGuard? = nil,
        time: ManualTime = ManualTime(runs: true), _ body: (TestSite) async throws -> T
    ) async throws -> T {
        try await TestSite.start(router(routes), limits: limits, guardian: guardian, time: time).use(body)
    }

    private func post(_ path: String, _ body: String = "", host: String = "localhost") -> String {
        RequestText.http("POST", path, headers: [("host", host)], body: body)
    }

    /// The head of a request whose body is still to come. It has been read when the client is told to go on.
    private func begin(_ path: String, bytes: Int, _ client: ScriptedClient) async throws {
        let head = "POST \(path) HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
        #expect(try await client.ask(head + "content-length: \(bytes)\r\n\r\n").status == 100)
    }

    @Test("Connections that are open find the new routes on every loop, and metrics name them")
    func openConnections() async throws {
        try await withSite([("/same", NamedRoute("old")), ("/gone", NamedRoute("gone"))]) { site in
            var clients: [ScriptedClient] = []
            for _ in 0..<Self.clientsMany {
                let client = try await ScriptedClient.connect(port: site.port)
                #expect(try await client.ask(post("/same")).text == "old")
                clients.append(client)
            }
            let next = router([("/new", NamedRoute("new")), ("/same", NamedRoute("renewed"))])
            await site.listener.change(router: next, limits: Self.limits, guardian: nil)
            for client in clients {
                #expect(try await client.ask(post("/same")).text == "renewed")
                #expect(try await client.ask(post("/new")).text == "new")
                #expect(try await client.ask(post("/gone")).status == 404)
            }
            try await site.client { client async throws in
                #expect(try await client.ask(post("/new")).text == "new")
            }
            let count = Self.clientsMany
            let text = site.metricsText
            func counted(_ path: String, _ status: Int) -> String {
                "http_requests_total{method=\"POST\",path=\"\(path)\",status=\"\(status)\"}"
            }
            #expect(text.contains(counted("/same", 200) + " \(2 * count)\n"))
            #expect(text.contains(counted("/new", 200) + " \(count + 1)\n"))
            #expect(text.contains(counted("other", 404) + " \(count)\n"))
            #expect(!text.contains(counted("/gone", 200)))
            for client in clients { await client.leave() }
        }
    }

    @Test("A request that is being served ends as it began, what is sent behind it is new")
    func served() async throws {
        let gate = Gate()
        let slow = NamedRoute("late", gate: gate)
        try await withSite([("/wait", slow)]) { site in
            try await site.client { client async throws in
                try await client.send(post("/wait") + post("/wait") + post("/new"))
                await slow.entered.pass()
                let next = router([("/first", NamedRoute("first")), ("/new", NamedRoute("new"))])
                await site.listener.change(router: next, limits: Self.limits, guardian: nil)
                gate.open()
                #expect(try await client.answer().text == "late")
                #expect(try await client.answer().status == 404)
                #expect(try await client.answer().text == "new")
            }
            #expect(site.metricsText.contains("http_requests_total{method=\"POST\",path=\"/wait\",status=\"200\"} 1\n"))
        }
    }

    @Test("A body that is coming has the bounds its request began with, the next one the new ones")
    func bodies() async throws {
        let time = ManualTime(runs: true)
        let route = NamedRoute("x")
        try await withSite([("/x", route)], time: time) { site in
            let early = try await ScriptedClient.connect(port: site.port)
            try await begin("/x", bytes: 50, early)
            let bounds = HTTPLimits(bodyBytesMax: 10, connectionsMax: 100, receiveTimeout: .seconds(10))
            await site.listener.change(router: router([("/x", route)]), limits: bounds, guardian: nil)
            let late = try await ScriptedClient.connect(port: site.port)
            try await begin("/x", bytes: 10, late)
            time.advance(by: .seconds(20))
            let refused = try await late.answer()
            #expect(refused.status == 408)
            #expect(refused.refusal?.code == "request_too_slow")
            #expect(try await early.ask(String(repeating: "x", count: 50)).text == "x")
            let large = try await early.ask(post("/x", String(repeating: "x", count: 11)))
            #expect(large.status == 413)
            #expect(large.refusal?.words.contains("10 bytes") == true)
            await early.leave()
            await late.leave()
        }
    }

    @Test("A lower number of connections closes none, and a higher one is in force at once")
    func connections() async throws {
        let route = NamedRoute("x")
        try await withSite([("/x", route)]) { site in
            var held: [ScriptedClient] = []
            for _ in 0..<3 {
                held.append(try await ScriptedClient.connect(port: site.port))
                #expect(try await held.last?.ask(post("/x")).status == 200)
            }
            var bounds = Self.limits
            bounds.connectionsMax = 2
            await site.listener.change(router: router([("/x", route)]), limits: bounds, guardian: nil)
            try await site.client { client async throws in
                let refused = try await client.ask(post("/x"))
                #expect(refused.status == 503)
                #expect(refused.refusal?.words.contains("All 2 connections") == true)
                try await wait(for: "the end") { client.isClosed }
            }
            for client in held { #expect(try await client.ask(post("/x")).status == 200) }
            bounds.connectionsMax = 50
            await site.listener.change(router: router([("/x", route)]), limits: bounds, guardian: nil)
            try await site.client { client async throws in #expect(try await client.ask(post("/x")).status == 200) }
            for client in held { await client.leave() }
        }
    }

    @Test("A host that is no longer allowed is refused on connections it was served on, and the other way round")
    func hosts() async throws {
        let route = NamedRoute("x")
        let (one, two) = ("one.example", "two.example")
        func guardian(_ host: String) -> OriginGuard {
            OriginGuard(listenHost: "127.0.0.1", hosts: [host], origins: [])
        }
        try await withSite([("/x", route)], guardian: guardian(one)) { site in
            try await site.client { client async throws in
                #expect(try await client.ask(post("/x", host: one)).status == 200)
                #expect(try await client.ask(post("/x", host: two)).status == 421)
                #expect(try await client.ask(post("/x", host: one)).status == 200)
                await site.listener.change(
                    router: router([("/x", route)]), limits: Self.limits, guardian: guardian(two))
                #expect(try await client.ask(post("/x", host: one)).status == 421)
                #expect(try await client.ask(post("/x", host: two)).status == 200)
                await site.listener.change(router: router([("/x", route)]), limits: Self.limits, guardian: nil)
                #expect(try await client.ask(post("/x", host: one)).status == 200)
            }
        }
    }

    @Test("Of two changes at one time every loop ends with the same")
    func atOnce() async throws {
        try await withSite([("/x", NamedRoute("start"))]) { site in
            var clients: [ScriptedClient] = []
            for _ in 0..<Self.clientsMany { clients.append(try await ScriptedClient.connect(port: site.port)) }
            for round in 0..<20 {
                let (one, two) = (router([("/x", NamedRoute("one"))]), router([("/x", NamedRoute("two"))]))
                async let first: Void = site.listener.change(router: one, limits: Self.limits, guardian: nil)
                async let second: Void = site.listener.change(router: two, limits: Self.limits, guardian: nil)
                _ = await (first, second)
                var found: Set<String> = []
                for client in clients { found.insert(try await client.ask(post("/x")).text) }
                #expect(found.count == 1, "round \(round): \(found)")
                #expect(!found.contains("start"))
            }
            for client in clients { await client.leave() }
        }
    }

    @Test("Routes of yesterday are let go of although clients stay connected")
    func letsGo() async throws {
        weak var former: NamedRoute?
        let site: TestSite
        do {
            let route = NamedRoute("old")
            former = route
            site = try await TestSite.start(router([("/x", route)]), limits: Self.limits)
        }
        try await site.use { site in
            var clients: [ScriptedClient] = []
            for _ in 0..<Self.clientsMany {
                let client = try await ScriptedClient.connect(port: site.port)
                #expect(try await client.ask(post("/x")).text == "old")
                clients.append(client)
            }
            #expect(former != nil)
            await site.listener.change(router: router([("/x", NamedRoute("new"))]), limits: Self.limits, guardian: nil)
            try await wait(for: "the end of the former route") { former == nil }
            for client in clients { await client.leave() }
        }
    }
}
