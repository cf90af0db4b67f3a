// Licensed under the Apache License 2.0; see LICENSE.

/// What stands on a terminal, so that only what has changed is written: over a slow line a screen on which a few
/// numbers change costs a few bytes. Pure: lines in, a text out.
struct LiveScreen: Sendable {
    private var shown: [String] = []
    private var size = (rows: 0, columns: 0)
    private let isColoured: Bool

    init(isColoured: Bool) { self.isColoured = isColoured }

    /// Another screen, a hidden cursor, and lines that end at the edge.
    static let begin = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l"
    static let end = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"

    /// Everything is written the next time.
    mutating func forget() { size = (0, 0) }

    /// What makes the terminal show these lines, as far as they fit; empty when it does already.
    mutating func frame(_ lines: [ScreenLine], rows: Int, columns: Int) -> String {
        var out = ""
        if size != (rows, columns) {
            // Nobody knows what a terminal of another size makes of what it showed.
            out = "\u{1b}[H\u{1b}[2J"
            shown = []
            size = (rows, columns)
        }
        let fitting = Self.fitting(lines, rows: rows)
        var next: [String] = []
        for (row, line) in fitting.enumerated() {
            let text = line.text(columns: columns, isColoured: isColoured)
            next.append(text)
            guard row >= shown.count || shown[row] != text else { continue }
            out += "\u{1b}[\(row + 1);1H" + text
            // In the last column the rest of the line would be its last character.
            if line.plain.count < columns { out += "\u{1b}[K" }
        }
        if next.count < shown.count { out += "\u{1b}[\(next.count + 1);1H\u{1b}[J" }
        shown = next
        return out
    }

    private static func fitting(_ lines: [ScreenLine], rows: Int) -> [ScreenLine] {
        guard lines.count > rows else { return lines }
        let left = lines.count - max(0, rows - 1)
        return lines.prefix(max(0, rows - 1)) + (rows > 0 ? [ScreenLine("… \(left) lines more", .faint)] : [])
    }
}
