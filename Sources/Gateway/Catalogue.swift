// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
internal import MCPWire
package import Resilience
internal import Synchronization
package import Telemetry

/// A backend with the prefix its tools carry, what of it is shown how, and how calls go to it.
package struct CatalogueEntry: Sendable {
    package let backend: any Backend
    package let prefix: String
    package let exposure: Exposure
    package let traffic: TrafficSettings

    package init(
        backend: any Backend, prefix: String, exposure: Exposure = Exposure(), breaker: Breaker.Settings? = nil,
        traffic: TrafficSettings? = nil
    ) {
        self.traffic = traffic ?? TrafficSettings(breaker: breaker)
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
    /// Tools that operators have taken out, by exposed name.
    let disabled: [String: Owner]
    let instructions: [(label: String, text: String)]

    init(
        owners: [Owner], routes: RouteTable, lists: [Listing], tools: [ListedItem], disabled: [String: Owner] = [:],
        index: ToolIndex?, instructions: [(label: String, text: String)]
    ) {
        self.owners = owners
        self.routes = routes
        self.lists = lists
        self.tools = tools
        self.disabled = disabled
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
    private let identity: ServerIdentity
    private let time: any TimeSource
    private let metrics: MetricsRegistry
    private let log: Logger
    private let trafficLog: Logger
    private let state: Mutex<State>
    private let tickets = Atomic<Int>(0)
    /// What was found out of definitions that have not changed, by owner and name.
    private let known = Mutex<(tools: [String: KnownTool], bytes: Int)>(([:], 0))
    /// They outlive the snapshots, so that a changed list empties no bucket.
    private let gates = Mutex<[GateKey: (policy: ToolPolicy, gate: ToolGate)]>([:])

    /// What was told of as left out, by cause and owner, and what may be told: servers change their lists as often as
    /// they like.
    private let told = Mutex<[String: Int]>([:])
    private let lines: LineBudget

    private struct GateKey: Hashable {
        let owner: String
        /// Its exposed name.
        let tool: String
    }

    private struct State: Sendable {
        var ticket = 0
        var snapshot: Snapshot
        var entries: [(entry: CatalogueEntry, owner: Owner)] = []
        var isCompact = false
        /// Exposed names that operators have taken out.
        var takenOut: Set<String> = []
        /// Some tool's calls may be stored, by the configuration.
        var storesCalls = false
    }

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
        self.identity = identity
        self.time = time
        self.metrics = metrics
        log = logs.logger(component: LogComponent.catalogue)
        lines = LineBudget(linesMax: 20, per: .seconds(60), at: time.now())
        trafficLog = logs.logger(component: LogComponent.gateway)
        let nothing = RouteTable(tools: [:], prompts: [:], resources: ResourceRoutes([]))
        let lists = ListKind.allCases.map { Listing(kind: $0, items: [], identity: identity) }
        state = Mutex(
            State(
                snapshot: Snapshot(
                    owners: [], routes: nothing, lists: lists, tools: [], index: nil, instructions: [])))
        change(to: entries, isCompact: isCompact)
        _ = rebuild()
    }

    var current: Snapshot { state.withLock { $0.snapshot } }

    /// The owners, in the order of the configuration.
    var owners: [Owner] { state.withLock { $0.entries.map(\.owner) } }
    var storesCalls: Bool { state.withLock { $0.storesCalls } }
    var sources: [(entry: CatalogueEntry, owner: Owner)] { state.withLock { $0.entries } }
    var takenOut: Set<String> { state.withLock { $0.takenOut } }

    func owner(_ name: String) -> Owner? {
        state.withLock { $0.entries.first { $0.owner.backend.name == name }?.owner }
    }

    /// Other owners, or the same ones otherwise. In force with the next `rebuild`. What stands before an owner that
    /// stays (its breaker, its line, its budget, the gates of its tools) stays too; another one begins anew.
    package func change(to entries: [CatalogueEntry], isCompact: Bool) {
        let before = sources
        var new: Set<String> = []
        let made = entries.map { entry in
            let former = before.first { $0.owner.backend.name == entry.backend.name }
            let isSame = former.map { $0.owner.backend as AnyObject === entry.backend as AnyObject } ?? false
            if !isSame { new.insert(entry.backend.name) }
            let kept = isSame ? former?.owner.traffic?.changed(to: entry.traffic) : nil
            let traffic = kept ?? traffic(of: entry)
            return (entry: entry, owner: Owner(backend: entry.backend, prefix: entry.prefix, traffic: traffic))
        }
        let staying = Set(made.map(\.owner.backend.name)).subtracting(new)
        gates.withLock { gates in gates = gates.filter { staying.contains($0.key.owner) } }
        state.withLock { state in
            state.entries = made
            state.isCompact = isCompact
            state.storesCalls = entries.contains { $0.exposure.edits.values.contains { $0.policy.offline == .queue } }
        }
    }

    private func traffic(of entry: CatalogueEntry) -> OwnerTraffic? {
        guard entry.traffic != TrafficSettings() else { return nil }
        return OwnerTraffic(entry.traffic, owner: entry.backend.name, time: time, log: trafficLog)
    }

    /// Takes tools out, or in again. In force with the next `rebuild`.
    func takeOut(_ names: Set<String>) { state.withLock { $0.takenOut = names } }

    /// The one that was made for this tool before, while its policy is the same.
    func gate(_ policy: ToolPolicy, tool: String, _ owner: Owner) -> ToolGate? {
        let key = GateKey(owner: owner.backend.name, tool: tool)
        return gates.withLock { gates in
            if let known = gates[key], known.policy.hasSameGate(as: policy) { return known.gate }
            let made = ToolGate(policy, tool: tool, owner: owner.backend.name, time: time, log: trafficLog)
            // Policies stand in the configuration, so there are as many as somebody wrote.
            gates[key] = made.map { (policy, $0) }
            return made
        }
    }

    /// How many tools there are now.
    package var toolCount: Int { current.routes.tools.count }

    /// Whether clients can call a tool of this name now.
    package func has(_ name: String) -> Bool { current.routes.tool(name) != nil }

    /// Takes up what the backends know now. Called when one of them has a new list. Returns the lists that differ from
    /// before.
    func rebuild() -> Set<ListKind> {
        // Two may run at once: what was read later wins, whoever finishes last.
        let ticket = tickets.add(1, ordering: .sequentiallyConsistent).newValue
        let (entries, isCompact, takenOut) = state.withLock { ($0.entries, $0.isCompact, $0.takenOut) }
        let offers = entries.map { $0.entry.backend.offers() }
        var builder = SnapshotBuilder(identity: identity, takenOut: takenOut, metrics: metrics)
        for ((entry, owner), offers) in zip(entries, offers) {
            for tool in offers.tools { builder.add(tool, entry, owner, self) }
            for prompt in offers.prompts { builder.add(prompt: prompt, owner) }
            for item in offers.resources { builder.add(item, .resources, owner) }
            for item in offers.templates { builder.add(item, .templates, owner) }
            builder.add(instructions: offers.instructions, owner)
        }
        let routes = ResourceRoutes(zip(entries, offers).map { ($0.owner, $1) })
        let snapshot = builder.snapshot(entries.map(\.owner), routes, isCompact: isCompact)
        let previous = state.withLock { state -> Snapshot? in
            guard ticket > state.ticket else { return nil }
            let previous = state.snapshot
            (state.ticket, state.snapshot) = (ticket, snapshot)
            return previous
        }
        guard let previous else { return [] }
        tell(builder.leftOut)
        return Set(ListKind.allCases.filter { snapshot.list($0).differs(from: previous.list($0)) })
    }

    /// One line for each owner, and none while what is left out stays the same.
    private func tell(_ leftOut: [LeftOut]) {
        func key(_ one: LeftOut) -> String { "\(one.cause) \(one.owner)" }
        let digests = Dictionary(leftOut.map { (key($0), $0.digest) }) { first, _ in first }
        let before = told.withLock { told in
            defer { told = digests }
            return told
        }
        for one in leftOut where before[key(one)] != digests[key(one)] {
            guard let omitted = lines.take(at: time.now()) else {
                // For another time.
                told.withLock { $0[key(one)] = nil }
                continue
            }
            var metadata: Logger.Metadata = [
                LogKey.upstream: "\(one.owner)", LogKey.count: "\(one.count)", LogKey.tool: "\(one.example)",
            ]
            if let detail = one.detail { metadata[LogKey.detail] = "\(detail)" }
            if omitted > 0 { metadata["omitted_before"] = "\(omitted)" }
            log.warning("\(one.cause.rawValue)", metadata: metadata)
        }
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
