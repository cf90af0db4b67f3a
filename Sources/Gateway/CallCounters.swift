// Licensed under the Apache License 2.0; see LICENSE.

internal import Synchronization
internal import Telemetry

/// The numbers one tool counts.
///
/// A counter that appears with its first call shows no increase that a query over time could see. So its series stand
/// at 0 from the tool's listing on, as long as half of all that there may be is free; beyond that each tool gets its
/// series with its first call, all three at once, and those that nobody calls take none from the others.
final class CallCounters: Sendable {
    private final class Series: Sendable {
        let ok: Counter
        let toolError: Counter
        let failed: Counter

        init(_ registry: MetricsRegistry, tool: String, route: String) {
            func counter(_ outcome: String) -> Counter {
                registry.counter(.toolCalls, labels: [("tool", tool), ("route", route), ("outcome", outcome)])
            }
            ok = counter("ok")
            toolError = counter("tool_error")
            failed = counter("failed")
        }
    }

    private let registry: MetricsRegistry
    private let tool: String
    private let route: String
    private let series = AtomicLazyReference<Series>()
    let duration: Histogram

    init(registry: MetricsRegistry, tool: String, route: String) {
        self.registry = registry
        self.tool = tool
        self.route = route
        duration = registry.histogram(.toolCallDuration, labels: [("route", route)])
        if registry.hasSpace(for: 3, in: .toolCalls) { begin() }
    }

    var ok: Counter { made.ok }
    var toolError: Counter { made.toolError }
    var failed: Counter { made.failed }

    /// A call of the tool begins. Lock-free but for the first.
    func begin() { _ = made }

    private var made: Series {
        series.load() ?? series.storeIfNil(Series(registry, tool: tool, route: route))
    }
}

extension MetricsRegistry {
    /// Takes out what calls of tools count that are not there any more, nor taken out by an operator.
    func keepTools(of snapshot: Snapshot) {
        keep(.toolCalls, values: Array(snapshot.routes.tools.keys) + snapshot.disabled.keys)
    }
}
