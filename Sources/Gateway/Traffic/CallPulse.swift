// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Resilience
internal import Synchronization

/// What calls came to in the last minute, for whoever asks now, and since a reload.
final class CallPulse: Sendable {
    private let state = Mutex<(minute: Pulse, since: Pulse?)>((Pulse(), nil))

    func note(_ outcome: Pulse.Outcome, took: Duration, at now: Moment) {
        state.withLock { state in
            state.minute.note(outcome, took: took, at: now)
            state.since?.note(outcome, took: took, at: now)
        }
    }

    func reading(at now: Moment) -> Pulse.Reading { state.withLock { $0.minute.reading(at: now) } }

    /// Begins to count anew beside the minute. Returns what calls came to until now.
    func begin(at now: Moment, length: Duration) -> Pulse.Reading {
        state.withLock { state in
            state.since = Pulse(length: length)
            return state.minute.reading(at: now)
        }
    }

    func sinceBegin(at now: Moment) -> Pulse.Reading? { state.withLock { $0.since?.reading(at: now) } }

    func end() { state.withLock { $0.since = nil } }
}
