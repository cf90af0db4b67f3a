// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Telemetry

/// What an owner has and nobody is shown. Counted, because a server may have as much of it as it likes.
struct LeftOut: Sendable {
    enum Cause: String, Sendable {
        case taken = "names are taken already: the second is left out, give its owner another prefix"
        case unusable = "tools are left out: they cannot be offered"
    }

    let owner: String
    let cause: Cause
    /// The first of them, and what is wrong with it.
    let example: String
    let detail: String?
    var count = 0
    /// Tells them from others as many, within this process.
    var digest = 0
}

/// Puts one snapshot together, owner by owner. A name that is taken already is left out.
struct SnapshotBuilder {
    private let identity: ServerIdentity
    private let metrics: MetricsRegistry
    private var tools: [String: Destination] = [:]
    private var prompts: [String: Destination] = [:]
    private var uris: Set<String> = []
    private var items: [ListKind: [ListedItem]] = [:]
    /// Some tool's calls may be stored.
    private var storesCalls = false
    private var documents: [ToolDocument] = []
    private var instructions: [(label: String, text: String)] = []
    /// Exposed names that operators have taken out.
    private let takenOut: Set<String>
    private var disabled: [String: Owner] = [:]
    /// Owner by owner.
    private(set) var leftOut: [LeftOut] = []

    init(identity: ServerIdentity, takenOut: Set<String>, metrics: MetricsRegistry) {
        self.takenOut = takenOut
        self.identity = identity
        self.metrics = metrics
    }

    mutating func add(_ tool: OfferedItem, _ entry: CatalogueEntry, _ owner: Owner, _ catalogue: Catalogue) {
        guard entry.exposure.filter.decide(tool.name).isAllowed else { return }
        let edit = entry.exposure.edit(for: tool.name)
        let name = ExposedName.make(prefix: owner.prefix, tool: edit?.name ?? tool.name)
        let policy = edit?.policy ?? .plain
        let known = catalogue.know(tool, owner, isStored: policy.offline == .queue)
        let facts: ToolFacts
        do throws(ToolFactsError) { facts = try known.facts.get() } catch {
            return leave(tool.name, of: owner, .unusable, error.words)
        }
        guard tools[name] == nil, disabled[name] == nil, !name.hasPrefix(QueueDesk.reservedPrefix) else {
            return leave(name, of: owner, .taken)
        }
        guard !takenOut.contains(name) else {
            disabled[name] = owner
            return
        }
        tools[name] = Destination(
            .tool, name, target: tool.name, owner: owner,
            counters: CallCounters(registry: metrics, tool: name, route: owner.backend.route), tool: facts,
            policy: policy, gate: catalogue.gate(policy, tool: name, owner))
        if policy.offline == .queue { storesCalls = true }
        let definition = edit?.applied(to: known.tree) ?? known.tree
        items[.tools, default: []].append(
            ListedItem(
                exposed: name, definition: definition, owner: owner, outputShape: facts.outputShape,
                hasHeaders: !facts.headers.isEmpty, hidesHeaders: facts.hidesHeaders,
                isStored: policy.offline == .queue))
        documents.append(
            ToolDocument(
                name: name, title: definition["title"]?.stringValue,
                description: definition["description"]?.stringValue ?? "",
                parameterNames: definition["inputSchema"]?["properties"]?.objectValue?.map(\.key) ?? []))
    }

    mutating func add(prompt: OfferedItem, _ owner: Owner) {
        let name = ExposedName.make(prefix: owner.prefix, tool: prompt.name)
        guard prompts[name] == nil else { return leave(name, of: owner, .taken) }
        prompts[name] = Destination(.prompt, name, target: prompt.name, owner: owner)
        add(prompt, .prompts, exposed: name, owner)
    }

    mutating func add(_ item: OfferedItem, _ kind: ListKind, _ owner: Owner) {
        let exposed = owner.resources.exposed(item.name)
        guard uris.insert(exposed).inserted else { return leave(exposed, of: owner, .taken) }
        add(item, kind, exposed: exposed, owner)
    }

    private mutating func add(_ item: OfferedItem, _ kind: ListKind, exposed: String, _ owner: Owner) {
        // A definition reached us through the same scanner, so it scans again.
        let tree = (try? JSONValue.parse(item.definition.span)) ?? [:]
        items[kind, default: []].append(ListedItem(exposed: exposed, definition: tree, owner: owner))
    }

    mutating func add(instructions text: String?, _ owner: Owner) {
        guard let text, !text.isEmpty else { return }
        instructions.append((owner.prefix, String(text.prefix(Self.instructionsCharactersMax))))
    }

    private static let instructionsCharactersMax = 2_000

    private mutating func leave(_ name: String, of owner: Owner, _ cause: LeftOut.Cause, _ detail: String? = nil) {
        let owner = owner.backend.name
        // Owners come one after the other, so it is among the last.
        let known = leftOut.lastIndex { $0.owner == owner && $0.cause == cause }
        if known == nil { leftOut.append(LeftOut(owner: owner, cause: cause, example: name, detail: detail)) }
        let index = known ?? leftOut.count - 1
        leftOut[index].count += 1
        leftOut[index].digest = leftOut[index].digest &* 31 &+ name.hashValue
    }

    func snapshot(_ owners: [Owner], _ resources: ResourceRoutes, isCompact: Bool) -> Snapshot {
        let lists = ListKind.allCases.map { kind in
            var shown = kind == .tools && isCompact ? CompactTools.items : items[kind] ?? []
            if kind == .tools, storesCalls { shown += QueueDesk.items }
            return Listing(kind: kind, items: shown, identity: identity)
        }
        return Snapshot(
            owners: owners, routes: RouteTable(tools: tools, prompts: prompts, resources: resources), lists: lists,
            tools: items[.tools] ?? [], disabled: disabled, index: isCompact ? ToolIndex(documents) : nil,
            instructions: instructions)
    }
}
