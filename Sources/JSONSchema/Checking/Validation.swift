// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// One value on its way through a program.
///
/// The value is checked quickly first, up to the first thing that is wrong. Only a value that does not fit is checked
/// again to say why. Both share one budget of steps.
struct Validation {
    let program: SchemaProgram
    var stepsLeft: Int
    /// The budget is used up or the nesting too deep: from now on every answer is false and none means anything.
    var exhaustion: String?
    var nesting = 0
    /// Unchecked patterns passed over so far. What is true only because of them must not make `not` false.
    var doubts = 0
    /// The resources on the way to the current subschema, outermost first; kept only for dynamic references.
    var scope: [Int] = []
    var isExplaining = false
    var path: [PathStep] = []
    var findings: [Finding] = []

    init(_ program: SchemaProgram) {
        self.program = program
        stepsLeft = program.limits.stepsMax
    }

    mutating func violations(of value: JSONValue) -> [SchemaViolation] {
        let fits = check(0, value)
        if let exhaustion {
            let words = "the value could not be checked within bounds: \(exhaustion); send a smaller or simpler one"
            return [SchemaViolation(place: "", words: words, isUnchecked: true)]
        }
        guard !fits else { return [] }
        isExplaining = true
        _ = check(0, value)
        // The budget may end while the reasons are looked for: it is still known that the value does not fit.
        guard !findings.isEmpty else { return [SchemaViolation(place: "", words: "the value does not fit the schema")] }
        return findings.map(\.violation)
    }

    // MARK: Bounds

    /// Takes steps from the budget; false when there are none left.
    mutating func spend(_ steps: Int = 1) -> Bool {
        stepsLeft -= steps
        guard stepsLeft >= 0 else {
            if exhaustion == nil { exhaustion = "it takes more than \(program.limits.stepsMax) steps" }
            return false
        }
        return true
    }

    /// Whether to look for more after an answer.
    func goesOn(_ fits: Bool) -> Bool {
        fits || (isExplaining && exhaustion == nil && findings.count < program.limits.violationsMax)
    }

    // MARK: Findings

    /// Notes what is wrong, when it is asked for; returns false.
    mutating func refuse(
        _ words: @autoclosure () -> String, kind: @autoclosure () -> Finding.Kind = .other
    ) -> Bool {
        guard isExplaining, findings.count < program.limits.violationsMax, spend(10) else { return false }
        let violation = SchemaViolation(place: Words.pointer(path.lazy.map(\.text)), words: words())
        // Several subschemas often ask for the same.
        guard !findings.contains(where: { $0.violation == violation }) else { return false }
        findings.append(Finding(kind: kind(), depth: path.count, violation: violation))
        return false
    }

    /// Applies a subschema without noting what is wrong.
    mutating func isFitting(_ node: Int, _ value: JSONValue, _ marks: inout Marks) -> Bool {
        let was = isExplaining
        isExplaining = false
        defer { isExplaining = was }
        return check(node, value, &marks)
    }

    // MARK: Subschemas

    /// Applies a subschema to a part of the current value.
    mutating func check(_ node: Int, _ value: JSONValue, at step: @autoclosure () -> PathStep) -> Bool {
        guard isExplaining else { return check(node, value) }
        path.append(step())
        defer { path.removeLast() }
        return check(node, value)
    }

    mutating func check(_ node: Int, _ value: JSONValue) -> Bool {
        var marks = Marks.unwanted
        return check(node, value, &marks)
    }

    /// Applies a subschema to the current value.
    mutating func check(_ node: Int, _ value: JSONValue, _ marks: inout Marks) -> Bool {
        guard spend() else { return false }
        let node = program.nodes[node]
        if let verdict = node.form.verdict { return verdict || refuse("no value is allowed here") }
        // Spelled out to thousands of digits, a number is more work than any rule about it.
        if case .number(let text) = value, !spend(text.utf8.count / SameJSON.digitsPerStep) { return false }
        guard nesting < program.limits.nestingMax else {
            if exhaustion == nil { exhaustion = "its parts and the schema's are nested too deep" }
            return false
        }
        nesting += 1
        defer { nesting -= 1 }
        guard program.isDynamic else { return checkMarked(node, value, &marks) }
        scope.append(node.form.resource)
        defer { scope.removeLast() }
        return checkMarked(node, value, &marks)
    }

    /// With marks of its own when it has to know what was left over.
    private mutating func checkMarked(_ node: SchemaNode, _ value: JSONValue, _ marks: inout Marks) -> Bool {
        let count: Int
        let rest: Int
        switch value {
        case .array(let items):
            guard let unevaluated = node.form.unevaluatedItems else { return checkRules(node, value, &marks) }
            (count, rest) = (items.count, unevaluated)
        case .object(let members):
            guard let unevaluated = node.form.unevaluatedProperties else {
                return checkRules(node, value, &marks)
            }
            (count, rest) = (members.count, unevaluated)
        case .null, .bool, .number, .string: return checkRules(node, value, &marks)
        }
        guard spend(count / 32) else { return false }
        var own = Marks(count: count)
        guard checkRules(node, value, &own), checkUnevaluated(rest, value, own) else { return false }
        marks.markAll()
        return true
    }

    private mutating func checkRules(_ node: SchemaNode, _ value: JSONValue, _ marks: inout Marks) -> Bool {
        if let types = node.form.types, !types.accepts(value) {
            return refuse("expected \(types.words), got \(Words.kind(value))", kind: .type(types))
        }
        if let choices = node.form.choices, !check(choices, value) { return false }
        var fits = true
        switch value {
        case .null, .bool: break
        case .number(let text):
            if let rules = node.form.numbers { fits = check(rules, text) }
        case .string(let text):
            if let rules = node.form.texts { fits = check(rules, text) }
        case .array(let items):
            if let rules = node.form.arrays { fits = check(rules, items, &marks) }
        case .object(let members):
            if let rules = node.form.objects { fits = check(rules, members, value, &marks) }
        }
        guard goesOn(fits) else { return false }
        if let reference = node.form.reference { fits = check(reference, value, &marks) && fits }
        guard goesOn(fits) else { return false }
        if let reference = node.form.dynamicReference {
            guard let target = target(of: reference) else { return false }
            fits = check(target, value, &marks) && fits
            guard goesOn(fits) else { return false }
        }
        if let logic = node.form.logic { fits = check(logic, value, &marks) && fits }
        return fits
    }

    /// The outermost resource on the way that has an anchor of the name decides.
    private mutating func target(of reference: DynamicReference) -> Int? {
        guard let name = reference.name else { return reference.target }
        guard spend(scope.count) else { return nil }
        var last = -1
        for resource in scope where resource != last {
            if let target = program.dynamicAnchors[Anchor(resource: resource, name: name)] { return target }
            last = resource
        }
        return reference.target
    }
}
