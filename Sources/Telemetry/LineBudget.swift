// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// Keeps a flood of events from becoming a flood of lines: so many in a stretch of time, the rest is counted.
package final class LineBudget: Sendable {
    private struct Window {
        var began: Moment
        var lines = 0
        var omitted = 0
    }

    private let window: Mutex<Window>
    private let linesMax: Int
    private let length: Duration

    package init(linesMax: Int = 10, per length: Duration = .seconds(10), at now: Moment) {
        self.linesMax = linesMax
        self.length = length
        window = Mutex(Window(began: now))
    }

    /// May a line be written? Then how many were left out before it; nil when it may not.
    package func take(at now: Moment) -> Int? {
        window.withLock { window in
            if now.since(window.began) >= length { window = Window(began: now, omitted: window.omitted) }
            guard window.lines < linesMax else {
                window.omitted += 1
                return nil
            }
            window.lines += 1
            defer { window.omitted = 0 }
            return window.omitted
        }
    }
}
