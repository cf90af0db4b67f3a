// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Telemetry

/// An owner of tools, prompts or resources, with the names under which clients see them.
final class Owner: Sendable {
    let backend: any Backend
    let prefix: String
    let resources: ResourceNames
    /// nil where nothing is limited.
    let traffic: OwnerTraffic?
    var breaker: OwnerBreaker? { traffic?.breaker }
    /// Each owner has its own lines about calls that failed or were slow, so that a noisy one hides nobody's first.
    let failedLines = LineBudget(linesMax: Owner.linesMax, at: Moment(nanoseconds: 0))
    let slowLines = LineBudget(linesMax: Owner.linesMax, at: Moment(nanoseconds: 0))
    private static let linesMax = 50

    init(backend: any Backend, prefix: String, traffic: OwnerTraffic? = nil) {
        self.backend = backend
        self.prefix = prefix
        self.traffic = traffic
        resources = ResourceNames(prefix: prefix)
    }

    /// The moment from which on a call is worth trying; nil when that is now.
    var refusesUntil: Moment? {
        guard let own = breaker?.refusesUntil else { return backend.refusesUntil }
        return max(own, backend.refusesUntil ?? own)
    }
}

/// Where a call goes: the owner, and what it calls the thing.
struct Destination: Sendable {
    let operation: Operation
    /// The name that clients know; for a resource its URI.
    let exposedName: String
    let target: String
    let owner: Owner
    /// Only tools are counted one by one.
    let counters: CallCounters?
    let tool: ToolFacts?
    let policy: ToolPolicy
    /// nil where the policy limits nothing.
    let gate: ToolGate?
    /// The JSON text of the target when it is more than a string.
    var targetJSON: [UInt8]?

    var backend: any Backend { owner.backend }

    init(
        _ operation: Operation, _ exposedName: String, target: String, owner: Owner, counters: CallCounters? = nil,
        tool: ToolFacts? = nil, policy: ToolPolicy = .plain, gate: ToolGate? = nil
    ) {
        self.policy = policy
        self.gate = gate
        self.operation = operation
        self.exposedName = exposedName
        self.target = target
        self.owner = owner
        self.counters = counters
        self.tool = tool
    }
}

/// Names to destinations. Immutable, part of a snapshot.
struct RouteTable: Sendable {
    let tools: [String: Destination]
    let prompts: [String: Destination]
    let resources: ResourceRoutes

    func tool(_ name: String) -> Destination? { Self.find(name, in: tools) }

    func prompt(_ name: String) -> Destination? { Self.find(name, in: prompts) }

    /// Compares bytes: Swift's strings call some different spellings equal (the Kelvin sign and K), and a name is not a
    /// word.
    private static func find(_ name: String, in table: [String: Destination]) -> Destination? {
        guard let found = table[name], found.exposedName.utf8.elementsEqual(name.utf8) else { return nil }
        return found
    }

    func resource(_ uri: String) -> Destination? {
        resources.resolve(uri).map { Destination(.resource, uri, target: $0.original, owner: $0.owner) }
    }

    /// The owner of what `completion/complete` asks about, with the reference in the owner's words.
    func completion(_ reference: JSONValue) -> Destination? {
        switch reference["type"]?.stringValue {
        case "ref/prompt":
            guard let name = reference["name"]?.stringValue, let prompt = prompt(name) else { return nil }
            return Self.completion(reference.with("name", .string(prompt.target)), name, prompt.owner)
        case "ref/resource":
            guard let uri = reference["uri"]?.stringValue, let route = resources.resolve(uri) else { return nil }
            return Self.completion(reference.with("uri", .string(route.original)), uri, route.owner)
        default: return nil
        }
    }

    private static func completion(_ reference: JSONValue, _ exposed: String, _ owner: Owner) -> Destination {
        var destination = Destination(.completion, exposed, target: exposed, owner: owner)
        var json: [UInt8] = []
        reference.write(to: &json)
        destination.targetJSON = json
        return destination
    }
}

/// Which owner a URI belongs to.
struct ResourceRoutes: Sendable {
    struct Route: Sendable {
        let owner: Owner
        let original: String
    }

    /// Every owner with resources, in the order of the configuration.
    private let owners: [Owner]
    /// The owners of an original URI or template that is listed.
    private let listed: [String: [Owner]]
    /// What stands before the first variable of each template.
    private let stems: [(stem: String, owner: Owner)]

    init(_ owners: [(owner: Owner, offers: Offers)]) {
        var listed: [String: [Owner]] = [:]
        var stems: [(stem: String, owner: Owner)] = []
        for (owner, offers) in owners {
            for item in offers.resources + offers.templates {
                if listed[item.name]?.contains(where: { $0 === owner }) != true {
                    listed[item.name, default: []].append(owner)
                }
            }
            for template in offers.templates {
                stems.append((String(template.name.prefix { $0 != "{" }), owner))
            }
        }
        self.owners = owners.map(\.owner)
        self.listed = listed
        self.stems = stems
    }

    /// What is listed under this very URI; else by label; else, for the owner's own spelling as it may stand in some
    /// text, by what is listed or by the longest template that fits; else the only owner whose URIs are shown as they
    /// are. nil when there is none, or no single one.
    func resolve(_ uri: String) -> Route? {
        let exposed = (listed[uri] ?? []).filter { $0.resources.exposed(uri).utf8.elementsEqual(uri.utf8) }
        if exposed.count == 1 { return Route(owner: exposed[0], original: uri) }
        for owner in owners {
            if let original = owner.resources.original(uri) { return Route(owner: owner, original: original) }
        }
        if let known = listed[uri] { return known.count == 1 ? Route(owner: known[0], original: uri) : nil }
        let fitting = stems.filter { !$0.stem.isEmpty && uri.utf8.starts(with: $0.stem.utf8) }
        if let longest = fitting.map({ $0.stem.utf8.count }).max() {
            let best = fitting.filter { $0.stem.utf8.count == longest }
            guard best.allSatisfy({ $0.owner === best[0].owner }) else { return nil }
            return Route(owner: best[0].owner, original: uri)
        }
        let plain = owners.filter { $0.resources.label.isEmpty }
        return plain.count == 1 ? Route(owner: plain[0], original: uri) : nil
    }
}
