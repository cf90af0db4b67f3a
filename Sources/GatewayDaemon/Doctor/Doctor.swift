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
    /// What a start would refuse here and now, of a file that is right as written.
    let refusals: [SettingsProblem]
    /// The file could not be used; the settings are what can be read of it, and else what holds without one.
    let isGuessing: Bool
    /// Nothing could be read of it.
    let isBlind: Bool
    let isNamed: Bool
    let commands: NextCommands
    let unit: [String: String]
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
        if let usable = outcome.settings {
            (settings, isBlind) = (usable, false)
            let strict = SettingsLoader.load(
                path: file, strict: true, environment: environment, installation: installation)
            refusals = strict.problems.filter { $0.severity == .error }
        } else {
            let guess = SettingsLoader.guess(path: file, environment: environment, installation: installation)
            (settings, isBlind, refusals) = (guess.settings, !guess.isReadable, [])
        }
        isNamed = path?.isEmpty == false
        unit = ServiceLook.properties
        let place = SettingsUnits.absolute(file, in: SettingsFiles.machine.currentDirectory())
        // The unit is about another gateway than one whose file it does not name.
        let isOfUnit = !isNamed || place == ConfigurationPath.installed || unit["ExecStart"]?.contains(place) == true
        commands = NextCommands(
            configuration: isNamed ? place : nil, isManaged: unit["LoadState"] == "loaded" && isOfUnit)
        client = ControlClient(socketPath: settings.admin.controlSocket)
    }

    /// What is looked at, in the order of a first look.
    ///
    /// - Parameter showsAll: also what is well.
    package func examine(showsAll: Bool) -> OperatorAnswer {
        if isNamed, SettingsFiles.machine.kind(configurationPath) == .absent {
            // Whatever lies at the usual places is another gateway's.
            return Self.answer([missing], showsAll: true)
        }
        var settings = settings
        let base = settings.storage.directory
        let gateway = GatewayLook(
            // Where several share the directory, the lock of a folder may be another one's.
            client, socket: settings.admin.controlSocket, storage: settings.storage.isShared ? nil : base)
        // One of several works in a folder of its own.
        if let folder = gateway.folder { settings.storage.directory = folder }
        if let stranger = stranger(gateway) { return Self.answer([stranger], showsAll: true) }
        var findings = configuration(isThere: gateway.isRunning || commands.isManaged)
        findings +=
            ServiceLook(
                settings: settings, gateway: gateway, commands: commands, unit: commands.isManaged ? unit : [:],
                isGuessing: isGuessing, isBlind: isBlind
            ).findings
        findings += gateway.findings(configurationPath, log: settings.log.directory + "/app.log", commands)
        findings +=
            MachineLook(
                settings: settings, isRunning: gateway.isRunning, certificateExpires: gateway.certificateExpires,
                commands: commands, time: time
            ).findings
        findings +=
            JournalLook(
                settings: settings, base: base, configurationPath: configurationPath, isRunning: gateway.isRunning,
                canBeAsked: gateway.isRunning && gateway.trouble == nil, commands: commands, time: time
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
            next: "sudo " + commands.verb("doctor"))
    }

    private var missing: Finding {
        let folder = SettingsUnits.folder(of: configurationPath)
        return Finding(
            .urgent, "config", "there is no such file: \(configurationPath)",
            next: "ls -l " + (folder.isEmpty ? "." : NextCommands.quoted(folder)))
    }

    /// - Parameter isThere: the service runs, or is one of systemd's, and has what only such a one has.
    private func configuration(isThere: Bool) -> [Finding] {
        let path = NextCommands.quoted(configurationPath)
        let check = "mcp-gateway validate-config \(path)"
        let guess = isBlind ? "; where its database, logs and socket are is a guess" : ""
        if SettingsFiles.machine.kind(configurationPath) == .absent {
            return [Finding(.urgent, "config", missing.words + guess, next: missing.next)]
        }
        if isGuessing {
            let words = "the file would be refused, so a restart would not come back, and a reload changes nothing: "
            return [Finding(.urgent, "config", words + Self.list(problems) + guess, next: check)]
        }
        guard !problems.isEmpty || !refusals.isEmpty else {
            return [Finding(.well, "config", "\(configurationPath) is right as far as it can be checked here")]
        }
        let refused = refusals.filter { !Self.isBeyondUs($0, isThere: isThere) }
        let others = problems.filter { one in !refused.contains { $0.key == one.key && $0.message == one.message } }
        var findings: [Finding] = []
        if !refused.isEmpty {
            findings.append(
                Finding(
                    .attention, "config", "a restart would not come back: " + Self.list(refused),
                    next: "mcp-gateway validate-config --strict \(path)"))
        }
        if !others.isEmpty { findings.append(Finding(.note, "config", Self.list(others), next: check)) }
        return findings
    }

    private static func list(_ problems: [SettingsProblem]) -> String {
        problems.prefix(3).map(\.description).joined(separator: "; ")
            + (problems.count > 3 ? "; and \(problems.count - 3) more" : "")
    }

    /// What the service may have, although whoever looks has not: credentials of systemd, variables of its unit, and
    /// files that are its own user's.
    static func isBeyondUs(_ problem: SettingsProblem, isThere: Bool) -> Bool {
        let words = problem.message
        return words.contains("/run/credentials/") || words.contains("this user may not read")
            || isThere && words.contains("environment variable")
    }
}
