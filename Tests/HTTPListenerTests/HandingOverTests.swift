// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Glibc
import HTTPListener
import NIOCore
import Synchronization
import Testing

/// Answers with the body it was sent.
private struct EchoRoute: HTTPRoute {
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        exchange.answer(.ok, .json, request.body)
    }
}

/// Clients that come one after the other, each with a connection of its own.
private final class Traffic: Sendable {
    let served = Atomic<Int>(0)
    let isOver = Atomic<Bool>(false)

    func run(on port: Int) async throws {
        while !isOver.load(ordering: .relaxed) {
            let answer = try await ScriptedClient.with(port: port) { client async throws in
                try await client.ask(RequestText.http("POST", "/echo", body: "x"))
            }
            #expect(answer.status == 200)
            served.add(1, ordering: .relaxed)
        }
    }

    func goesOn() async throws {
        let before = served.load(ordering: .relaxed)
        try await wait(for: "some requests") { served.load(ordering: .relaxed) > before + 20 }
    }
}

/// A socket that outlives its listener, and one that does not.
@Suite("Handing a socket over") struct HandingOverTests {
    private static let limits = HTTPLimits(bodyBytesMax: 10_000, connectionsMax: 100, receiveTimeout: .seconds(60))

    private func site() async throws -> TestSite {
        try await TestSite.start([("/echo", EchoRoute(), false)], limits: Self.limits)
    }

    /// Another listener with the same route and what else `site` has.
    private func listener(_ address: HTTPListener.Address, like site: TestSite) async throws -> HTTPListener {
        var router = Router()
        router.add("/echo", EchoRoute(), isForOperators: false)
        return try await HTTPListener.start(
            address, router: router, limits: Self.limits, guardian: nil, group: TestLoop.group, time: site.time,
            metrics: site.metrics)
    }

    private func copy(of listener: HTTPListener) -> Int32? {
        listener.withListeningDescriptor { fcntl($0, F_DUPFD_CLOEXEC, 0) }
    }

    private func post(_ body: String) -> String { RequestText.http("POST", "/echo", body: body) }

    private func isRefused(_ port: Int) async -> Bool {
        do {
            try await ScriptedClient.with(port: port) { _ async throws in }
            return false
        } catch {
            return true
        }
    }

    @Test("Who comes while nobody serves waits for the next listener on the same socket")
    func waiting() async throws {
        let first = try await site()
        let socket = try #require(copy(of: first.listener))
        await first.listener.leaveQueue()
        await first.listener.stop(grace: .zero)
        try await ScriptedClient.with(port: first.port) { client async throws in
            try await client.send(post("early"))
            let second = try await listener(.inherited(descriptor: socket), like: first)
            #expect(second.port == first.port)
            do {
                let answer = try await client.answer()
                #expect(answer.status == 200)
                #expect(answer.text == "early")
            } catch {
                await second.stop(grace: .zero)
                throw error
            }
            await second.stop(grace: .zero)
        }
        #expect(await isRefused(first.port), "the last copy is closed with the listener that owned it")
    }

    @Test("Listeners one after the other on one socket lose no request of clients that never wait")
    func succession() async throws {
        var current = try await site().listener
        let port = try #require(current.port)
        let socket = try #require(copy(of: current))
        defer { close(socket) }
        let like = try await site()
        let traffic = Traffic()
        try await withThrowingTaskGroup(of: Void.self) { clients in
            for _ in 0..<4 { clients.addTask { try await traffic.run(on: port) } }
            for _ in 0..<10 {
                try await traffic.goesOn()
                await current.leaveQueue()
                await current.stop(grace: .seconds(60))
                current = try await listener(.inherited(descriptor: fcntl(socket, F_DUPFD_CLOEXEC, 0)), like: like)
            }
            traffic.isOver.store(true, ordering: .relaxed)
            try await clients.waitForAll()
        }
        await current.stop(grace: .zero)
        await like.listener.stop(grace: .zero)
    }

    @Test("A queue that is handed over is as long as before")
    func length() async throws {
        let first = try await site()
        let socket = try #require(copy(of: first.listener))
        await first.listener.leaveQueue()
        let second = try await listener(.inherited(descriptor: socket), like: first)
        let length = second.withListeningDescriptor { descriptor in
            // The length of its queue stands where for other sockets lost segments are counted.
            var facts = tcp_info()
            var size = socklen_t(MemoryLayout<tcp_info>.size)
            return getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &facts, &size) == 0 ? facts.tcpi_sacked : 0
        }
        await second.stop(grace: .zero)
        #expect(try #require(length) > 128)
    }

    @Test("A connection that was taken already is served one request after the address was left")
    func taken() async throws {
        let site = try await site()
        try await site.use { site in
            try await site.client { client async throws in
                try await wait(for: "the connection") {
                    site.metricsText.contains("_connections{listener=\"public\"} 1")
                }
                await site.listener.leaveQueue()
                let answer = try await client.ask(post("late"))
                #expect(answer.status == 200)
                #expect(answer.text == "late")
                #expect(answer.header("connection") == "close")
                try await wait(for: "the end") { client.isClosed }
            }
        }
    }

    @Test("A stopped listener leaves nothing that listens", arguments: [true, false])
    func nothingLeft(leavesQueue: Bool) async throws {
        let site = try await site()
        #expect(await !isRefused(site.port))
        if leavesQueue { await site.listener.leaveQueue() }
        await site.listener.stop(grace: .zero)
        #expect(await isRefused(site.port))
        #expect(copy(of: site.listener) == nil)
    }

    @Test("A port that is taken is told with the system's number")
    func takenPort() async throws {
        try await site().use { site in
            let error = await #expect(throws: IOError.self) {
                let other = try await listener(.tcp(host: "127.0.0.1", port: site.port), like: site)
                await other.stop(grace: .zero)
            }
            #expect(error?.errnoCode == EADDRINUSE)
        }
    }

    @Test("A port can be taken again at once after its connections were closed by us")
    func reuse() async throws {
        let first = try await site()
        try await first.client { client async throws in
            #expect(try await client.ask(post("x")).status == 200)
            await first.listener.stop(grace: .zero)
            try await wait(for: "the end") { client.isClosed }
        }
        let second = try await listener(.tcp(host: "127.0.0.1", port: first.port), like: first)
        #expect(second.port == first.port)
        await second.stop(grace: .zero)
    }
}
