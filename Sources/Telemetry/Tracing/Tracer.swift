// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// Begins spans for the part of the calls that is to be recorded, and keeps those that have ended until they are sent.
///
/// Costs one atomic load for a call that is not recorded. Never waits: what nobody fetches in time is dropped and
/// counted.
package final class Tracer: Sendable {
    private let time: any TimeSource
    /// The part of traces begun here that are recorded, as a threshold for random words; 0 records nothing at all.
    private let threshold = Atomic<UInt64>(0)
    private let isOn = Atomic<Bool>(false)
    private let ended = Mutex<[FinishedSpan]>([])
    private let dropped: Counter
    private let random: Mutex<SystemRandomNumberGenerator>
    private let anchor: Mutex<(wall: UInt64, at: Moment)>

    /// Spans that wait to be sent: some seconds of a busy gateway, and not quite a megabyte.
    package static let waitingMax = 4_096

    package init(time: any TimeSource, metrics: MetricsRegistry) {
        self.time = time
        dropped = metrics.counter(.spansDropped)
        random = Mutex(SystemRandomNumberGenerator())
        anchor = Mutex((0, time.now()))
    }

    /// - Parameter ratio: of the traces that begin here; nil when nothing is recorded, whoever asks for it.
    package func change(ratio: Double?) {
        isOn.store(ratio != nil, ordering: .relaxed)
        let share = min(max(ratio ?? 0, 0), 1)
        threshold.store(share >= 1 ? .max : UInt64(share * 0x1p64), ordering: .relaxed)
        guard ratio == nil else { return }
        let left = ended.withLock { ended in
            defer { ended = [] }
            return ended.count
        }
        dropped.increment(by: UInt64(left))
    }

    /// A span for what somebody asks of us; nil when it is not recorded.
    ///
    /// - Parameter parent: what the request says; nil where it says nothing, and a trace may begin here.
    package func begin(
        _ name: @autoclosure () -> String, _ kind: TraceSpan.Kind, under parent: TraceContext?
    ) -> TraceSpan? {
        guard isOn.load(ordering: .relaxed) else { return nil }
        guard let parent else { return root(name, kind) }
        // Whoever began the trace has decided.
        return parent.isSampled ? child(name(), kind, of: parent) : nil
    }

    /// A span within one that is recorded.
    package func begin(
        _ name: @autoclosure () -> String, _ kind: TraceSpan.Kind, within context: TraceContext?
    ) -> TraceSpan? {
        guard isOn.load(ordering: .relaxed), let context, context.isSampled else { return nil }
        return child(name(), kind, of: context)
    }

    private func root(_ name: () -> String, _ kind: TraceSpan.Kind) -> TraceSpan? {
        let threshold = threshold.load(ordering: .relaxed)
        guard threshold > 0 else { return nil }
        let words = random.withLock { (nonZero(&$0), $0.next(), nonZero(&$0)) }
        guard threshold == .max || words.1 < threshold else { return nil }
        let context = TraceContext(traceID: (words.0, words.1), spanID: words.2, isSampled: true)
        return TraceSpan(
            name(), kind, context: context, parent: nil, beganNanoseconds: wallNanoseconds, began: time.now())
    }

    private func child(_ name: String, _ kind: TraceSpan.Kind, of parent: TraceContext) -> TraceSpan {
        var context = parent
        context.spanID = random.withLock { nonZero(&$0) }
        return TraceSpan(
            name, kind, context: context, parent: parent.spanID, beganNanoseconds: wallNanoseconds, began: time.now())
    }

    private func nonZero(_ random: inout SystemRandomNumberGenerator) -> UInt64 {
        .random(in: 1 ... .max, using: &random)
    }

    /// By the steady clock from one reading of the wall's, which knows milliseconds only: a span that began within
    /// another one must not seem to begin before it. Read again when somebody has set the clock.
    private var wallNanoseconds: UInt64 {
        let (now, wall) = (time.now(), UInt64(max(0, time.wallMilliseconds())) * 1_000_000)
        return anchor.withLock { anchor in
            let steady = anchor.wall &+ UInt64(max(0, now.since(anchor.at).milliseconds) * 1e6)
            guard steady.distance(to: wall).magnitude > Self.driftMax else { return steady }
            anchor = (wall, now)
            return wall
        }
    }

    private static let driftMax: UInt = 50_000_000

    package func end(_ span: TraceSpan?) {
        guard let span, isOn.load(ordering: .relaxed) else { return }
        let took = UInt64(max(0, time.now().since(span.began).milliseconds) * 1e6)
        let finished = FinishedSpan(span, endedNanoseconds: span.beganNanoseconds + took)
        let isKept = ended.withLock { ended in
            guard ended.count < Self.waitingMax else { return false }
            ended.append(finished)
            return true
        }
        if !isKept { dropped.increment() }
    }

    /// Those that have ended since, the oldest first, at most so many.
    package func take(_ countMax: Int) -> [FinishedSpan] {
        ended.withLock { ended in
            let batch = Array(ended.prefix(countMax))
            ended.removeFirst(batch.count)
            return batch
        }
    }

    package var waiting: Int { ended.withLock { $0.count } }
}

/// A span that is over, as it is sent.
package struct FinishedSpan: Sendable {
    let context: TraceContext
    let parent: UInt64?
    let kind: TraceSpan.Kind
    let beganNanoseconds: UInt64
    let endedNanoseconds: UInt64
    let notes: TraceSpan.Notes

    init(_ span: TraceSpan, endedNanoseconds: UInt64) {
        context = span.context
        parent = span.parent
        kind = span.kind
        beganNanoseconds = span.beganNanoseconds
        self.endedNanoseconds = endedNanoseconds
        notes = span.notes
    }
}
