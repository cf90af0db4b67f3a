// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// Makes a program of a document: walks through its subschemas, notes their addresses and anchors, and in the end
/// resolves what they refer to.
struct SchemaCompiler {
    /// A part of the document with an address of its own.
    struct Resource {
        let address: Address
        let place: Int
        let node: Int
        var draft: Draft
    }

    struct PendingReference {
        enum Kind {
            case plain, dynamic
            /// `$recursiveRef` of 2019-09.
            case recursive
        }
        let node: Int
        let place: Int
        let resource: Int
        let text: String
        let kind: Kind
    }

    /// A subschema that is being read.
    struct Site {
        let node: Int
        let value: JSONValue
        let place: Int
        var resource: Int
        var draft: Draft
        let depth: Int
    }

    /// Longest reference or `$id`, in bytes. Addresses are joined with that of their surroundings, again and again.
    static let addressMax = 2000
    static let uncheckedMax = 8

    let limits: SchemaLimits
    var map: SchemaMap
    var nodes: [SchemaForm] = []
    var resources: [Resource] = []
    var resourceIndex: [Name: Int] = [:]
    var anchors: [Anchor: Int] = [:]
    var dynamicAnchors: [Anchor: Int] = [:]
    var pending: [PendingReference] = []
    var uncheckedPatterns: [String] = []
    var stepsLeft: Int
    var instructionsLeft: Int

    private init(_ schema: JSONValue, _ limits: SchemaLimits) {
        self.limits = limits
        map = SchemaMap(schema)
        stepsLeft = limits.compileStepsMax
        instructionsLeft = limits.patternInstructionsMax
    }

    static func compile(_ schema: JSONValue, limits: SchemaLimits) throws(SchemaError) -> SchemaProgram {
        var compiler = SchemaCompiler(schema, limits)
        // The document has an address even when it does not say one: the empty one.
        compiler.resources = [Resource(address: Address(), place: 0, node: 0, draft: .draft2020)]
        compiler.resourceIndex[Name("")] = 0
        _ = try compiler.enter(schema, place: 0, resource: 0, depth: 1)
        try compiler.resolveReferences()
        try compiler.refuseEndlessApplication()
        return SchemaProgram(
            compiler.nodes, dynamicAnchors: compiler.dynamicAnchors,
            uncheckedPatterns: compiler.uncheckedPatterns, limits: limits)
    }

    // MARK: Subschemas

    /// Compiles the subschema at a place, with all that it contains.
    mutating func enter(_ value: JSONValue, place: Int, resource: Int, depth: Int) throws(SchemaError) -> Int {
        if let known = map.places[place].node { return known }
        guard nodes.count < limits.subschemasMax else {
            throw SchemaError(words: "the schema has more than \(limits.subschemasMax) subschemas")
        }
        guard depth <= limits.depthMax else {
            throw problem(place, "subschemas are nested deeper than \(limits.depthMax)")
        }
        let node = nodes.count
        nodes.append(SchemaForm())
        map.settle(place, node: node)
        switch value {
        case .bool(let verdict): nodes[node].verdict = verdict
        case .object(let members):
            try charge(members.count, place)
            var site = Site(
                node: node, value: value, place: place, resource: resource, draft: resources[resource].draft,
                depth: depth)
            try read(&site)
        default: throw problem(place, "a schema is an object or true or false, not \(Words.kind(value))")
        }
        return node
    }

    private mutating func read(_ site: inout Site) throws(SchemaError) {
        try readDialect(&site)
        let reference = try text("$ref", site)
        if let reference, site.draft.isReferenceAlone {
            // What stands beside it is not applied, but it is there to be referred to.
            nodes[site.node].resource = site.resource
            _ = try schemaMap("definitions", site)
            note(reference, .plain, site)
            return
        }
        try readAddress(&site)
        nodes[site.node].resource = site.resource
        try readAnchors(site)
        if let reference { note(reference, .plain, site) }
        if site.draft.hasDynamicReference, let text = try text("$dynamicRef", site) { note(text, .dynamic, site) }
        if site.draft.hasRecursiveReference, let text = try text("$recursiveRef", site) {
            note(text, .recursive, site)
        }
        if site.draft.hasAnchorKeyword { _ = try schemaMap("$defs", site) }
        _ = try schemaMap("definitions", site)
        try readRules(site)
    }

    private mutating func note(_ text: String, _ kind: PendingReference.Kind, _ site: Site) {
        pending.append(
            PendingReference(node: site.node, place: site.place, resource: site.resource, text: text, kind: kind))
    }

    // MARK: Addresses

    /// `$schema` speaks for a whole resource: the document, or a part with an `$id`.
    private mutating func readDialect(_ site: inout Site) throws(SchemaError) {
        guard site.place == 0 || site.value["$id"] != nil, let name = try text("$schema", site) else { return }
        guard let draft = Draft(address: name) else {
            throw problem(
                site.place, "the dialect \(Words.quoted(name)) is not known; known are JSON Schema \(Draft.known)")
        }
        site.draft = draft
        if site.place == 0 { resources[0].draft = draft }
    }

    private mutating func readAddress(_ site: inout Site) throws(SchemaError) {
        guard let text = try text("$id", site) else { return }
        let (reference, fragment) = Address.split(text)
        if !reference.isEmpty {
            let address = resources[site.resource].address.resolve(reference)
            resources.append(Resource(address: address, place: site.place, node: site.node, draft: site.draft))
            site.resource = resources.count - 1
            let name = Name(address.text)
            try charge(name.text.utf8.count, site.place)
            guard name.text.utf8.count <= Self.addressMax * 2 else { throw problem(site.place, "the $id is too long") }
            if let other = resourceIndex[name] {
                // Copies of a definition are common and do no harm.
                guard SameJSON.isSame(map.places[resources[other].place].value, site.value) else {
                    throw problem(site.place, "another schema has the same $id, \(Words.quoted(text))")
                }
            } else {
                resourceIndex[name] = site.resource
            }
        }
        if !site.draft.hasAnchorKeyword, let fragment, !fragment.isEmpty {
            try anchor(String(fragment), site)
        }
    }

    private mutating func readAnchors(_ site: Site) throws(SchemaError) {
        guard site.draft.hasAnchorKeyword else { return }
        if let name = try text("$anchor", site) { try anchor(name, site) }
        if site.draft.hasDynamicReference, let name = try text("$dynamicAnchor", site) {
            try anchor(name, site)
            dynamicAnchors[Anchor(resource: site.resource, name: Name(name))] = site.node
        }
        // The same with a single anchor that has no name.
        if site.draft.hasRecursiveReference, try flag("$recursiveAnchor", site) {
            dynamicAnchors[Anchor(resource: site.resource, name: Name(""))] = site.node
        }
    }

    private mutating func anchor(_ name: String, _ site: Site) throws(SchemaError) {
        let anchor = Anchor(resource: site.resource, name: Name(name))
        guard anchors[anchor] == nil || anchors[anchor] == site.node else {
            throw problem(site.place, "another schema has the same anchor, \(Words.quoted(name))")
        }
        anchors[anchor] = site.node
    }

    // MARK: Bounds

    mutating func charge(_ steps: Int, _ place: Int) throws(SchemaError) {
        stepsLeft -= steps
        guard stepsLeft >= 0 else {
            throw problem(place, "the schema takes more than \(limits.compileStepsMax) steps to compile")
        }
    }

    func problem(_ place: Int, _ words: String) -> SchemaError {
        SchemaError(words: place == 0 ? words : "at \(Words.quoted(map.pointer(place), max: Words.placeMax)): \(words)")
    }
}
