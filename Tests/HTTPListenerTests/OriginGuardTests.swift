// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import NIOCore
import Testing

@testable import HTTPListener

/// Pages of elsewhere are kept out.
@Suite("Origin guard") struct OriginGuardTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let host: String?
        var origin: String?
        var listen = "127.0.0.1"
        let verdict: OriginGuard.Verdict
        var testDescription: String { "host \(host ?? "none"), origin \(origin ?? "none"), listening on \(listen)" }
    }

    static let cases: [Case] = [
        Case(host: "localhost", verdict: .allowed),
        Case(host: "localhost:8080", verdict: .allowed),
        Case(host: "LocalHost:8080", verdict: .allowed),
        Case(host: "127.0.0.1:8080", verdict: .allowed),
        Case(host: "[::1]:8080", verdict: .allowed),
        Case(host: "gw.example.com", verdict: .allowed),
        Case(host: "GW.example.com:443", verdict: .allowed),
        Case(host: nil, verdict: .badHost),
        Case(host: "", verdict: .badHost),
        Case(host: "evil.example", verdict: .badHost),
        Case(host: "localhost.evil.example", verdict: .badHost),
        Case(host: "127.0.0.1.evil.example", verdict: .badHost),
        Case(host: "sub.gw.example.com", verdict: .badHost),
        Case(host: "192.168.1.5:8080", verdict: .badHost),
        Case(host: "[fe80::1]:8080", verdict: .badHost),
        // Beyond loopback an address is as good as a name: a rebinding page always comes by a name.
        Case(host: "192.168.1.5:8080", listen: "0.0.0.0", verdict: .allowed),
        Case(host: "[fe80::1]:8080", listen: "0.0.0.0", verdict: .allowed),
        Case(host: "evil.example", listen: "0.0.0.0", verdict: .badHost),
        Case(host: "300.1.1.1", listen: "0.0.0.0", verdict: .badHost),

        Case(host: "localhost", origin: "http://localhost:3000", verdict: .allowed),
        Case(host: "localhost", origin: "https://127.0.0.1", verdict: .allowed),
        Case(host: "localhost", origin: "http://[::1]:9", verdict: .allowed),
        Case(host: "localhost", origin: "https://app.example.com", verdict: .allowed),
        Case(host: "localhost", origin: "HTTPS://App.example.com", verdict: .allowed),
        Case(host: "localhost", origin: "http://app.example.com", verdict: .badOrigin),
        Case(host: "localhost", origin: "https://app.example.com:444", verdict: .badOrigin),
        Case(host: "localhost", origin: "https://evil.example", verdict: .badOrigin),
        Case(host: "localhost", origin: "null", verdict: .badOrigin),
        Case(host: "localhost", origin: "", verdict: .badOrigin),
        Case(host: "localhost", origin: "file://localhost", verdict: .badOrigin),
        Case(host: "localhost", origin: "http://127.evil.example", verdict: .badOrigin),
        Case(host: "localhost", origin: "http://localhost.evil.example", verdict: .badOrigin),
        Case(host: "localhost", origin: "http://localhost@evil.example", verdict: .badOrigin),
    ]

    @Test("A host and an origin are judged together", arguments: cases)
    func judge(_ one: Case) {
        let guardian = OriginGuard(
            listenHost: one.listen, hosts: ["gw.example.com"], origins: ["https://app.example.com"])
        #expect(guardian.judge(host: one.host, origin: one.origin) == one.verdict)
    }

    @Test(
        "What follows the colon of a host must be a port", arguments: ["localhost:80@evil.example", "localhost:evil"])
    func strangePorts(_ host: String) {
        let guardian = OriginGuard(listenHost: "127.0.0.1", hosts: [], origins: [])
        #expect(guardian.judge(host: host, origin: nil) == .badHost)
        #expect(guardian.judge(host: "localhost", origin: "http://\(host)") == .badOrigin)
    }

    private struct Silent: HTTPRoute {
        func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {}
    }

    @Test(
        "A router knows exact paths only",
        arguments: [
            ("/mcp", 0), ("/health", 1), ("/health/live", 2), ("/MCP", nil), ("/mcp/", nil), ("/", nil), ("", nil),
            ("/mc", nil), ("/mcpx", nil), ("/%6dcp", nil), ("//mcp", nil),
        ] as [(String, Int?)])
    func routes(_ path: String, _ index: Int?) {
        var router = Router()
        router.add("/mcp", Silent())
        router.add("/health", Silent(), isForOperators: true)
        router.add("/health/live", Silent(), isForOperators: true)
        #expect(router.find(path[...]) == index)
    }

    @Test(
        "Below a prefix everything is one route, but for paths with a route of their own",
        arguments: [
            ("/queue/", nil), ("/queue", nil), ("/queue/1", 0), ("/queue/1/retry", 0), ("/queue//", 0),
            ("/queue/purge", 1), ("/queue/purge/1", 0), ("/queues/1", nil), ("/a/queue/1", nil),
        ] as [(String, Int?)])
    func prefixes(_ path: String, _ index: Int?) {
        var router = Router()
        router.add(prefix: "/queue/", Silent())
        router.add("/queue/purge", Silent())
        #expect(router.find(path[...]) == index)
        #expect(router.entries.map(\.label) == ["/queue/*", "/queue/purge"])
    }

    @Test(
        "A date is written as HTTP wants it",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_210_096_999, "Thu, 29 Feb 2024 12:34:56 GMT"), (4_102_444_799_000, "Thu, 31 Dec 2099 23:59:59 GMT"),
        ] as [(Int64, String)])
    func date(_ milliseconds: Int64, _ text: String) {
        #expect(HTTPDate.text(milliseconds: milliseconds) == text)
    }

    @Test("The words of a refusal are one line of JSON whatever is in them")
    func refusal() {
        let body = HTTPRefusal.body(code: "c", message: "a \"b\" \\ c\nd", request: RequestID(high: 1, low: 2))
        #expect(
            String(buffer: body)
                == #"{"error":{"code":"c","message":"a \"b\" \\ c d","request_id":"00000000000000010000000000000002"}}"#
        )
    }
}
