// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire
internal import Telemetry

/// The answer of `/admin/status` as a person at a terminal reads it. Works with what is there: a member that an older
/// or newer gateway does not give is left out.
enum StatusScreen {
    /// - Parameters:
    ///   - showsAll: also the components that are well.
    ///   - pulse: stands below the numbers of calls.
    static func lines(_ status: JSONValue, showsAll: Bool, pulse: ScreenLine? = nil) -> [ScreenLine] {
        var lines = [head(status), ScreenLine()] + calls(status)
        if let pulse { lines.append(pulse) }
        lines += queue(status["queue"])
        if let load = load(status["load"]) { lines.append(load) }
        for section in [upstreams(status), components(status, showsAll: showsAll), byHand(status)] {
            if !section.isEmpty { lines += [ScreenLine()] + section }
        }
        return lines
    }

    private static func head(_ status: JSONValue) -> ScreenLine {
        let level = status["status"]?.stringValue ?? "?"
        var line = ScreenLine("mcp-gateway \(outside(status["version"])): ", .strong)
        line.append(LogText.escaped(level, bytesMax: 40), Ink.of(level))
        if let uptime = status["uptime_seconds"]?.doubleValue {
            line.append(", up " + AgeText.of(seconds: Int(uptime)))
        }
        if status["draining"]?.boolValue == true { line.append(", drained: takes no new calls", .bad) }
        return line
    }

    // MARK: Numbers

    static let labelWidth = 11

    static func fact(_ label: String, _ text: String, _ ink: Ink = .plain) -> ScreenLine {
        var line = ScreenLine(label + String(repeating: " ", count: max(1, labelWidth - label.count)), .faint)
        line.append(text, ink)
        return line
    }

    private static func calls(_ status: JSONValue) -> [ScreenLine] {
        var lines: [ScreenLine] = []
        if let minute = status["last_minute"], let calls = minute["calls"]?.intValue {
            let rate = minute["calls_per_second"]?.doubleValue ?? 0
            var line = fact("calls", "\(calls) in the last minute (\(NumberText.of(rate))/s), ")
            let failed = minute["failed"]?.intValue ?? 0
            line.append("\(failed) failed", failed > 0 ? .bad : .plain)
            let limited = minute["limited"]?.intValue ?? 0
            line.append(", ")
            line.append("\(limited) limited", limited > 0 ? .doubtful : .plain)
            lines.append(line)
            let times = [("half within", "p50_ms"), ("95 of 100 within", "p95_ms")].compactMap { words, key in
                minute[key]?.doubleValue.map { "\(words) \(NumberText.of(milliseconds: $0))" }
            }
            if !times.isEmpty { lines.append(fact("answers", times.joined(separator: ", "))) }
        }
        lines.append(fact("in flight", outside(status["in_flight"])))
        return lines
    }

    private static func queue(_ queue: JSONValue?) -> [ScreenLine] {
        guard let queue else { return [] }
        let waiting = queue["waiting"]?.intValue ?? 0
        var line = fact("queue", waiting == 0 ? "no calls wait" : "\(NumberText.count(waiting, "call")) to be sent")
        if waiting > 0, let age = queue["oldest_age_seconds"]?.intValue {
            line.append(", the oldest \(AgeText.of(seconds: age)) old")
        }
        let undecided = queue["items"]?["unknown"]?.intValue ?? 0
        if undecided > 0 {
            line.append("; ")
            line.append("\(undecided) to be decided by a person", .doubtful)
            line.append(": mcp-gateway queue list")
        }
        return [line]
    }

    private static func load(_ load: JSONValue?) -> ScreenLine? {
        guard let load, load != .null else { return nil }
        var parts: [String] = []
        if let share = load["cpu_share"]?.doubleValue, let cores = load["cores"]?.doubleValue {
            parts.append("CPU \(NumberText.percent(share)) of \(NumberText.of(cores)) cores")
        }
        if let used = load["memory_used_bytes"]?.doubleValue, let limit = load["memory_limit_bytes"]?.doubleValue {
            let share = limit > 0 ? " (\(NumberText.percent(used / limit)))" : ""
            parts.append("memory \(NumberText.of(bytes: used)) of \(NumberText.of(bytes: limit))\(share)")
        }
        if let own = load["resident_bytes"]?.doubleValue { parts.append("its own \(NumberText.of(bytes: own))") }
        return parts.isEmpty ? nil : fact("load", parts.joined(separator: ", "))
    }

    // MARK: Tables

    private static func upstreams(_ status: JSONValue) -> [ScreenLine] {
        let all = status["upstreams"]?.arrayValue ?? []
        guard !all.isEmpty else { return [] }
        return UpstreamScreen.table(all, isShort: true)
    }

    /// The table of upstreams says already how those are.
    private static func components(_ status: JSONValue, showsAll: Bool) -> [ScreenLine] {
        let upstreams = status["upstreams"]?.arrayValue?.map { "upstream:" + $0["name"].shown } ?? []
        let shown = (status["components"]?.arrayValue ?? []).filter { component in
            showsAll || component["status"]?.stringValue != "healthy" && !upstreams.contains(component["name"].shown)
        }
        guard !shown.isEmpty else { return [] }
        var table = ScreenTable(["COMPONENT", "STATUS", "SINCE (UTC)", "DETAIL"])
        for one in shown {
            let level = one["status"].shown
            table.add(
                [one["name"].shown, level, TimeText.toMinute(one["since"]), one["detail"].shown],
                inks: [1: Ink.of(level)])
        }
        return table.lines
    }

    private static func byHand(_ status: JSONValue) -> [ScreenLine] {
        let overrides = status["overrides"]?.arrayValue ?? []
        return overrides.isEmpty ? [] : OverrideScreen.table(overrides)
    }

    private static func outside(_ value: JSONValue?) -> String { LogText.escaped(value.shown, bytesMax: 60) }
}

/// Times as the gateway writes them, `YYYY-MM-DD HH:MM:SS.SSS` in UTC.
enum TimeText {
    static func toMinute(_ time: JSONValue?) -> String { String(time.shown.prefix(16)) }
}
