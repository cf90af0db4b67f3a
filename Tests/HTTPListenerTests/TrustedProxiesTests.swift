// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import NIOCore
import Synchronization
import Telemetry
import Testing

@testable import HTTPListener

/// Says what it takes a request for.
private struct WhoRoute: HTTPRoute {
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        let place = request.isFromThisMachine ? "here" : "elsewhere"
        exchange.answer(.ok, .text, ByteBuffer(string: "\(request.peerAddress) \(place)"))
    }
}

/// Keeps the lines of `security.log`.
private final class SecurityLines: SecurityLog {
    private let kept = Mutex<[[(String, String)]]>([])

    func security(_ event: String, kind: SecurityKind, facts: [(String, String)]) { kept.withLock { $0.append(facts) } }

    func last(_ key: String) -> String? { kept.withLock { $0.last?.first { $0.0 == key }?.1 } }
}

/// Whose word is taken for where a request comes from, and what is made of it.
@Suite("Trusted proxies") struct TrustedProxiesTests {
    @Test(
        "An address or a network is read, and told in its shortest form",
        arguments: [
            ("127.0.0.1", "127.0.0.1"), ("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"), ("fd00::/8", "fd00::/8"), ("::1", "::1"), ("2001:DB8:0::0/32", "2001:db8::/32"),
            ("::/0", "::/0"), ("192.0.2.128/25", "192.0.2.128/25"), ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ])
    func ranges(_ text: String, _ shown: String) throws {
        #expect(try AddressRange(text).description == shown)
    }

    @Test(
        "What is no address and no network is refused",
        arguments: [
            "", "localhost", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0",
            "010.0.0.1", "10.0.0.1:80", "[::1]", "fe80::1%eth0", "::/129", "/8", " 10.0.0.1", "10.0.0.0/8 ",
            "::ffff:10.0.0.0/8", "10.0.0.1\0", "10.0.0.0/٨",
        ])
    func noRanges(_ text: String) {
        #expect(throws: AddressRange.Fault.unreadable) { try AddressRange(text) }
    }

    @Test(
        "A network with bits behind its prefix is refused, with the one that may be meant",
        arguments: [
            ("10.0.0.1/8", "10.0.0.0/8"), ("192.0.2.129/25", "192.0.2.128/25"), ("fd00::1/8", "fd00::/8"),
            ("192.0.2.1/0", "0.0.0.0/0"),
        ])
    func hostBits(_ text: String, _ meant: String) {
        #expect(throws: AddressRange.Fault.hasHostBits(meant: meant)) { try AddressRange(text) }
    }

    @Test(
        "A range has its own family only, however an address is spelt",
        arguments: [
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("192.0.2.128/25", "192.0.2.127", false),
            ("fd00::/8", "fdff::1", true), ("fd00::/8", "fe00::1", false), ("::/0", "10.0.0.1", false),
            ("0.0.0.0/0", "::1", false), ("::1", "0:0::1", true), ("127.0.0.1", "127.0.0.2", false),
        ] as [(String, String, Bool)])
    func members(_ range: String, _ address: String, _ isMember: Bool) throws {
        #expect(try AddressRange(range).contains(try #require(NetworkAddress(address))) == isMember)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var addresses: [String] = []
        var elements: [String] = []
        let sender: HTTPSender

        init(_ words: String, x addresses: String..., forwarded elements: [String] = [], is sender: HTTPSender) {
            testDescription = words
            self.addresses = addresses
            self.elements = elements
            self.sender = sender
        }
    }

