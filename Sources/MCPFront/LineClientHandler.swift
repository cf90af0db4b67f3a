// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import MCPWire
package import NIOCore

/// One client on a channel of lines: one message a line (the stdio transport, over whatever carries bytes).
package final class LineClientHandler: ChannelInboundHandler, @unchecked Sendable {
    // Confined to the event loop of its channel, like every channel handler; needs no lock.
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private let service: any MCPService
    private let time: any TimeSource
    private let bodyBytesMax: Int
    private let caller: Caller
    private var client: DuplexClient?
    private var held = ByteBuffer()
    /// The rest of a line that is too long is passed over.
    private var isSkipping = false

    package init(service: any MCPService, bodyBytesMax: Int, caller: Caller, time: any TimeSource) {
        self.service = service
        self.bodyBytesMax = bodyBytesMax
        self.caller = caller
        self.time = time
    }

    package func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        client = DuplexClient(
            service: service, bodyBytesMax: bodyBytesMax, caller: caller, allowsModern: true, loop: context.eventLoop,
            time: time
        ) { message in
            Self.write(message, to: channel)
        }
        context.fireChannelActive()
    }

    /// A line end in a message stands between tokens, where a space does as well.
    private static func write(_ message: ByteBuffer, to channel: any Channel) {
        var line = ByteBuffer()
        line.reserveCapacity(message.readableBytes + 1)
        if message.readableBytesView.contains(where: { $0 == 0x0a || $0 == 0x0d }) {
            line.writeBytes(message.readableBytesView.lazy.map { $0 == 0x0a || $0 == 0x0d ? 0x20 : $0 })
        } else {
            line.writeImmutableBuffer(message)
        }
        line.writeInteger(UInt8(0x0a))
        let text = line
        if channel.eventLoop.inEventLoop {
            push(text, to: channel)
        } else {
            channel.eventLoop.execute { push(text, to: channel) }
        }
    }

    /// A client that does not read fills its pipe and then the channel's buffer, up to a bound.
    private static func push(_ line: ByteBuffer, to channel: any Channel) {
        // A channel that cannot tell has nothing to write any more.
        let unsent = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        guard unsent < backlogBytesMax else { return channel.close(promise: nil) }
        channel.writeAndFlush(line, promise: nil)
    }

    private static let backlogBytesMax = 64 << 20

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = unwrapInboundIn(data)
        held.writeBuffer(&piece)
        while let length = held.readableBytesView.firstIndex(of: 0x0a).map({ $0 - held.readerIndex }) {
            guard let line = held.readSlice(length: length) else { break }
            held.moveReaderIndex(forwardBy: 1)
            if isSkipping { isSkipping = false } else { take(line) }
        }
        if held.readableBytes > bodyBytesMax {
            held.clear()
            if !isSkipping { client?.refuseLong() }
            isSkipping = true
        }
        held.discardReadBytes()
    }

    private func take(_ line: ByteBuffer) {
        guard line.readableBytesView.contains(where: { $0 > 0x20 }) else { return }
        client?.take(line)
    }

    /// As `DuplexClient.endWork`.
    package func endWork() { client?.endWork() }

    /// The gateway is stopping: the client gets the answers it waits for, and then the end. Call on the channel's loop.
    package func stop(_ channel: any Channel) {
        client?.stop(canAnswer: true) { Self.end(channel) }
    }

    /// Behind everything that is still to be written.
    private static func end(_ channel: any Channel) {
        channel.eventLoop.execute {
            let flushed = channel.eventLoop.makePromise(of: Void.self)
            flushed.futureResult.whenComplete { _ in channel.close(promise: nil) }
            channel.writeAndFlush(ByteBuffer(), promise: flushed)
        }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            let channel = context.channel
            client?.saysNoMore { Self.end(channel) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        client?.close()
        client = nil
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
