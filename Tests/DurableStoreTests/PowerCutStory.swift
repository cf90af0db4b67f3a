// Licensed under the Apache License 2.0; see LICENSE.

/// What was done with one call, or with one key of the ledger, and when it was told so. After a cut and a start it has
/// to be as the last step that was acknowledged before the cut left it, or as a later one that had begun.
struct PowerCutStory {
    struct Step {
        /// How it is found after a start; nil when nothing may be found.
        var state: String?
        /// Cuts of the recording.
        var begun: Int
        var returned: Int
    }

    var name: String
    var steps: [Step] = []

    init(_ name: String) { self.name = name }

    /// Notes a step that has just been acknowledged.
    mutating func add(_ state: String?, begun: Int) {
        steps.append(Step(state: state, begun: begun, returned: PowerCutLog.now))
    }

    /// What may be found after a cut.
    func allowed(at cut: Int) -> [String?] {
        let known = steps.lastIndex { $0.returned <= cut }
        let begun = steps.lastIndex { $0.begun <= cut }
        let first: [String?] = known.map { [steps[$0].state] } ?? [nil]
        guard let begun, begun >= (known ?? 0) else { return first }
        return first + steps[(known.map { $0 + 1 } ?? 0)..<(begun + 1)].map(\.state)
    }

    /// One line of a file.
    var line: String {
        name + steps.map { "\t\($0.state ?? "~")|\($0.begun)|\($0.returned)" }.joined()
    }

    init?(line: some StringProtocol) {
        let parts = line.split(separator: "\t")
        guard let name = parts.first else { return nil }
        self.init(String(name))
        for part in parts.dropFirst() {
            let fields = part.split(separator: "|")
            guard fields.count == 3, let begun = Int(fields[1]), let returned = Int(fields[2]) else { return nil }
            steps.append(Step(state: fields[0] == "~" ? nil : String(fields[0]), begun: begun, returned: returned))
        }
    }
}
