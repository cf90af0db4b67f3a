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
    /// It runs and answers.
    let canBeAsked: Bool
    let commands: NextCommands
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
        let kind = SettingsFiles.machine.kind(path)
        guard kind != .absent else { return [lost(path)] }
        guard kind == .file, SettingsFiles.machine.isReadable(path) else {
            let words = kind == .file ? "\(path) may not be read by you" : "\(path) is no file"
            return [Finding(.attention, "database", words, next: "ls -l \(path)")]
        }
        let hasLog = (MachineLook.bytes(path + "-wal") ?? 0) > 0
        let isAlien = hasLog && DurableStore.hasAlienLog(path)
        var findings = [state(of: path, hasAlienLog: isAlien)]
        if hasLog, !isAlien {
            findings.append(
                Finding(
                    .note, "database",
                    "it was not closed: its last seconds are in \(path)-wal, and count here once a gateway has run"))
        }
        guard let facts = facts(since: 0) else { return findings }
        let waiting = facts.queue["queued", default: 0] + facts.queue["in_flight", default: 0]
        return findings
            + stored(waiting: waiting, undecided: facts.queue["unknown", default: 0], isAtLeast: hasLog && !isAlien)
    }

    private func state(of path: String, hasAlienLog: Bool) -> Finding {
        if (MachineLook.bytes(path) ?? 0) > Self.verifiedBytesMax {
            return Finding(
                .note, "database", "\(path) is large and was not read as a whole", next: commands.verb("verify"))
        }
        let report = DurableStore.verify(file: path, time: time)
        // Of a copy that was put there by hand the log of the former file is the one objection.
        if hasAlienLog, report.problems.count == 1 {
            return Finding(
                .attention, "database",
                "\(path) is sound; \(path)-wal beside it belongs to another file, as after a copy was put there by "
                    + "hand, and the gateway sets it aside at its start", next: commands.start)
        }
        guard !report.isSound else { return Finding(.well, "database", "\(path) is sound") }
        return Finding(
            .urgent, "database", "\(path) is damaged: \(report.problems.prefix(2).joined(separator: "; "))",
            next: restoring ?? commands.verb("verify \(NextCommands.quoted(path))"))
    }

    /// There is none. Where a gateway has been before, it had one.
    private func lost(_ path: String) -> Finding {
        let words = "\(path) is gone: a start would begin with an empty one"
        if let restoring {
            return Finding(.urgent, "database", words + ", while there are backups", next: restoring)
        }
        guard SettingsFiles.machine.kind(directory + "/gateway.lock") != .absent else {
            return Finding(.note, "database", "there is none yet at \(path); a start makes it")
        }
        return Finding(.urgent, "database", words + ", and there is no backup", next: "ls -la \(directory)")
    }

    /// With the newest backup that is sound.
    private var restoring: String? {
        let folder = directory + "/backups"
        let sound = DurableStore.dailyBackups(in: folder).map { folder + "/" + $0 }.last {
            DurableStore.verify(file: $0, time: time).isSound
        }
        return sound.map { commands.verb("restore \(NextCommands.quoted($0))") }
    }

    /// Of gateways that share the directory, when none of them answers here.
    private var folders: [Finding] {
        let names = MachineLook.names(in: base).filter { $0.hasPrefix("replica-") }
        let checks = names.map { name in
            let file = base + "/" + name + "/queue.db"
            let report = DurableStore.verify(file: file, time: time)
            return report.isSound
                ? Finding(.well, "database", "\(name) is sound")
                : Finding(
                    .attention, "database", "\(name): \(report.problems.prefix(2).joined(separator: "; "))",
                    next: commands.verb("verify \(NextCommands.quoted(file))"))
        }
        let left = names.map { SiblingFolders.left(in: base + "/" + $0) }
        return checks
            + stored(
                waiting: left.reduce(0) { $0 + $1.waiting.values.reduce(0, +) },
                undecided: left.reduce(0) { $0 + $1.unknown }, isAtLeast: false)
    }

    /// What waits where no gateway runs.
    ///
    /// - Parameter isAtLeast: there may be more of them in a log that is not brought over yet.
    private func stored(waiting: Int, undecided: Int, isAtLeast: Bool) -> [Finding] {
        let least = isAtLeast ? "at least " : ""
        var findings: [Finding] = []
        if waiting > 0 {
            findings.append(
                Finding(
                    .attention, "queue",
                    "\(least)\(NumberText.count(waiting, "stored call")) wait for the gateway to run again",
                    next: commands.start))
        }
        if undecided > 0 {
            let list = commands.isManaged ? " && " + commands.verb("queue list --status unknown") : ""
            findings.append(
                Finding(
                    .attention, "queue",
                    "\(least)\(NumberText.count(undecided, "call")) wait for a person to decide, once the gateway runs",
                    next: commands.start + list))
        }
        return findings
    }

    private func facts(since: Int64) -> JournalFacts? {
        // What cannot be read of a stopped gateway has been said by then; of one that runs it is said with its errors.
        try? JournalFacts.read(directory: directory, isInUse: isRunning, since: since)
    }

    private var backups: [Finding] {
        let folder = directory + "/backups"
        if settings.storage.isShared, !isRunning { return [] }
        // Without a gateway there is nobody to make one.
        let rank = canBeAsked ? Finding.Rank.attention : .note
        let making = canBeAsked ? commands.verb("backup") : nil
        guard let (newest, made) = DurableStore.newestBackup(in: folder) else {
            return [Finding(rank, "backup", "there is none in \(folder)", next: making)]
        }
        let age = Int((time.wallMilliseconds() - made) / 1_000)
        let words = "the newest is \(newest), \(AgeText.of(seconds: max(0, age))) old"
        return age > 36 * 3_600
            ? [Finding(rank, "backup", words, next: making)] : [Finding(.well, "backup", words)]
    }

    // MARK: What went wrong

    private var errors: [Finding] {
        let now = time.wallMilliseconds()
        guard let facts = facts(since: now - Self.hour) else {
            guard isRunning else { return [] }
            let words = "\(directory)/queue.db could not be read: its errors of the last hour are not known"
            return [Finding(.attention, "errors", words, next: "ls -l \(directory)")]
        }
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
        for token in madeLately(now) { change("a token was made for \(token)", commands.verb("token list")) }
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
