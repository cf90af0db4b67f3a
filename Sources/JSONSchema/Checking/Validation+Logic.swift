// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// Subschemas that are combined.
extension Validation {
    mutating func check(_ rules: LogicRules, _ value: JSONValue, _ marks: inout Marks) -> Bool {
        var fits = true
        for node in rules.all {
            fits = check(node, value, &marks) && fits
            guard goesOn(fits) else { return false }
        }
        if !rules.any.isEmpty {
            fits = checkAny(rules.any, value, &marks) && fits
            guard goesOn(fits) else { return false }
        }
        if !rules.one.isEmpty {
            fits = checkOne(rules.one, value, &marks) && fits
            guard goesOn(fits) else { return false }
        }
        if let node = rules.not {
            fits = checkNot(node, value) && fits
            guard goesOn(fits) else { return false }
        }
        if let condition = rules.condition { fits = check(condition, value, &marks) && fits }
        return fits
    }

    private mutating func checkNot(_ node: Int, _ value: JSONValue) -> Bool {
        let doubtsBefore = doubts
        var own = Marks.unwanted
        guard isFitting(node, value, &own), doubts == doubtsBefore else { return true }
        let form = program.nodes[node].form
        return refuse("\(Words.kind(value)) is of a form that is ruled out here\(form.words(not: true))")
    }

    private mutating func check(
        _ condition: LogicRules.Condition, _ value: JSONValue, _ marks: inout Marks
    ) -> Bool {
        let doubtsBefore = doubts
        var own = marks.fresh
        let holds = isFitting(condition.test, value, &own)
        guard exhaustion == nil, spend(own.weight) else { return false }
        if holds {
            marks.add(own)
            // Whether it holds hangs on a pattern that was not run: neither consequence can be asked for, and nobody
            // knows what it would have evaluated.
            guard doubts == doubtsBefore else {
                marks.markAll()
                return true
            }
        }
        guard let node = holds ? condition.then : condition.otherwise else { return true }
        return check(node, value, &marks)
    }

    private mutating func checkAny(_ nodes: [Int], _ value: JSONValue, _ marks: inout Marks) -> Bool {
        var fits = false
        var failures: [[Finding]] = []
        for node in nodes {
            guard exhaustion == nil, spend(marks.weight) else { return false }
            var own = marks.fresh
            let attempt = attempt(node, value, &own)
            if attempt.fits {
                fits = true
                // Once one fits, the others matter only for what they mark.
                guard marks.isWanted else { return true }
                marks.add(own)
            } else if isExplaining {
                failures.append(attempt.findings)
            }
        }
        return fits || explain(failures, value)
    }

    private mutating func checkOne(_ nodes: [Int], _ value: JSONValue, _ marks: inout Marks) -> Bool {
        var failures: [[Finding]] = []
        // The alternatives that fit, and those of them that fit beyond doubt.
        var fitting = 0
        var certain: [Int] = []
        for (index, node) in nodes.enumerated() {
            guard exhaustion == nil, spend(marks.weight) else { return false }
            let doubtsBefore = doubts
            var own = marks.fresh
            let attempt = attempt(node, value, &own)
            if attempt.fits {
                fitting += 1
                if doubts == doubtsBefore { certain.append(index + 1) }
                marks.add(own)
            } else if isExplaining {
                failures.append(attempt.findings)
            }
            if certain.count > 1 {
                return refuse(
                    "the value fits more than one of the \(nodes.count) alternatives of which it must fit exactly one: "
                        + "number \(certain[0]) and number \(certain[1])")
            }
        }
        return fitting > 0 || explain(failures, value)
    }

    // MARK: Why no alternative fits

    /// Applies a subschema, and keeps what is wrong apart from what was found before.
    private mutating func attempt(
        _ node: Int, _ value: JSONValue, _ marks: inout Marks
    ) -> (fits: Bool, findings: [Finding]) {
        guard isExplaining else { return (check(node, value, &marks), []) }
        let before = findings
        findings = []
        defer { findings = before }
        let fits = check(node, value, &marks)
        return (fits, findings)
    }

    /// Of several lists of reasons shows the one that asks for the smallest change; returns false.
    private mutating func explain(_ failures: [[Finding]], _ value: JSONValue) -> Bool {
        guard isExplaining else { return false }
        let heads = failures.map { $0.count == 1 && $0[0].depth == path.count ? $0[0].kind : .other }
        if let types = Self.joinedTypes(heads) {
            return refuse("expected \(types.words), got \(Words.kind(value))", kind: .type(types))
        }
        if let labels = Self.joinedLabels(heads) {
            return refuse(
                "expected \(Words.choice(of: labels)), got \(Words.excerpt(value))",
                kind: .choice(labels))
        }
        let depth = path.count
        let ranked = failures.enumerated().filter { !$0.element.isEmpty }.map { failure in
            (index: failure.offset, distance: failure.element.reduce(0) { $0 + $1.distance(from: depth) })
        }
        guard let nearest = ranked.min(by: { ($0.distance, $0.index) < ($1.distance, $1.index) }) else {
            return refuse("the value fits none of the \(Words.count(failures.count, "alternative", "alternatives"))")
        }
        for var finding in failures[nearest.index] where findings.count < program.limits.violationsMax {
            if failures.count > 1, !finding.isOfAlternative {
                let note = " (to fit alternative \(nearest.index + 1) of \(failures.count), the nearest)"
                finding.violation = SchemaViolation(
                    place: finding.violation.place, words: finding.violation.words + note)
                finding.isOfAlternative = true
            }
            findings.append(finding)
        }
        return false
    }

    /// The types that would be right, when a wrong type is all that any alternative says.
    private static func joinedTypes(_ kinds: [Finding.Kind]) -> TypeSet? {
        var types: TypeSet = []
        for kind in kinds {
            guard case .type(let more) = kind else { return nil }
            types.formUnion(more)
        }
        return types.isEmpty ? nil : types
    }

    private static func joinedLabels(_ kinds: [Finding.Kind]) -> [String]? {
        var labels: [String] = []
        for kind in kinds {
            guard case .choice(let more) = kind else { return nil }
            labels += more
        }
        return labels.isEmpty ? nil : labels
    }
}

extension SchemaForm {
    /// What a subschema that only tests asks for, when it can be said in a few words.
    func words(not isNegated: Bool = false) -> String {
        let right: String
        if let group = choices?.groups.first {
            right = group.words
        } else if let pattern = texts?.pattern, !pattern.isUnchecked {
            right = "text that matches the pattern \(pattern.words)"
        } else if let types, !types.isEmpty, objects == nil, arrays == nil {
            right = types.words
        } else if let names = objects?.required, !names.isEmpty {
            right = "an object with \(Words.names(names))"
        } else {
            return ""
        }
        return isNegated ? ": it must not be \(right)" : ": expected \(right)"
    }
}
