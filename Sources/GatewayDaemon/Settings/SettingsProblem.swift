// Licensed under the Apache License 2.0; see LICENSE.

/// One thing that is wrong with a configuration file, in words for the person who edits it. Prints as
/// `file:line: key: what is wrong, and what would be right`.
package struct SettingsProblem: Sendable, Equatable, CustomStringConvertible {
    package enum Severity: String, Sendable {
        /// The gateway does not start with this file.
        case error
        /// The file can be right, on another machine or at another time.
        case warning
    }

    package var file: String
    /// Counted from 1; none where the trouble is the file as a whole.
    package var line: Int?
    /// As one would write it in a single TOML key; empty where the trouble is the file as a whole.
    package var key: String
    package var severity: Severity
    package var message: String

    package init(file: String, line: Int?, key: String, severity: Severity, message: String) {
        self.file = file
        self.line = line
        self.key = key
        self.severity = severity
        self.message = message
    }

    package var description: String {
        let place = line.map { "\(file):\($0)" } ?? file
        let subject = key.isEmpty ? "" : "\(key): "
        return "\(place): \(subject)\(severity == .warning ? "warning: " : "")\(message)"
    }

    /// File order; the whole file first.
    static func isBefore(_ left: SettingsProblem, _ right: SettingsProblem) -> Bool {
        (left.line ?? 0, left.key, left.message) < (right.line ?? 0, right.key, right.message)
    }
}

/// What came of reading a configuration file.
package struct SettingsOutcome: Sendable, Equatable {
    /// None when a problem is an error.
    package var settings: GatewaySettings?
    /// In the order of the file.
    package var problems: [SettingsProblem]

    package var hasErrors: Bool { problems.contains { $0.severity == .error } }
}
