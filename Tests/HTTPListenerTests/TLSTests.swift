// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import NIOCore
import NIOSSL
import Synchronization
import Telemetry
import Testing

/// Answers with the body it was sent, or with how it came.
private struct EchoRoute: HTTPRoute {
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        let isAsked = request.body.readableBytes == 0
        exchange.answer(
            .ok, .text, isAsked ? ByteBuffer(string: request.isEncrypted ? "encrypted" : "plain") : request.body)
    }
}

/// Keeps the reasons of `security.log`.
private final class Reasons: SecurityLog {
    private let kept = Mutex<[String]>([])
    var all: [String] { kept.withLock { $0 } }

    func security(_ event: String, kind: SecurityKind, facts: [(String, String)]) {
        let why = facts.first { $0.0 == "detail" }?.1 ?? ""
        kept.withLock { $0.append("\(event): \(why)") }
    }
}

/// A listener that speaks TLS on a random loopback port.
private struct TLSSite: Sendable {
    let listener: HTTPListener
    let time = ManualTime(runs: true)
    let metrics = MetricsRegistry()
    let reasons = Reasons()
    var port: Int { listener.port ?? 0 }

    static let limits = HTTPLimits(bodyBytesMax: 4 << 20, connectionsMax: 100, receiveTimeout: .seconds(60))

    static var router: Router {
        var router = Router()
        router.add("/echo", EchoRoute())
        return router
    }

    static func tls(
        _ name: String = "server", _ clients: ServerTLS.ClientCertificates = .notAsked
    ) throws -> HTTPEntrance {
        let certificate = try TLSFixture.bytes("\(name).pem")
        return HTTPEntrance(
            tls: try ServerTLS(certificate: certificate, key: try TLSFixture.bytes("\(name).key"), clients: clients))
    }

    private init(_ entrance: HTTPEntrance) async throws {
        listener = try await HTTPListener.start(
            .tcp(host: "127.0.0.1", port: 0), router: Self.router, limits: Self.limits, guardian: nil,
            entrance: entrance, group: TestLoop.group, time: time, metrics: metrics, security: reasons)
    }

    static func use(_ entrance: HTTPEntrance, _ body: (TLSSite) async throws -> Void) async throws {
        let site = try await TLSSite(entrance)
        do { try await body(site) } catch {
            await site.listener.stop(grace: .zero)
            throw error
        }
        await site.listener.stop(grace: .zero)
    }

    func change(_ entrance: HTTPEntrance?) async {
        await listener.change(router: Self.router, limits: Self.limits, guardian: nil, entrance: entrance)
    }

    /// Handshakes that have failed; nil where none is counted.
    var failures: Int? {
        let name = "\nmcp_tls_handshake_failures_total "
        let text = String(decoding: metrics.render(), as: UTF8.self)
        guard let place = text.firstRange(of: name) else { return nil }
        return Int(text[place.upperBound...].prefix { $0.isNumber })
    }
}

private func post(_ body: String, _ headers: [(String, String)] = []) -> String {
    RequestText.http("POST", "/echo", headers: headers, body: body)
}

