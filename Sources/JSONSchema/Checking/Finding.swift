// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// One step from a value to a part of it.
enum PathStep {
    case name(String)
    case index(Int)

    var text: String {
        switch self {
        case .name(let name): name
        case .index(let index): String(index)
        }
    }
}

/// A violation with what is needed to weigh it against others.
struct Finding {
    enum Kind {
        /// Wrong type; these would be right.
        case type(TypeSet)
        /// Not among the values of `enum` or `const`.
        case choice([String])
        case other
    }

    let kind: Kind
    /// How many steps the place is below the root.
    let depth: Int
    var violation: SchemaViolation
    /// The words already say which alternative they speak of.
    var isOfAlternative = false

    /// How far the value is from fitting. A wrong type at the top says that another alternative was meant, and so does
    /// a wrong constant, which often is what tells alternatives apart.
    func distance(from depth: Int) -> Int {
        switch kind {
        case .type: self.depth == depth ? 1000 : 10
        case .choice: 100
        case .other: 1
        }
    }
}
