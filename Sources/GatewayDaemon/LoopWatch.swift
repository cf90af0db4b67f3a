// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// Notices an event loop that does not turn any more: everything that lives on it waits, and nobody else can say so.
///
/// Once a second each loop is given something to do; one that has not done it for two seconds is stalled. A loop that
/// is only busy gets to it between two other things.
final class LoopWatch: Sendable {
    private final class Beat: Sendable {
        let loop: any EventLoop
        /// When it was last given something to do, and did it; nanoseconds of the clock.
        let asked = Atomic<UInt64>(0)
        let done = Atomic<UInt64>(0)

        init(_ loop: any EventLoop) { self.loop = loop }
    }

    private let beats: [Beat]
    private let time: any TimeSource
    static let stallMin = Duration.seconds(2)

    init(_ loops: [any EventLoop], time: any TimeSource) {
        beats = loops.map(Beat.init)
        self.time = time
    }

    /// To be called once a second, from a thread that is none of the loops'.
    func ask() {
        let now = time.now().nanoseconds
        for beat in beats where beat.asked.load(ordering: .relaxed) <= beat.done.load(ordering: .relaxed) {
            beat.asked.store(now, ordering: .relaxed)
            beat.loop.execute { beat.done.store(max(now, self.time.now().nanoseconds), ordering: .relaxed) }
        }
    }

    /// For how long the worst of them has not turned; nil while all do.
    var stall: Duration? {
        let now = time.now()
        let waits = beats.compactMap { beat -> Duration? in
            let asked = beat.asked.load(ordering: .relaxed)
            guard asked > beat.done.load(ordering: .relaxed) else { return nil }
            return now.since(Moment(nanoseconds: asked))
        }
        return waits.max().flatMap { $0 > Self.stallMin ? $0 : nil }
    }
}
