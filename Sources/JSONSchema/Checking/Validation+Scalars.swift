// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// Constants, numbers and texts.
extension Validation {
    /// States of a pattern that are tried in the time of one step.
    private static let statesPerStep = 16

    mutating func check(_ choices: Choices, _ value: JSONValue) -> Bool {
        for group in choices.groups {
            guard let isAmong = isAmong(group, value) else { return false }
            guard isAmong else {
                return refuse(
                    "expected \(group.words), got \(Words.excerpt(value))", kind: .choice(group.labels))
            }
        }
        return true
    }

    /// Nil when that would be too much work.
    private mutating func isAmong(_ group: Choices.Group, _ value: JSONValue) -> Bool? {
        switch value {
        // Not worth weighing where all values are scalars.
        case .array, .object: guard group.hasParts else { return false }
        case .null, .bool, .number, .string: break
        }
        let isIndexed = !group.index.isEmpty
        let weight = SameJSON.weight(of: value, stop: stepsLeft)
        guard spend(isIndexed ? weight : weight * group.values.count) else { return nil }
        return isIndexed
            ? group.index.contains(SameJSON(value)) : group.values.contains { SameJSON.isSame($0, value) }
    }

    mutating func check(_ rules: NumberRules, _ text: String) -> Bool {
        let value = Decimal(text)
        var fits = true
        if let bound = rules.minimum, value < bound.value {
            fits = refuse("expected at least \(bound.text), got \(Words.cut(text))")
        }
        if let bound = rules.exclusiveMinimum, !(bound.value < value) {
            fits = refuse("expected more than \(bound.text), got \(Words.cut(text))")
        }
        if let bound = rules.maximum, bound.value < value {
            fits = refuse("expected at most \(bound.text), got \(Words.cut(text))")
        }
        if let bound = rules.exclusiveMaximum, !(value < bound.value) {
            fits = refuse("expected less than \(bound.text), got \(Words.cut(text))")
        }
        if let divisor = rules.multipleOf, !value.isMultiple(of: divisor.value) {
            fits = refuse("expected a multiple of \(divisor.text), got \(Words.cut(text))")
        }
        return fits
    }

    mutating func check(_ rules: TextRules, _ text: String) -> Bool {
        var fits = true
        // A code point is one to four bytes, so that most texts need not be counted.
        let bytes = text.utf8.count
        let isLongEnough = rules.lengthMin.map { bytes / 4 >= $0 } ?? true
        let isShortEnough = rules.lengthMax.map { bytes <= $0 } ?? true
        if !isLongEnough || !isShortEnough {
            guard spend(bytes / 64) else { return false }
            let length = text.unicodeScalars.count
            if let min = rules.lengthMin, length < min {
                fits = refuse("expected at least \(Words.count(min, "character", "characters")), got \(length)")
            }
            if let max = rules.lengthMax, length > max {
                fits = refuse("expected at most \(Words.count(max, "character", "characters")), got \(length)")
            }
        }
        guard goesOn(fits), let pattern = rules.pattern else { return fits }
        guard let matches = matches(pattern, text) else { return false }
        guard matches || pattern.isUnchecked else {
            return refuse(
                "expected text that matches the pattern \(pattern.words), got \(Words.quoted(text))")
        }
        return fits
    }

    /// Whether the pattern is found in the text. Nil when that is too much work. An unchecked one is never found, and
    /// raises a doubt.
    mutating func matches(_ rule: PatternRule, _ text: String) -> Bool? {
        switch rule {
        case .unchecked:
            doubts += 1
            return false
        case .checked(let pattern):
            let (product, isOver) = stepsLeft.multipliedReportingOverflow(by: Self.statesPerStep)
            let before = isOver ? Int.max : product
            var effort = before
            let outcome = pattern.search(text, effort: &effort)
            guard spend(1 + (before - effort) / Self.statesPerStep), outcome != .exhausted else {
                // The last fraction of a step may be left over.
                _ = spend(stepsLeft + 1)
                return nil
            }
            return outcome == .found
        }
    }
}

extension Choices.Group {
    /// "a" or one of "a", "b" or "c".
    var words: String {
        let more = values.count - labels.count
        guard more == 0 else { return "one of " + labels.joined(separator: ", ") + " and \(more) more" }
        return Words.choice(of: labels)
    }
}

extension PatternRule {
    var isUnchecked: Bool {
        switch self {
        case .unchecked: true
        case .checked: false
        }
    }

    /// The pattern as it was written, cut.
    var words: String {
        switch self {
        case .unchecked: ""
        case .checked(let pattern): Words.cut(pattern.text, max: Words.schemaTextMax)
        }
    }
}
