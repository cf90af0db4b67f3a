// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// From keywords to rules.
extension SchemaCompiler {
    mutating func readRules(_ site: Site) throws(SchemaError) {
        nodes[site.node].types = try types(site)
        nodes[site.node].choices = try choices(site)
        nodes[site.node].numbers = try numbers(site)
        nodes[site.node].texts = try texts(site)
        nodes[site.node].arrays = try arrays(site)
        nodes[site.node].objects = try objects(site)
        nodes[site.node].logic = try logic(site)
        guard site.draft.hasUnevaluated else { return }
        nodes[site.node].unevaluatedItems = try schema("unevaluatedItems", site)
        nodes[site.node].unevaluatedProperties = try schema("unevaluatedProperties", site)
    }

    private mutating func choices(_ site: Site) throws(SchemaError) -> Choices? {
        var groups: [Choices.Group] = []
        if let value = site.value["const"] {
            try refuseDeep(value, limits.depthMax, site)
            groups.append(Choices.Group([value]))
        }
        if let values = try list("enum", site) {
            try refuseDeep(.array(values), limits.depthMax, site)
            groups.append(Choices.Group(values))
        }
        return groups.isEmpty ? nil : Choices(groups)
    }

    /// Comparing goes as deep as the value in the schema does.
    private func refuseDeep(_ value: JSONValue, _ depthLeft: Int, _ site: Site) throws(SchemaError) {
        guard depthLeft >= 0 else {
            throw problem(site.place, "a value in the schema is nested deeper than \(limits.depthMax)")
        }
        switch value {
        case .array(let items):
            for item in items { try refuseDeep(item, depthLeft - 1, site) }
        case .object(let members):
            for member in members { try refuseDeep(member.value, depthLeft - 1, site) }
        default: break
        }
    }

    private func numbers(_ site: Site) throws(SchemaError) -> NumberRules? {
        let rules = NumberRules(
            multipleOf: try bound("multipleOf", site), minimum: try bound("minimum", site),
            exclusiveMinimum: try bound("exclusiveMinimum", site), maximum: try bound("maximum", site),
            exclusiveMaximum: try bound("exclusiveMaximum", site))
        if let divisor = rules.multipleOf, !divisor.value.isDivisor {
            throw problem(
                site.place, "multipleOf must be a number above 0 of at most 18 digits, not \(divisor.text)")
        }
        let bounds = [
            rules.multipleOf, rules.minimum, rules.exclusiveMinimum, rules.maximum, rules.exclusiveMaximum,
        ]
        return bounds.contains { $0 != nil } ? rules : nil
    }

    private mutating func texts(_ site: Site) throws(SchemaError) -> TextRules? {
        var rule: PatternRule?
        if let text = try text("pattern", site) { rule = try pattern(text, site.place) }
        let rules = TextRules(
            lengthMin: try count("minLength", site), lengthMax: try count("maxLength", site), pattern: rule)
        return rules.lengthMin == nil && rules.lengthMax == nil && rule == nil ? nil : rules
    }

    private mutating func arrays(_ site: Site) throws(SchemaError) -> ArrayRules? {
        var prefix: [Int] = []
        let rest: Int?
        if site.value["items"]?.arrayValue != nil {
            // The form before 2020-12. It can mean nothing else there either, and servers that name no dialect send it.
            prefix = try schemaList("items", site)
            rest = try schema("additionalItems", site)
        } else {
            if site.draft.hasPrefixItems { prefix = try schemaList("prefixItems", site) }
            rest = try schema("items", site)
        }
        var contains: ArrayRules.Contains?
        if let node = try schema("contains", site) {
            let hasBounds = site.draft.hasContainsBounds
            contains = ArrayRules.Contains(
                node: node, countMin: hasBounds ? try count("minContains", site) ?? 1 : 1,
                countMax: hasBounds ? try count("maxContains", site) : nil,
                isEvaluating: site.draft.doesContainsEvaluate)
        }
        let rules = ArrayRules(
            prefix: prefix, rest: rest, contains: contains, countMin: try count("minItems", site),
            countMax: try count("maxItems", site), isUnique: try flag("uniqueItems", site))
        let isEmpty =
            prefix.isEmpty && rest == nil && contains == nil && rules.countMin == nil && rules.countMax == nil
            && !rules.isUnique
        return isEmpty ? nil : rules
    }

    private mutating func objects(_ site: Site) throws(SchemaError) -> ObjectRules? {
        let properties = try schemaMap("properties", site)
        var patterns: [ObjectRules.PatternProperties] = []
        for entry in try schemaMap("patternProperties", site) {
            patterns.append(
                ObjectRules.PatternProperties(pattern: try pattern(entry.name, site.place), node: entry.node))
        }
        let rules = ObjectRules(
            properties: NameTable(properties), patterns: patterns,
            additional: try schema("additionalProperties", site), names: try schema("propertyNames", site),
            required: try names("required", site), dependents: try dependents(site),
            countMin: try count("minProperties", site), countMax: try count("maxProperties", site))
        let isEmpty =
            properties.isEmpty && patterns.isEmpty && rules.additional == nil && rules.names == nil
            && rules.required.isEmpty && rules.dependents.isEmpty && rules.countMin == nil && rules.countMax == nil
        return isEmpty ? nil : rules
    }

    private mutating func dependents(_ site: Site) throws(SchemaError) -> [ObjectRules.Dependent] {
        var dependents: [ObjectRules.Dependent] = []
        if site.draft.hasDependents {
            for (name, node) in try schemaMap("dependentSchemas", site) {
                dependents.append(ObjectRules.Dependent(name: name, node: node))
            }
            if let value = site.value["dependentRequired"] {
                guard let members = value.objectValue else {
                    throw wrong("dependentRequired", site, "an object of arrays", value)
                }
                for member in members {
                    let required = try names(member.value, "dependentRequired", site)
                    dependents.append(ObjectRules.Dependent(name: member.key, required: required))
                }
            }
        }
        guard site.draft.hasDependencies, let value = site.value["dependencies"] else { return dependents }
        guard let members = value.objectValue else { throw wrong("dependencies", site, "an object", value) }
        let place = map.child(of: site.place, "dependencies", value)
        for member in members {
            var dependent = ObjectRules.Dependent(name: member.key)
            if member.value.arrayValue != nil {
                dependent.required = try names(member.value, "dependencies", site)
            } else {
                dependent.node = try enter(
                    member.value, place: map.child(of: place, member.key, member.value), resource: site.resource,
                    depth: site.depth + 1)
            }
            dependents.append(dependent)
        }
        return dependents
    }

    private mutating func logic(_ site: Site) throws(SchemaError) -> LogicRules? {
        // Without `if` they are not applied, but they can still be referred to.
        let (then, otherwise) = (try schema("then", site), try schema("else", site))
        let condition = try schema("if", site).map {
            LogicRules.Condition(test: $0, then: then, otherwise: otherwise)
        }
        let rules = LogicRules(
            all: try schemaList("allOf", site), any: try schemaList("anyOf", site),
            one: try schemaList("oneOf", site), not: try schema("not", site), condition: condition)
        let isEmpty =
            rules.all.isEmpty && rules.any.isEmpty && rules.one.isEmpty && rules.not == nil && condition == nil
        return isEmpty ? nil : rules
    }
}
