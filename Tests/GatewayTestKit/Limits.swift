// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// Waits with a limit, so that what never comes fails a test instead of holding up all of them.
extension Task where Success: Sendable {
    /// Its value, as soon as it is there; throws when it is not within the time. The task itself goes on.
    package func soon(
        _ what: String = "the end of a task", within patience: Duration = .seconds(60)
    ) async throws -> Success {
        let first = FirstWord<Success>()
        Task<Void, Never> { first.say(await self.result.mapError { $0 }) }
        let alarm = Task<Void, Never> {
            // Ends early when the value is there; then nobody listens any more.
            try? await Task<Never, Never>.sleep(for: patience)
            first.say(.failure(WaitedTooLong(what: what)))
        }
        defer { alarm.cancel() }
        return try await first.heard()
    }
}

/// What `body` gives; throws when it does not within the time. The end of the caller's task is passed on to it.
package func soon<Value: Sendable>(
    _ what: String = "the end of some work", within patience: Duration = .seconds(60),
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let work = Task { try await body() }
    return try await withTaskCancellationHandler {
        try await work.soon(what, within: patience)
    } onCancel: {
        work.cancel()
    }
}

extension Gate {
    /// Waits until it opens; throws when it does not within the time.
    package func passed(_ what: String = "a gate to open", within patience: Duration = .seconds(60)) async throws {
        try await Task { await pass() }.soon(what, within: patience)
    }
}

/// The first of two words counts. For one listener.
private final class FirstWord<Value: Sendable>: Sendable {
    private enum State: Sendable {
        case silent
        case listening(CheckedContinuation<Value, any Error>)
        case said(Result<Value, any Error>)
        case over
    }

    private let state = Mutex<State>(.silent)

    func say(_ word: Result<Value, any Error>) {
        let listener = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .silent:
                state = .said(word)
                return nil
            case .listening(let listener):
                state = .over
                return listener
            case .said, .over: return nil
            }
        }
        listener?.resume(with: word)
    }

    func heard() async throws -> Value {
        try await withCheckedThrowingContinuation { listener in
            let said = state.withLock { state -> Result<Value, any Error>? in
                if case .said(let word) = state {
                    state = .over
                    return word
                }
                state = .listening(listener)
                return nil
            }
            if let said { listener.resume(with: said) }
        }
    }
}
