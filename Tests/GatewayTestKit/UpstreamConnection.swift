// Licensed under the Apache License 2.0; see LICENSE.

import NIOCore
import Synchronization

/// One connection of a scripted upstream.
final class UpstreamConnection: ChannelInboundHandler, @unchecked Sendable {
    // Confined to the event loop of its channel; needs no lock.
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let owner: ScriptedUpstream
    private let number: Int
    private var received: [UInt8] = []
    private var waiting = 0
    private var context: ChannelHandlerContext?

    init(owner: ScriptedUpstream, number: Int) {
        self.owner = owner
        self.number = number
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        owner.ended(number, whileWaiting: waiting > 0)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += unwrapInboundIn(data).readableBytesView
        while let request = RecordedRequest.take(from: &received, connection: number) {
            waiting += 1
            perform(owner.respond(to: request))
        }
    }

    private func perform(_ answer: ScriptedAnswer) {
        guard let context else { return }
        switch answer {
        case .json(let status, let headers, let text): send(status, headers, text)
        case .events(let events, let ends): stream(events, ends: ends)
        case .bytes(let text, let closes):
            waiting -= 1
            write(text)
            if closes { context.close(promise: nil) }
        case .silence: break
        case .closing:
            waiting -= 1
            context.close(promise: nil)
        case .after(let gate, let later):
            let loop = context.eventLoop
            gate.whenOpen { loop.execute { self.perform(later) } }
        }
    }

    private func send(_ status: Int, _ headers: [(String, String)], _ text: String) {
        waiting -= 1
        var head = "HTTP/1.1 \(status) Scripted\r\ncontent-length: \(text.utf8.count)\r\n"
        if !text.isEmpty { head += "content-type: application/json\r\n" }
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        write(head + "\r\n" + text)
    }

    private func stream(_ events: [String], ends: Bool) {
        write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events { write("\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n") }
        guard ends else { return }
        waiting -= 1
        write("0\r\n\r\n")
    }

    private func write(_ text: String) {
        // A write that fails means that the gateway has left, which channelInactive tells.
        context?.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }
}
