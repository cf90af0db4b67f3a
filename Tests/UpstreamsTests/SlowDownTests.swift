// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Upstreams

/// A server that asks to slow down is left alone for a while, and does not count as away.
@Suite("Slowing down") struct SlowDownTests {
    /// The answer of a server that asks to slow down.
    struct Asking: Sendable, CustomTestStringConvertible {
        let name: String
        let status: Int
        var body = ""
        var testDescription: String { name }

        var answer: ScriptedAnswer { .json(status: status, headers: [("Retry-After", "30")], body) }
    }

    static let askings: [Asking] = [
        Asking(name: "429", status: 429),
        Asking(
            name: "429 with JSON-RPC", status: 429,
            body: #"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"too many"}}"#),
        Asking(name: "429 with a page", status: 429, body: "<html>Too Many Requests</html>"),
        Asking(name: "503", status: 503),
    ]

    private static func words(_ failure: CallFailure?) -> String? {
        guard case .overloaded(let detail, _) = failure else { return nil }
        return detail
    }

    @Test(
        "Calls are turned away without being sent until the pause is over, and the next answer ends it",
        arguments: askings)
    func pause(_ asking: Asking) async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream)
        upstream.answerCalls { _ in asking.answer }
        let first = Self.words(try await up.echo())
        #expect(first == "its server asks to slow down")
        upstream.answerCalls { _ in nil }
        let second = try #require(Self.words(try await up.echo()))
        #expect(second.hasPrefix("its server asks to slow down"), "\(second)")
        #expect(upstream.calls.count == 1)

        #expect(up.isReachable)
        let until = try #require(up.pausedUntil)
        #expect(up.refusesUntil == until && up.facts.pausedUntil == until)
        #expect(until > bench.time.now())
        let component = try #require(bench.component("up"))
        #expect(component.status == .degraded)
        #expect(component.detail.contains("1 tools, asked to slow down for "), "\(component.detail)")

        bench.time.advance(by: .seconds(31))
        #expect(up.pausedUntil == nil)
        #expect(try await up.echo() == nil)
        #expect(upstream.calls.count == 2)
        #expect(bench.component("up")?.status == .healthy)
        #expect(bench.returned.all == ["up"], "it was never away")
        await bench.close()
        await upstream.goAway()
    }

    @Test("A 503 that names no time is a broken answer, and no pause")
    func plainUnavailable() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream)
        upstream.answerCalls { _ in .json("", status: 503) }
        #expect(try await up.echo() == .outcomeUnknown(detail: "HTTP status 503"))
        #expect(up.pausedUntil == nil)
        await bench.close()
        await upstream.goAway()
    }

    @Test("A server that names no time is given a second, then two, and calls under way together count once")
    func doubling() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream)
        let gate = Gate()
        upstream.answerCalls { _ in .after(gate, .json("", status: 429)) }
        let calls = (0..<3).map { _ in Task { try await up.echo() } }
        try await wait(for: "three calls at once") { upstream.calls.count == 3 }
        gate.open()
        for call in calls {
            #expect(Self.words(try await call.soon()) == "its server asks to slow down")
        }
        bench.time.advance(by: .seconds(2))
        #expect(Self.words(try await up.echo()) == "its server asks to slow down")
        #expect(upstream.calls.count == 4)
        await bench.close()
        await upstream.goAway()
    }

    @Test("A handshake that is asked to slow down waits as well: nothing is sent, however often somebody rings")
    func handshake() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        upstream.answer { _ in .json(status: 429, headers: [("Retry-After", "60")], "") }
        let bench = try PoolBench([.scripted("up", upstream)])
        let up = bench.pool.upstreams[0]
        try await wait(for: "the pause") { up.pausedUntil != nil && up.facts.awayReason == "it asks to slow down" }
        for _ in 0..<3 {
            let before = up.facts.checkedAt
            try await bench.look(for: "another look") { up.facts.checkedAt > before }
        }
        #expect(upstream.requests.map(\.method) == ["server/discover"])
        #expect(Self.words(try await up.echo())?.contains("asks to slow down") == true)
        #expect(upstream.calls.isEmpty)
        let component = try #require(bench.component("up"))
        #expect(component.status == .degraded)
        #expect(component.detail.hasPrefix("asked to slow down for "), "\(component.detail)")

        upstream.answer { _ in nil }
        bench.time.advance(by: .seconds(61))
        try await bench.look(for: "it to be there") { up.isUp }
        #expect(up.pausedUntil == nil)
        await bench.close()
        await upstream.goAway()
    }

    @Test("A refresh of the lists that is asked to slow down leaves the server there, with all it has")
    func refresh() async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: true))
        let (bench, up) = try await PoolBench.up(upstream)
        upstream.answer { request in
            request.method == "tools/list" ? .json(status: 429, headers: [("Retry-After", "60")], "") : nil
        }
        try await bench.look(for: "the pause") { up.pausedUntil != nil }
        let before = up.facts.checkedAt
        try await bench.look(for: "another look") { up.facts.checkedAt > before }
        #expect(up.isUp)
        #expect(up.offers().tools.map(\.name) == ["echo"])
        #expect(bench.component("up")?.status == .degraded)
        #expect(upstream.requests("initialize").count == 1, "nothing was begun anew")
        #expect(Self.words(try await up.echo()) != nil)

        upstream.answer { _ in nil }
        bench.time.advance(by: .seconds(61))
        #expect(try await up.echo() == nil)
        #expect(bench.returned.all == ["up"])
        await bench.close()
        await upstream.goAway()
    }

    @Test("A session for one client that cannot be opened for that reason turns its call away, and the server stays")
    func sideSession() async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: true))
        let (bench, up) = try await PoolBench.up(upstream)
        upstream.answer { request in
            request.method == "initialize" ? .json(status: 429, headers: [("Retry-After", "30")], "") : nil
        }
        let failure = try await up.echo(for: RecordingConversation(), logLevel: .info)
        #expect(Self.words(failure)?.contains("asks to slow down") == true)
        #expect(up.isUp)
        upstream.answer { _ in nil }
        bench.time.advance(by: .seconds(31))
        #expect(try await up.echo(for: RecordingConversation(), logLevel: .info) == nil)
        #expect(up.facts.sideSessions == 1)
        await bench.close()
        await upstream.goAway()
    }
}
