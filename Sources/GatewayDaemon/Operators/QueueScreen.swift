// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire
internal import Telemetry

/// The queue as a person at a terminal reads it.
enum QueueScreen {
    static func list(_ answer: JSONValue) -> String {
        var lines: [String] = []
        // First what somebody has to do something about.
        let notes = answer["notes"]?.arrayValue?.compactMap(\.stringValue) ?? []
        if !notes.isEmpty {
            lines += notes.map { "! " + $0 }
            lines.append("  mcp-gateway queue list --status unknown; queue show ID; queue retry ID; queue cancel ID")
            lines.append("")
        }
        lines.append(answer["words"]?.stringValue ?? "")
        if let age = answer["counts"]?["oldest_age_seconds"]?.intValue {
            lines.append("the oldest that waits is \(AgeText.of(seconds: age)) old")
        }
        let items = answer["items"]?.arrayValue ?? []
        guard !items.isEmpty else { return lines.joined(separator: "\n") }
        var table = ScreenTable(["#ID", "STATUS", "UPSTREAM", "TOOL", "CALLER", "#AGE", "#SENT", "LAST ERROR"])
        for item in items {
            table.add([
                text(item["id"]), text(item["status"]), text(item["upstream"]), text(item["tool"]),
                text(item["caller"]), AgeText.of(seconds: item["age_seconds"]?.intValue ?? 0), text(item["attempts"]),
                short(item["last_error"]?.stringValue ?? ""),
            ])
        }
        lines += ["", table.text]
        if let next = answer["next_before"]?.intValue {
            lines += ["", "older ones: mcp-gateway queue list --before \(next)"]
        }
        return lines.joined(separator: "\n")
    }

    /// One call, a fact a line, and what can be done with it.
    static func one(_ item: JSONValue) -> String {
        var lines: [String] = []
        for (key, value) in item.objectValue ?? [] where value != .null {
            let name = key == "age_seconds" ? "age" : key.split(separator: "_").joined(separator: " ")
            let fact: String
            switch key {
            case "age_seconds": fact = AgeText.of(seconds: value.intValue ?? 0)
            case "answer": fact = "\(text(value["kind"])), \(text(value["bytes"])) bytes"
            case "attempts": fact = "sent \(text(value)) times"
            case "idempotent": fact = value.boolValue == true ? "yes, may be sent twice" : "no"
            default: fact = LogText.escaped(text(value), bytesMax: 1_000) + (key.hasSuffix("_at") ? " UTC" : "")
            }
            lines.append(name + String(repeating: " ", count: max(1, 17 - name.count)) + fact)
        }
        if item["status"]?.stringValue == "unknown" {
            let id = text(item["id"])
            lines += [
                "",
                "It was sent, and whether it was carried out is not known. Look at the upstream (the idempotency key",
                "may be in its records), then: mcp-gateway queue retry \(id)   it was not carried out: send it again",
                "                              mcp-gateway queue cancel \(id)  it was carried out, or is not wanted",
            ]
        }
        return lines.joined(separator: "\n")
    }

    private static func text(_ value: JSONValue?) -> String { value.shown }

    private static func short(_ text: String) -> String { text.count > 60 ? text.prefix(59) + "…" : text }
}
