// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import GatewayCore
internal import MCPWire

/// What a running gateway says about itself, and what that means for whoever is on call.
struct GatewayLook: Sendable {
    let isRunning: Bool
    /// Why it could not be asked, although there is one, or may be one.
    let trouble: String?
    private let status: JSONValue?
    private let tokens: [JSONValue]

    /// It is not for whoever asks.
    var mayNotAsk: Bool { trouble?.hasPrefix("you may not use") == true }

    /// False for one that serves a client over stdin and stdout alone.
    var listens: Bool { status?["listens"]?.boolValue ?? true }

    /// When the certificate of its listener runs out, in seconds since 1970; nil without TLS. Told by the gateway,
    /// since whoever asks may not be able to read its key.
    var certificateExpires: Int? { status?["certificate_expires"]?.intValue }

    /// Where its database is; nil when that is not known.
    let folder: String?

    /// It runs, and nobody can ask it anything any more.
    let hasLostSocket: Bool

    static let patience = Duration.seconds(5)

    /// - Parameters:
    ///   - socket: where the client asks.
    ///   - storage: what no other gateway than this one can have in use; nil where that cannot be said.
    init(_ client: ControlClient, socket: String, storage: String?) {
        var trouble: String?
        var status: JSONValue?
        var tokens: [JSONValue] = []
        var isRunning = false
        do throws(StartError) {
            isRunning = try client.isRunning()
            if isRunning {
                status = try client.statusFacts(patience: Self.patience).json
                tokens =
                    try client.order("GET", "/admin/tokens", patience: Self.patience).json["tokens"]?.arrayValue
                    ?? []
            }
        } catch {
            trouble = error.words
            // There is one, as far as anybody can tell.
            isRunning = true
        }
        var held: String?
        if !isRunning, let storage, let holder = DurableStore.holder(of: storage) {
            let port = holder.port.map { ", port \($0)" } ?? ""
            trouble =
                "a gateway runs (process \(holder.pid)\(port)), but nothing answers at \(socket): it is only just "
                + "starting or ending, or somebody has removed its control socket, which a restart makes again"
            (isRunning, held) = (true, storage)
        }
        (self.isRunning, self.trouble, self.status, self.tokens) = (isRunning, trouble, status, tokens)
        folder = status?["storage"]?.stringValue ?? held
        hasLostSocket = held != nil
    }

    /// - Parameters:
    ///   - configurationPath: for the commands that are proposed.
    ///   - log: where `app.log` is.
    func findings(_ configurationPath: String, log: String, _ commands: NextCommands) -> [Finding] {
        guard let status else { return [] }
        return components(status, configurationPath, log, commands) + upstreams(status, log, commands)
            + queue(status, commands) + calls(status, log, commands) + byHand(status, commands)
            + Self.tokens(tokens, now: SystemTime().wallMilliseconds(), commands)
    }

    // MARK: Components

    private func components(
        _ status: JSONValue, _ configurationPath: String, _ log: String, _ commands: NextCommands
    ) -> [Finding] {
        let all = status["components"]?.arrayValue ?? []
        return all.compactMap { component in
            let (name, level) = (component["name"].shown, component["status"].shown)
            // Those have more to them, see below; of the disk the look at the machine tells.
            if name.hasPrefix("upstream:") || name == "queue" || name == "disk" { return nil }
            let words = component["detail"].shown
            guard level != "healthy" else { return Finding(.well, name, words) }
            let isVital = level == "unhealthy" || name == "server" || name == "storage"
            let next: String
            if words.hasPrefix("nobody can call") {
                next = commands.verb("token new NAME --role call")
            } else if name == "storage", words.contains("was moved or replaced") {
                next = commands.restart(folder ?? "")
            } else {
                next = Self.command(for: name, configurationPath, log, commands)
            }
            return Finding(isVital ? .urgent : .attention, name, words, next: next)
        }
    }

