// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// What `validate-config` does, whichever program it is typed in.
package struct ConfigurationCheck: Sendable, Equatable {
    /// For standard output: one line when the file is right, or one JSON object.
    package let output: [String]
    /// For standard error: the problems, one a line.
    package let complaints: [String]
    /// 0, or 78 when the gateway would refuse the file, or cannot read it.
    package let exitCode: Int32

    /// Checks `file` and changes nothing. As for `SettingsLoader.load`, `strict` makes errors of what is only absent
    /// here.
    package static func run(
        file: String, strict: Bool, json: Bool, environment: [String: String], installation: Installation,
        files: SettingsFiles = .machine
    ) -> ConfigurationCheck {
        let outcome = SettingsLoader.load(
            path: file, strict: strict, environment: environment, installation: installation, files: files)
        let exitCode: Int32 = outcome.hasErrors ? 78 : 0
        if json { return ConfigurationCheck(output: [object(file, outcome)], complaints: [], exitCode: exitCode) }
        let complaints = outcome.problems.map(\.description)
        guard let settings = outcome.settings else {
            let count = outcome.problems.count { $0.severity == .error }
            let isCut = outcome.problems.count > SettingsReport.problemsMax
            let words = count == 1 ? "1 problem" : "\(isCut ? "more than " : "")\(isCut ? count - 1 : count) problems"
            return ConfigurationCheck(
                output: [], complaints: complaints + ["\(file): \(words); the gateway would not start with this file"],
                exitCode: exitCode)
        }
        return ConfigurationCheck(
            output: ["\(file): ok, \(count(settings.upstreams, "upstream")), \(count(settings.tools, "tool"))"],
            complaints: complaints, exitCode: exitCode)
    }

    private static func count(_ items: [some Any], _ word: String) -> String {
        "\(items.count) \(word)\(items.count == 1 ? "" : "s")"
    }

    private static func object(_ file: String, _ outcome: SettingsOutcome) -> String {
        let problems = outcome.problems.map { problem in
            "{\"line\":\(problem.line.map(String.init) ?? "null"),\"key\":\(JSONText.quoted(problem.key))"
                + ",\"severity\":\"\(problem.severity.rawValue)\",\"message\":\(JSONText.quoted(problem.message))}"
        }
        let counts = outcome.settings.map { ",\"upstreams\":\($0.upstreams.count),\"tools\":\($0.tools.count)" } ?? ""
        return "{\"file\":\(JSONText.quoted(file)),\"ok\":\(!outcome.hasErrors)\(counts)"
            + ",\"problems\":[\(problems.joined(separator: ","))]}"
    }
}