    /// Behind 10.0.0.0/8 and fd00::/8.
    static let cases: [Case] = [
        Case("No header", is: .peer),
        Case("One address", x: "192.0.2.1", is: .forwarded("192.0.2.1")),
        Case("What the client has claimed", x: "127.0.0.1, 198.51.100.9, 192.0.2.1", is: .forwarded("192.0.2.1")),
        Case("Proxies of ours between", x: "198.51.100.9, 192.0.2.1, 10.1.1.1,10.2.2.2", is: .forwarded("192.0.2.1")),
        Case("Several lines", x: "198.51.100.9", "192.0.2.1", "10.0.0.2", is: .forwarded("192.0.2.1")),
        Case("Nothing but proxies of ours", x: "10.0.0.7, 10.0.0.8", is: .forwarded("10.0.0.7")),
        Case("IPv6", x: "2001:DB8:0:0::1", is: .forwarded("2001:db8::1")),
        Case("IPv6 with a port", x: "[2001:db8::1]:4711", is: .forwarded("2001:db8::1")),
        Case("IPv6 in brackets", x: "[2001:db8::1]", is: .forwarded("2001:db8::1")),
        Case("A port", x: "192.0.2.1:4711", is: .forwarded("192.0.2.1")),
        Case("Two spellings of one address", x: "::ffff:192.0.2.1", is: .forwarded("192.0.2.1")),
        Case("A proxy of ours over IPv6", x: "192.0.2.1, fd00::1", is: .forwarded("192.0.2.1")),
        Case("Empty places", x: " , 192.0.2.1 ,\t, ", is: .forwarded("192.0.2.1")),
        Case("An empty header", x: "", is: .unclear),
        Case("A name", x: "client.example", is: .unclear),
        Case("unknown", x: "192.0.2.1, unknown", is: .unclear),
        Case("Nonsense far away", x: "nonsense, 192.0.2.1", is: .forwarded("192.0.2.1")),
        Case("Nonsense behind a proxy of ours", x: "192.0.2.1, nonsense, 10.0.0.2", is: .unclear),
        Case("A port that is none", x: "192.0.2.1:http", is: .unclear),
        Case("A bracket that is not closed", x: "[2001:db8::1", is: .unclear),
        Case("IPv4 in brackets", x: "[192.0.2.1]", is: .unclear),
        Case("A comma that a letter clings to", x: "198.51.100.9\u{600}, 192.0.2.1", is: .forwarded("192.0.2.1")),
        Case("A zone", x: "fe80::1%eth0", is: .unclear),
        Case(
            "More proxies than there can be", x: (0..<100).map { "10.0.0.\($0)" }.joined(separator: ","), is: .unclear),

        Case("Forwarded", forwarded: ["for=192.0.2.1;proto=https;by=10.0.0.1"], is: .forwarded("192.0.2.1")),
        Case(
            "Forwarded by several", forwarded: ["for=127.0.0.1, For=192.0.2.1 ; host=x", "for=10.0.0.2"],
            is: .forwarded("192.0.2.1")),
        Case("Forwarded over IPv6", forwarded: [#"for="[2001:db8::1]:80""#], is: .forwarded("2001:db8::1")),
        Case("Forwarded over IPv6 without quotes", forwarded: ["for=[2001:db8::1]"], is: .forwarded("2001:db8::1")),
        Case("Forwarded with escapes", forwarded: [#"for="192.0.2\.1""#], is: .forwarded("192.0.2.1")),
        Case(
            "A comma in quotes", forwarded: [#"host="a, for=198.51.100.9", for=192.0.2.1"#],
            is: .forwarded("192.0.2.1")),
        Case("A quote left open by the client", forwarded: [#"for="198.51.100.9, for=192.0.2.1"#], is: .unclear),
        Case(
            "A quote left open on another line", forwarded: [#"for="198.51.100.9"#, "for=192.0.2.1"],
            is: .forwarded("192.0.2.1")),
        Case("Forwarded for nobody", forwarded: ["for=198.51.100.9, proto=https"], is: .unclear),
        Case("Forwarded for two", forwarded: ["for=192.0.2.1;for=192.0.2.2"], is: .unclear),
        Case("Forwarded for a hidden one", forwarded: ["for=_hidden"], is: .unclear),
        Case("No value", forwarded: ["for="], is: .unclear),
        Case("No pairs", forwarded: ["192.0.2.1"], is: .unclear),
        Case("An empty Forwarded", forwarded: [""], is: .unclear),
        Case(
            "Both: the older one counts", x: "192.0.2.1", forwarded: ["for=198.51.100.9"], is: .forwarded("192.0.2.1")),
        Case("Both, and the older one is nonsense", x: "nonsense", forwarded: ["for=192.0.2.1"], is: .unclear),
    ]

    @Test("The last address that is no proxy of ours counts, and nonsense is nobody's", arguments: cases)
    func sender(_ one: Case) throws {
        let proxies = TrustedProxies([try AddressRange("10.0.0.0/8"), try AddressRange("fd00::/8")])
        let headers = ["x-forwarded-for": one.addresses, "forwarded": one.elements]
        #expect(proxies.sender { headers[$0] ?? [] } == one.sender)
    }

    // MARK: On a listener

    private static let limits = HTTPLimits(bodyBytesMax: 100, connectionsMax: 100, receiveTimeout: .seconds(60))

    private static func router() -> Router {
        var router = Router()
        router.add("/who", WhoRoute())
        return router
    }

    private func withListener(
        _ proxies: [String], guardian: OriginGuard? = nil, log: (any SecurityLog)? = nil,
        _ body: (HTTPListener, ScriptedClient) async throws -> Void
    ) async throws {
        let listener = try await HTTPListener.start(
            .tcp(host: "127.0.0.1", port: 0), router: Self.router(), limits: Self.limits, guardian: guardian,
            entrance: HTTPEntrance(proxies: TrustedProxies(try proxies.map { try AddressRange($0) })),
            group: TestLoop.group, time: ManualTime(runs: true), metrics: MetricsRegistry(), security: log)
        do {
            try await ScriptedClient.with(port: listener.port ?? 0) { client async throws in
                try await body(listener, client)
            }
        } catch {
            await listener.stop(grace: .zero)
            throw error
        }
        await listener.stop(grace: .zero)
    }

    private func who(_ headers: [(String, String)] = []) -> String { RequestText.http("GET", "/who", headers: headers) }

    @Test("Only a proxy that is named is believed")
    func named() async throws {
        let forwarded = who([("X-Forwarded-For", "192.0.2.1")])
        try await withListener(["10.0.0.0/8"]) { _, client async throws in
            #expect(try await client.ask(forwarded).text == "127.0.0.1 here")
        }
        try await withListener(["127.0.0.0/8"]) { _, client async throws in
            #expect(try await client.ask(forwarded).text == "192.0.2.1 elsewhere")
            #expect(try await client.ask(who()).text == "127.0.0.1 here")
        }
    }

    @Test("Who is passed on is never taken for somebody of this machine", arguments: ["127.0.0.1", "nonsense", "::1"])
    func notFromHere(_ claimed: String) async throws {
        try await withListener(["127.0.0.1"]) { _, client async throws in
            let answer = try await client.ask(who([("x-forwarded-for", claimed)]))
            #expect(answer.text == "\(claimed == "nonsense" ? "127.0.0.1" : claimed) elsewhere")
        }
    }

    @Test("A change is in force on connections that are open, and one without an entrance leaves it")
    func changes() async throws {
        let forwarded = who([("forwarded", "for=192.0.2.1")])
        try await withListener([]) { listener, client async throws in
            #expect(try await client.ask(forwarded).text == "127.0.0.1 here")
            let proxies = TrustedProxies([try AddressRange("127.0.0.1")])
            await listener.change(
                router: Self.router(), limits: Self.limits, guardian: nil, entrance: HTTPEntrance(proxies: proxies))
            #expect(try await client.ask(forwarded).text == "192.0.2.1 elsewhere")
            await listener.change(router: Self.router(), limits: Self.limits, guardian: nil)
            #expect(try await client.ask(forwarded).text == "192.0.2.1 elsewhere")
            await listener.change(
                router: Self.router(), limits: Self.limits, guardian: nil, entrance: HTTPEntrance())
            #expect(try await client.ask(forwarded).text == "127.0.0.1 here")
        }
    }

    @Test("The log of refused requests names the client, and the proxy that has told its address")
    func log() async throws {
        let lines = SecurityLines()
        let guardian = OriginGuard(listenHost: "127.0.0.1", hosts: [], origins: [])
        try await withListener(["127.0.0.1"], guardian: guardian, log: lines) { _, client async throws in
            let refused = who([("host", "elsewhere.example"), ("x-forwarded-for", "192.0.2.1")])
            #expect(try await client.ask(refused).status == 421)
            #expect(lines.last("peer") == "192.0.2.1")
            #expect(lines.last("proxy") == "127.0.0.1")
            #expect(try await client.ask(who([("host", "elsewhere.example")])).status == 421)
            #expect(lines.last("peer") == "127.0.0.1")
            #expect(lines.last("proxy") == nil)
        }
    }
}