    private static func command(
        for component: String, _ configurationPath: String, _ log: String, _ commands: NextCommands
    ) -> String {
        switch component {
        case "server":
            commands.verb("status")
                + (commands.isManaged ? "; journalctl -u mcp-gateway -n 50 --no-pager" : "; tail -50 \(log)")
        case "storage": commands.verb("verify")
        case "memory": "kill -USR1 $(pgrep mcp-gateway); systemctl show mcp-gateway -p MemoryMax -p MemoryCurrent"
        case "cpu": "top -H -p $(pgrep mcp-gateway)"
        case "configuration": "mcp-gateway validate-config --strict \(NextCommands.quoted(configurationPath))"
        case "tokens": commands.verb("token list")
        case "wasm": commands.verb("tools list")
        default: commands.verb("status --all")
        }
    }

    // MARK: Upstreams

    private func upstreams(_ status: JSONValue, _ log: String, _ commands: NextCommands) -> [Finding] {
        let all = status["upstreams"]?.arrayValue ?? []
        guard !all.isEmpty else { return [] }
        // To check one that an order cuts off would tell nothing.
        let cut = all.filter { Self.isCutOff($0) }
        let away = all.filter { $0["status"].shown != "healthy" && !Self.isCutOff($0) }
        // One that is away is a normal state; all of them at once are more likely our own cable.
        let rank: Finding.Rank = away.count == all.count && away.count > 1 ? .urgent : .attention
        var findings = away.map { one in
            Finding(
                rank, "upstream",
                "\(one["name"].shown) is \(one["status"].shown): \(one["detail"].shown)\(Self.waiting(one))",
                next: commands.verb("upstreams check \(NextCommands.quoted(one["name"].shown))"))
        }
        findings += cut.map { one in
            Finding(
                .attention, "breaker",
                "that of \(one["name"].shown) is held open by order: nothing is sent to it\(Self.waiting(one))",
                next: Self.undoing(one["name"].shown, status, commands))
        }
        for one in all {
            let open = (one["breakers"]?.arrayValue ?? []).filter { $0["state"].shown != "closed" }
            for breaker in open where one["status"].shown == "healthy" && !Self.isCutOff(one) {
                let isOpen = breaker["state"].shown == "open"
                let tool = breaker["tool"].shown
                let whose = one["name"].shown + (tool.isEmpty ? "" : ", tool \(tool),")
                let isOrder = breaker["forced"]?.boolValue == true
                let looking = commands.verb("breaker list") + "; grep 'call failed' \(log) | tail -20"
                findings.append(
                    Finding(
                        isOpen ? .attention : .note, "breaker",
                        "that of \(whose) is \(breaker["state"].shown)\(isOrder ? " by order" : ""): "
                            + (isOpen ? "calls are held back" : "the next call tries it"),
                        next: isOrder
                            ? Self.undoing(one["name"].shown, status, commands) : isOpen ? looking : nil))
            }
        }
        let good = all.count { $0["status"].shown == "healthy" }
        if good > 0 { findings.append(Finding(.well, "upstream", "\(good) of \(all.count) answer")) }
        return findings
    }

    private static func waiting(_ upstream: JSONValue) -> String {
        let stored = upstream["stored"]?.intValue ?? 0
        return stored > 0 ? "; \(NumberText.count(stored, "stored call")) for it" : ""
    }

    private static func isCutOff(_ upstream: JSONValue) -> Bool {
        (upstream["breakers"]?.arrayValue ?? []).contains {
            $0["tool"].shown.isEmpty && $0["forced"]?.boolValue == true
        }
    }

    /// What ends an order about an upstream's breakers, which may have been one about all.
    private static func undoing(_ upstream: String, _ status: JSONValue, _ commands: NextCommands) -> String {
        let isItsOwn = (status["overrides"]?.arrayValue ?? []).contains {
            $0["what"].shown == "circuit-breaker" && $0["subject"].shown == upstream
        }
        return undoing("circuit-breaker", subject: isItsOwn ? upstream : "", commands)
    }

    private static func undoing(_ what: String, subject: String, _ commands: NextCommands) -> String {
        commands.verb(
            "overrides undo \(what)" + (subject.isEmpty ? "" : " --subject \(NextCommands.quoted(subject))"))
    }

    // MARK: Calls

