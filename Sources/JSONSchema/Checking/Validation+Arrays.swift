// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// Arrays.
extension Validation {
    /// Keeping a value in a set is more work than looking at it.
    private static let stepsPerHash = 4

    mutating func check(_ rules: ArrayRules, _ items: [JSONValue], _ marks: inout Marks) -> Bool {
        var fits = true
        if let min = rules.countMin, items.count < min {
            fits = refuse("expected at least \(Words.count(min, "item", "items")), got \(items.count)")
        }
        if let max = rules.countMax, items.count > max {
            fits = refuse("expected at most \(Words.count(max, "item", "items")), got \(items.count)")
        }
        guard goesOn(fits) else { return false }
        fits = checkItems(rules, items, &marks) && fits
        guard goesOn(fits) else { return false }
        if let contains = rules.contains { fits = check(contains, items, &marks) && fits }
        guard goesOn(fits) else { return false }
        if rules.isUnique { fits = checkUnique(items) && fits }
        return fits
    }

    private mutating func checkItems(_ rules: ArrayRules, _ items: [JSONValue], _ marks: inout Marks) -> Bool {
        var fits = true
        for (index, node) in rules.prefix.prefix(items.count).enumerated() {
            fits = check(node, items[index], at: .index(index)) && fits
            guard goesOn(fits) else { return false }
        }
        guard let rest = rules.rest else {
            marks.markFirst(rules.prefix.count)
            return fits
        }
        if program.nodes[rest].form.verdict != true {
            for index in items.indices.dropFirst(rules.prefix.count) {
                if program.nodes[rest].form.verdict == false {
                    let most = Words.count(rules.prefix.count, "item", "items")
                    return refuse("expected at most \(most), got \(items.count)")
                }
                fits = check(rest, items[index], at: .index(index)) && fits
                guard goesOn(fits) else { return false }
            }
        }
        marks.markAll()
        return fits
    }

    private mutating func check(_ contains: ArrayRules.Contains, _ items: [JSONValue], _ marks: inout Marks) -> Bool {
        let isMarking = marks.isWanted && contains.isEvaluating
        // Items that fit, and those of them that fit beyond doubt.
        var (found, certain) = (0, 0)
        for (index, item) in items.enumerated() {
            let doubtsBefore = doubts
            var own = Marks.unwanted
            let isFound = isFitting(contains.node, item, &own)
            guard exhaustion == nil else { return false }
            if isFound {
                found += 1
                if doubts == doubtsBefore { certain += 1 }
                if isMarking { marks.mark(index) }
            }
            let isKnown = contains.countMax.map { certain > $0 } ?? (found >= contains.countMin)
            if isKnown && !isMarking { break }
        }
        let form = program.nodes[contains.node].form
        if found < contains.countMin {
            let least = Words.count(contains.countMin, "item", "items")
            return refuse(
                "expected at least \(least) of a particular form\(form.words()), got \(found)")
        }
        if let max = contains.countMax, certain > max {
            let most = Words.count(max, "item", "items")
            return refuse("expected at most \(most) of a particular form\(form.words())")
        }
        return true
    }

    private mutating func checkUnique(_ items: [JSONValue]) -> Bool {
        var first: [SameJSON: Int] = [:]
        // Growing would hash everything again. More than there are steps for will not be looked at.
        first.reserveCapacity(min(items.count, stepsLeft / Self.stepsPerHash))
        for (index, item) in items.enumerated() {
            let weight = SameJSON.weight(of: item, stop: stepsLeft)
            guard spend(weight * Self.stepsPerHash) else { return false }
            if let other = first.updateValue(index, forKey: SameJSON(item)) {
                return refuse(
                    "expected items that differ from each other, but items \(other) and \(index) are the same: "
                        + Words.excerpt(item))
            }
        }
        return true
    }

    // MARK: What is left over

    /// Applies the rule for everything that no other rule has looked at.
    mutating func checkUnevaluated(_ rest: Int, _ value: JSONValue, _ marks: Marks) -> Bool {
        var fits = true
        switch value {
        case .array(let items):
            for (index, item) in items.enumerated() where !marks[index] {
                fits = check(rest, item, at: .index(index)) && fits
                guard goesOn(fits) else { return false }
            }
        case .object(let members):
            for (index, member) in members.enumerated() where !marks[index] {
                if program.nodes[rest].form.verdict == false {
                    fits = refuse("the property is not allowed here", at: member.key)
                } else {
                    fits = check(rest, member.value, at: .name(member.key)) && fits
                }
                guard goesOn(fits) else { return false }
            }
        case .null, .bool, .number, .string: break
        }
        return fits
    }
}
