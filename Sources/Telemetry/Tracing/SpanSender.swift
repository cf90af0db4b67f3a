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
        /// There is no collector any more: the configuration has changed.
        case unwanted
    }

    private let tracer: Tracer
    private let text: OTLPText
    private let post: @Sendable ([UInt8]) async -> Outcome
    private let sent: Counter
    private let dropped: Counter
    private let log: Logger

    private static let batchMax = 512
    private static let interval = Duration.seconds(2)
    private static let look = Duration.milliseconds(100)
    private static let pauseMax = Duration.seconds(60)
    /// The end of the gateway waits no longer for a collector.
    private static let goodbyeMax = Duration.seconds(2)

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
            await rest(pause, untilFull: !isAway)
            while !Task.isCancelled {
                if held.isEmpty { held = tracer.take(Self.batchMax) }
                guard !held.isEmpty else { break }
                // One that is not full was all there is: the next ones gather first.
                let isFull = held.count == Self.batchMax
                switch await deliver(&held) {
                case .unwanted:
                    (isAway, isRefused, pause) = (false, false, Self.interval)
                    if isFull { continue }
                case .taken:
                    if isAway || isRefused { log.notice("traces are delivered again") }
                    (isAway, isRefused, pause) = (false, false, Self.interval)
                    if isFull { continue }
                case .refused(let words):
                    let message: Logger.Message =
                        "the collector does not take these traces; see telemetry.otlp_endpoint"
                    if !isRefused { log.warning(message, metadata: [LogKey.detail: "\(words)"]) }
                    isRefused = true
                case .later(let words):
                    // One that was broken off by the end of the gateway says nothing about the collector.
                    if Task.isCancelled { break }
                    if !isAway {
                        log.warning(
                            "traces are not delivered to telemetry.otlp_endpoint", metadata: [LogKey.detail: "\(words)"]
                        )
                    }
                    isAway = true
                    pause = min(pause * 2, Self.pauseMax)
                }
                break
            }
        }
        let last = held + tracer.take(Tracer.waitingMax)
        guard !last.isEmpty, !isAway else { return dropped.increment(by: UInt64(last.count)) }
        // This task is cancelled by now, and what it asks for would be given up at once.
        let goodbye = Task { await sendLast(last) }
        let timer = Task {
            // Ends early when all is sent.
            do { try await Task.sleep(for: Self.goodbyeMax) } catch { return }
            goodbye.cancel()
        }
        await goodbye.value
        timer.cancel()
    }

    /// Ends early when the gateway stops, and when there is a whole batch: what waits is bounded.
    private func rest(_ pause: Duration, untilFull: Bool) async {
        var left = pause
        while left > .zero, !(untilFull && tracer.waiting >= Self.batchMax) {
            let step = min(left, Self.look)
            do { try await Task.sleep(for: step) } catch { return }
            left -= step
        }
    }

    /// Each batch once, until its task is cancelled.
    private func sendLast(_ spans: [FinishedSpan]) async {
        var left = spans[...]
        while !left.isEmpty, !Task.isCancelled {
            var batch = Array(left.prefix(Self.batchMax))
            if case .later = await deliver(&batch) { break }
            left = left.dropFirst(Self.batchMax)
        }
        dropped.increment(by: UInt64(left.count))
    }

    /// Afterwards the batch is empty, unless it may be sent again.
    private func deliver(_ batch: inout [FinishedSpan]) async -> Outcome {
        let outcome = await post(text.request(batch))
        switch outcome {
        case .taken: sent.increment(by: UInt64(batch.count))
        case .refused, .unwanted: dropped.increment(by: UInt64(batch.count))
        case .later: return outcome
        }
        batch = []
        return outcome
    }
}
