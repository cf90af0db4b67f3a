// Licensed under the Apache License 2.0; see LICENSE.

package import NIOCore
internal import Synchronization

/// A `Latch` for any number of waiters: something is over, or is to end. Once open it stays so.
package final class SharedLatch: Sendable {
    private struct State {
        var isOpen = false
        var next = 0
        var waiting: [Int: Latch] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var isOpen: Bool { state.withLock { $0.isOpen } }

    package func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for latch in waiting { latch.open() }
    }

    /// Waits no longer than this, by the clock of `loop`; the end of the waiter's task ends it early.
    package func wait(atMost patience: Duration, on loop: any EventLoop) async {
        let latch = Latch()
        let place = state.withLock { state -> Int? in
            guard !state.isOpen else { return nil }
            state.next += 1
            state.waiting[state.next] = latch
            return state.next
        }
        guard let place else { return }
        await latch.wait(atMost: patience, on: loop)
        _ = state.withLock { $0.waiting.removeValue(forKey: place) }
    }
}
