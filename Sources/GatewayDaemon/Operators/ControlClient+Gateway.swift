// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import MCPWire

/// Orders and questions about the gateway as a whole.
extension ControlClient {
    /// The answer of `/admin/status`, read and as it came.
    func statusFacts(patience: Duration) throws(StartError) -> (json: JSONValue, text: String) {
        try order("GET", "/admin/status", patience: patience)
    }

    /// - Parameter showsAll: also the components that are well.
    package func status(showsAll: Bool) throws(StartError) -> OperatorAnswer {
        let (json, text) = try statusFacts(patience: .seconds(5))
        let canServe = json["status"]?.stringValue != "unhealthy"
        return OperatorAnswer(
            json: text, lines: StatusScreen.lines(json, showsAll: showsAll), isGood: canServe,
            complaints: canServe ? [] : ["the gateway cannot accept calls"])
    }

    // MARK: Configuration

    /// Longer than loading and compiling every module takes.
    private static let reloadPatience = Duration.seconds(600)

    /// Returns when the file is in force, or was refused with every mistake that is in it.
    package func reload() throws(StartError) -> OperatorAnswer {
        let answer = try answer("POST", "/admin/reload", [:], patience: Self.reloadPatience)
        guard answer.status == 200 else {
            let problems = answer.json["error"]?["problems"]?.arrayValue ?? []
            return OperatorAnswer(
                json: answer.text, lines: [], isGood: false,
                complaints: [answer.refusal] + problems.map { Self.words(Optional($0).shown) })
        }
        return OperatorAnswer(json: answer.text, lines: ReloadScreen.lines(answer.json))
    }

    // MARK: Draining

    /// Has the gateway take nothing new, and waits until nothing runs any more.
    ///
    /// - Parameters:
    ///   - wait: at most so long; zero for not at all.
    ///   - lasts: the drain ends by itself after this time; nil for when somebody ends it.
    ///   - progress: told what still runs, each time that changes.
    package func drain(
        wait: Duration, lasts: String?, progress: (String) -> Void
    ) throws(StartError) -> OperatorAnswer {
        var (json, text) = try order("POST", "/admin/drain", Self.lasting(lasts))
        let time = SystemTime()
        let ends = Deadline(time.now() + wait)
        var pause: Int32 = 50
        var told = ""
        while json["draining"]?.boolValue == true, json["in_flight"]?.intValue != 0,
            !ends.hasPassed(at: time.now())
        {
            let words = Self.words(json["words"].shown)
            if words != told { progress(words) }
            told = words
            // A wait with a limit, of nothing but the time.
            _ = poll(nil, 0, min(pause, Int32(ends.remaining(at: time.now()).milliseconds.rounded(.up))))
            pause = min(pause * 2, 1_000)
            (json, text) = try order("GET", "/admin/drain")
        }
        let isDraining = json["draining"]?.boolValue == true
        let isQuiet = json["in_flight"]?.intValue == 0
        var complaints: [String] = []
        if !isDraining {
            complaints = ["somebody has undone the drain meanwhile"]
        } else if !isQuiet, wait > .zero {
            complaints = ["calls still run after \(SettingsUnits.text(wait)); the gateway stays drained"]
        }
        return OperatorAnswer(
            json: text, lines: [ScreenLine](Self.words(json["words"].shown)), isGood: complaints.isEmpty,
            complaints: complaints)
    }

    package func endDrain() throws(StartError) -> OperatorAnswer { try said("DELETE", "/admin/drain") }

    // MARK: Upstreams

    package func upstreamsList() throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("GET", "/admin/upstreams")
        return OperatorAnswer(json: text, lines: UpstreamScreen.list(json))
    }

    /// Has the gateway try every upstream now.
    ///
    /// - Parameter name: only this one counts, and is shown; nil for all.
    package func upstreamsCheck(_ name: String?) throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("POST", "/admin/sync/force", [:], patience: .seconds(60))
        let all = json["upstreams"]?.objectValue ?? []
        let chosen = all.filter { name == nil || $0.key.utf8.elementsEqual((name ?? "").utf8) }
        if let name, chosen.isEmpty {
            let known = all.isEmpty ? "none" : all.map { Self.words($0.key) }.joined(separator: ", ")
            throw StartError("there is no upstream \(Self.words(name)); there are: \(known)")
        }
        guard !chosen.isEmpty else { return OperatorAnswer(json: text, screen: "there are no upstreams") }
        let bad = chosen.filter { $0.value["status"]?.stringValue != "healthy" }.map { Self.words($0.key) }
        return OperatorAnswer(
            json: text, lines: UpstreamScreen.checked(chosen), isGood: bad.isEmpty,
            complaints: bad.isEmpty ? [] : ["not healthy: " + bad.joined(separator: ", ")])
    }
}

/// What a reload came to.
enum ReloadScreen {
    static func lines(_ answer: JSONValue) -> [ScreenLine] {
        let changed = names(answer["changed"])
        var lines = [
            changed.isEmpty
                ? ScreenLine("nothing to change: what the file says is in force")
                : ScreenLine("in force: \(changed)", .good)
        ]
        let waiting = names(answer["waits_for_restart"])
        if !waiting.isEmpty { lines.append(ScreenLine("waits for a restart: \(waiting)", .doubtful)) }
        if let seconds = answer["probation_seconds"]?.doubleValue, !changed.isEmpty {
            lines.append(
                ScreenLine(
                    "It is watched for \(AgeText.of(seconds: Int(seconds))), and taken back should calls go clearly "
                        + "worse than before."))
        }
        return lines
    }

    private static func names(_ list: JSONValue?) -> String {
        (list?.arrayValue ?? []).map { ControlClient.words(Optional($0).shown) }.joined(separator: ", ")
    }
}
