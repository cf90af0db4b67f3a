// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import GatewayCore
internal import Glibc
internal import MCPWire
internal import Telemetry

/// Cuts upstreams off for a while, on purpose, and says what became of the calls meanwhile and afterwards.
package struct OfflineDrill: Sendable {
    private let settings: GatewaySettings
    private let client: ControlClient
    private let time = SystemTime()

    package init(settings: GatewaySettings) {
        self.settings = settings
        client = ControlClient(socketPath: settings.admin.controlSocket)
    }

    /// How long stored calls may take to be sent once the cut is over.
    private static let drainPatience = Duration.seconds(120)
    /// Milliseconds.
    private static let rowsLag: Int32 = 1_200

    /// - Parameters:
    ///   - length: as an order takes it, such as `5m`.
    ///   - progress: told about once a second.
    package func run(
        _ named: [String], length: String, progress: (String) -> Void
    ) throws(StartError) -> OperatorAnswer {
        guard let words = OrderWords.lasting(length), let lasts = SettingsUnits.duration(words) else {
            throw StartError("\(length) is no time that a drill can take")
        }
        let upstreams = named.enumerated().filter { !named[..<$0.offset].contains($0.element) }.map(\.element)
        try refuseWhatIsCut(upstreams)
        let signals = try EndSignals()
        let begun = time.wallMilliseconds()
        var cuts: [DrillCut] = []
        var ordered: [String] = []
        do throws(StartError) {
            for upstream in upstreams {
                let order = ControlClient.lasting(words, [("upstream", .string(upstream)), ("force", true)])
                _ = try client.order("POST", "/admin/circuit-breaker/enable", order)
                ordered.append(upstream)
                let all = try orders()
                cuts.append(DrillCut(upstream, lasts: lasts, in: all))
            }
        } catch {
            // What cannot be undone now ends by itself.
            for upstream in ordered { try? undo(upstream) }
            throw error
        }
        let ends = Deadline(time.now() + lasts)
        var wasEnded = false
        while !ends.hasPassed(at: time.now()), !wasEnded, cuts.contains(where: \.holds) {
            let left = ends.remaining(at: time.now())
            // A gateway that does not answer this once is asked again.
            let status = try? client.statusFacts(patience: .seconds(2)).json
            // Towards the end it may be the time that has ended them.
            if let all = status?["overrides"]?.arrayValue, left > Self.endIsNear {
                for index in cuts.indices { cuts[index].look(at: all) }
            }
            progress(
                "cut off: \(upstreams.joined(separator: ", ")); "
                    + "\(AgeText.of(seconds: Int((left.milliseconds / 1_000).rounded(.up)))) to go; "
                    + (status.map { NumberText.count(Self.waiting(upstreams, $0), "stored call") }
                        ?? "the gateway does not answer"))
            let pause = min(1_000, max(1, ends.remaining(at: time.now()).milliseconds))
            wasEnded = signals.wait(Int32(pause), output: -1) == .end
        }
        let stored = waiting(upstreams) ?? 0
        try end(&cuts, isEarly: ends.remaining(at: time.now()) > Self.endIsNear)
        let over = time.wallMilliseconds()
        let sent = drain(upstreams, before: stored, signals, progress)
        // Rows of the last calls may be written a second after their answers.
        _ = signals.wait(Self.rowsLag, output: -1)
        return try report(
            upstreams, from: begun, to: over, sent, wasEnded: wasEnded, changes: cuts.compactMap(\.words))
    }

    private static let endIsNear = Duration.seconds(2)

    /// Only what the drill has ordered is undone by it.
    private func end(_ cuts: inout [DrillCut], isEarly: Bool) throws(StartError) {
        var refused: StartError?
        for index in cuts.indices where cuts[index].holds {
            do throws(StartError) {
                let all = try orders()
                let isThere = all.contains { cuts[index].isAbout($0) }
                // One that is gone has ended by itself, as it should.
                if isThere || isEarly { cuts[index].look(at: all) }
                if isThere, cuts[index].holds { try undo(cuts[index].upstream) }
            } catch { refused = error }
        }
        if let refused {
            throw StartError("\(refused.words); the cut ends by itself when its time is over")
        }
    }

    private func orders() throws(StartError) -> [JSONValue] {
        try client.order("GET", "/admin/overrides", patience: GatewayLook.patience).json["overrides"]?.arrayValue ?? []
    }

    /// What an operator has ordered already would be lost by the drill.
    private func refuseWhatIsCut(_ upstreams: [String]) throws(StartError) {
        let patience = GatewayLook.patience
        let all =
            try client.order("GET", "/admin/circuit-breaker", patience: patience).json["breakers"]?.arrayValue ?? []
        let orders = try orders()
        for upstream in upstreams {
            guard let breaker = all.first(where: { $0["upstream"].shown == upstream && $0["tool"].shown.isEmpty })
            else {
                throw StartError(
                    "there is no upstream \(ControlClient.words(upstream)); mcp-gateway upstreams list shows those "
                        + "there are"
                )
            }
            guard breaker["forced"]?.boolValue != true, breaker["armed"]?.boolValue != false,
                !orders.contains(where: { DrillCut.isOrder($0, about: upstream) })
            else {
                throw StartError(
                    "the breaker of \(ControlClient.words(upstream)) is held open or closed by order already; undo "
                        + "that first (mcp-gateway overrides list)")
            }
        }
    }

    private func undo(_ upstream: String) throws(StartError) {
        _ = try client.order(
            "DELETE", "/admin/overrides?what=circuit-breaker&subject=" + ControlClient.escaped(upstream))
    }

    private func waiting(_ upstreams: [String]) -> Int? {
        // A gateway that does not answer this once is asked again.
        (try? client.statusFacts(patience: .seconds(2)).json).map { Self.waiting(upstreams, $0) }
    }

    private static func waiting(_ upstreams: [String], _ status: JSONValue) -> Int {
        (status["upstreams"]?.arrayValue ?? []).filter { upstreams.contains($0["name"].shown) }
            .reduce(0) { $0 + ($1["stored"]?.intValue ?? 0) }
    }

    // MARK: Afterwards

    private struct Sent {
        var before: Int
        var after: Int
        var seconds: Double
    }

    /// Waits until nothing is stored for them any more.
    private func drain(
        _ upstreams: [String], before: Int, _ signals: EndSignals, _ progress: (String) -> Void
    ) -> Sent {
        let begun = time.now()
        let ends = Deadline(begun + Self.drainPatience)
        var after = waiting(upstreams) ?? before
        while after > 0, !ends.hasPassed(at: time.now()) {
            progress("the cut is over; \(NumberText.count(after, "stored call")) to be sent")
            if signals.wait(200, output: -1) == .end { break }
            after = waiting(upstreams) ?? after
        }
        return Sent(before: before, after: after, seconds: time.now().since(begun).milliseconds / 1_000)
    }

    private func report(
        _ upstreams: [String], from begun: Int64, to over: Int64, _ sent: Sent, wasEnded: Bool, changes: [String]
    ) throws(StartError) -> OperatorAnswer {
        let folder = try client.statusFacts(patience: .seconds(5)).json["storage"]?.stringValue
        let facts: JournalFacts
        do throws(StoreError) {
            facts = try JournalFacts.read(
                directory: folder ?? settings.storage.directory, isInUse: true, since: begun, until: over)
        } catch { throw StartError(error.text) }
        let calls = facts.calls.filter { upstreams.contains($0.upstream) }
        return Self.answer(
            calls, sent: (sent.before, sent.after, sent.seconds), seconds: Int((over - begun) / 1_000),
            wasEnded: wasEnded, changes: changes)
    }

    /// - Parameters:
    ///   - sent: stored calls when the cut was over, those left now, and the seconds between.
    ///   - changes: what others did to the cut, in words.
    static func answer(
        _ calls: [JournalFacts.Calls], sent: (before: Int, after: Int, seconds: Double), seconds: Int, wasEnded: Bool,
        changes: [String] = []
    ) -> OperatorAnswer {
        func number(_ statuses: Set<String>, _ tool: String? = nil) -> Int {
            calls.filter { statuses.contains($0.status) && (tool == nil || $0.tool == tool) }.reduce(0) {
                $0 + $1.count
            }
        }
        var table = ScreenTable(["TOOL", "#CALLS", "#STORED", "#KEPT ANSWER", "#REFUSED"])
        let tools = Set(calls.map(\.tool)).sorted()
        for tool in tools {
            let (stored, kept, refused) = (
                number(["queued"], tool), number(["ok", "tool_error"], tool), number(["failed"], tool)
            )
            table.add(
                [tool, "\(stored + kept + refused)", "\(stored)", "\(kept)", "\(refused)"],
                inks: refused > 0 ? [4: .bad] : [:])
        }
        let refused = number(["failed"])
        var lines = [
            ScreenLine("cut off for \(AgeText.of(seconds: seconds))" + (wasEnded ? ", ended by hand" : ""), .strong)
        ]
        lines +=
            tools.isEmpty
            ? [ScreenLine("no calls came for them meanwhile")] : [ScreenLine()] + table.lines + [ScreenLine()]
        if sent.before > 0 {
            lines.append(
                ScreenLine(
                    "\(sent.before - sent.after) of \(NumberText.count(sent.before, "stored call")) sent within "
                        + "\(NumberText.of(sent.seconds)) s after it", sent.after == 0 ? .good : .doubtful))
        }
        var complaints = changes
        if refused > 0 {
            complaints.append(
                "refused: \(NumberText.count(refused, "call")), whose tools have nothing for an outage (see their "
                    + "offline)")
        }
        if sent.after > 0 {
            complaints.append(
                "not sent yet: \(NumberText.count(sent.after, "stored call")); mcp-gateway queue list shows them")
        }
        let json = JSONValue.object([
            ("seconds", .number(String(seconds))), ("ended_by_hand", .bool(wasEnded)),
            ("meanwhile", .array(changes.map { .string($0) })),
            ("stored", .number(String(number(["queued"])))),
            ("kept_answers", .number(String(number(["ok", "tool_error"])))),
            ("refused", .number(String(refused))), ("sent_afterwards", .number(String(sent.before - sent.after))),
            ("still_waiting", .number(String(sent.after))),
            ("seconds_until_sent", .number(NumberText.of(sent.seconds))),
        ])
        return OperatorAnswer(json: json.text, lines: lines, isGood: complaints.isEmpty, complaints: complaints)
    }
}
