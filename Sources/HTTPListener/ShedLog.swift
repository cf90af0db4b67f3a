// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Telemetry

/// Counts requests that are turned away before any route sees them, and says so, where somebody can do something about
/// it. At most one line in ten seconds; it says how many came before it.
struct ShedLog: Sendable {
    private let counter: Counter
    private let budget: LineBudget
    private let time: any TimeSource
    private let warn: HTTPListener.Warning

    init(metrics: MetricsRegistry, time: any TimeSource, warn: @escaping HTTPListener.Warning) {
        counter = metrics.counter(.callsShed)
        budget = LineBudget(linesMax: 1, at: time.now())
        self.time = time
        self.warn = warn
    }

    /// While the gateway stops, which needs no line.
    func count() { counter.increment() }

    /// All connections are in use.
    func note(connectionsMax: Int) {
        counter.increment()
        guard let omitted = budget.take(at: time.now()) else { return }
        let words =
            "all \(connectionsMax) connections are in use and requests fail: raise server.max_connections, or find out "
            + "who holds so many (ss -tn)"
        warn(words, omitted > 0 ? [("omitted_before", String(omitted))] : [])
    }
}
