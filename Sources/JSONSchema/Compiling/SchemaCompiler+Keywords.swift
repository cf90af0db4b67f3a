// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// Reading the value of one keyword. A value of the wrong kind makes the whole schema unusable: to pass over it would
/// let through what its author meant to keep out.
extension SchemaCompiler {
    func text(_ keyword: String, _ site: Site) throws(SchemaError) -> String? {
        guard let value = site.value[keyword] else { return nil }
        guard let text = value.stringValue else { throw wrong(keyword, site, "a string", value) }
        guard keyword == "pattern" || text.utf8.count <= Self.addressMax else {
            throw problem(site.place, "\(keyword) is longer than \(Self.addressMax) bytes")
        }
        return text
    }

    func flag(_ keyword: String, _ site: Site) throws(SchemaError) -> Bool {
        guard let value = site.value[keyword] else { return false }
        guard let flag = value.boolValue else { throw wrong(keyword, site, "true or false", value) }
        return flag
    }

    /// A count, such as `minLength`.
    func count(_ keyword: String, _ site: Site) throws(SchemaError) -> Int? {
        guard let value = site.value[keyword] else { return nil }
        guard case .number(let text) = value, let count = Decimal(text).count else {
            throw wrong(keyword, site, "an integer of at least 0", value)
        }
        return count
    }

    func bound(_ keyword: String, _ site: Site) throws(SchemaError) -> NumberRules.Bound? {
        guard let value = site.value[keyword] else { return nil }
        guard case .number(let text) = value else { throw wrong(keyword, site, "a number", value) }
        return NumberRules.Bound(value: Decimal(text), text: Words.cut(text))
    }

    func list(_ keyword: String, _ site: Site) throws(SchemaError) -> [JSONValue]? {
        guard let value = site.value[keyword] else { return nil }
        guard let items = value.arrayValue else { throw wrong(keyword, site, "an array", value) }
        return items
    }

    func names(_ keyword: String, _ site: Site) throws(SchemaError) -> [String] {
        guard let value = site.value[keyword] else { return [] }
        return try names(value, keyword, site)
    }

    func names(_ value: JSONValue, _ keyword: String, _ site: Site) throws(SchemaError) -> [String] {
        guard let items = value.arrayValue else { throw wrong(keyword, site, "an array of property names", value) }
        var names: [String] = []
        for item in items {
            guard let name = item.stringValue else { throw wrong(keyword, site, "an array of property names", item) }
            names.append(name)
        }
        return names
    }

    func types(_ site: Site) throws(SchemaError) -> TypeSet? {
        guard let value = site.value["type"] else { return nil }
        var types: TypeSet = []
        for item in value.arrayValue ?? [value] {
            guard let name = item.stringValue, let type = TypeSet(keyword: name) else {
                throw wrong("type", site, "one of the seven types of JSON Schema or an array of them", item)
            }
            types.formUnion(type)
        }
        return types
    }

    // MARK: Subschemas

    mutating func schema(_ keyword: String, _ site: Site) throws(SchemaError) -> Int? {
        guard let value = site.value[keyword] else { return nil }
        return try enter(
            value, place: map.child(of: site.place, keyword, value), resource: site.resource, depth: site.depth + 1)
    }

    mutating func schemaList(_ keyword: String, _ site: Site) throws(SchemaError) -> [Int] {
        guard let value = site.value[keyword] else { return [] }
        guard let items = value.arrayValue else { throw wrong(keyword, site, "an array of schemas", value) }
        let place = map.child(of: site.place, keyword, value)
        var nodes: [Int] = []
        for (index, item) in items.enumerated() {
            nodes.append(
                try enter(
                    item, place: map.child(of: place, String(index), item), resource: site.resource,
                    depth: site.depth + 1))
        }
        return nodes
    }

    mutating func schemaMap(_ keyword: String, _ site: Site) throws(SchemaError) -> [(name: String, node: Int)] {
        guard let value = site.value[keyword] else { return [] }
        guard let members = value.objectValue else { throw wrong(keyword, site, "an object of schemas", value) }
        let place = map.child(of: site.place, keyword, value)
        var entries: [(name: String, node: Int)] = []
        for member in members {
            let node = try enter(
                member.value, place: map.child(of: place, member.key, member.value), resource: site.resource,
                depth: site.depth + 1)
            entries.append((member.key, node))
        }
        return entries
    }

    // MARK: Patterns

    /// Compiles a pattern. One that the engine cannot run only annotates: many tools have them, and the tool itself
    /// still looks at what it gets.
    mutating func pattern(_ text: String, _ place: Int) throws(SchemaError) -> PatternRule {
        do throws(PatternProblem) {
            let pattern = try Pattern(text, sizeMax: min(Pattern.sizeMax, instructionsLeft))
            instructionsLeft -= pattern.size
            return .checked(pattern)
        } catch {
            switch error {
            case .malformed(let words):
                throw problem(place, "the pattern \(Words.quoted(text)) is malformed: \(words)")
            case .unsupported:
                if uncheckedPatterns.count < Self.uncheckedMax { uncheckedPatterns.append(map.pointer(place)) }
                return .unchecked
            }
        }
    }

    func wrong(_ keyword: String, _ site: Site, _ right: String, _ value: JSONValue) -> SchemaError {
        problem(site.place, "\(keyword) must be \(right), not \(Words.kind(value))")
    }
}
