// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import GatewayCore
internal import MCPWire

/// What an engineer looks at in the first minutes of an incident, looked at in one go: with a gateway that runs, beside
/// one that does not answer, or where none will start. Changes nothing. Takes a second or two, and more only where a
/// database of a stopped gateway is large.
package struct Doctor: Sendable {
    let settings: GatewaySettings
    /// Of the file that the settings come from.
    let configurationPath: String
    let problems: [SettingsProblem]
    /// The file could not be used; the settings are what holds without one.
    let isGuessing: Bool
    let client: ControlClient
    let time = SystemTime()

    /// - Parameter path: as given on the command line; nil for the file that the gateway itself would take.
    package init(path: String?, environment: [String: String], installation: Installation) {
        let file = ConfigurationPath.find(explicit: path, environment: environment, installation: installation)
        let outcome = SettingsLoader.load(
            path: file, strict: false, environment: environment, installation: installation)
        configurationPath = file
        problems = outcome.problems
        isGuessing = outcome.settings == nil
        settings =
            outcome.settings
            ?? SettingsLoader.guess(path: file, environment: environment, installation: installation).settings
        client = ControlClient(socketPath: settings.admin.controlSocket)
    }

    /// What is looked at, in the order of a first look.
    ///
    /// - Parameter showsAll: also what is well.
    package func examine(showsAll: Bool) -> OperatorAnswer {
        let gateway = GatewayLook(client)
        var settings = settings
        let base = settings.storage.directory
        // One of several works in a folder of its own.
        if let folder = gateway.folder { settings.storage.directory = folder }
        if let stranger = stranger(gateway) { return Self.answer([stranger], showsAll: true) }
        var findings = configuration(isRunning: gateway.isRunning)
        findings += ServiceLook(settings: settings, gateway: gateway, isGuessing: isGuessing).findings
        findings += gateway.findings(configurationPath, log: settings.log.directory + "/app.log")
        findings += MachineLook(settings: settings, isRunning: gateway.isRunning, time: time).findings
        findings +=
            JournalLook(
                settings: settings, base: base, configurationPath: configurationPath, isRunning: gateway.isRunning,
                time: time
            ).findings
        return Self.answer(findings.ranked, showsAll: showsAll)
    }

    static func answer(_ findings: [Finding], showsAll: Bool) -> OperatorAnswer {
        let shown = showsAll ? findings : findings.filter { $0.rank != .well }
        let well = findings.count - findings.count { $0.rank != .well }
        var last = ScreenLine(findings.summary, findings.areWell ? .good : .strong)
        if !showsAll, well > 0 { last.append("; \(well) more looked at and well (--all shows them)", .faint) }
        let json = JSONValue.object([
            ("words", .string(findings.summary)), ("well", .bool(findings.areWell)),
            ("findings", .array(findings.map(\.json))),
        ])
        return OperatorAnswer(
            json: json.text, lines: shown.lines + (shown.isEmpty ? [] : [ScreenLine()]) + [last],
            isGood: findings.areWell)
    }

    /// Whoever may look at nothing would only take what he may not see for what is not there.
    private func stranger(_ gateway: GatewayLook) -> Finding? {
        let files = SettingsFiles.machine
        let isLockedOut = files.kind(configurationPath) != .absent && !files.isReadable(configurationPath)
        guard isLockedOut || gateway.mayNotAsk else { return nil }
        return Finding(
            .urgent, "doctor",
            "you may not look at this gateway: its files and its control socket are for root and its group",
            next: "sudo mcp-gateway doctor")
    }

    private func configuration(isRunning: Bool) -> [Finding] {
        // What root and the group may not read, or what is there only while the service runs, says nothing.
        let isHarmless = isRunning || problems.allSatisfy { $0.description.contains("/run/credentials/") }
        let check = "mcp-gateway validate-config \(configurationPath)"
        guard !problems.isEmpty else {
            return [Finding(.well, "config", "\(configurationPath) is right as far as it can be checked here")]
        }
        let first = problems.prefix(3).map(\.description).joined(separator: "; ")
        let more = problems.count > 3 ? "; and \(problems.count - 3) more" : ""
        return isGuessing
            ? [
                Finding(
                    .urgent, "config",
                    "the file would be refused, so a restart would not come back, and a reload changes nothing: "
                        + first + more, next: check)
            ] : [Finding(isHarmless ? .note : .attention, "config", first + more, next: check)]
    }
}
