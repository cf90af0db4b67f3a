// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
internal import MCPWire
package import Resilience
internal import Synchronization
package import Telemetry

/// A backend with the prefix its tools carry, and what of it is shown how.
package struct CatalogueEntry: Sendable {
    package let backend: any Backend
    package let prefix: String
    package let exposure: Exposure
    /// nil for owners that need none.
    package let breaker: Breaker.Settings?

    package init(
        backend: any Backend, prefix: String, exposure: Exposure = Exposure(), breaker: Breaker.Settings? = nil
    ) {
        self.breaker = breaker
        self.backend = backend
        self.prefix = prefix
        self.exposure = exposure
    }
}

/// Everything one call needs to know, as it was when the call began.
final class Snapshot: Sendable {
    let owners: [Owner]
    let routes: RouteTable
    let lists: [Listing]
    /// All tools, also those that compact mode does not list.
    let tools: [ListedItem]
    /// Ranked search over `tools`; only in compact mode.
    let index: ToolIndex?
    let instructions: [(label: String, text: String)]

    init(
        owners: [Owner], routes: RouteTable, lists: [Listing], tools: [ListedItem], index: ToolIndex?,
        instructions: [(label: String, text: String)]
    ) {
        self.owners = owners
        self.routes = routes
        self.lists = lists
        self.tools = tools
        self.index = index
        self.instructions = instructions
    }

    func list(_ kind: ListKind) -> Listing { lists[kind.rawValue] }
}

/// Merges what all backends offer into one set of lists with one set of names.
///
/// The order is that of the configuration, then each backend's own: it does not depend on who answered first. A backend
/// that is away keeps its last known offers in the lists.
package final class Catalogue: Sendable {
    private let entries: [(entry: CatalogueEntry, owner: Owner)]
    private let identity: ServerIdentity
    private let isCompact: Bool
    private let metrics: MetricsRegistry
    private let log: Logger
    private let state: Mutex<(ticket: Int, snapshot: Snapshot)>
    private let tickets = Atomic<Int>(0)
    /// What was found out of definitions that have not changed, by owner and name.
    private let known = Mutex<(tools: [String: KnownTool], bytes: Int)>(([:], 0))

    struct KnownTool: Sendable {
        let definition: [UInt8]
        let tree: JSONValue
        let facts: Result<ToolFacts, ToolFactsError>
    }

    /// - Parameter isCompact: clients see `search_tools` and `call_tool` instead of the tools.
    package init(
        entries: [CatalogueEntry], identity: ServerIdentity, isCompact: Bool = false, time: any TimeSource,
        metrics: MetricsRegistry, logs: LogFiles
    ) {
        let breakerLog = logs.logger(component: LogComponent.gateway)
        self.entries = entries.map { entry in
            let breaker = entry.breaker.map {
                OwnerBreaker($0, owner: entry.backend.name, time: time, log: breakerLog)
            }
            return (entry, Owner(backend: entry.backend, prefix: entry.prefix, breaker: breaker))
        }
        owners = self.entries.map(\.owner)
        storesCalls = entries.contains { $0.exposure.edits.values.contains { $0.policy.offline == .queue } }
        self.identity = identity
        self.isCompact = isCompact
        self.metrics = metrics
        log = logs.logger(component: LogComponent.catalogue)
        let nothing = RouteTable(tools: [:], prompts: [:], resources: ResourceRoutes([]))
        let lists = ListKind.allCases.map { Listing(kind: $0, items: [], identity: identity) }
        state = Mutex((0, Snapshot(owners: [], routes: nothing, lists: lists, tools: [], index: nil, instructions: [])))
        _ = rebuild()
    }

    var current: Snapshot { state.withLock { $0.snapshot } }

    /// The owners, in the order of the configuration.
    let owners: [Owner]
    /// Some tool's calls may be stored, by the configuration.
    let storesCalls: Bool
    var sources: [(entry: CatalogueEntry, owner: Owner)] { entries }

    /// How many tools there are now.
    package var toolCount: Int { current.routes.tools.count }

    /// Whether clients can call a tool of this name now.
    package func has(_ name: String) -> Bool { current.routes.tool(name) != nil }

    /// Takes up what the backends know now. Called when one of them has a new list. Returns the lists that differ from
    /// before.
    func rebuild() -> Set<ListKind> {
        // Two may run at once: what was read later wins, whoever finishes last.
        let ticket = tickets.add(1, ordering: .sequentiallyConsistent).newValue
        let offers = entries.map { $0.entry.backend.offers() }
        var builder = SnapshotBuilder(identity: identity, metrics: metrics, log: log)
        for ((entry, owner), offers) in zip(entries, offers) {
            for tool in offers.tools { builder.add(tool, entry, owner, self) }
            for prompt in offers.prompts { builder.add(prompt: prompt, owner) }
            for item in offers.resources { builder.add(item, .resources, owner) }
            for item in offers.templates { builder.add(item, .templates, owner) }
            builder.add(instructions: offers.instructions, owner)
        }
        let routes = ResourceRoutes(zip(entries, offers).map { ($0.owner, $1) })
        let snapshot = builder.snapshot(owners, routes, isCompact: isCompact)
        let previous = state.withLock { state -> Snapshot? in
            guard ticket > state.ticket else { return nil }
            let previous = state.snapshot
            state = (ticket, snapshot)
            return previous
        }
        guard let previous else { return [] }
        return Set(ListKind.allCases.filter { snapshot.list($0).differs(from: previous.list($0)) })
    }

    /// Reads a definition, or remembers what it read.
    func know(_ tool: OfferedItem, _ owner: Owner, isStored: Bool) -> KnownTool {
        let key = "\(owner.backend.name) \(tool.name)"
        if let found = known.withLock({ $0.tools[key] }), found.definition == tool.definition { return found }
        // A definition reached us through the same scanner, so it scans again.
        let tree = (try? JSONValue.parse(tool.definition.span)) ?? [:]
        let facts: Result<ToolFacts, ToolFactsError>
        do throws(ToolFactsError) {
            facts = .success(
                try ToolFacts.of(
                    tree, checksSchemas: owner.backend.route == "wasm", takesHeaders: owner.backend.takesHeaders,
                    isStored: isStored))
        } catch {
            facts = .failure(error)
            log.warning(
                "a tool is left out",
                metadata: [
                    LogKey.tool: "\(tool.name)", LogKey.upstream: "\(owner.backend.name)",
                    LogKey.detail: "\(error.words)",
                ])
        }
        let made = KnownTool(definition: tool.definition, tree: tree, facts: facts)
        known.withLock { known in
            // Names and definitions come from upstreams: what grows by them has a bound.
            known.bytes += made.definition.count - (known.tools[key]?.definition.count ?? 0)
            known.tools[key] = made
            if known.tools.count > Self.knownMax || known.bytes > Self.knownBytesMax { known = ([key: made], 0) }
        }
        return made
    }

    private static let knownMax = 20_000
    private static let knownBytesMax = 64 << 20
}
