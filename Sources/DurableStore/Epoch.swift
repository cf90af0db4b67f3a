// Licensed under the Apache License 2.0; see LICENSE.

/// Names one state of the main file: no two states that a checkpoint, a backup or a salvage left have the same.
/// Decision 0013 says what it is good for.
struct Epoch: Hashable, Sendable, CustomStringConvertible {
    enum Kind: Character, Sendable {
        /// A file from before there were epochs, or one without tables yet.
        case none = "-"
        case checkpoint = "e"
        /// A backup, or a file that `restore` put in place. No gateway has written to it since.
        case backup = "b"
        /// Made of what could be read in a damaged file. No gateway has written to it since.
        case salvage = "s"
    }

    static let none = Epoch(kind: .none, number: 0, chance: 0)
    static let metaKey = "epoch"

    let kind: Kind
    /// Counts, for the reader's sake.
    let number: Int64
    /// What makes it the only one, also after two histories have begun at the same backup.
    let chance: UInt64

    init(kind: Kind, number: Int64, chance: UInt64) {
        self.kind = kind
        self.number = number
        self.chance = chance
    }

    /// A new one.
    init(_ kind: Kind, after number: Int64) {
        self.init(kind: kind, number: number &+ 1, chance: .random(in: 0 ... .max))
    }

    /// Nil for anything that was not written by `description`. Half of one epoch and half of another is nothing.
    init?(_ text: some StringProtocol) {
        if text == "-" {
            self = .none
            return
        }
        let parts = text.dropFirst().split(separator: "-", omittingEmptySubsequences: false)
        guard let first = text.first, let kind = Kind(rawValue: first), kind != .none, parts.count == 3,
            let number = Int64(parts[0]), let chance = UInt64(parts[1], radix: 16)
        else { return nil }
        self.init(kind: kind, number: number, chance: chance)
        guard description == text else { return nil }
    }

    var description: String {
        if kind == .none { return "-" }
        let body = "\(kind.rawValue)\(number)-\(Self.hex(chance, 16))"
        return body + "-" + Self.hex(Self.digest(body) & 0xFFFF, 4)
    }

    /// FNV-1a: tells a torn text from a whole one; no defence against people.
    static func digest(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }

    static func hex(_ value: UInt64, _ width: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
