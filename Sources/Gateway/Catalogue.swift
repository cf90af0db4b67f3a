// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
internal import MCPWire
internal import Synchronization
package import Telemetry

/// A backend with the prefix its tools carry.
package struct CatalogueEntry: Sendable {
    package let backend: any ToolBackend
    package let prefix: String

    package init(backend: any ToolBackend, prefix: String) {
        self.backend = backend
        self.prefix = prefix
    }
}

/// Everything one call needs to know, as it was when the call began.
final class Snapshot: Sendable {
    let routes: RouteTable
    /// The finished `result` of `tools/list` for each revision: lists are asked for often and change seldom.
    let toolLists: [Revision: [UInt8]]
    let toolCount: Int

    init(routes: RouteTable, toolLists: [Revision: [UInt8]], toolCount: Int) {
        self.routes = routes
        self.toolLists = toolLists
        self.toolCount = toolCount
    }
}

/// Merges the tools of all backends into one list with one set of names.
///
/// The order is that of the configuration, then each backend's own: it does not depend on who answered first. A backend
/// that is away keeps its last known tools in the list.
package final class Catalogue: Sendable {
    private let entries: [CatalogueEntry]
    private let identity: ServerIdentity
    private let metrics: MetricsRegistry
    private let log: Logger
    private let state: Mutex<(ticket: Int, snapshot: Snapshot)>
    private let tickets = Atomic<Int>(0)

    package init(entries: [CatalogueEntry], identity: ServerIdentity, metrics: MetricsRegistry, logs: LogFiles) {
        self.entries = entries
        self.identity = identity
        self.metrics = metrics
        log = logs.logger(component: LogComponent.catalogue)
        state = Mutex((0, Snapshot(routes: RouteTable([:]), toolLists: [:], toolCount: 0)))
        rebuild()
    }

    var current: Snapshot { state.withLock { $0.snapshot } }

    /// How many tools clients see now.
    package var toolCount: Int { current.toolCount }

    /// Whether clients see a tool of this name now.
    package func has(_ name: String) -> Bool { current.routes.resolve(name) != nil }

    /// Takes up what the backends know now. Called when one of them has a new list.
    package func rebuild() {
        // Two may run at once: what was read later wins, whoever finishes last.
        let ticket = tickets.add(1, ordering: .sequentiallyConsistent).newValue
        var destinations: [String: Destination] = [:]
        var definitions: [(name: String, json: [UInt8])] = []
        for entry in entries {
            for tool in entry.backend.tools() {
                let name = ExposedName.make(prefix: entry.prefix, tool: tool.name)
                guard destinations[name] == nil else {
                    log.warning(
                        "two tools have one name; the second is left out, give one of their owners another prefix",
                        metadata: [LogKey.tool: "\(name)", LogKey.upstream: "\(entry.backend.name)"])
                    continue
                }
                let counters = CallCounters(registry: metrics, tool: name, route: entry.backend.route)
                destinations[name] = Destination(
                    exposedName: name, tool: tool.name, backend: entry.backend, counters: counters)
                definitions.append((name, tool.definition))
            }
        }
        var lists: [Revision: [UInt8]] = [:]
        for revision in Revision.allCases {
            lists[revision] = ToolListing.result(definitions, revision: revision, identity: identity)
        }
        let snapshot = Snapshot(routes: RouteTable(destinations), toolLists: lists, toolCount: definitions.count)
        state.withLock { if ticket > $0.ticket { $0 = (ticket, snapshot) } }
    }
}
