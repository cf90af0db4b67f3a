// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Telemetry

/// The orders of the command line, over the control socket.
extension ControlClient {
    /// Longer than reading, copying and checking the largest database takes.
    private static let longPatience = Duration.seconds(4 * 3_600)

    // MARK: Queue

    package func queueList(
        statuses: [String], upstream: String?, limit: Int?, before: Int64?
    ) throws(StartError) -> OperatorAnswer {
        var query: [String] = []
        if !statuses.isEmpty { query.append("status=" + Self.escaped(statuses.joined(separator: ","))) }
        if let upstream { query.append("upstream=" + Self.escaped(upstream)) }
        if let limit { query.append("limit=\(limit)") }
        if let before { query.append("before=\(before)") }
        let path = "/admin/queue" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
        let (json, text) = try order("GET", path)
        return OperatorAnswer(json: text, screen: QueueScreen.list(json))
    }

    package func queueShow(_ id: Int64) throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("GET", "/admin/queue/\(id)")
        return OperatorAnswer(json: text, screen: QueueScreen.one(json["item"] ?? .null))
    }

    package func queueRetry(_ id: Int64) throws(StartError) -> OperatorAnswer {
        try said("POST", "/admin/queue/\(id)/retry")
    }

    package func queueCancel(_ id: Int64) throws(StartError) -> OperatorAnswer {
        try said("DELETE", "/admin/queue/\(id)")
    }

    package func queuePurge(statuses: [String], olderThan: String?) throws(StartError) -> OperatorAnswer {
        var members: [(key: String, value: JSONValue)] = [("statuses", .array(statuses.map { .string($0) }))]
        if let olderThan { members.append(("older_than", .string(olderThan))) }
        return try said("POST", "/admin/queue/purge", .object(members))
    }

    // MARK: Storage

    /// - Parameter path: absolute; nil for the day's own backup.
    package func backup(to path: String?) throws(StartError) -> OperatorAnswer {
        try said("POST", "/admin/backup", path.map { ["to": .string($0)] } ?? [:], patience: Self.longPatience)
    }

    /// The database in use.
    package func verify() throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("POST", "/admin/verify", [:], patience: Self.longPatience)
        var report = VerifyReport(path: json["path"]?.stringValue ?? "")
        report.problems =
            json["problems"]?.arrayValue?.compactMap(\.stringValue) ?? ["the gateway's answer is not known"]
        for (table, count) in json["rows"]?.objectValue ?? [] { report.rows[table] = Int64(count.intValue ?? 0) }
        report.payloadsSound = json["payloads_sound"]?.intValue ?? 0
        return OperatorAnswer(json: text, screen: StorageScreen.text(report), isGood: report.isSound)
    }

    // MARK: Talking

    /// An order whose answer is one sentence.
    func said(
        _ verb: String, _ path: String, _ body: JSONValue = [:], patience: Duration = .seconds(30)
    ) throws(StartError) -> OperatorAnswer {
        let (json, text) = try order(verb, path, body, patience: patience)
        return OperatorAnswer(json: text, screen: Self.words(json["words"]?.stringValue ?? text))
    }

    /// Throws what the gateway says when it refuses.
    func order(
        _ verb: String, _ path: String, _ body: JSONValue? = nil, patience: Duration = .seconds(30)
    ) throws(StartError) -> (json: JSONValue, text: String) {
        let answer = try answer(verb, path, body, patience: patience)
        guard answer.status == 200 else { throw StartError(answer.refusal) }
        return (answer.json, answer.text)
    }

    /// What the gateway says, be it a refusal.
    struct Answer: Sendable {
        let status: Int
        let json: JSONValue
        let text: String

        var refusal: String {
            let words = json["error"]?["message"]?.stringValue ?? "the gateway refused (HTTP status \(status))"
            return ControlClient.words(words)
        }
    }

    func answer(
        _ verb: String, _ path: String, _ body: JSONValue? = nil, patience: Duration = .seconds(30)
    ) throws(StartError) -> Answer {
        let (status, answer) = try ask(verb, path, body: body?.text, patience: patience)
        let text = answer.hasSuffix("\n") ? String(answer.dropLast()) : answer
        do {
            return Answer(status: status, json: try JSONValue.parse(text), text: text)
        } catch {
            throw StartError("the gateway's answer cannot be read (HTTP status \(status)); is it another version?")
        }
    }

    /// Sentences of the gateway, which may hold names that upstreams gave.
    static func words(_ text: String) -> String { LogText.escaped(text, bytesMax: 16_384) }

    /// For a query: what is no letter, digit, `-`, `_` or `.` by its number.
    static func escaped(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            if SettingsUnits.isNameByte(byte) || byte == UInt8(ascii: ".") {
                out.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                out += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return out
    }
}
