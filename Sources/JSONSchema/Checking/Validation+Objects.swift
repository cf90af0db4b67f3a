// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// The members of an object, with an index of their names once many are asked for.
private struct Members {
    private let list: [(key: String, value: JSONValue)]
    private let index: Set<Name>

    private static let linearMax = 32

    init(_ list: [(key: String, value: JSONValue)]) {
        self.list = list
        index = list.count > Self.linearMax ? Set(list.map { Name($0.key) }) : []
    }

    func contains(_ name: String) -> Bool {
        guard index.isEmpty else { return index.contains(Name(name)) }
        return list.contains { Name.isSame($0.key, name) }
    }
}

/// Objects.
extension Validation {
    mutating func check(
        _ rules: ObjectRules, _ members: [(key: String, value: JSONValue)], _ value: JSONValue, _ marks: inout Marks
    ) -> Bool {
        var fits = true
        if let min = rules.countMin, members.count < min {
            fits = refuse("expected at least \(Words.count(min, "property", "properties")), got \(members.count)")
        }
        if let max = rules.countMax, members.count > max {
            fits = refuse("expected at most \(Words.count(max, "property", "properties")), got \(members.count)")
        }
        guard goesOn(fits) else { return false }
        if !rules.required.isEmpty || !rules.dependents.isEmpty {
            guard spend(1 + members.count + rules.required.count / 4) else { return false }
            let names = Members(members)
            fits = checkRequired(rules.required, names) && fits
            guard goesOn(fits) else { return false }
            fits = checkDependents(rules.dependents, names, value, &marks) && fits
            guard goesOn(fits) else { return false }
        }
        for (index, member) in members.enumerated() {
            fits = checkMember(rules, member.key, member.value, index, &marks) && fits
            guard goesOn(fits) else { return false }
        }
        return fits
    }

    private mutating func checkRequired(_ required: [String], _ names: Members) -> Bool {
        guard let first = required.first(where: { !names.contains($0) }) else { return true }
        guard isExplaining else { return false }
        let missing = required.filter { !names.contains($0) }
        return refuse(
            missing.count == 1
                ? "the required property \(Words.quoted(first)) is missing"
                : "the required properties \(Words.names(missing)) are missing")
    }

    private mutating func checkDependents(
        _ dependents: [ObjectRules.Dependent], _ names: Members, _ value: JSONValue, _ marks: inout Marks
    ) -> Bool {
        var fits = true
        for dependent in dependents {
            guard spend(1 + dependent.required.count / 4) else { return false }
            guard names.contains(dependent.name) else { continue }
            let missing = dependent.required.filter { !names.contains($0) }
            if !missing.isEmpty {
                fits = refuse(
                    "beside the property \(Words.quoted(dependent.name)) also \(Words.names(missing)) must be present")
            }
            if let node = dependent.node { fits = check(node, value, &marks) && fits }
            guard goesOn(fits) else { return false }
        }
        return fits
    }

    private mutating func checkMember(
        _ rules: ObjectRules, _ name: String, _ value: JSONValue, _ index: Int, _ marks: inout Marks
    ) -> Bool {
        guard spend() else { return false }
        var fits = true
        if let node = rules.names { fits = checkName(node, name) }
        guard goesOn(fits) else { return false }
        var isKnown = false
        if let node = rules.properties[name] {
            isKnown = true
            fits = check(node, value, at: .name(name)) && fits
            guard goesOn(fits) else { return false }
        }
        for entry in rules.patterns {
            guard let matches = matches(entry.pattern, name) else { return false }
            // A name that might match is none that can be said to be unknown.
            if matches || entry.pattern.isUnchecked { isKnown = true }
            guard matches else { continue }
            fits = check(entry.node, value, at: .name(name)) && fits
            guard goesOn(fits) else { return false }
        }
        if !isKnown, let rest = rules.additional {
            isKnown = true
            if program.nodes[rest].form.verdict == false {
                fits = refuse(Self.unknownWords(rules), at: name)
            } else {
                fits = check(rest, value, at: .name(name)) && fits
            }
        }
        if isKnown { marks.mark(index) }
        return fits
    }

    private mutating func checkName(_ node: Int, _ name: String) -> Bool {
        var own = Marks.unwanted
        if isFitting(node, .string(name), &own) { return true }
        let form = program.nodes[node].form
        return refuse("the property name \(Words.quoted(name)) is not allowed\(form.words())")
    }

    private static func unknownWords(_ rules: ObjectRules) -> String {
        let names = rules.properties.entries.map(\.name)
        guard !names.isEmpty else { return "the property is not allowed here" }
        return "the property is not allowed here; allowed \(names.count == 1 ? "is" : "are") \(Words.names(names))"
    }

    /// Notes what is wrong with a member; returns false.
    mutating func refuse(_ words: @autoclosure () -> String, at name: String) -> Bool {
        guard isExplaining else { return false }
        path.append(.name(name))
        defer { path.removeLast() }
        return refuse(words())
    }
}
