// Licensed under the Apache License 2.0; see LICENSE.

internal import Telemetry

/// Rows of texts in columns that are as wide as their widest text. Numbers stand at the right.
struct ScreenTable {
    private let heads: [String]
    private let isNumber: [Bool]
    private var rows: [[String]] = []

    /// - Parameter heads: those of columns of numbers begin with `#`.
    init(_ heads: [String]) {
        self.heads = heads.map { $0.hasPrefix("#") ? String($0.dropFirst()) : $0 }
        isNumber = heads.map { $0.hasPrefix("#") }
    }

    /// What comes from elsewhere is escaped: a text of an upstream must not move the cursor.
    mutating func add(_ row: [String]) { rows.append(row.map { LogText.escaped($0, bytesMax: 200) }) }

    var text: String {
        let all = [heads] + rows
        let widths = heads.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.indices.map { column in
                let fill = String(repeating: " ", count: widths[column] - row[column].count)
                return isNumber[column] ? fill + row[column] : row[column] + fill
            }
            var line = cells.joined(separator: "  ")
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
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