    private func queue(_ status: JSONValue, _ commands: NextCommands) -> [Finding] {
        guard let queue = status["queue"] else { return [] }
        let components = status["components"]?.arrayValue ?? []
        func component(_ name: String) -> JSONValue? { components.first { $0["name"].shown == name } }
        let detail = component("queue").flatMap { $0["status"].shown == "healthy" ? nil : $0["detail"].shown } ?? ""
        let waiting = queue["waiting"]?.intValue ?? 0
        let undecided = queue["items"]?["unknown"]?.intValue ?? 0
        var findings = [
            Self.room(
                waiting: waiting, age: AgeText.of(seconds: queue["oldest_age_seconds"]?.intValue ?? 0),
                terms: OutageTerms(status["in_force"]), isFull: detail.contains("the queue is full"), commands)
        ]
        if undecided > 0 {
            findings.append(
                Finding(
                    .attention, "queue",
                    "\(NumberText.count(undecided, "call")) may or may not have been carried out and "
                        + (undecided == 1 ? "waits" : "wait") + " for a person to decide",
                    next: commands.verb("queue list --status unknown")))
        }
        // What comes of the storage has been said with it.
        if !detail.isEmpty, findings.areWell, component("storage")?["status"].shown == "healthy" {
            findings = [Finding(.attention, "queue", detail, next: commands.verb("queue list"))]
        }
        return findings
    }

    /// - Parameters:
    ///   - terms: in force; nil where the gateway does not tell.
    ///   - isFull: as the gateway says, which also counts bytes.
    static func room(
        waiting: Int, age: String, terms: OutageTerms?, isFull: Bool, _ commands: NextCommands
    ) -> Finding {
        let next = commands.verb("queue list --status queued")
        let words =
            "\(NumberText.count(waiting, "stored call")) \(waiting == 1 ? "waits" : "wait"), the oldest for \(age)"
        let most = terms?.queueItemsMax ?? .max
        if isFull || waiting >= most {
            let loss = terms?.dropsOldest == true ? "the oldest are given up for new ones" : "new ones are refused"
            return Finding(.urgent, "queue", "\(words): the queue is full, and \(loss)", next: next)
        }
        if waiting > 0, waiting >= most / 10 * 9 + most % 10 * 9 / 10 {
            return Finding(.attention, "queue", "\(words): the queue is nearly full, at \(most) it is", next: next)
        }
        if waiting > queueLong { return Finding(.attention, "queue", words, next: next) }
        let few =
            waiting == 0 ? "no calls wait" : "\(NumberText.count(waiting, "call")) to be sent, the oldest for \(age)"
        return Finding(.well, "queue", few)
    }

    /// The playbook's threshold.
    private static let queueLong = 1_000

    private func calls(_ status: JSONValue, _ log: String, _ commands: NextCommands) -> [Finding] {
        guard let minute = status["last_minute"], let calls = minute["calls"]?.intValue else { return [] }
        let failed = minute["failed"]?.intValue ?? 0
        let p95 = minute["p95_ms"]?.doubleValue ?? 0
        var findings: [Finding] = []
        // Of two or three calls one that fails says little.
        if calls >= 20, failed * 20 > calls {
            findings.append(
                Finding(
                    failed * 2 > calls ? .urgent : .attention, "calls",
                    "\(failed) of \(calls) calls of the last minute failed", next: commands.verb("top")))
        }
        if calls >= 20, p95 > 2_000 {
            findings.append(
                Finding(
                    .attention, "calls", "five of a hundred calls take more than \(NumberText.of(milliseconds: p95))",
                    next: "grep 'slow call' \(log) | tail -20"))
        }
        if findings.isEmpty {
            findings.append(Finding(.well, "calls", "\(calls) in the last minute, \(failed) failed"))
        }
        return findings
    }

    // MARK: By hand

    private func byHand(_ status: JSONValue, _ commands: NextCommands) -> [Finding] {
        (status["overrides"]?.arrayValue ?? []).map { one in
            let subject = one["subject"].shown
            let until = one["until"].shown
            let words =
                "\(one["what"].shown)\(subject.isEmpty ? "" : " of \(subject)") is \(one["value"].shown) by order of "
                + "\(one["by"].shown) since \(one["since"].shown.prefix(16)) UTC"
                + (until.isEmpty ? "" : ", until \(until.prefix(16)) UTC")
            let isDrain = one["what"].shown == "drain"
            return Finding(
                isDrain ? .urgent : .note, "by hand", words,
                next: isDrain
                    ? commands.verb("drain --undo") : Self.undoing(one["what"].shown, subject: subject, commands))
        }
    }
}
