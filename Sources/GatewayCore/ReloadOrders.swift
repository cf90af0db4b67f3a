// Licensed under the Apache License 2.0; see LICENSE.

/// What a reload of the configuration came to.
package struct ReloadReport: Sendable, Equatable {
    /// What is in force now and was not before, by key: `limits.burst`, `upstreams.erp`.
    package var changed: [String]
    /// What the file says otherwise and only a restart puts in force.
    package var waiting: [String]
    /// For how long the change is watched; it is taken back when it makes things clearly worse. Nil when nothing was
    /// changed.
    package var probation: Duration?

    package init(changed: [String], waiting: [String], probation: Duration?) {
        self.changed = changed
        self.waiting = waiting
        self.probation = probation
    }

    /// The same for the log, where a change of some timeout is no trouble, and should not read like any: a key with
    /// such a word in it stands there by its section.
    package var quietWords: String { Self.words(changed.map(Self.quiet), waiting.map(Self.quiet)) }

    private static let words = [
        "error", "fail", "panic", "slow", "timeout", "deadline", "oom", "memory", "resource",
    ]

    private static func quiet(_ name: String) -> String {
        guard words.contains(where: { name.lowercased().contains($0) }) else { return name }
        return name.prefix { $0 != "." } + ".…"
    }

    package var words: String { Self.words(changed, waiting) }

    private static func words(_ changed: [String], _ waiting: [String]) -> String {
        var parts = [changed.isEmpty ? "nothing to change" : "in force: " + changed.joined(separator: ", ")]
        if !waiting.isEmpty { parts.append("waits for a restart: " + waiting.joined(separator: ", ")) }
        return parts.joined(separator: "; ")
    }
}

/// Why a reload changed nothing.
package struct ReloadRefusal: Error, Sendable {
    /// In one sentence.
    package var words: String
    /// One line for each mistake, with file and line.
    package var problems: [String]

    package init(words: String, problems: [String] = []) {
        self.words = words
        self.problems = problems
    }
}

/// Reads the configuration file again. One at a time: whoever comes meanwhile waits for his own turn.
package protocol ReloadOrders: Sendable {
    /// All of the file, or nothing of it.
    func reload(by who: String) async throws(ReloadRefusal) -> ReloadReport
}
