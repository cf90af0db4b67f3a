// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Resilience
internal import Synchronization

/// How fast stored calls go to one owner. Shared by all who send to it: from however many queues they come, the owner
/// gets no more than from one.
final class OwnerPace: Sendable {
    /// Calls of one owner under way at a time: one of each lane, and of so many lanes.
    static let lanesMax = 8
    /// Calls a second to one owner; a server that has just come back is not to be run over.
    private static let rate = 100.0
    private static let burst = 20

    private struct State {
        var busy = 0
        var bucket: TokenBucket
    }

    private let state: Mutex<State>
    private let time: any TimeSource

    init(time: any TimeSource) {
        self.time = time
        state = Mutex(State(bucket: TokenBucket(rate: Self.rate, burst: Self.burst, at: time.now())))
    }

    /// Takes every lane that is free. Each is given back by `leave`.
    func takeLanes() -> Int {
        state.withLock { state in
            defer { state.busy = Self.lanesMax }
            return Self.lanesMax - state.busy
        }
    }

    func leave(_ count: Int = 1) { state.withLock { $0.busy -= count } }

    /// Waits for the next call's turn.
    func wait(on loop: any EventLoop) async {
        while !Task.isCancelled {
            let now = time.now()
            let isTaken = state.withLock { $0.bucket.take(at: now) }
            guard !isTaken, let next = state.withLock({ $0.bucket.availableAt(at: now) }) else { return }
            await Pause.wait(next.since(now), on: loop)
        }
    }
}

/// The paces of all owners, by name. They are as few as the configuration has ever named.
final class OwnerPaces: Sendable {
    private let paces = Mutex<[String: OwnerPace]>([:])
    private let time: any TimeSource

    init(time: any TimeSource) { self.time = time }

    func pace(of owner: String) -> OwnerPace {
        paces.withLock { paces in
            if let pace = paces[owner] { return pace }
            let pace = OwnerPace(time: time)
            paces[owner] = pace
            return pace
        }
    }
}
