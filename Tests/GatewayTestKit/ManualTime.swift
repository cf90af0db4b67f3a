// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization

/// A clock that a test moves by hand. It stands still, or it runs and can be pushed ahead.
package final class ManualTime: TimeSource {
    private let moved = Mutex<Duration>(.zero)
    private let start: ContinuousClock.Instant?
    /// Called at each reading, on the thread that reads; for tests that ask who reads it.
    private let onRead: (@Sendable () -> Void)?

    /// - Parameter runs: goes on by itself as well.
    package init(runs: Bool = false, onRead: (@Sendable () -> Void)? = nil) {
        start = runs ? ContinuousClock().now : nil
        self.onRead = onRead
    }

    /// Moves the clock ahead. In force at once, for everybody who asks later.
    package func advance(by duration: Duration) { moved.withLock { $0 += duration } }

    package func now() -> Moment {
        onRead?()
        return Moment(nanoseconds: 1_000_000_000) + elapsed
    }

    package func wallMilliseconds() -> Int64 { 1_750_000_000_000 + Int64(elapsed.milliseconds) }

    private var elapsed: Duration {
        let byItself = start.map { ContinuousClock().now - $0 } ?? .zero
        return moved.withLock { $0 } + byItself
    }
}
