// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire
internal import NIOCore
internal import Synchronization

/// The requests of one client that are being worked on, by their id as it was written, so that the client can take one
/// back. A client that uses an id twice at once has two entries, and taking it back means both.
final class RequestBook: Sendable {
    struct Entry: Sendable {
        fileprivate let id: [UInt8]
        fileprivate let number: Int
    }

    private struct State {
        var running: [[UInt8]: [Int: @Sendable () -> Void]] = [:]
        var number = 0
        var count = 0
    }

    private let state = Mutex(State())

    /// Notes a request that is about to be worked on.
    ///
    /// - Parameter cancel: ends the work; may be set later.
    func begin(_ id: [UInt8], cancel: @escaping @Sendable () -> Void = {}) -> Entry {
        state.withLock { state in
            state.number += 1
            state.count += 1
            state.running[id, default: [:]][state.number] = cancel
            return Entry(id: id, number: state.number)
        }
    }

    /// How to end the work. When the request has been taken back meanwhile, it is ended at once.
    func set(_ entry: Entry, cancel: @escaping @Sendable () -> Void) {
        let isHere = state.withLock { state in
            guard state.running[entry.id]?[entry.number] != nil else { return false }
            state.running[entry.id]?[entry.number] = cancel
            return true
        }
        if !isHere { cancel() }
    }

    /// True when the request has not been taken back.
    func end(_ entry: Entry) -> Bool {
        state.withLock { state in
            guard state.running[entry.id]?.removeValue(forKey: entry.number) != nil else { return false }
            if state.running[entry.id]?.isEmpty == true { state.running[entry.id] = nil }
            state.count -= 1
            return true
        }
    }

    var count: Int { state.withLock { $0.count } }

    /// Acts on `notifications/cancelled`. Ids nobody knows are ignored.
    func cancel(_ bytes: ByteBuffer, _ message: Message) {
        let span = bytes.readableBytesUInt8Span
        guard let id = message.member("requestId", in: span) else { return }
        let taken = state.withLock { state in
            let taken = state.running.removeValue(forKey: Array(span, id.value)) ?? [:]
            state.count -= taken.count
            return taken
        }
        for cancel in taken.values { cancel() }
    }

    /// Ends the work on all of them, which are answered all the same: with what there is to say of that.
    func endAll() {
        for cancel in state.withLock({ $0.running.values.flatMap(\.values) }) { cancel() }
    }

    func cancelAll() {
        let all = state.withLock { state in
            defer { (state.running, state.count) = ([:], 0) }
            return state.running.values.flatMap(\.values)
        }
        for cancel in all { cancel() }
    }
}
