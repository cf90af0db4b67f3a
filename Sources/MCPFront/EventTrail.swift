// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import NIOCore
internal import Synchronization

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

    /// Always through the loop's queue, so that events keep their order whoever sends them.
    ///
    /// - Parameter isDroppable: not worth ending the stream of a client that does not keep up. Such a stream is
    ///   ended, and the client comes back for what it missed.
    func send(_ json: ByteBuffer, id: String?, isDroppable: Bool = false, isLast: Bool = false) {
        loop.execute {
            if isLast || self.exchange.isKeepingUp {
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

/// One event stream of a legacy session, over all connections that carry it: what was sent lately is kept, so that a
/// client whose connection broke can go on where it was (`Last-Event-ID`).
final class EventTrail: Sendable {
    private struct State {
        var events: [(sequence: UInt64, json: ByteBuffer)] = []
        var bytes = 0
        var sequence: UInt64 = 0
        /// What has been handed to some connection.
        var handed: UInt64 = 0
        var outlet: EventOutlet?
        var isFinished = false
    }

    /// Unique within the session; 0 is the stream that answers no request.
    let number: Int
    private let state = Mutex(State())

    static let eventsMax = 256
    private static let bytesMax = 1 << 20

    init(number: Int) { self.number = number }

    private func id(_ sequence: UInt64) -> String { "\(number)-\(sequence)" }

    /// Sends an event, or keeps it until somebody comes for it.
    ///
    /// - Parameters:
    ///   - isLast: the stream ends with it.
    ///   - isDroppable: a client that does not keep up can do without.
    func append(_ json: ByteBuffer, isLast: Bool = false, isDroppable: Bool = false) {
        // The outlet is called under the lock, which only puts work into a loop's queue: so events keep their order.
        state.withLock { state in
            guard !state.isFinished else { return }
            state.sequence += 1
            state.events.append((state.sequence, json))
            state.bytes += json.readableBytes
            // The last event stays, however large: it is the answer.
            while state.events.count > Self.eventsMax || (state.bytes > Self.bytesMax && state.events.count > 1) {
                state.bytes -= state.events.removeFirst().json.readableBytes
            }
            state.isFinished = isLast
            guard let outlet = state.outlet else { return }
            state.handed = state.sequence
            outlet.send(json, id: id(state.sequence), isDroppable: isDroppable, isLast: isLast)
            if isLast {
                outlet.finish()
                // With it goes the request, which may be large; so may be the answer, which is on its way.
                state.outlet = nil
                if state.bytes > Self.bytesMax { state.events = [] }
            }
        }
    }

    /// From here on events go to this connection; a connection that had them before is closed.
    ///
    /// - Parameters:
    ///   - sequence: the last event the client has; nil for one that has just come.
    ///   - marks: whether the client understands an event without data, which tells it where it is.
    func attach(_ outlet: EventOutlet, after sequence: UInt64?, marks: Bool) {
        state.withLock { state in
            state.outlet?.finish()
            state.outlet = outlet
            let from = sequence ?? state.handed
            if marks, sequence == nil { outlet.mark(id(from)) }
            for event in state.events where event.sequence > from {
                outlet.send(event.json, id: id(event.sequence))
                state.handed = max(state.handed, event.sequence)
            }
            if state.isFinished { outlet.finish() }
        }
    }

    /// This connection is gone. Another one may have come in the meantime.
    func detach(_ outlet: EventOutlet) {
        state.withLock { if $0.outlet === outlet { $0.outlet = nil } }
    }

    /// Ends the connection and keeps the stream: the client comes back for the rest after `retry`.
    func pause(retry: Duration) {
        state.withLock { state in
            guard let outlet = state.outlet, !state.isFinished else { return }
            outlet.mark(id(state.sequence), retry: retry)
            outlet.finish()
            state.outlet = nil
        }
    }

    /// Ends the connection. Another one may come for the rest, unless the stream is over.
    func close(isOver: Bool = false) {
        state.withLock { state in
            if isOver { state.isFinished = true }
            state.outlet?.finish()
            state.outlet = nil
        }
    }

    var isHeld: Bool { state.withLock { $0.outlet != nil } }
    var isFinished: Bool { state.withLock { $0.isFinished } }
}
