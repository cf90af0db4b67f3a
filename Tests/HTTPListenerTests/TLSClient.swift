// Licensed under the Apache License 2.0; see LICENSE.

import FoundationEssentials
import GatewayTestKit
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization

/// The files of `Tests/Fixtures/tls`.
enum TLSFixture {
    static func bytes(_ name: String) throws -> [UInt8] {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return Array(try Data(contentsOf: tests.appending(path: "Fixtures/tls").appending(path: name)))
    }

    static func certificate(_ name: String) throws -> NIOSSLCertificate {
        try NIOSSLCertificate(bytes: try bytes(name + ".pem"), format: .pem)
    }
}

/// A client of HTTPS that sends what it is given. It trusts the authority of the fixtures, and nobody else.
final class TLSClient: Sendable {
    /// What a client may do otherwise than most.
    struct Manners: Sendable {
        /// The fixture whose certificate it shows.
        var shows: String?
        var newest: TLSVersion = .tlsv13
        var offers: [String] = []
    }

    private let channel: any Channel
    private let inbox: TLSInbox
    /// What was agreed on to speak inside.
    let inside: String?
    let version: TLSVersion?
    /// The certificate it was shown.
    let certificate: NIOSSLCertificate?

    private init(_ channel: any Channel, _ inbox: TLSInbox, inside: String?) async throws {
        self.channel = channel
        self.inbox = inbox
        self.inside = inside
        version = try await channel.nioSSL_tlsVersion().get()
        certificate = try await channel.nioSSL_peerCertificate().get()
    }

    /// Connects and shakes hands; throws what goes wrong with that.
    static func connect(port: Int, _ manners: Manners = Manners()) async throws -> TLSClient {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates([try TLSFixture.certificate("authority")])
        configuration.minimumTLSVersion = .tlsv1
        configuration.maximumTLSVersion = manners.newest
        configuration.applicationProtocols = manners.offers
        if let name = manners.shows {
            configuration.certificateChain = [.certificate(try TLSFixture.certificate(name))]
            configuration.privateKey = .privateKey(
                try NIOSSLPrivateKey(bytes: try TLSFixture.bytes(name + ".key"), format: .pem))
        }
        let context = try NIOSSLContext(configuration: configuration)
        let inbox = TLSInbox()
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = try NIOSSLClientHandler(context: context, serverHostname: "localhost")
                    try channel.pipeline.syncOperations.addHandlers([handler, TLSInboxFiller(inbox)])
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        try await wait(for: "the handshake") { inbox.isOpen || inbox.isClosed }
        guard inbox.isOpen else { throw Unexpected("no handshake: \(inbox.trouble ?? "the connection was closed")") }
        return try await TLSClient(channel, inbox, inside: inbox.inside)
    }

    static func with<T>(
        port: Int, _ manners: Manners = Manners(), _ body: (TLSClient) async throws -> T
    ) async throws -> T {
        let client = try await connect(port: port, manners)
        do {
            let value = try await body(client)
            await client.leave()
            return value
        } catch {
            await client.leave()
            throw error
        }
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

    /// The next answer, whose head tells its length: its first line and its body.
    func answer() async throws -> (line: String, body: String) {
        try await wait(forValue: "an answer; so far: \(inbox.text.prefix(200))") {
            if inbox.isClosed, inbox.text.isEmpty { throw Unexpected("closed: \(inbox.trouble ?? "without a word")") }
            return inbox.takeAnswer()
        }
    }

    func ask(_ request: String) async throws -> (line: String, body: String) {
        try await send(request)
        return try await answer()
    }

    /// Whether the other side has closed the connection.
    var isClosed: Bool { inbox.isClosed }
    /// Whether it has said good-bye first, so that nothing can be missing.
    var isClosedWell: Bool { inbox.isClosed && inbox.trouble == nil }

    func leave() async {
        // It may be closed already.
        try? await channel.close()
    }
}

/// What has come for a client.
private final class TLSInbox: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var isOpen = false
        var isClosed = false
        var inside: String?
        var trouble: String?
    }

    private let state = Mutex(State())

    var text: String { String(decoding: state.withLock { $0.bytes }, as: UTF8.self) }
    var isOpen: Bool { state.withLock { $0.isOpen } }
    var isClosed: Bool { state.withLock { $0.isClosed } }
    var inside: String? { state.withLock { $0.inside } }
    var trouble: String? { state.withLock { $0.trouble } }

    func append(_ bytes: ByteBufferView) { state.withLock { $0.bytes += bytes } }
    func close() { state.withLock { $0.isClosed = true } }
    func fail(_ error: any Error) { state.withLock { $0.trouble = $0.trouble ?? "\(error)" } }
    func open(_ inside: String?) {
        state.withLock { state in
            state.isOpen = true
            state.inside = inside
        }
    }

    func takeAnswer() -> (line: String, body: String)? {
        state.withLock { state in
            let text = String(decoding: state.bytes, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return nil }
            let lines = text[..<end.lowerBound].split(separator: "\r\n")
            let name = "content-length: "
            let length = lines.first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) } ?? 0
            let head = text[..<end.upperBound].utf8.count
            guard state.bytes.count >= head + length else { return nil }
            let body = String(decoding: state.bytes[head..<(head + length)], as: UTF8.self)
            state.bytes.removeFirst(head + length)
            return (String(lines.first ?? ""), body)
        }
    }
}

private final class TLSInboxFiller: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let inbox: TLSInbox

    init(_ inbox: TLSInbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        inbox.append(unwrapInboundIn(data).readableBytesView)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, case .handshakeCompleted(let inside) = event { inbox.open(inside) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        inbox.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { inbox.close() }
}
