// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Resilience
internal import Synchronization

/// Lets so many in at a time. Others wait for their turn in a line, first come, first served; nobody waits in it who
/// would come too late.
///
/// Whoever leaves hands his place to the first in the line, so that nobody overtakes it. How long a wait will be is
/// known from how long those before took: when that is longer than it is of use, the answer is no at once, which costs
/// next to nothing, and is worth more to the one who asks than a no after the wait.
final class Turnstile: Sendable {
    struct Settings: Sendable, Equatable {
        var runningMax: Int
        /// In the line.
        var waitingMax = 0
        /// The longest that somebody may stand in it.
        var waitMax = Duration.seconds(2)
    }

    enum Refusal: Error {
        case full(running: Int, waiting: Int)
        /// The line is too long, or was too slow.
        case late(after: Duration)
        /// Its task was cancelled meanwhile.
        case left
    }

    private final class Waiter: Sendable {
        let latch = Latch()
    }

    private struct State {
        var settings: Settings
        var cap: ConcurrencyCap
        var line: [Waiter] = []
        /// Of those who left lately, in nanoseconds.
        var meanStay = 0.0
    }

    private let state: Mutex<State>

    init(_ settings: Settings) {
        state = Mutex(State(settings: settings, cap: ConcurrencyCap(runningMax: settings.runningMax)))
    }

    var running: Int { state.withLock { $0.cap.running } }
    var waiting: Int { state.withLock { $0.line.count } }

    /// In force for whoever comes next, and for the line.
    func change(to settings: Settings) {
        let admitted = state.withLock { state -> [Waiter] in
            state.settings = settings
            state.cap.change(runningMax: settings.runningMax)
            var admitted: [Waiter] = []
            while !state.line.isEmpty, state.cap.admit() { admitted.append(state.line.removeFirst()) }
            return admitted
        }
        for waiter in admitted { waiter.latch.open() }
    }

    /// Returns when the caller is in; then he owes one `leave`.
    func enter(by deadline: Deadline, at now: Moment, on loop: any EventLoop) async throws(Refusal) {
        let waiter = Waiter()
        let patience: Duration? = try state.withLock { state throws(Refusal) in
            if state.line.isEmpty, state.cap.admit() { return nil }
            guard state.line.count < state.settings.waitingMax else {
                throw .full(running: state.cap.running, waiting: state.line.count)
            }
            let patience = min(state.settings.waitMax, deadline.remaining(at: now))
            let expected = state.meanStay * Double(state.line.count + 1) / Double(state.cap.runningMax)
            guard Duration.nanoseconds(Int64(min(expected, 1e18))) <= patience else { throw .late(after: .zero) }
            state.line.append(waiter)
            return patience
        }
        guard let patience else { return }
        await waiter.latch.wait(atMost: patience, on: loop)
        let isIn = state.withLock { state in
            guard let place = state.line.firstIndex(where: { $0 === waiter }) else { return true }
            state.line.remove(at: place)
            return false
        }
        if Task.isCancelled {
            if isIn { leave(after: nil) }
            throw .left
        }
        guard isIn else { throw .late(after: patience) }
    }

    /// - Parameter stay: how long the place was taken; nil when that says nothing.
    func leave(after stay: Duration?) {
        let next = state.withLock { state -> Waiter? in
            if let stay {
                let nanoseconds = Double(stay.nanosecondsClamped)
                state.meanStay = state.meanStay == 0 ? nanoseconds : state.meanStay * 0.9 + nanoseconds * 0.1
            }
            guard !state.line.isEmpty, state.cap.running <= state.cap.runningMax else {
                state.cap.leave()
                return nil
            }
            return state.line.removeFirst()
        }
        next?.latch.open()
    }
}
