// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import GatewayCore
internal import HTTPListener
internal import MCPWire
internal import Telemetry

/// If the cable is pulled now: which tools go on, how long the queue lasts, and what runs out meanwhile.
package struct OfflineReadiness: Sendable {
    private let settings: GatewaySettings
    private let client: ControlClient
    private let time = SystemTime()

    /// Upstreams that count as away although their address is of this machine.
    private let tunnels: Set<String>

    /// - Parameter tunnels: upstreams at addresses of this machine that lead elsewhere.
    package init(settings: GatewaySettings, tunnels: [String] = []) {
        self.settings = settings
        self.tunnels = Set(tunnels)
        client = ControlClient(socketPath: settings.admin.controlSocket)
    }

    /// What becomes of a tool's calls, the best first.
    enum Fate: String, Sendable, CaseIterable {
        case goesOn = "goes on"
        case stored
        case kept = "kept answers"
        case fails

        var ink: Ink {
            switch self {
            case .goesOn: .good
            case .stored, .kept: .doubtful
            case .fails: .bad
            }
        }
    }

    package func answer() throws(StartError) -> OperatorAnswer {
        let patience = GatewayLook.patience
        let status = try client.statusFacts(patience: patience).json
        let tools = try client.order("GET", "/admin/tools", patience: patience).json["tools"]?.arrayValue ?? []
        let tokens = try client.order("GET", "/admin/tokens", patience: patience).json["tokens"]?.arrayValue ?? []
        let now = time.wallMilliseconds()
        let facts: JournalFacts
        do throws(StoreError) {
            facts = try JournalFacts.read(
                directory: status["storage"]?.stringValue ?? settings.storage.directory, isInUse: true,
                since: now - Self.lookedBack)
        } catch { throw StartError(error.text) }
        let upstreams = status["upstreams"]?.arrayValue ?? []
        if let stranger = tunnels.subtracting(upstreams.map { $0["name"].shown }).min() {
            throw StartError("there is no upstream \(ControlClient.words(stranger)) at this gateway")
        }
        let terms = OutageTerms(status["in_force"]) ?? OutageTerms(settings)
        let away = Set(upstreams.filter { $0["status"].shown == "unhealthy" }.map { $0["name"].shown })
        let plan = tools.filter { $0["enabled"]?.boolValue != false }.map {
            Line($0, local: terms.local.subtracting(tunnels), away: away, facts)
        }
        let supply = QueueSupply(
            terms: terms, waiting: status["queue"]?["waiting"]?.intValue ?? 0, waitingOfOne: facts.waitingOfOne,
            callsPerHour: Double(plan.filter { $0.fate == .stored }.reduce(0) { $0 + $1.calls })
                / facts.hours(until: now), shareOfOne: facts.shareOfOne,
            bytesPerCall: facts.stored.calls > 0 ? Double(facts.stored.bytes) / Double(facts.stored.calls) : nil)
        let owners = Set(plan.map(\.owner))
        return Self.answer(
            plan, supply, runsOut: endings(tokens, now), strangers: away.filter { !owners.contains($0) }.sorted())
    }

    /// How far back calls are counted: long enough for a shop's day and its night.
    private static let lookedBack: Int64 = 24 * 3_600_000

    /// One tool.
    struct Line: Sendable, Equatable {
        let tool: String
        let owner: String
        let fate: Fate
        let why: String
        let calls: Int

        /// - Parameters:
        ///   - local: upstreams that need no network.
        ///   - away: those that do not answer now, whatever becomes of the network.
        init(_ tool: JSONValue, local: Set<String>, away: Set<String>, _ facts: JournalFacts) {
            (self.tool, owner) = (tool["name"].shown, tool["owner"].shown)
            let name = tool["name"].shown
            calls = facts.calls.filter {
                $0.tool == name && !["refused", "limited", "input_required"].contains($0.status)
            }.reduce(0) { $0 + $1.count }
            if tool["route"].shown == "wasm" {
                (fate, why) = (.goesOn, "runs in the gateway itself")
                return
            }
            let isLocal = local.contains(owner)
            if isLocal, !away.contains(owner) {
                (fate, why) = (.goesOn, "its server is on this machine, and goes on as far as that needs no network")
                return
            }
            let dead = isLocal ? "its server is on this machine, but does not answer now; " : ""
            let kept = facts.kept[name, default: 0]
            switch tool["offline"].shown {
            case "queue":
                let twice = tool["idempotent"]?.boolValue == true
                (fate, why) = (.stored, dead + (twice ? "sent later, again if need be" : "sent later, once"))
            case "stale" where kept > 0:
                (fate, why) = (
                    .kept, dead + "only what was asked before, with its age: \(NumberText.count(kept, "answer")) kept"
                )
            case "stale": (fate, why) = (.fails, dead + "only what was asked before, and no answer is kept")
            default:
                (fate, why) = (
                    .fails, dead + "nothing is said about it; offline = \"queue\" or \"stale\" would be"
                )
            }
        }
    }

    /// What ends within a month, the first first: seconds from now, and what it is.
    private func endings(_ tokens: [JSONValue], _ now: Int64) -> [(seconds: Int, words: String)] {
        var endings: [(seconds: Int, words: String)] = []
        // What cannot be used has been said of the configuration.
        if let certificate = try? settings.server.tls?.room() {
            endings.append((certificate.validUntil - Int(now / 1_000), "the listener's certificate"))
        }
        for token in tokens where token["expired"]?.boolValue != true {
            guard let ends = WallTime.milliseconds(token["expires_at"].shown) else { continue }
            endings.append((Int((ends - now) / 1_000), "the token of \(token["name"].shown)"))
        }
        return endings.filter { $0.seconds < 30 * 86_400 }.sorted { $0.seconds < $1.seconds }
    }

    /// An outage that lasts longer is one for people.
    private static let outageSeconds = 72 * 3_600

    /// - Parameter strangers: upstreams whose tools are not known, since they never answered.
    static func answer(
        _ plan: [Line], _ supply: QueueSupply, runsOut: [(seconds: Int, words: String)], strangers: [String] = []
    ) -> OperatorAnswer {
        var table = ScreenTable(["TOOL", "SERVER", "WITHOUT A NETWORK", "#CALLS/DAY", "HOW"])
        let rank = Dictionary(uniqueKeysWithValues: Fate.allCases.enumerated().map { ($1, $0) })
        for line in plan.sorted(by: { (rank[$0.fate] ?? 0, $0.tool) < (rank[$1.fate] ?? 0, $1.tool) }) {
            table.add(
                [line.tool, line.owner, line.fate.rawValue, String(line.calls), line.why], inks: [2: line.fate.ink])
        }
        let failing = plan.count { $0.fate == .fails }
        var lines = plan.isEmpty ? [ScreenLine("there are no tools")] : table.lines + [ScreenLine()]
        var complaints: [String] = []
        if failing > 0 { complaints.append("\(failing) of \(NumberText.count(plan.count, "tool")) would fail at once") }
        if plan.contains(where: { $0.fate == .stored }) {
            lines.append(StatusScreen.fact("queue", supply.words))
            if let expiry = supply.terms.firstExpiry {
                lines.append(StatusScreen.fact("", "what is not sent within \(SettingsUnits.text(expiry)) is given up"))
            }
            if supply.isFull {
                complaints.append("the queue is full now")
            } else if let hours = supply.hours, hours < 24 {
                complaints.append("the queue would be full within a day")
            }
        }
        let kept = plan.count { $0.fate == .kept }
        if kept > 0 {
            let words = "\(NumberText.count(kept, "tool")) of them, for questions that were asked before; others fail"
            lines.append(StatusScreen.fact("kept", words))
        }
        if !strangers.isEmpty {
            let names = strangers.map { LogText.escaped($0) }.joined(separator: ", ")
            lines.append(StatusScreen.fact("unknown", "the tools of \(names): never reached so far", .bad))
            complaints.append("what \(names) offers is not known, so it cannot go on")
        }
        for ending in runsOut {
            let words = ending.seconds < 0 ? "has run out" : "runs out in \(AgeText.of(seconds: ending.seconds))"
            lines.append(
                StatusScreen.fact(
                    "runs out", "\(LogText.escaped(ending.words)) \(words)",
                    ending.seconds < outageSeconds ? .bad : .doubtful))
        }
        let soon = runsOut.count { $0.seconds < outageSeconds }
        if soon > 0 { complaints.append("tokens or certificates would run out within three days") }
        if runsOut.isEmpty { lines.append(StatusScreen.fact("runs out", "no token and no certificate within a month")) }
        return OperatorAnswer(
            json: json(plan, supply, runsOut, isReady: complaints.isEmpty).text, lines: lines,
            isGood: complaints.isEmpty, complaints: complaints)
    }

    private static func json(
        _ plan: [Line], _ supply: QueueSupply, _ runsOut: [(seconds: Int, words: String)], isReady: Bool
    ) -> JSONValue {
        .object([
            (
                "tools",
                .array(
                    plan.map {
                        .object([
                            ("name", .string($0.tool)), ("owner", .string($0.owner)),
                            ("offline", .string($0.fate.rawValue)),
                            ("calls_last_day", .number(String($0.calls))),
                        ])
                    })
            ), ("queue", supply.json),
            (
                "runs_out",
                .array(
                    runsOut.map {
                        .object([("what", .string($0.words)), ("in_seconds", .number(String($0.seconds)))])
                    })
            ), ("ready", .bool(isReady)),
        ])
    }
}

extension JournalFacts {
    /// The stretch of time that the rows cover; an hour at least, so that a call of just now is no flood.
    fileprivate func hours(until now: Int64) -> Double {
        max(1, Double(now - (oldest ?? now)) / 3_600_000)
    }
}
