// Licensed under the Apache License 2.0; see LICENSE.

internal import Telemetry

/// Rows of texts in columns that are as wide as their widest text. Numbers stand at the right.
struct ScreenTable {
    private let heads: [String]
    private let isNumber: [Bool]
    private var rows: [(texts: [String], inks: [Int: Ink])] = []

    /// - Parameter heads: those of columns of numbers begin with `#`.
    init(_ heads: [String]) {
        self.heads = heads.map { $0.hasPrefix("#") ? String($0.dropFirst()) : $0 }
        isNumber = heads.map { $0.hasPrefix("#") }
    }

    /// What comes from elsewhere is escaped: a text of an upstream must not move the cursor.
    ///
    /// - Parameter inks: by column.
    mutating func add(_ row: [String], inks: [Int: Ink] = [:]) {
        rows.append((row.map { LogText.escaped($0, bytesMax: 200) }, inks))
    }

    var lines: [ScreenLine] {
        let head = (texts: heads, inks: Dictionary(uniqueKeysWithValues: heads.indices.map { ($0, Ink.faint) }))
        let all = [head] + rows
        let widths = heads.indices.map { column in all.map { $0.texts[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ScreenLine()
            for column in heads.indices {
                let text = row.texts[column]
                let fill = String(repeating: " ", count: widths[column] - text.count)
                if column > 0 { line.append("  ") }
                if isNumber[column] { line.append(fill) }
                line.append(text, row.inks[column] ?? .plain)
                if !isNumber[column] { line.append(fill) }
            }
            line.trim()
            return line
        }
    }

    var text: String { lines.text(isColoured: false) }
}

/// Lengths of time as people say them.
enum AgeText {
    static func of(seconds: Int) -> String {
        switch seconds {
        case ..<60: "\(max(0, seconds)) s"
        case ..<3_600: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3_600) h"
        default: "\(seconds / 86_400) days"
        }
    }
}
