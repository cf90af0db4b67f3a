// Licensed under the Apache License 2.0; see LICENSE.

import CHost
import NIOCore

/// Reads what the keeper reports.
final class KeeperControl: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    enum Report: Equatable {
        case started(child: Int32)
        case refused(problem: Int32, step: Int32)
        case exited(ChildExit.Status)
    }

    private var unread = ByteBuffer()
    private let onReport: (Report) -> Void
    private let onEnd: () -> Void

    init(onReport: @escaping (Report) -> Void, onEnd: @escaping () -> Void) {
        self.onReport = onReport
        self.onEnd = onEnd
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unread.writeImmutableBuffer(unwrapInboundIn(data))
        while let (kind, first, second) = unread.readMultipleIntegers(
            endianness: .host, as: (Int32, Int32, Int32).self)
        {
            switch kind {
            case CSYSTEM_KEEPER_STARTED: onReport(.started(child: first))
            case CSYSTEM_KEEPER_REFUSED: onReport(.refused(problem: first, step: second))
            case CSYSTEM_KEEPER_EXITED: onReport(.exited(first >= 0 ? .exited(code: first) : .signalled(second)))
            // The keeper is our own binary; it says nothing else.
            default: preconditionFailure("a keeper reported \(kind)")
            }
        }
        unread.discardReadBytes()
    }

    func channelInactive(context: ChannelHandlerContext) {
        onEnd()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
