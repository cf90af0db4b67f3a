// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import NIOCore

/// The open end of an event stream, used from any thread.
final class EventOutlet: Sendable {
    // The exchange is touched on its loop only.
    private let exchange: HTTPExchange
    private let loop: any EventLoop
    let closed = Latch()

    init(_ exchange: HTTPExchange) {
        self.exchange = exchange
        loop = exchange.request.loop
    }

    /// What may wait for a client that does not read. More ends its stream.
    private static let unsentBytesMax = 64 << 20

    /// Always through the loop's queue, so that events keep their order whoever sends them.
    ///
    /// - Parameter isDroppable: left out when the client does not keep up. Everything else waits for it, up to a bound;
    ///   then the stream is ended, and the client comes back for what it missed.
    func send(_ json: ByteBuffer, id: String?, isDroppable: Bool = false) {
        loop.execute {
            if isDroppable ? self.exchange.isKeepingUp : self.exchange.unsentBytes < Self.unsentBytesMax {
                self.exchange.sendEvent(json, id: id)
            } else if !isDroppable {
                self.exchange.finishEvents()
                self.closed.open()
            }
        }
    }

    func mark(_ id: String, retry: Duration? = nil) { loop.execute { self.exchange.sendMark(id: id, retry: retry) } }

    /// Runs something where the stream lives.
    func run(_ body: @escaping @Sendable () -> Void) { loop.execute(body) }

    func finish() {
        loop.execute {
            self.exchange.finishEvents()
            self.closed.open()
        }
    }
}
