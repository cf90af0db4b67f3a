// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire
internal import Telemetry

/// One thing that was looked at, and what it came to.
struct Finding: Sendable, Equatable {
    /// The worse, the earlier in the list.
    enum Rank: String, Sendable, CaseIterable, Comparable {
        /// Calls fail now, or are about to.
        case urgent
        /// Somebody should look today.
        case attention
        /// Worth knowing.
        case note
        /// As it should be.
        case well

        private var place: Int { Self.allCases.firstIndex(of: self) ?? 0 }

        static func < (left: Rank, right: Rank) -> Bool { left.place < right.place }

        fileprivate var ink: Ink {
            switch self {
            case .urgent: .bad
            case .attention: .doubtful
            case .note: .plain
            case .well: .good
            }
        }

        fileprivate var mark: String {
            switch self {
            case .urgent: "!!"
            case .attention: "! "
            case .note: "· "
            case .well: "ok"
            }
        }
    }

    let rank: Rank
    /// What was looked at: one word.
    let area: String
    let words: String
    /// What to type next; nil where there is nothing to do.
    let next: String?

    init(_ rank: Rank, _ area: String, _ words: String, next: String? = nil) {
        self.rank = rank
        self.area = area
        self.words = words
        self.next = next
    }

    var json: JSONValue {
        .object([
            ("rank", .string(rank.rawValue)), ("area", .string(area)), ("words", .string(words)),
            ("next", next.map { .string($0) } ?? .null),
        ])
    }
}

extension [Finding] {
    /// The worst first; of equals the one that was looked at first.
    var ranked: [Finding] {
        enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(\.element)
    }

    /// Whether nobody has to do anything.
    var areWell: Bool { allSatisfy { $0.rank >= .note } }

    /// One line each, and one with the next command below those that have one.
    var lines: [ScreenLine] {
        let width = map(\.area.count).max() ?? 0
        return flatMap { finding -> [ScreenLine] in
            var line = ScreenLine(finding.rank.mark, finding.rank.ink)
            let fill = String(repeating: " ", count: width - finding.area.count)
            line.append("  \(finding.area)\(fill)  ", .strong)
            // Words of logs and upstreams must not move the cursor.
            line.append(LogText.escaped(finding.words, bytesMax: 600))
            guard let next = finding.next else { return [line] }
            return [line, ScreenLine(String(repeating: " ", count: width + 6) + "→ " + next, .faint)]
        }
    }

    /// What it all comes to.
    var summary: String {
        let urgent = count { $0.rank == .urgent }
        let attention = count { $0.rank == .attention }
        switch (urgent, attention) {
        case (0, 0): return "nothing found that needs anybody"
        case (0, let some): return NumberText.count(some, "thing") + " to look at today"
        case (let some, 0): return NumberText.count(some, "urgent finding")
        case (let some, let more): return NumberText.count(some, "urgent finding") + ", \(more) more to look at today"
        }
    }
}
