// Licensed under the Apache License 2.0; see LICENSE.

internal import Access
internal import DurableStore
internal import GatewayCore

/// What was written down: the database, its backups, the logs, and what has changed since yesterday.
struct JournalLook: Sendable {
    let settings: GatewaySettings
    /// Where keys and tokens are, which gateways that share a directory share as well.
    let base: String
    let configurationPath: String
    let isRunning: Bool
    let time: SystemTime

    private static let hour: Int64 = 3_600_000
    private static let day: Int64 = 24 * hour
    /// A larger file of a stopped gateway is not read as a whole.
    private static let verifiedBytesMax = 256 << 20

    private var directory: String { settings.storage.directory }
    private var logPath: String { settings.log.directory + "/app.log" }

    var findings: [Finding] { database + backups + errors + logs + security + changes }

    // MARK: The database

    /// Of one that runs, its health tells more than a look from outside.
    private var database: [Finding] {
        guard !isRunning else { return [] }
        let path = directory + "/queue.db"
        if settings.storage.isShared { return folders }
        guard SettingsFiles.machine.kind(path) == .file else {
            return [Finding(.note, "database", "there is none yet at \(path); a start makes it")]
        }
        guard SettingsFiles.machine.isReadable(path) else {
            return [Finding(.attention, "database", "\(path) may not be read by you", next: "ls -l \(path)")]
        }
        var findings: [Finding] = []
        if (MachineLook.bytes(path) ?? 0) > Self.verifiedBytesMax {
            findings.append(
                Finding(.note, "database", "\(path) is large and was not read as a whole", next: "mcp-gateway verify"))
        } else {
            let report = DurableStore.verify(file: path, time: time)
            findings.append(
                report.isSound
                    ? Finding(.well, "database", "\(path) is sound")
                    : Finding(
                        .urgent, "database", "\(path) is damaged: \(report.problems.prefix(2).joined(separator: "; "))",
                        next: "mcp-gateway restore \(directory)/backups/queue-$(date +%Y%m%d).db"))
        }
        return findings + stored
    }

    /// Of gateways that share the directory, whoever of them runs.
    private var folders: [Finding] {
        MachineLook.names(in: base).filter { $0.hasPrefix("replica-") }.map { name in
            let file = base + "/" + name + "/queue.db"
            let report = DurableStore.verify(file: file, time: time)
            return report.isSound
                ? Finding(.well, "database", "\(name) is sound")
                : Finding(
                    .attention, "database", "\(name): \(report.problems.prefix(2).joined(separator: "; "))",
                    next: "mcp-gateway verify \(file)")
        }
    }

    /// What waits in it.
    private var stored: [Finding] {
        guard let facts = facts(since: 0) else { return [] }
        let waiting = facts.queue["queued", default: 0] + facts.queue["in_flight", default: 0]
        let undecided = facts.queue["unknown", default: 0]
        var findings: [Finding] = []
        if waiting > 0 {
            findings.append(
                Finding(
                    .attention, "queue",
                    "\(NumberText.count(waiting, "stored call")) wait for the gateway to run again",
                    next: "systemctl start mcp-gateway"))
        }
        if undecided > 0 {
            findings.append(
                Finding(
                    .attention, "queue",
                    "\(NumberText.count(undecided, "call")) wait for a person to decide, once the gateway runs",
                    next: "systemctl start mcp-gateway && mcp-gateway queue list --status unknown"))
        }
        return findings
    }

    private func facts(since: Int64) -> JournalFacts? {
        // What cannot be read has been said by then.
        try? JournalFacts.read(directory: directory, isInUse: isRunning, since: since)
    }

    private var backups: [Finding] {
        let folder = directory + "/backups"
        if settings.storage.isShared, !isRunning { return [] }
        guard let (newest, made) = DurableStore.newestBackup(in: folder) else {
            return [
                Finding(
                    isRunning ? .attention : .note, "backup", "there is none in \(folder)", next: "mcp-gateway backup")
            ]
        }
        let age = Int((time.wallMilliseconds() - made) / 1_000)
        let words = "the newest is \(newest), \(AgeText.of(seconds: max(0, age))) old"
        return age > 36 * 3_600
            ? [Finding(.attention, "backup", words, next: "mcp-gateway backup")] : [Finding(.well, "backup", words)]
    }

    // MARK: What went wrong

