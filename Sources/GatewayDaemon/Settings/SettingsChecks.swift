// Licensed under the Apache License 2.0; see LICENSE.

internal import AdminPlane

/// What keys mean together: combinations that cannot work, two owners of one name, programs and directories that are
/// not there.
struct SettingsChecks {
    var report: SettingsReport
    let values: SettingsValues
    let files: SettingsFiles
    let folder: String
    let environment: [String: String]

    /// Both kinds of backends, in the order of the file.
    let upstreams: [String]
    let tools: [String]
    /// What was in the files of `[server.tls]`; nil without that table, and when something is wrong with it.
    var tls: GatewaySettings.TLS?

    mutating func run() {
        access()
        certificates()
        proxies()
        operatorsAddress()
        let slow = values.duration("log", "slow_call")
        let longest = values.duration("server", "request_timeout")
        if slow >= longest && report.isWritten(["log", "slow_call"]) {
            report.warning(
                ["log", "slow_call"],
                "no call lasts that long: server.request_timeout ends it after \(SettingsUnits.text(longest))")
        }
        for origin in values.texts("server", "allowed_origins")
        where !Self.isOrigin(origin) && !SettingsExpansion.isNeeded(origin) {
            report.error(
                ["server", "allowed_origins"],
                """
                \(SettingsUnits.excerpt(origin)) is not an origin; \"https://app.example\" would be right, \
                without a path
                """
            )
        }
        for host in values.texts("server", "allowed_hosts")
        where !Self.isHost(host) && !SettingsExpansion.isNeeded(host) {
            report.error(
                ["server", "allowed_hosts"],
                """
                \(SettingsUnits.excerpt(host)) is not a host name; \"gateway.example\" would be right, without \
                scheme or path
                """
            )
        }
        local()
        bursts()
        for name in upstreams {
            upstream(name)
            policies(name)
        }
        for name in tools { tool(name) }
        names()
    }

    /// A name that nobody has is no error: one file serves several machines, and it lets nobody in.
    private mutating func local() {
        let names = values.texts("admin", "local").filter { !SettingsExpansion.isNeeded($0) }
        for name in LocalUsers(names).unknown {
            let isGroup = name.hasPrefix("@")
            let quoted = SettingsUnits.excerpt(String(name.dropFirst(isGroup ? 1 : 0)))
            report.warning(
                ["admin", "local"],
                """
                there is no \(isGroup ? "group" : "user") \(quoted) on this machine, so this entry lets nobody in; \
                name a user, or @ and a group
                """)
        }
    }

    private mutating func access() {
        let listen = values.address("server", "listen")
        guard !listen.isLoopback else { return }
        // A mode that could not be taken has its own complaint, which is not made better by this one.
        let isModeKnown = !report.isWritten(["auth", "mode"]) || values.written[["auth", "mode"]] != nil
        if isModeKnown && values.text("auth", "mode") == "none" && !values.flag("auth", "allow_anonymous") {
            report.error(
                ["server", "listen"],
                "\(listen) can be reached from other machines while auth.mode \"none\" lets everybody call; "
                    + """
                    listen on \"127.0.0.1:\(listen.port)\", or write allow_anonymous = true in [auth] if that is \
                    meant
                    """
            )
        }
        if listen.isEverywhere && values.texts("server", "allowed_hosts").isEmpty {
            report.warning(
                ["server", "listen"],
                """
                without allowed_hosts only requests to localhost are answered; list the names that clients use \
                for this machine
                """
            )
        }
    }

    private static func isOrigin(_ text: String) -> Bool {
        guard let scheme = ["http://", "https://"].first(where: { text.hasPrefix($0) }) else { return false }
        return isHost(String(text.dropFirst(scheme.count)))
    }

