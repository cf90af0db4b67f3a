// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// A compiled document: its subschemas, which refer to each other by number. Number 0 is the whole schema.
final class SchemaProgram: Sendable {
    let nodes: [SchemaNode]
    /// Where a `$dynamicRef` of that name leads in a resource.
    let dynamicAnchors: [Anchor: Int]
    /// Whether any reference depends on the way by which it was reached.
    let isDynamic: Bool
    let uncheckedPatterns: [String]
    let limits: SchemaLimits

    init(_ forms: [SchemaForm], dynamicAnchors: [Anchor: Int], uncheckedPatterns: [String], limits: SchemaLimits) {
        nodes = forms.map { SchemaNode($0) }
        self.dynamicAnchors = dynamicAnchors
        isDynamic = forms.contains { $0.dynamicReference?.name != nil }
        self.uncheckedPatterns = uncheckedPatterns
        self.limits = limits
    }
}

/// One subschema at its place. By reference, as validation holds many at a time on its stack.
final class SchemaNode: Sendable {
    let form: SchemaForm

    init(_ form: SchemaForm) { self.form = form }
}

/// A name within one resource, which is a part of the document with an address of its own.
struct Anchor: Hashable, Sendable {
    var resource: Int
    var name: Name
}

/// What one subschema says. What it does not say is nil; most say little, so that rules are kept apart by type.
struct SchemaForm: Sendable {
    /// The schema is `true` or `false`.
    var verdict: Bool?
    var types: TypeSet?
    var choices: Choices?
    var numbers: NumberRules?
    var texts: TextRules?
    var arrays: ArrayRules?
    var objects: ObjectRules?
    var logic: LogicRules?
    var reference: Int?
    var dynamicReference: DynamicReference?
    var unevaluatedItems: Int?
    var unevaluatedProperties: Int?
    var resource = 0
}

struct DynamicReference: Sendable {
    /// Where it leads when no resource on the way has an anchor of that name.
    var target: Int
    /// Nil: it is like any other reference.
    var name: Name?
}

/// `enum` and `const`; with both, a value has to be among each.
final class Choices: Sendable {
    struct Group: Sendable {
        let values: [JSONValue]
        /// The same for looking up, when there are many.
        let index: Set<SameJSON>
        /// Some value is an array or an object.
        let hasParts: Bool
        /// The first of them, as they are shown.
        let labels: [String]

        private static let linearMax = 8

        init(_ values: [JSONValue]) {
            self.values = values
            index = values.count > Self.linearMax ? Set(values.map { SameJSON($0) }) : []
            hasParts = values.contains { $0.arrayValue != nil || $0.objectValue != nil }
            labels = values.prefix(Words.listMax).map { Words.label($0) }
        }
    }

    let groups: [Group]

    init(_ groups: [Group]) { self.groups = groups }
}

final class NumberRules: Sendable {
    /// With how it was written, for words.
    struct Bound: Sendable {
        let value: Decimal
        let text: String
    }

    let multipleOf: Bound?
    let minimum: Bound?
    let exclusiveMinimum: Bound?
    let maximum: Bound?
    let exclusiveMaximum: Bound?

    init(multipleOf: Bound?, minimum: Bound?, exclusiveMinimum: Bound?, maximum: Bound?, exclusiveMaximum: Bound?) {
        self.multipleOf = multipleOf
        self.minimum = minimum
        self.exclusiveMinimum = exclusiveMinimum
        self.maximum = maximum
        self.exclusiveMaximum = exclusiveMaximum
    }
}

final class TextRules: Sendable {
    let lengthMin: Int?
    let lengthMax: Int?
    let pattern: PatternRule?

    init(lengthMin: Int?, lengthMax: Int?, pattern: PatternRule?) {
        self.lengthMin = lengthMin
        self.lengthMax = lengthMax
        self.pattern = pattern
    }
}

/// A pattern that can be run, or one that only annotates.
enum PatternRule: Sendable {
    case checked(Pattern)
    case unchecked
}

final class ArrayRules: Sendable {
    struct Contains: Sendable {
        let node: Int
        let countMin: Int
        let countMax: Int?
        let isEvaluating: Bool
    }

    let prefix: [Int]
    /// For all items after the prefix.
    let rest: Int?
    let contains: Contains?
    let countMin: Int?
    let countMax: Int?
    let isUnique: Bool

    init(prefix: [Int], rest: Int?, contains: Contains?, countMin: Int?, countMax: Int?, isUnique: Bool) {
        self.prefix = prefix
        self.rest = rest
        self.contains = contains
        self.countMin = countMin
        self.countMax = countMax
        self.isUnique = isUnique
    }
}

final class ObjectRules: Sendable {
    struct PatternProperties: Sendable {
        let pattern: PatternRule
        let node: Int
    }

    /// What the presence of one property asks for.
    struct Dependent: Sendable {
        let name: String
        var required: [String] = []
        var node: Int?
    }

    let properties: NameTable
    let patterns: [PatternProperties]
    let additional: Int?
    let names: Int?
    let required: [String]
    let dependents: [Dependent]
    let countMin: Int?
    let countMax: Int?

    init(
        properties: NameTable, patterns: [PatternProperties], additional: Int?, names: Int?, required: [String],
        dependents: [Dependent], countMin: Int?, countMax: Int?
    ) {
        self.properties = properties
        self.patterns = patterns
        self.additional = additional
        self.names = names
        self.required = required
        self.dependents = dependents
        self.countMin = countMin
        self.countMax = countMax
    }
}

final class LogicRules: Sendable {
    struct Condition: Sendable {
        let test: Int
        let then: Int?
        let otherwise: Int?
    }

    let all: [Int]
    let any: [Int]
    let one: [Int]
    let not: Int?
    let condition: Condition?

    init(all: [Int], any: [Int], one: [Int], not: Int?, condition: Condition?) {
        self.all = all
        self.any = any
        self.one = one
        self.not = not
        self.condition = condition
    }
}
