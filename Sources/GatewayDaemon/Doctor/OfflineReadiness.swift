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
        let tools = try client.order("GET", "/admin/tools").json["tools"]?.arrayValue ?? []
        let status = try client.order("GET", "/admin/status").json
        let tokens = try client.order("GET", "/admin/tokens").json["tokens"]?.arrayValue ?? []
        let now = time.wallMilliseconds()
        let facts: JournalFacts
        do throws(StoreError) {
            facts = try JournalFacts.read(
                directory: status["storage"]?.stringValue ?? settings.storage.directory, isInUse: true,
                since: now - Self.lookedBack)
        } catch { throw StartError(error.text) }
        let known = Set(settings.upstreams.map(\.name))
        if let stranger = tunnels.subtracting(known).min() {
            throw StartError("there is no upstream \(ControlClient.words(stranger)) in the configuration")
        }
        let local = Set(settings.upstreams.filter(\.isOfThisMachine).map(\.name)).subtracting(tunnels)
        let plan = tools.filter { $0["enabled"]?.boolValue != false }.map { Line($0, local: local, facts) }
        let supply = Supply(
            settings: settings, waiting: status["queue"]?["waiting"]?.intValue ?? 0,
            callsPerHour: Double(plan.filter { $0.fate == .stored }.reduce(0) { $0 + $1.calls })
                / facts.hours(until: now),
            bytesPerCall: facts.stored.calls > 0 ? Double(facts.stored.bytes) / Double(facts.stored.calls) : nil)
        let owners = Set(plan.map(\.owner))
        return Self.answer(
            plan, supply, runsOut: endings(tokens, now), strangers: known.filter { !owners.contains($0) }.sorted())
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

        init(_ tool: JSONValue, local: Set<String>, _ facts: JournalFacts) {
            (self.tool, owner) = (tool["name"].shown, tool["owner"].shown)
            let name = tool["name"].shown
            calls = facts.calls.filter { $0.tool == name && !["refused", "limited", "queued"].contains($0.status) }
                .reduce(0) { $0 + $1.count }
            switch (tool["route"].shown, tool["offline"].shown) {
            case ("wasm", _): (fate, why) = (.goesOn, "runs in the gateway itself")
            case (_, _) where local.contains(tool["owner"].shown):
                (fate, why) = (.goesOn, "its server is on this machine, and goes on as far as that needs no network")
            case (_, "queue"):
                let twice = tool["idempotent"]?.boolValue == true
                (fate, why) = (.stored, twice ? "sent later, again if need be" : "sent later, once")
            case (_, "stale"): (fate, why) = (.kept, "the last answer to the same question, with its age")
            default: (fate, why) = (.fails, "nothing is said about it; offline = \"queue\" or \"stale\" would be")
            }
        }
    }

    /// How long the queue has room.
    struct Supply: Sendable {
        let settings: GatewaySettings
        let waiting: Int
        let callsPerHour: Double
        /// Of those stored before; nil where there were none.
        let bytesPerCall: Double?

        /// nil where nothing is to be expected.
        var hours: Double? {
            guard callsPerHour > 0 else { return nil }
            let places = Double(max(0, settings.storage.queueItemsMax - waiting)) / callsPerHour
            guard let bytesPerCall, bytesPerCall > 0 else { return places }
            let taken = Double(waiting) * bytesPerCall
            return min(places, max(0, Double(settings.storage.queueBytesMax) - taken) / (callsPerHour * bytesPerCall))
        }

        /// When the first call that is stored now is given up.
        var firstExpiry: Duration? {
            settings.upstreams.flatMap(\.exposure.edits.values).map(\.policy).filter { $0.offline == .queue }
                .map(\.expires).min()
        }

        var words: String {
            let room = "\(waiting) of \(settings.storage.queueItemsMax) places taken"
            guard let hours else { return room + "; no calls of such tools in the last day, so it will not fill soon" }
            let rate = "\(NumberText.of(callsPerHour)) calls an hour as in the last day"
            return "\(room); at \(rate) it is full in \(AgeText.of(seconds: Int(min(hours * 3_600, 1e9))))"
        }

        var json: JSONValue {
            .object([
                ("waiting", .number(String(waiting))), ("max_items", .number(String(settings.storage.queueItemsMax))),
                ("calls_per_hour", .number(NumberText.of(callsPerHour))),
                ("hours_until_full", hours.map { .number(NumberText.of($0)) } ?? .null),
                ("first_expiry_seconds", firstExpiry.map { .number(String($0.components.seconds)) } ?? .null),
            ])
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
        _ plan: [Line], _ supply: Supply, runsOut: [(seconds: Int, words: String)], strangers: [String] = []
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
            if let expiry = supply.firstExpiry {
                lines.append(StatusScreen.fact("", "what is not sent within \(SettingsUnits.text(expiry)) is given up"))
            }
            if let hours = supply.hours, hours < 24 { complaints.append("the queue would be full within a day") }
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
        let json = JSONValue.object([
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
            ), ("ready", .bool(complaints.isEmpty)),
        ])
        return OperatorAnswer(json: json.text, lines: lines, isGood: complaints.isEmpty, complaints: complaints)
    }
}

extension JournalFacts {
    /// The stretch of time that the rows cover; an hour at least, so that a call of just now is no flood.
    fileprivate func hours(until now: Int64) -> Double {
        max(1, Double(now - (oldest ?? now)) / 3_600_000)
    }
}

extension UpstreamSettings {
    /// Whether it can be reached without any network.
    var isOfThisMachine: Bool {
        switch transport {
        case .stdio: true
        case .http(let url, _): Self.isLoopback(Self.host(of: url))
        }
    }

    /// A name that only begins like such an address is somebody else's.
    private static func isLoopback(_ host: String) -> Bool {
        let isNumber = host.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
        return host == "localhost" || host == "::1" || isNumber && host.hasPrefix("127.")
    }

    static func host(of url: String) -> String {
        guard let mark = url.firstRange(of: "://") else { return "" }
        let rest = url[mark.upperBound...].prefix { $0 != "/" && $0 != "?" }
        let place = rest.split(separator: "@").last ?? ""
        if place.hasPrefix("["), let end = place.firstIndex(of: "]") {
            return String(place[place.index(after: place.startIndex)..<end])
        }
        return String(place.prefix { $0 != ":" })
    }
}
