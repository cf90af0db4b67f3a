// Licensed under the Apache License 2.0; see LICENSE.

internal import CHost
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// What an operator can tell the process with `kill`.
enum OperatorSignal: Sendable {
    /// TERM, INT
    case stop
    /// HUP
    case reload
    /// USR1
    case releaseMemory
    /// USR2
    case reopenLogs
}

/// Signals as a stream, read from a pipe on an event loop.
package struct SignalSource: Sendable {
    private let descriptor: Int32

    /// Takes over the signals of the process.
    package init() throws(StartError) {
        descriptor = csystem_signal_descriptor()
        guard descriptor >= 0 else { throw StartError("cannot listen for signals: \(SystemText.of(-descriptor))") }
    }

    /// Starts reading. The stream ends with `channel`.
    func open(on loop: any EventLoop) async throws -> (AsyncStream<OperatorSignal>, any Channel) {
        let (stream, continuation) = AsyncStream<OperatorSignal>.makeStream(bufferingPolicy: .bufferingNewest(16))
        let channel = try await NIOPipeBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(SignalReader(continuation))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor).get()
        return (stream, channel)
    }
}

/// Each byte is the number of a signal.
private final class SignalReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let continuation: AsyncStream<OperatorSignal>.Continuation

    init(_ continuation: AsyncStream<OperatorSignal>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        while let number = bytes.readInteger(as: UInt8.self) {
            switch Int32(number) {
            case SIGTERM, SIGINT: continuation.yield(.stop)
            case SIGHUP: continuation.yield(.reload)
            case SIGUSR1: continuation.yield(.releaseMemory)
            case SIGUSR2: continuation.yield(.reopenLogs)
            default: break
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
}
