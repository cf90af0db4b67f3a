// Licensed under the Apache License 2.0; see LICENSE.

import NIOCore
import NIOPosix
import Synchronization

/// A client on a real socket that sends exactly the bytes it is given.
package final class ScriptedClient: Sendable {
    private let channel: any Channel
    private let inbox: Inbox
    /// The port it is connected to.
    package let port: Int

    private init(channel: any Channel, inbox: Inbox, port: Int) {
        self.channel = channel
        self.inbox = inbox
        self.port = port
    }

    package static func connect(port: Int) async throws -> ScriptedClient {
        let inbox = Inbox()
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(InboxFiller(inbox))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return ScriptedClient(channel: channel, inbox: inbox, port: port)
    }

    /// Connects, runs `body`, and leaves.
    package static func with<T>(port: Int, _ body: (ScriptedClient) async throws -> T) async throws -> T {
        let client = try await connect(port: port)
        do {
            let value = try await body(client)
            await client.leave()
            return value
        } catch {
            await client.leave()
            throw error
        }
    }

    package func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    /// The next answer, whole.
    ///
    /// - Parameter toHead: it answers a HEAD request and so has no body.
    package func answer(within patience: Duration = .seconds(60), toHead: Bool = false) async throws -> RecordedAnswer {
        try await wait(forValue: "an answer; so far: \(inbox.text.prefix(200))", within: patience) {
            inbox.takeAnswer(toHead: toHead)
        }
    }

    /// Sends one request and waits for its answer.
    package func ask(_ request: String, toHead: Bool = false) async throws -> RecordedAnswer {
        try await send(request)
        return try await answer(toHead: toHead)
    }

    /// Everything received that no answer has been made of yet.
    package var received: String { inbox.text }
    /// Whether the other side has closed the connection.
    package var isClosed: Bool { inbox.isClosed }

    /// Closes its own half of the connection and goes on listening.
    package func sayNoMore() async throws { try await channel.close(mode: .output) }

    /// Closes the connection.
    package func leave() async {
        // It may be closed already.
        try? await channel.close()
    }
}

/// What a client has received.
private final class Inbox: Sendable {
    private let state = Mutex<(bytes: [UInt8], isClosed: Bool)>(([], false))

    func append(_ bytes: [UInt8]) { state.withLock { $0.bytes += bytes } }
    func close() { state.withLock { $0.isClosed = true } }
    var isClosed: Bool { state.withLock { $0.isClosed } }
    var text: String { String(decoding: state.withLock { $0.bytes }, as: UTF8.self) }

    func takeAnswer(toHead: Bool) -> RecordedAnswer? {
        state.withLock { RecordedAnswer.take(from: &$0.bytes, isEnd: $0.isClosed, toHead: toHead) }
    }
}

private final class InboxFiller: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let inbox: Inbox

    init(_ inbox: Inbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        inbox.append(Array(unwrapInboundIn(data).readableBytesView))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        // The other side has said everything: so have we.
        inbox.close()
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { inbox.close() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