    private var errors: [Finding] {
        let now = time.wallMilliseconds()
        guard let facts = facts(since: now - Self.hour) else { return [] }
        var findings: [Finding] = []
        if let newest = facts.newest, newest > now + 60_000 {
            findings.append(
                Finding(
                    .attention, "clock",
                    "the newest row of the database is from \(WallTime.text(milliseconds: newest)) UTC, "
                        + "which is still to come: this machine's clock was set back", next: "timedatectl; date"))
        }
        let total = facts.errors.reduce(0) { $0 + $1.count }
        guard total > 0 else { return findings + [Finding(.well, "errors", "none in the last hour")] }
        let worst = facts.errors.prefix(3).map { "\($0.count) × \($0.type) of \($0.component) (\($0.lastMessage))" }
        findings.append(
            Finding(
                total > 20 ? .attention : .note, "errors", "in the last hour: " + worst.joined(separator: "; "),
                next:
                    "sqlite3 \(directory)/queue.db \"SELECT timestamp, error_type, message FROM error_log ORDER BY id "
                    + "DESC LIMIT 20\""))
        return findings
    }

    private var logs: [Finding] {
        let look = LogLook(path: logPath, since: time.wallMilliseconds() - Self.hour)
        if let trouble = look.trouble {
            return [
                Finding(
                    isRunning ? .attention : .note, "logs", "\(logPath) cannot be read: \(trouble)",
                    next: "ls -l \(settings.log.directory)")
            ]
        }
        let worst = look.counts(["warning", "error", "critical"]).prefix(3)
        guard !worst.isEmpty else { return [Finding(.well, "logs", "no warnings in the last hour")] }
        let words = worst.map { "\($0.count) × \($0.message)" }.joined(separator: "; ")
        return [
            Finding(
                .note, "logs", "warnings of the last hour: " + words,
                next: "grep -E ' (warning|error) |\"level\":\"(warning|error)\"' \(logPath) | tail -20")
        ]
    }

    private var security: [Finding] {
        let path = settings.log.directory + "/security.log"
        let look = LogLook(path: path, since: time.wallMilliseconds() - Self.hour)
        // Orders of operators are no trouble; they are among the changes.
        let refused = look.lines.filter { $0.message != "admin_call" }
        guard !refused.isEmpty else { return [] }
        func count(_ lines: [LogLook.Line]) -> Int { lines.reduce(0) { $0 + $1.count } }
        let kinds = Dictionary(grouping: refused, by: \.message).map { "\(count($1)) × \($0)" }.sorted()
        return [
            Finding(
                count(refused) > 20 ? .attention : .note, "security",
                "in the last hour: " + kinds.joined(separator: ", "), next: "tail -20 \(path)")
        ]
    }

    // MARK: What has changed

    private var changes: [Finding] {
        let now = time.wallMilliseconds()
        var findings: [Finding] = []
        func change(_ words: String, _ next: String? = nil) {
            findings.append(Finding(.note, "changed", words, next: next))
        }
        for (what, path) in [
            ("the configuration", configurationPath), ("the program", Installation.currentExecutable()),
        ] {
            guard let at = MachineLook.changedAt(path) else { continue }
            let age = Int(now / 1_000) - at
            if (0..<86_400).contains(age) { change("\(what) (\(path)), \(AgeText.of(seconds: age)) ago") }
        }
        let look = LogLook(path: logPath, since: now - Self.day)
        let (starts, reloads) = (look.count(beginning: "serving"), look.count(beginning: "configuration read again"))
        if starts > 0 { change("started \(NumberText.count(starts, "time")) since yesterday") }
        if reloads > 0 {
            change(
                "configuration read again \(NumberText.count(reloads, "time")) since yesterday",
                "grep 'configuration read again' \(logPath)")
        }
        for token in madeLately(now) { change("a token was made for \(token)", "mcp-gateway token list") }
        let log = settings.log.directory + "/security.log"
        let orders = LogLook(path: log, since: now - Self.day).lines.count { $0.message == "admin_call" && $0.isOrder }
        if orders > 0 {
            change("\(NumberText.count(orders, "order")) of operators since yesterday", "grep admin_call \(log) | tail")
        }
        return findings
    }

    private func madeLately(_ now: Int64) -> [String] {
        // A book that cannot be read is told of by the gateway.
        let all = (try? TokenBook(directory: base))?.all() ?? []
        return all.filter { $0.createdAt > now - Self.day }.map(\.name)
    }
}

extension LogLook.Line {
    /// Whether an admin call did more than look.
    fileprivate var isOrder: Bool {
        guard let what = text.firstRange(of: " what=").map({ text[$0.upperBound...].prefix { $0 != " " } }) else {
            return true
        }
        return what != "status" && !what.hasSuffix(".list") && !what.hasSuffix(".show")
    }
}
