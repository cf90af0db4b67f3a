// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Telemetry

/// Where a call goes: the backend, and the tool's name there.
struct Destination: Sendable {
    let exposedName: String
    let tool: String
    let backend: any ToolBackend
    let counters: CallCounters
}

/// The numbers one tool counts.
struct CallCounters: Sendable {
    let ok: Counter
    let toolError: Counter
    let failed: Counter
    let duration: Histogram

    init(registry: MetricsRegistry, tool: String, route: String) {
        func counter(_ outcome: String) -> Counter {
            registry.counter(
                .toolCalls,
                labels: [("tool", tool), ("route", route), ("outcome", outcome)])
        }
        ok = counter("ok")
        toolError = counter("tool_error")
        failed = counter("failed")
        duration = registry.histogram(
            .toolCallDuration, labels: [("route", route)])
    }
}

/// Names to destinations. Immutable, part of a snapshot.
struct RouteTable: Sendable {
    private let destinations: [String: Destination]

    init(_ destinations: [String: Destination]) { self.destinations = destinations }

    /// Compares bytes: Swift's strings call some different spellings equal (the Kelvin sign and K), and a name is not a
    /// word.
    func resolve(_ name: String) -> Destination? {
        guard let found = destinations[name], found.exposedName.utf8.elementsEqual(name.utf8) else { return nil }
        return found
    }
}
