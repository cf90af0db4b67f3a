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
        var isRefused = false
        while !Task.isCancelled {
            // Ends early when the gateway stops.
            try? await Task.sleep(for: pause)
            while !Task.isCancelled {
                if held.isEmpty { held = tracer.take(Self.batchMax) }
                guard !held.isEmpty else { break }
                switch await deliver(&held) {
                case .taken:
                    if isAway || isRefused { log.notice("traces are delivered again") }
                    (isAway, isRefused, pause) = (false, false, Self.interval)
                    continue
                case .refused(let words):
                    let message: Logger.Message = "the collector does not take these traces"
                    if !isRefused { log.warning(message, metadata: [LogKey.detail: "\(words)"]) }
                    isRefused = true
                    continue
                case .later(let words):
                    // One that was broken off by the end of the gateway says nothing about the collector.
                    if Task.isCancelled { break }
                    if !isAway { log.warning("traces are not delivered", metadata: [LogKey.detail: "\(words)"]) }
                    isAway = true
                    pause = min(pause * 2, Self.patienceMax)
                }
                break
            }
        }
        let last = held + tracer.take(Tracer.waitingMax)
        guard !last.isEmpty, !isAway else { return dropped.increment(by: UInt64(last.count)) }
        // This task is cancelled by now, and what it asks for would be given up at once.
        await Task {
            var last = last[...]
            while !last.isEmpty {
                var batch = Array(last.prefix(Self.batchMax))
                last = last.dropFirst(batch.count)
                guard case .later = await deliver(&batch) else { continue }
                // The gateway waits for no collector longer than that.
                return dropped.increment(by: UInt64(batch.count + last.count))
            }
        }.value
    }

    /// Afterwards the batch is empty, unless it may be sent again.
    private func deliver(_ batch: inout [FinishedSpan]) async -> Outcome {
        let outcome = await post(text.request(batch))
        switch outcome {
        case .taken: sent.increment(by: UInt64(batch.count))
        case .refused: dropped.increment(by: UInt64(batch.count))
        case .later: return outcome
        }
        batch = []
        return outcome
    }
}
