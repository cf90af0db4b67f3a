// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
package import Logging

/// Brings spans that have ended to a collector, a batch at a time. Nobody waits for it: while the collector is away the
/// tracer drops what is too much, and calls go on as ever.
package struct SpanSender: Sendable {
    /// What a collector did with a batch.
    package enum Outcome: Sendable {
        case taken
        /// Now is a bad moment: the batch may be sent again.
        case later(String)
        /// It will not take this batch, ever.
        case refused(String)
    }

    private let tracer: Tracer
    private let text: OTLPText
    private let post: @Sendable ([UInt8]) async -> Outcome
    private let sent: Counter
    private let dropped: Counter
    private let log: Logger

    private static let batchMax = 512
    private static let interval = Duration.seconds(2)
    private static let patienceMax = Duration.seconds(60)

    /// - Parameter post: delivers one body, within some seconds.
    package init(
        tracer: Tracer, text: OTLPText, metrics: MetricsRegistry, log: Logger,
        post: @escaping @Sendable ([UInt8]) async -> Outcome
    ) {
        self.tracer = tracer
        self.text = text
        self.post = post
        self.log = log
        sent = metrics.counter(.spansSent)
        dropped = metrics.counter(.spansDropped)
    }

    /// Sends until its task is cancelled, and then what is left, once.
    package func run() async {
        var pause = Self.interval
        var held: [FinishedSpan] = []
        var isAway = false
        while !Task.isCancelled {
            // Ends early when the gateway stops.
            try? await Task.sleep(for: pause)
            while !Task.isCancelled {
                if held.isEmpty { held = tracer.take(Self.batchMax) }
                guard !held.isEmpty else { break }
                guard let words = await deliver(&held) else {
                    if isAway { log.notice("traces are delivered again") }
                    (isAway, pause) = (false, Self.interval)
                    continue
                }
                if !isAway { log.warning("traces are not delivered", metadata: [LogKey.detail: "\(words)"]) }
                isAway = true
                pause = min(pause * 2, Self.patienceMax)
                break
            }
        }
        guard !isAway else { return }
        let last = held + tracer.take(Self.batchMax)
        guard !last.isEmpty else { return }
        // This task is cancelled by now, and what it asks for would be given up at once.
        await Task {
            var last = last
            _ = await deliver(&last)
        }.value
    }

    /// Why the batch is still there; nil when it is done with.
    private func deliver(_ batch: inout [FinishedSpan]) async -> String? {
        switch await post(text.request(batch)) {
        case .taken:
            sent.increment(by: UInt64(batch.count))
            batch = []
            return nil
        case .later(let words): return words
        case .refused(let words):
            dropped.increment(by: UInt64(batch.count))
            batch = []
            log.warning("the collector does not take these traces", metadata: [LogKey.detail: "\(words)"])
            return nil
        }
    }
}
