// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Logging

/// How a line of `app.log` is written.
package enum LogFormat: String, Sendable, CaseIterable {
    case text, json
}

/// One event as one line of at most `bytesMax` bytes, the newline included. Everything in it is escaped.
struct LogLine {
    static let bytesMax = 8_192
    /// Room for the request id and what closes the line, which survive every cut.
    private static let tail = 160

    var milliseconds: Int64
    var level: Logger.Level
    var component: String
    var message: String
    var facts: [(key: String, value: String)]
    var requestID: String?

    /// `2026-11-23 18:20:01.123Z info  component: message key=value key="with blanks" request_id=…`
    func text() -> [UInt8] {
        var line = BoundedLine(bytesMax: Self.bytesMax - Self.tail)
        line.append(WallTime.text(milliseconds: milliseconds) + "Z ")
        let name = level.rawValue
        line.append(name + String(repeating: " ", count: max(0, 5 - name.utf8.count)) + " ")
        line.appendEscaped(component, quotes: false)
        line.append(": ")
        line.appendEscaped(message, quotes: false)
        Self.append(facts, to: &line)
        line.markCut("… [cut]")
        if let requestID {
            var end = BoundedLine(bytesMax: 100)
            Self.append([(LogKey.requestID, requestID)], to: &end)
            line.append(String(decoding: end.bytes, as: UTF8.self))
        }
        line.append("\n")
        return line.bytes
    }

    /// The line of `security.log`: `security 2026-11-23 18:20:01.123Z event key=value`.
    static func security(word: String, milliseconds: Int64, event: String, facts: [(String, String)]) -> [UInt8] {
        var line = BoundedLine(bytesMax: bytesMax - tail)
        line.append(word + " " + WallTime.text(milliseconds: milliseconds) + "Z ")
        line.appendEscaped(event, quotes: false)
        append(facts.map { (key: $0.0, value: $0.1) }, to: &line)
        line.markCut("… [cut]")
        line.append("\n")
        return line.bytes
    }

    private static func append(_ facts: [(key: String, value: String)], to line: inout BoundedLine) {
        for (key, value) in facts where !line.wasCut {
            line.append(" ")
            line.appendEscaped(key, quotes: true)
            line.append("=")
            if isBare(value) {
                line.appendEscaped(value, quotes: true)
            } else {
                line.append("\"")
                line.appendEscaped(value, quotes: true)
                line.append("\"")
            }
        }
    }

    /// Whether a value needs no quotes to be told from the next key.
    private static func isBare(_ value: String) -> Bool {
        !value.isEmpty
            && value.unicodeScalars.allSatisfy { scalar in
                scalar != " " && scalar != "=" && scalar != "\"" && scalar != "\\" && !LogText.isHarmful(scalar)
            }
    }

    /// The same as one JSON object.
    func json() -> [UInt8] {
        var line = BoundedLine(bytesMax: Self.bytesMax - Self.tail)
        line.append(
            "{\"timestamp\":\"" + WallTime.text(milliseconds: milliseconds) + "Z\",\"level\":\"" + level.rawValue)
        line.append("\"")
        Self.appendMember("component", component, to: &line)
        Self.appendMember("message", message, to: &line)
        for (key, value) in facts where !line.wasCut { Self.appendMember(key, value, to: &line) }
        if let requestID {
            var end = BoundedLine(bytesMax: 100)
            Self.appendMember(LogKey.requestID, requestID, to: &end)
            line.append(String(decoding: end.bytes, as: UTF8.self))
        }
        line.markCut(",\"cut\":true")
        line.append("}\n")
        return line.bytes
    }

    private static func appendMember(_ key: String, _ value: String, to line: inout BoundedLine) {
        line.append(",\"")
        line.appendEscaped(key, quotes: true)
        line.append("\":\"")
        line.appendEscaped(value, quotes: true)
        line.append("\"")
    }
}
