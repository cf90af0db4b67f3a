// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// One event stream of a legacy session, over all connections that carry it: what was sent lately is kept, so that a
/// client whose connection broke can go on where it was (`Last-Event-ID`).
final class EventTrail: Sendable {
    /// What all trails of the process keep. Above the bound each keeps its last event only.
    final class Budget: Sendable {
        private let bytes = Atomic(0)
        private let bytesMax: Int

        init(bytesMax: Int = 64 << 20) { self.bytesMax = bytesMax }

        var kept: Int { bytes.load(ordering: .relaxed) }
        fileprivate var isExhausted: Bool { kept > bytesMax }
        fileprivate func add(_ count: Int) { bytes.add(count, ordering: .relaxed) }
    }

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
    /// Before the ids of all events.
    private let life: String
    private let budget: Budget

    /// - Parameter life: tells the streams of one life of the session from those of another.
    init(number: Int, life: String = "", budget: Budget = Budget()) {
        self.number = number
        self.life = life
        self.budget = budget
    }

    deinit { budget.add(-state.withLock { $0.bytes }) }

    private func id(_ sequence: UInt64) -> String { "\(life)\(number)-\(sequence)" }

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
            let before = state.bytes
            defer { budget.add(state.bytes - before) }
            state.bytes += json.readableBytes
            let bytesMax = budget.isExhausted ? 0 : Self.bytesMax
            // The last event stays, however large: it is the answer.
            while state.events.count > Self.eventsMax || (state.bytes > bytesMax && state.events.count > 1) {
                state.bytes -= state.events.removeFirst().json.readableBytes
            }
            state.isFinished = isLast
            guard let outlet = state.outlet else { return }
            state.handed = state.sequence
            outlet.send(json, id: id(state.sequence), isDroppable: isDroppable)
            if isLast {
                outlet.finish()
                // With it goes the request, which may be large; so may be the answer, which is on its way.
                state.outlet = nil
                if state.bytes > bytesMax { (state.events, state.bytes) = ([], 0) }
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