/// TLS on the listener: what clients see of it, and what it refuses.
@Suite("TLS") struct TLSTests {
    @Test("A request is answered, its route knows that it came encrypted, and HTTP/1.1 is agreed on")
    func answered() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port, .init(offers: ["h2", "http/1.1"])) { client async throws in
                let answer = try await client.ask(post(""))
                #expect(answer.line == "HTTP/1.1 200 OK")
                #expect(answer.body == "encrypted")
                #expect(client.inside == "http/1.1")
                #expect(client.version == .tlsv13)
                #expect(client.certificate == (try TLSFixture.certificate("server")))
                for number in 0..<20 { #expect(try await client.ask(post("\(number)")).body == "\(number)") }
            }
            #expect(site.failures == 0)
        }
    }

    @Test("Large bodies go both ways, and requests may come all at once")
    func large() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port) { client async throws in
                let body = String(repeating: "0123456789abcdef", count: 200_000)
                #expect(try await client.ask(post(body)).body == body)
                try await client.send((0..<50).map { post("number \($0)") }.joined())
                for number in 0..<50 { #expect(try await client.answer().body == "number \(number)") }
            }
        }
    }

    @Test("The last answer of a connection is whole, and its end is said and not only done")
    func lastAnswer() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port) { client async throws in
                let body = String(repeating: "x", count: 1_000_000)
                #expect(try await client.ask(post(body, [("connection", "close")])).body == body)
                try await wait(for: "the end") { client.isClosed }
                #expect(client.isClosedWell)
            }
        }
    }

    @Test("TLS 1.2 is spoken, what is older is not, and that is counted and written down")
    func versions() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port, .init(newest: .tlsv12)) { client async throws in
                #expect(try await client.ask(post("x")).body == "x")
                #expect(client.version == .tlsv12)
                #expect(client.inside == nil)
            }
            await #expect(throws: (any Error).self) {
                _ = try await TLSClient.connect(port: site.port, .init(newest: .tlsv11))
            }
            try await wait(for: "the count") { site.failures == 1 }
            #expect(site.reasons.all == ["tls_refused: unsupported protocol"])
        }
    }

    @Test("Plain HTTP on the port is not answered in HTTP, and disturbs nobody")
    func plain() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port) { other async throws in
                try await ScriptedClient.with(port: site.port) { client async throws in
                    try await client.send(post("x"))
                    try await wait(for: "the end") { client.isClosed }
                    #expect(!client.received.contains("HTTP"))
                }
                try await wait(for: "the count") { site.failures == 1 }
                #expect(site.reasons.all == ["tls_refused: http request"])
                #expect(try await other.ask(post("x")).body == "x")
            }
        }
    }

    @Test("Who is slow to shake hands is cut off after the time for a request", arguments: ["", "\u{16}\u{3}"])
    func slow(_ said: String) async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await ScriptedClient.with(port: site.port) { client async throws in
                if !said.isEmpty { try await client.send(said) }
                try await wait(for: "the connection") {
                    String(decoding: site.metrics.render(), as: UTF8.self).contains("listener=\"public\"} 1")
                }
                #expect(!client.isClosed)
                // Again and again, since a connection is counted before its time begins.
                try await wait(for: "the end") {
                    site.time.advance(by: .seconds(61))
                    return client.isClosed
                }
                #expect(client.received.isEmpty)
            }
            try await wait(for: "the count") { site.failures == 1 }
            #expect(site.reasons.all == ["tls_refused: not done in time"])
        }
    }

    @Test("Who connects and leaves without a word was only looking, and is not counted")
    func onlyLooking() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            for _ in 0..<5 { try await ScriptedClient.with(port: site.port) { _ async throws in } }
            try await wait(for: "the end of all") {
                String(decoding: site.metrics.render(), as: UTF8.self).contains("listener=\"public\"} 0")
            }
            #expect(site.failures == 0)
            #expect(site.reasons.all == [])
        }
    }

    @Test("A client that says nothing after the handshake is told so")
    func silent() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port) { client async throws in
                site.time.advance(by: .seconds(61))
                #expect(try await client.answer().line == "HTTP/1.1 408 Request Timeout")
            }
            #expect(site.failures == 0)
        }
    }

    // MARK: Client certificates

    /// Whether a client that shows this certificate is answered.
    private func isAnswered(_ name: String?, _ site: TLSSite, newest: TLSVersion = .tlsv13) async -> Bool {
        // Refused while shaking hands, or, in TLS 1.3, when the first answer is awaited.
        (try? await TLSClient.with(port: site.port, .init(shows: name, newest: newest)) { client async throws in
            try await client.ask(post("x")).body == "x"
        }) ?? false
    }

    @Test("A certificate that is required has to be shown, and to be of the right authority", arguments: [false, true])
    func required(isOld: Bool) async throws {
        let newest: TLSVersion = isOld ? .tlsv12 : .tlsv13
        let clients = ServerTLS.ClientCertificates.required(try TLSFixture.bytes("authority.pem"))
        try await TLSSite.use(try TLSSite.tls("server", clients)) { site async throws in
            #expect(await isAnswered("client", site, newest: newest))
            #expect(site.failures == 0)
            #expect(await !isAnswered(nil, site, newest: newest))
            try await wait(for: "the count") { site.failures == 1 }
            #expect(await !isAnswered("stranger", site, newest: newest))
            try await wait(for: "the count") { site.failures == 2 }
            #expect(
                site.reasons.all == [
                    "tls_refused: peer did not return a certificate", "tls_refused: certificate verify failed",
                ])
            #expect(await isAnswered("client", site, newest: newest))
        }
    }

    @Test("One that is not required may be left out, but a wrong one is refused")
    func optional() async throws {
        let clients = ServerTLS.ClientCertificates.optional(try TLSFixture.bytes("authority.pem"))
        try await TLSSite.use(try TLSSite.tls("server", clients)) { site async throws in
            #expect(await isAnswered(nil, site))
            #expect(await isAnswered("client", site))
            #expect(await !isAnswered("stranger", site))
            try await wait(for: "the count") { site.failures == 1 }
        }
    }

    // MARK: Change

    @Test("A new certificate is for new connections, and those that are open go on with the old one")
    func renewed() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await TLSClient.with(port: site.port) { old async throws in
                #expect(try await old.ask(post("x")).body == "x")
                await site.change(try TLSSite.tls("renewed"))
                for _ in 0..<12 {
                    try await TLSClient.with(port: site.port) { new async throws in
                        #expect(new.certificate == (try TLSFixture.certificate("renewed")))
                        #expect(try await new.ask(post("x")).body == "x")
                    }
                }
                #expect(try await old.ask(post("y")).body == "y")
                #expect(old.certificate == (try TLSFixture.certificate("server")))
            }
        }
    }

    @Test("A change that says nothing of it leaves TLS on; one can take it away, and another bring it back")
    func onAndOff() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            await site.change(nil)
            try await TLSClient.with(port: site.port) { client async throws in
                #expect(try await client.ask(post("")).body == "encrypted")
                await site.change(HTTPEntrance())
                try await ScriptedClient.with(port: site.port) { plain async throws in
                    #expect(try await plain.ask(post("")).text == "plain")
                    #expect(try await client.ask(post("")).body == "encrypted")
                    await site.change(try TLSSite.tls())
                    #expect(try await plain.ask(post("")).text == "plain")
                }
            }
            try await TLSClient.with(port: site.port) { client async throws in
                #expect(try await client.ask(post("")).body == "encrypted")
            }
        }
    }

    @Test("A stop ends connections that are idle, and those that have not shaken hands")
    func stop() async throws {
        try await TLSSite.use(try TLSSite.tls()) { site async throws in
            try await ScriptedClient.with(port: site.port) { mute async throws in
                try await TLSClient.with(port: site.port) { client async throws in
                    #expect(try await client.ask(post("x")).body == "x")
                    await site.listener.stop(grace: .seconds(60))
                    try await wait(for: "the end of both") { client.isClosed && mute.isClosed }
                    #expect(client.isClosedWell)
                }
            }
        }
    }
}
