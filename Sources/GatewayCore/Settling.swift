// Licensed under the Apache License 2.0; see LICENSE.

internal import Synchronization

/// The first moments of a gateway's life, in which it does not know yet what its upstreams have.
///
/// A list given out in that time would lack tools, and old clients never ask again. So who needs the whole picture
/// waits here: until every upstream has been asked once, or the time for that is over. After that it is over for good.
package final class Settling: Sendable {
    private struct State {
        var remaining: Int
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    /// - Parameter expected: how many have to be asked.
    package init(expected: Int) { state = Mutex(State(remaining: expected)) }

    package var isOver: Bool { state.withLock { $0.remaining <= 0 } }

    /// One of them has been asked, whatever came of it.
    package func oneAsked() { advance { $0.remaining -= 1 } }

    /// The time is over.
    package func end() { advance { $0.remaining = 0 } }

    package func wait() async {
        // Resumed exactly once: here, or by whoever empties the list.
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            let isOver = state.withLock { state in
                if state.remaining > 0 { state.waiters.append(continuation) }
                return state.remaining <= 0
            }
            if isOver { continuation.resume() }
        }
    }

    private func advance(_ change: (inout State) -> Void) {
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            change(&state)
            guard state.remaining <= 0 else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
