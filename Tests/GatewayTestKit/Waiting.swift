// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// What a test waited for did not come.
package struct WaitedTooLong: Error, CustomStringConvertible {
    package let what: String
    package var description: String { "waited in vain for \(what)" }
}

/// Returns as soon as `condition` holds; throws when it does not hold within the time. Looks about every millisecond.
package func wait(
    for what: @autoclosure () -> String, within patience: Duration = .seconds(60),
    until condition: () async throws -> Bool
) async throws {
    let clock = ContinuousClock()
    let end = clock.now + patience
    while try await !condition() {
        guard clock.now < end else { throw WaitedTooLong(what: what()) }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// Returns the value as soon as there is one; throws when there is none within the time.
package func wait<Value>(
    forValue what: @autoclosure () -> String, within patience: Duration = .seconds(60),
    _ value: () async throws -> Value?
) async throws -> Value {
    var found: Value?
    try await wait(for: what(), within: patience) {
        found = try await value()
        return found != nil
    }
    guard let found else { throw WaitedTooLong(what: what()) }
    return found
}

/// Holds back whatever was hung on it until the test opens it, once.
package final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, waiting: [@Sendable () -> Void])>((false, []))

    package init() {}

    package func open() {
        let waiting = state.withLock { state in
            defer { state = (true, []) }
            return state.waiting
        }
        for action in waiting { action() }
    }

    /// Runs `action` when the gate opens; at once when it is open.
    package func whenOpen(_ action: @escaping @Sendable () -> Void) {
        let isOpen = state.withLock { state in
            if !state.isOpen { state.waiting.append(action) }
            return state.isOpen
        }
        if isOpen { action() }
    }

    /// Waits until it opens.
    package func pass() async {
        await withCheckedContinuation { continuation in whenOpen { continuation.resume() } }
    }
}
