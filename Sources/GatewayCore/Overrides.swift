// Licensed under the Apache License 2.0; see LICENSE.

/// Something that an operator has changed by hand, which holds until somebody undoes it or its time is over.
package struct Override: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        /// How often calls may begin, instead of what the file says.
        case rateLimit = "rate-limit"
        /// A breaker that is held open, or must not open.
        case breaker = "circuit-breaker"
        /// A tool that is taken out.
        case tool
        /// Nothing new is taken. Ends with the process: a restart is how one comes back from it.
        case drain
    }

    package var kind: Kind
    /// The upstream or the tool; empty when it is about all.
    package var subject: String
    /// What is in force now, in words that orders understand too: `forced-open`, `10/s, burst 20`.
    package var value: String
    /// Wall milliseconds.
    package var since: Int64
    /// Who ordered it.
    package var by: String
    /// Wall milliseconds at which it undoes itself.
    package var until: Int64?

    package init(kind: Kind, subject: String = "", value: String, since: Int64, by: String, until: Int64? = nil) {
        self.kind = kind
        self.subject = subject
        self.value = value
        self.since = since
        self.by = by
        self.until = until
    }

    /// One of each holds at a time.
    package var key: Key { Key(kind: kind, subject: subject) }

    package struct Key: Sendable, Hashable {
        package let kind: Kind
        package let subject: String

        package init(kind: Kind, subject: String) {
            self.kind = kind
            self.subject = subject
        }
    }
}

/// Where overrides are written down, so that a restart or a crash forgets none.
package protocol OverrideArchive: Sendable {
    /// What was written down when the store was opened.
    func overrides() -> [Override]
    /// Replaces all of them. Returns when it is on disk, or false when it cannot be written.
    func keep(_ overrides: [Override]) async -> Bool
}
