// Licensed under the Apache License 2.0; see LICENSE.

/// Which items or properties of one value have been evaluated, for `unevaluatedItems` and `unevaluatedProperties`.
/// Kept only while such a keyword waits for it.
struct Marks {
    /// Nobody will ask.
    static let unwanted = Marks(isWanted: false, flags: [])

    let isWanted: Bool
    private var flags: [Bool]

    private init(isWanted: Bool, flags: [Bool]) {
        self.isWanted = isWanted
        self.flags = flags
    }

    /// For a value with so many items or properties.
    init(count: Int) { self.init(isWanted: true, flags: Array(repeating: false, count: count)) }

    /// The same value, nothing marked yet: what a subschema marks counts only if the value fits it.
    var fresh: Marks { isWanted ? Marks(count: flags.count) : .unwanted }

    /// What it costs to make or join them, in steps.
    var weight: Int { flags.count / 32 }

    subscript(_ index: Int) -> Bool { flags[index] }

    mutating func mark(_ index: Int) {
        if isWanted { flags[index] = true }
    }

    mutating func markAll() { markFirst(flags.count) }

    mutating func markFirst(_ count: Int) {
        guard isWanted else { return }
        for index in 0..<min(count, flags.count) { flags[index] = true }
    }

    mutating func add(_ other: Marks) {
        guard isWanted, other.isWanted else { return }
        for index in flags.indices where other.flags[index] { flags[index] = true }
    }
}
