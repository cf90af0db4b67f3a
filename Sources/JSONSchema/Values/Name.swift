// Licensed under the Apache License 2.0; see LICENSE.

/// The name of a property or an anchor, compared byte for byte. `String` compares by Unicode equivalence, which no
/// other JSON parser does.
struct Name: Hashable, Sendable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (left: Name, right: Name) -> Bool { isSame(left.text, right.text) }

    /// Eight bytes at a time; the hasher's own cost is per call.
    func hash(into hasher: inout Hasher) {
        var word: UInt64 = 0
        var filled = 0
        for byte in text.utf8 {
            word = word << 8 | UInt64(byte)
            filled += 1
            if filled & 7 == 0 {
                hasher.combine(word)
                word = 0
            }
        }
        hasher.combine(word)
        hasher.combine(filled)
    }

    /// Byte for byte.
    static func isSame(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count && left.utf8.elementsEqual(right.utf8)
    }
}

/// Names and the subschema each of them has. A few are searched in order, which beats hashing.
struct NameTable: Sendable {
    let entries: [(name: String, node: Int)]
    private let index: [Name: Int]

    private static let linearMax = 8

    init(_ entries: [(name: String, node: Int)]) {
        self.entries = entries
        var index: [Name: Int] = [:]
        if entries.count > Self.linearMax {
            for entry in entries { index[Name(entry.name)] = entry.node }
        }
        self.index = index
    }

    subscript(_ name: String) -> Int? {
        guard index.isEmpty else { return index[Name(name)] }
        for entry in entries where Name.isSame(entry.name, name) { return entry.node }
        return nil
    }
}
