// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// How a text stands out on a terminal that has colours.
enum Ink: String, Sendable {
    case plain = ""
    case strong = "1"
    case faint = "2"
    case good = "32"
    case doubtful = "33"
    case bad = "31"

    /// For the words that health and breakers use.
    static func of(_ status: String) -> Ink {
        switch status {
        case "healthy": .good
        case "degraded", "half-open": .doubtful
        case "unhealthy", "open": .bad
        default: .plain
        }
    }
}

/// One line of a screen: texts, each in its ink. What comes from elsewhere is escaped before it is put in.
struct ScreenLine: Sendable, Equatable {
    struct Piece: Sendable, Equatable {
        var text: String
        var ink: Ink
    }

    private(set) var pieces: [Piece]

    init(_ text: String = "", _ ink: Ink = .plain) { pieces = text.isEmpty ? [] : [Piece(text: text, ink: ink)] }

    mutating func append(_ text: String, _ ink: Ink = .plain) {
        if !text.isEmpty { pieces.append(Piece(text: text, ink: ink)) }
    }

    /// Without the spaces at its end.
    mutating func trim() {
        while let last = pieces.last {
            let kept = last.text.reversed().drop { $0 == " " }.reversed()
            pieces[pieces.count - 1].text = String(kept)
            if !kept.isEmpty { return }
            pieces.removeLast()
        }
    }

    var plain: String { pieces.map(\.text).joined() }

    /// - Parameter columns: what lies behind them is cut off; nil for nothing.
    func text(columns: Int? = nil, isColoured: Bool) -> String {
        var room = columns ?? .max
        var out = ""
        for piece in pieces where room > 0 {
            let shown = piece.text.prefix(room)
            room -= shown.count
            let isInked = isColoured && piece.ink != .plain
            out += isInked ? "\u{1b}[\(piece.ink.rawValue)m\(shown)\u{1b}[0m" : String(shown)
        }
        return out
    }
}

extension [ScreenLine] {
    /// A text of several lines.
    init(_ text: String) {
        self = text.split(separator: "\n", omittingEmptySubsequences: false).map { ScreenLine(String($0)) }
    }

    func text(isColoured: Bool) -> String { map { $0.text(isColoured: isColoured) }.joined(separator: "\n") }
}

extension JSONValue {
    /// A number, however it is written.
    var doubleValue: Double? { if case .number(let text) = self { Double(text) } else { nil } }
}

extension JSONValue? {
    /// As a screen shows it: a text without quotes, nothing for null. Not escaped.
    var shown: String {
        guard let value = self, value != .null else { return "" }
        return value.stringValue ?? value.text
    }
}

/// Numbers as people read them.
enum NumberText {
    /// Without a fraction from ten on, with one digit below.
    static func of(_ number: Double) -> String {
        guard number.isFinite, number.magnitude < 1e15 else { return "?" }
        let tenths = (number * 10).rounded() / 10
        return tenths.magnitude >= 10 || tenths == tenths.rounded()
            ? String(Int(tenths.rounded())) : String(tenths)
    }

    static func of(milliseconds: Double) -> String {
        milliseconds < 999.5 ? of(milliseconds) + " ms" : of(milliseconds / 1_000) + " s"
    }

    static func of(bytes: Double) -> String {
        let mebibytes = bytes / 1_048_576
        return mebibytes < 1_000 ? of(mebibytes) + " MiB" : of(mebibytes / 1_024) + " GiB"
    }

    /// Of a share of one.
    static func percent(_ share: Double) -> String { of((share * 100).rounded()) + " %" }

    static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
}
