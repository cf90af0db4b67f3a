// Licensed under the Apache License 2.0; see LICENSE.

package import NIOCore
internal import Synchronization

/// A wait for one waiter that somebody else ends, or the end of the waiter's task. Opened before the wait begins, there
/// is none.
package final class Latch: Sendable {
    private struct State {
        var isOpen = false
        var waiter: UnsafeContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    package init() {}

    package func open() {
        let waiter = state.withLock { state in
            state.isOpen = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    package var isOpen: Bool { state.withLock { $0.isOpen } }

    /// One waiter only.
    package func wait() async {
        await withTaskCancellationHandler {
            // Resumed exactly once: here, or by whoever takes the waiter.
            await withUnsafeContinuation { continuation in
                let isOpen = state.withLock { state in
                    if !state.isOpen { state.waiter = continuation }
                    return state.isOpen
                }
                if isOpen { continuation.resume() }
            }
        } onCancel: {
            open()
        }
    }

    /// Waits no longer than this, by the clock of `loop`.
    package func wait(atMost patience: Duration, on loop: any EventLoop) async {
        let timer = loop.scheduleTask(in: .nanoseconds(patience.nanosecondsClamped)) { self.open() }
        await wait()
        timer.cancel()
    }
}

/// A wait on a loop's clock; the end of the waiter's task ends it early.
package enum Pause {
    package static func wait(_ duration: Duration, on loop: any EventLoop) async {
        await Latch().wait(atMost: duration, on: loop)
    }
}
