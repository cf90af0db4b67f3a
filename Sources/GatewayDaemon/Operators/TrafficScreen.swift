// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire
internal import Telemetry

/// Upstreams as a person at a terminal reads them.
enum UpstreamScreen {
    static func list(_ answer: JSONValue) -> [ScreenLine] {
        let all = answer["upstreams"]?.arrayValue ?? []
        guard !all.isEmpty else { return [ScreenLine("there are no upstreams")] }
        return table(all, isShort: false)
    }

    /// - Parameter isShort: without what changes only with the configuration.
    static func table(_ upstreams: [JSONValue], isShort: Bool) -> [ScreenLine] {
        let own = isShort ? [] : ["PREFIX", "#TOOLS"]
        var table = ScreenTable(["UPSTREAM", "STATUS", "BREAKER"] + own + ["#RUN", "#WAIT", "#STORED", "DETAIL"])
        for one in upstreams {
            let level = one["status"].shown
            let breaker = BreakerScreen.words(ofAll: one["breakers"]?.arrayValue ?? [])
            let own = isShort ? [] : [one["prefix"].shown, one["tools"].shown]
            let numbers = [one["in_flight"].shown, one["waiting"].shown, one["stored"].shown]
            table.add(
                [one["name"].shown, level, breaker] + own + numbers + [one["detail"].shown],
                inks: [1: Ink.of(level), 2: breaker.isEmpty ? .plain : .doubtful])
        }
        return table.lines
    }

    /// What came of trying them.
    static func checked(_ upstreams: [(key: String, value: JSONValue)]) -> [ScreenLine] {
        var table = ScreenTable(["UPSTREAM", "STATUS", "#SENT", "#STORED", "DETAIL"])
        for (name, one) in upstreams {
            let level = one["status"].shown
            table.add(
                [name, level, one["calls_sent"].shown, one["calls_waiting"].shown, one["detail"].shown],
                inks: [1: Ink.of(level)])
        }
        return table.lines
    }
}

/// Breakers as a person at a terminal reads them.
enum BreakerScreen {
    static func list(_ answer: JSONValue) -> [ScreenLine] {
        let all = answer["breakers"]?.arrayValue ?? []
        guard !all.isEmpty else { return [ScreenLine("there are no breakers")] }
        var table = ScreenTable(["UPSTREAM", "TOOL", "STATE", "#CALLS", "#FAILED", "#SLOW", "NEXT TRY"])
        for one in all {
            let state = one["state"].shown
            let next = one["next_probe_seconds"]?.doubleValue.map { "in " + AgeText.of(seconds: Int($0.rounded(.up))) }
            table.add(
                [
                    one["upstream"].shown, one["tool"].shown, state + order(one), one["calls"].shown,
                    one["failures"].shown, one["slow"].shown, next ?? "",
                ], inks: [2: Ink.of(state)])
        }
        return table.lines
    }

    /// Those of one upstream that do anything but let traffic flow; empty when there is none.
    static func words(ofAll breakers: [JSONValue]) -> String {
        breakers.compactMap { one in
            let state = one["state"].shown
            guard state != "closed" || one["armed"]?.boolValue == false else { return nil }
            let tool = one["tool"]?.stringValue.map { $0 + " " } ?? ""
            return tool + (state == "closed" ? "disarmed" : state + order(one))
        }.joined(separator: ", ")
    }

    /// What an operator has ordered of it.
    private static func order(_ breaker: JSONValue) -> String {
        if breaker["forced"]?.boolValue == true { return " by order" }
        return breaker["armed"]?.boolValue == false ? ", disarmed" : ""
    }
}

/// What was changed by hand.
enum OverrideScreen {
    static func list(_ answer: JSONValue) -> [ScreenLine] {
        let all = answer["overrides"]?.arrayValue ?? []
        return all.isEmpty ? [ScreenLine("nothing is changed by hand")] : table(all)
    }

    static func table(_ overrides: [JSONValue]) -> [ScreenLine] {
        var table = ScreenTable(["BY HAND", "VALUE", "SINCE (UTC)", "UNTIL (UTC)", "BY"])
        for one in overrides {
            let subject = one["subject"]?.stringValue.map { " " + $0 } ?? ""
            let until = TimeText.toMinute(one["until"])
            table.add(
                [
                    one["what"].shown + subject, one["value"].shown, TimeText.toMinute(one["since"]),
                    until.isEmpty ? "no end" : until, one["by"].shown,
                ], inks: [1: .doubtful])
        }
        return table.lines
    }
}

/// Tools as a person at a terminal reads them.
enum ToolScreen {
    static func list(_ answer: JSONValue) -> [ScreenLine] {
        let all = answer["tools"]?.arrayValue ?? []
        guard !all.isEmpty else { return [ScreenLine("there are no tools")] }
        var table = ScreenTable(["TOOL", "OWNER", "STATE", "OFFLINE", "TITLE"])
        for one in all {
            let isIn = one["enabled"]?.boolValue ?? true
            let offline = one["route"].shown == "wasm" ? "" : one["offline"].shown
            table.add(
                [one["name"].shown, one["owner"].shown, isIn ? "" : "taken out", offline, one["title"].shown],
                inks: [2: .doubtful])
        }
        return table.lines
    }

    /// A fact a line.
    ///
    /// - Parameters:
    ///   - tool: its line of the list; nil when it has none.
    ///   - explanation: what would become of a call.
    static func one(_ tool: JSONValue?, _ explanation: JSONValue) -> [ScreenLine] {
        let known = (tool?.objectValue ?? []).filter { key, value in
            key != "name" && explanation[key] == nil && value != .null
        }
        return facts(known + (explanation.objectValue ?? []))
    }

    /// Names with spaces for what their keys have underscores.
    static func facts(_ facts: [(key: String, value: JSONValue)]) -> [ScreenLine] {
        let width = facts.map(\.key.count).max() ?? 0
        return facts.map { key, value in
            let name = key.split(separator: "_").joined(separator: " ")
            var line = ScreenLine(name + String(repeating: " ", count: max(2, width - name.count + 2)), .faint)
            let shown = value.arrayValue?.map { Optional($0).shown }.joined(separator: ", ") ?? Optional(value).shown
            let ink: Ink =
                key == "verdict"
                ? (shown == "allowed" ? .good : .bad) : key.hasSuffix("breaker") ? Ink.of(shown) : .plain
            line.append(LogText.escaped(shown, bytesMax: 1_000), ink)
            return line
        }
    }
}
