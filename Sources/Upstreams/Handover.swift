// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// Brings one thing from a task to a waiter that may have gone.
final class Handover<Value: Sendable>: Sendable {
    private enum State: Sendable {
        case open
        case brought(Result<Value, CallFailure>)
        case closed
    }

    private let state = Mutex<State>(.open)
    private let latch = Latch()

    /// False when nobody waits any more.
    func bring(_ value: Result<Value, CallFailure>) -> Bool {
        let isTaken = state.withLock { state in
            guard case .open = state else { return false }
            state = .brought(value)
            return true
        }
        latch.open()
        return isTaken
    }

    /// nil when it did not come in time, or the waiter's task has ended.
    func wait(atMost patience: Duration, on loop: any EventLoop) async -> Result<Value, CallFailure>? {
        await latch.wait(atMost: patience, on: loop)
        return state.withLock { state in
            defer { state = .closed }
            if case .brought(let value) = state { return value }
            return nil
        }
    }
}
