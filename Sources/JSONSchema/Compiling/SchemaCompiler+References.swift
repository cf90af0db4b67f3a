// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// Where references lead, and that following them comes to an end.
extension SchemaCompiler {
    /// A reference may lead to a place nobody has looked at yet, which brings new references and new addresses. Those
    /// that lead nowhere are tried again then, a few times.
    private static let roundsMax = 4

    mutating func resolveReferences() throws(SchemaError) {
        for _ in 0..<Self.roundsMax {
            let known = nodes.count
            var open: [PendingReference] = []
            var next = 0
            while next < pending.count {
                let reference = pending[next]
                next += 1
                if try !resolve(reference) { open.append(reference) }
            }
            pending = open
            guard let first = open.first else { return }
            guard nodes.count > known else { throw unresolved(first) }
        }
        if let first = pending.first { throw unresolved(first) }
    }

    private func unresolved(_ reference: PendingReference) -> SchemaError {
        problem(
            reference.place,
            "the reference \(Words.quoted(reference.text, max: Words.schemaTextMax)) leads to nothing in this "
                + "document; references to other documents are never fetched")
    }

    private mutating func resolve(_ reference: PendingReference) throws(SchemaError) -> Bool {
        let (text, fragment) = Address.split(reference.text)
        let address = resources[reference.resource].address.resolve(text)
        let addressText = address.text
        try charge(addressText.utf8.count, reference.place)
        guard let resource = resourceIndex[Name(addressText)] else { return false }
        let name = Address.percentDecoded(fragment ?? "")
        let target: Int
        if name.isEmpty {
            target = resources[resource].node
        } else if name.utf8.first == UInt8(ascii: "/") {
            guard let node = try follow(name, from: resource) else { return false }
            target = node
        } else {
            guard let node = anchors[Anchor(resource: resource, name: Name(name))] else { return false }
            target = node
        }
        switch reference.kind {
        case .plain: nodes[reference.node].reference = target
        case .dynamic, .recursive:
            // Only a reference whose first target is such an anchor depends on the way.
            let anchor = Anchor(resource: nodes[target].resource, name: Name(reference.kind == .recursive ? "" : name))
            let isDynamic = dynamicAnchors[anchor] == target
            nodes[reference.node].dynamicReference = DynamicReference(
                target: target, name: isDynamic ? anchor.name : nil)
        }
        return true
    }

    /// Follows a JSON pointer through the document, and compiles what is there if nobody has.
    private mutating func follow(_ pointer: String, from resource: Int) throws(SchemaError) -> Int? {
        var place = resources[resource].place
        var value = map.places[place].value
        // The schema around the place decides about addresses and dialect.
        var surroundings = resource
        for token in pointer.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            let name = Self.unescaped(token)
            if let known = map.knownChild(of: place, name) {
                place = known
                value = map.places[place].value
                if let node = map.places[place].node { surroundings = nodes[node].resource }
            } else {
                guard let child = try child(of: value, name, place) else { return nil }
                place = map.child(of: place, name, child)
                value = child
            }
        }
        return try enter(value, place: place, resource: surroundings, depth: 1)
    }

    private mutating func child(of value: JSONValue, _ name: String, _ place: Int) throws(SchemaError) -> JSONValue? {
        switch value {
        case .object(let members):
            try charge(members.count, place)
            return value[name]
        case .array(let items):
            guard let index = Int(name), items.indices.contains(index), String(index) == name else { return nil }
            return items[index]
        default: return nil
        }
    }

    /// `~1` is a slash and `~0` a tilde.
    private static func unescaped(_ token: Substring.UTF8View) -> String {
        var out: [UInt8] = []
        var bytes = token.makeIterator()
        while let byte = bytes.next() {
            guard byte == UInt8(ascii: "~") else {
                out.append(byte)
                continue
            }
            switch bytes.next() {
            case UInt8(ascii: "0"): out.append(UInt8(ascii: "~"))
            case UInt8(ascii: "1"): out.append(UInt8(ascii: "/"))
            case let other: out += [byte] + (other.map { [$0] } ?? [])
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    // MARK: Ends

    /// Refuses schemas that apply themselves to the same value again, such as `{"$ref": "#"}`: subschemas that lead to
    /// none are taken away until nothing is left or only circles are.
    ///
    /// Where a `$dynamicRef` leads is known only when a value is checked; the bound on nesting holds it.
    func refuseEndlessApplication() throws(SchemaError) {
        let edges = nodes.map { Self.applied($0) }
        var sources: [[Int]] = Array(repeating: [], count: nodes.count)
        var open = edges.map(\.count)
        for (node, targets) in edges.enumerated() {
            for target in targets { sources[target].append(node) }
        }
        var done = open.indices.filter { open[$0] == 0 }
        var next = 0
        while next < done.count {
            for source in sources[done[next]] {
                open[source] -= 1
                if open[source] == 0 { done.append(source) }
            }
            next += 1
        }
        guard done.count < nodes.count else { return }
        // What is left leads to a circle; following it long enough ends up inside.
        var current = open.firstIndex { $0 > 0 } ?? 0
        for _ in nodes { current = edges[current].first { open[$0] > 0 } ?? current }
        let place = map.places.firstIndex { $0.node == current } ?? 0
        throw problem(place, "the schema applies itself to the same value without end")
    }

    /// The subschemas that a subschema applies to the very value it is given.
    private static func applied(_ node: SchemaForm) -> [Int] {
        var targets: [Int] = []
        if let reference = node.reference { targets.append(reference) }
        if let reference = node.dynamicReference { targets.append(reference.target) }
        if let logic = node.logic {
            targets += logic.all + logic.any + logic.one
            let others = [logic.not, logic.condition?.test, logic.condition?.then, logic.condition?.otherwise]
            targets += others.compactMap { $0 }
        }
        if let objects = node.objects { targets += objects.dependents.compactMap(\.node) }
        return targets
    }
}
