// Licensed under the Apache License 2.0; see LICENSE.

package import NIOCore
internal import Synchronization

/// Tells those who rest between two looks that they are to end. Any number may wait; once given it stays.
package final class StopSignal: Sendable {
    private struct State {
        var isGiven = false
        var next = 0
        var resting: [Int: Latch] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var isGiven: Bool { state.withLock { $0.isGiven } }

    package func give() {
        let resting = state.withLock { state in
            state.isGiven = true
            defer { state.resting = [:] }
            return state.resting.values
        }
        for latch in resting { latch.open() }
    }

    /// Ends early when the signal is given, when it was given before, and when the waiter's task is cancelled.
    package func rest(atMost patience: Duration, on loop: any EventLoop) async {
        let latch = Latch()
        let place = state.withLock { state -> Int? in
            guard !state.isGiven else { return nil }
            state.next += 1
            state.resting[state.next] = latch
            return state.next
        }
        guard let place else { return }
        await latch.wait(atMost: patience, on: loop)
        _ = state.withLock { $0.resting.removeValue(forKey: place) }
    }
}