    private static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { SettingsUnits.isNameByte($0) || ".:[]".utf8.contains($0) }
    }

    /// What makes no sense together in the policy of one tool.
    private mutating func policies(_ upstream: String) {
        let tools = Set(
            values.written.keys.filter { $0.count == 5 && $0[1] == upstream && $0[2] == "tools" }.map { $0[3] })
        for tool in tools.sorted() {
            let path = ["upstreams", upstream, "tools", tool]
            let offline = values.text("upstreams", upstream, "tools", tool, "offline")
            if offline == "queue", report.isWritten(path + ["cache"]) {
                report.error(
                    path + ["cache"],
                    "a call that has an effect cannot be answered from what was kept; remove cache, or "
                        + "offline = \"queue\""
                )
            }
            let isRepeatable =
                values.flag("upstreams", upstream, "tools", tool, "idempotent") || offline == "stale"
                || report.isWritten(path + ["cache"])
            if report.isWritten(path + ["hedge"]), !isRepeatable {
                report.error(
                    path + ["hedge"],
                    "a tool that is called a second time while the first call may still run must be safe to call "
                        + "twice; idempotent = true would say so, or remove hedge"
                )
            }
        }
    }

    /// How many at once says nothing without how often.
    private mutating func bursts() {
        for section in [["limits"], ["limits", "per_caller"]] where report.isWritten(section + ["burst"]) {
            guard !report.isWritten(section + ["requests_per_second"]) else { continue }
            report.error(
                section + ["burst"], "goes with requests_per_second, and that is not given; add it, or remove burst")
        }
    }

    private mutating func upstream(_ name: String) {
        let path = ["upstreams", name]
        let url = path + ["url"]
        let command = path + ["command"]
        switch (report.isWritten(url), report.isWritten(command)) {
        case (true, true):
            let lines = [url, command].compactMap { report.line(of: $0) }
            report.error(
                (lines.first ?? 0) > (lines.last ?? 0) ? url : command,
                """
                url (line \(lines.first ?? 0)) and command (line \(lines.last ?? 0)) exclude each other; keep \
                one of them
                """
            )
        case (false, false):
            report.error(
                path, "neither url nor command is given; url = \"https://…\" or command = \"…\" would be right")
        case (true, false):
            for key in ["args", "env", "cwd"] where report.isWritten(path + [key]) {
                report.error(path + [key], "\(key) goes with command, and this upstream has a url; remove it")
            }
        case (false, true):
            if report.isWritten(path + ["headers"]) {
                report.error(
                    path + ["headers"], "headers go with url, and this upstream has a command; use env instead")
            }
            program(path)
        }
        for entry in values.map("upstreams", name, "headers") { header(entry, path + ["headers", entry.name]) }
        for entry in values.map("upstreams", name, "env") {
            guard entry.name.isEmpty || entry.name.contains("=") || SettingsUnits.hasControls(entry.name) else {
                continue
            }
            report.error(
                path + ["env", entry.name], "not a name for an environment variable; A_NAME = \"…\" would be right")
        }
        timeout(path, values.duration("upstreams", name, "timeout"))
    }

    private mutating func timeout(_ path: [String], _ timeout: Duration) {
        let longest = values.duration("server", "request_timeout")
        guard timeout > longest, report.isWritten(path + ["timeout"]) else { return }
        report.warning(
            path + ["timeout"],
            "never reached: server.request_timeout ends each call after \(SettingsUnits.text(longest))")
    }

    /// An upstream that is not there is a normal state of the gateway, so a bare name that PATH does not have is never
    /// more than a
    /// warning. A path is a path as everywhere.
    private mutating func program(_ path: [String]) {
        guard let command = values.knownText(path[0], path[1], "command") else { return }
        if command.contains("/") {
            let place = SettingsUnits.absolute(command, in: folder)
            if files.kind(place) != .file {
                report.absence(path + ["command"], "there is no program \(place); make it, or mend the path")
            } else if !files.isExecutable(place) {
                report.absence(path + ["command"], "\(place) is not executable for this user; chmod +x would be right")
            }
            return
        }
        let search = (environment["PATH"] ?? SettingsBuild.standardSearch).split(separator: ":")
        let isFound = search.contains { folder in
            let place = "\(folder)/\(command)"
            return files.kind(place) == .file && files.isExecutable(place)
        }
        if !isFound {
            report.warning(
                path + ["command"],
                "no program \(SettingsUnits.excerpt(command)) in PATH; install it, or write its whole path")
        }
    }

    /// Written by the gateway itself on every request.
    private static let ownHeaders: Set<String> = [
        "host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "te", "upgrade",
        "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name",
    ]

    private mutating func header(_ entry: SettingsValues.Entry, _ path: [String]) {
        let isToken = entry.name.utf8.allSatisfy { SettingsUnits.isNameByte($0) || "!#$%&'*+.^`|~".utf8.contains($0) }
        if entry.name.isEmpty || !isToken {
            report.error(path, "not a name for a header; letters, digits and - would be right")
        } else if Self.ownHeaders.contains(entry.name.lowercased()) {
            report.error(path, "the gateway writes this header itself; remove it")
        } else if SettingsUnits.hasControls(entry.text) {
            report.error(path, "the value has a line end or another control character; one line of text would be right")
        }
    }

    private mutating func tool(_ name: String) {
        let path = ["tools", name]
        if !report.isWritten(path + ["module"]) {
            report.error(path, "no module is given; module = \"\(name).wasm\" would be right, the path of the file")
        }
        for name in values.texts("tools", name, "allow", "env")
        where name.isEmpty || name.contains("=") || SettingsUnits.hasControls(name) {
            report.error(
                path + ["allow", "env"],
                "\(SettingsUnits.excerpt(name)) is not a name of an environment variable; env = [\"TZ\"] would be right"
            )
        }
        for entry in values.map("tools", name, "allow", "directories") {
            directory(entry, path + ["allow", "directories", entry.name])
        }
        timeout(path, values.duration("tools", name, "timeout"))
    }

    private mutating func directory(_ entry: SettingsValues.Entry, _ path: [String]) {
        guard entry.name.hasPrefix("/"), !SettingsUnits.hasControls(entry.name) else {
            return report.error(path, "the module's own path begins with a slash; \"/data\" = \"…\" would be right")
        }
        // What could not be filled in here has been reported.
        if SettingsExpansion.isNeeded(entry.text) { return }
        guard !["", ":ro", ":rw"].contains(entry.text), !SettingsUnits.hasControls(entry.text) else {
            return report.error(path, "no directory is named; \"/srv/data:ro\" would be right")
        }
        let place = SettingsBuild.directory(entry, in: folder).hostPath
        switch files.kind(place) {
        case .directory: break
        case .absent: report.absence(path, "there is no directory \(place); make it, or mend the path")
        case .file, .other: report.error(path, "\(place) is not a directory; the path of one would be right")
        }
    }

    /// Names are labels in metrics and rows, prefixes are what clients see: neither may have two owners.
    private mutating func names() {
        var prefixes: [String: [String]] = [:]
        var names: [String: [String]] = [:]
        let paths = upstreams.map { ["upstreams", $0] } + tools.map { ["tools", $0] }
        for path in paths.sorted(by: { (report.line(of: $0) ?? 0) < (report.line(of: $1) ?? 0) }) {
            if let first = names.updateValue(path, forKey: path[1]) {
                report.error(
                    path,
                    """
                    \(SettingsUnits.keyText(first)) on line \(report.line(of: first) ?? 0) has this name \
                    already; rename one
                    """
                )
                continue
            }
            let isOwn = report.isWritten(path + ["prefix"])
            if isOwn && values.knownText(path[0], path[1], "prefix") == nil { continue }
            let prefix = values.knownText(path[0], path[1], "prefix") ?? path[1]
            let place = isOwn ? path + ["prefix"] : path
            if prefix.contains("__") || prefix.hasSuffix("_") {
                report.error(
                    place,
                    "two underscores part prefix and tool, so \"\(prefix)\" is ambiguous; prefix = "
                        + "\"\(prefix.split(separator: "_").joined(separator: "_"))\" would be right")
            }
            if let first = prefixes.updateValue(place, forKey: prefix) {
                report.error(
                    place,
                    "the prefix \"\(prefix)\" is taken by \(SettingsUnits.keyText(first)) on line "
                        + "\(report.line(of: first) ?? 0); give one of them another prefix")
            }
        }
    }
}
