// Licensed under the Apache License 2.0; see LICENSE.

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

    /// Where its database is; nil when it does not say.
    var folder: String? { status?["storage"]?.stringValue }

    private static let patience = Duration.seconds(5)

    init(_ client: ControlClient) {
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
        (self.isRunning, self.trouble, self.status, self.tokens) = (isRunning, trouble, status, tokens)
    }

    /// - Parameters:
    ///   - configurationPath: for the commands that are proposed.
    ///   - log: where `app.log` is.
    func findings(_ configurationPath: String, log: String) -> [Finding] {
        guard let status else { return [] }
        return components(status, configurationPath) + upstreams(status, log) + queue(status["queue"])
            + calls(status, log) + byHand(status) + tokens(ofWhich: tokens)
    }

    // MARK: Components

    private func components(_ status: JSONValue, _ configurationPath: String) -> [Finding] {
        let all = status["components"]?.arrayValue ?? []
        return all.compactMap { component in
            let (name, level) = (component["name"].shown, component["status"].shown)
            // Those have more to them; see below.
            if name.hasPrefix("upstream:") { return nil }
            let words = component["detail"].shown
            guard level != "healthy" else { return Finding(.well, name, words) }
            let isVital = level == "unhealthy" || name == "server" || name == "storage"
            return Finding(
                isVital ? .urgent : .attention, name, words,
                next: words.hasPrefix("nobody can call")
                    ? "mcp-gateway token new NAME --role call" : Self.command(for: name, configurationPath))
        }
    }

    private static func command(for component: String, _ configurationPath: String) -> String {
        switch component {
        case "server": "mcp-gateway status; journalctl -u mcp-gateway -n 50 --no-pager"
        case "storage": "mcp-gateway verify"
        case "disk": "df -h"
        case "queue": "mcp-gateway queue list"
        case "memory": "kill -USR1 $(pgrep mcp-gateway); systemctl set-property mcp-gateway MemoryMax=2G"
        case "cpu": "top -H -p $(pgrep mcp-gateway)"
        case "configuration": "mcp-gateway validate-config --strict \(configurationPath)"
        case "tokens": "mcp-gateway token list"
        case "wasm": "mcp-gateway tools list"
        default: "mcp-gateway status --all"
        }
    }

    // MARK: Upstreams

    private func upstreams(_ status: JSONValue, _ log: String) -> [Finding] {
        let all = status["upstreams"]?.arrayValue ?? []
        guard !all.isEmpty else { return [] }
        let away = all.filter { $0["status"].shown != "healthy" }
        // One that is away is a normal state; all of them at once are more likely our own cable.
        let rank: Finding.Rank = away.count == all.count && away.count > 1 ? .urgent : .attention
        var findings = away.map { one in
            let stored = one["stored"]?.intValue ?? 0
            let waiting = stored > 0 ? "; \(NumberText.count(stored, "stored call")) for it" : ""
            return Finding(
                rank, "upstream", "\(one["name"].shown) is \(one["status"].shown): \(one["detail"].shown)\(waiting)",
                next: "mcp-gateway upstreams check \(one["name"].shown)")
        }
        for one in all {
            let open = (one["breakers"]?.arrayValue ?? []).filter { $0["state"].shown != "closed" }
            for breaker in open where one["status"].shown == "healthy" {
                let isOpen = breaker["state"].shown == "open"
                let tool = breaker["tool"].shown
                let whose = one["name"].shown + (tool.isEmpty ? "" : ", tool \(tool),")
                let order = breaker["forced"]?.boolValue == true ? " by order" : ""
                findings.append(
                    Finding(
                        isOpen ? .attention : .note, "breaker",
                        "that of \(whose) is \(breaker["state"].shown)\(order): "
                            + (isOpen ? "calls are held back" : "the next call tries it"),
                        next: !order.isEmpty
                            ? "mcp-gateway overrides list"
                            : isOpen ? "mcp-gateway breaker list; grep 'call failed' \(log) | tail -20" : nil))
            }
        }
        let good = all.count - away.count
        if good > 0 { findings.append(Finding(.well, "upstream", "\(good) of \(all.count) answer")) }
        return findings
    }

    // MARK: Calls

    private func queue(_ queue: JSONValue?) -> [Finding] {
        guard let queue else { return [] }
        var findings: [Finding] = []
        let waiting = queue["waiting"]?.intValue ?? 0
        let age = AgeText.of(seconds: queue["oldest_age_seconds"]?.intValue ?? 0)
        if waiting > Self.queueLong {
            findings.append(
                Finding(
                    .attention, "queue", "\(waiting) stored calls wait, the oldest for \(age)",
                    next: "mcp-gateway queue list --status queued"))
        } else {
            let words =
                waiting == 0
                ? "no calls wait" : "\(NumberText.count(waiting, "call")) to be sent, the oldest for \(age)"
            findings.append(Finding(.well, "queue", words))
        }
        let undecided = queue["items"]?["unknown"]?.intValue ?? 0
        if undecided > 0 {
            findings.append(
                Finding(
                    .attention, "queue",
                    "\(NumberText.count(undecided, "call")) may or may not have been carried out and "
                        + (undecided == 1 ? "waits" : "wait") + " for a person to decide",
                    next: "mcp-gateway queue list --status unknown"))
        }
        return findings
    }

    /// The playbook's threshold.
    private static let queueLong = 1_000

    private func calls(_ status: JSONValue, _ log: String) -> [Finding] {
        guard let minute = status["last_minute"], let calls = minute["calls"]?.intValue else { return [] }
        let failed = minute["failed"]?.intValue ?? 0
        let p95 = minute["p95_ms"]?.doubleValue ?? 0
        var findings: [Finding] = []
        // Of two or three calls one that fails says little.
        if calls >= 20, failed * 20 > calls {
            findings.append(
                Finding(
                    failed * 2 > calls ? .urgent : .attention, "calls",
                    "\(failed) of \(calls) calls of the last minute failed", next: "mcp-gateway top"))
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

    private func byHand(_ status: JSONValue) -> [Finding] {
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
                    ? "mcp-gateway drain --undo"
                    : "mcp-gateway overrides undo \(one["what"].shown)"
                        + (subject.isEmpty ? "" : " --subject \(subject)"))
        }
    }

    private func tokens(ofWhich tokens: [JSONValue]) -> [Finding] {
        let now = WallTime.text(milliseconds: SystemTime().wallMilliseconds())
        let soon = WallTime.text(milliseconds: SystemTime().wallMilliseconds() + 14 * 86_400_000)
        let ending = tokens.filter { ($0["expires_at"].shown).isWithin(now, soon) }
        return ending.map { one in
            Finding(
                .attention, "tokens",
                "that of \(one["name"].shown) runs out at \(one["expires_at"].shown.prefix(16)) UTC",
                next: "mcp-gateway token new NAME --role ROLE")
        }
            + (ending.isEmpty && !tokens.isEmpty
                ? [Finding(.well, "tokens", "\(NumberText.count(tokens.count, "token")), none runs out within 14 days")]
                : [])
    }
}

extension String {
    /// For times, which sort as text.
    fileprivate func isWithin(_ low: String, _ high: String) -> Bool { !isEmpty && self >= low && self <= high }
}
