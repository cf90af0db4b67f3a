// Licensed under the Apache License 2.0; see LICENSE.

/// One key of the configuration file: what it is called, what it takes, what it is when left out, and why it exists.
/// The list of all of
/// them (`SettingsKey.all`) drives the check of a file, the suggestions for typing errors and the tables of
/// `docs/CONFIGURATION.md`.
package struct SettingsKey: Sendable {
    /// What a key takes.
    enum Kind: Sendable, Equatable {
        /// A table whose keys are listed too.
        case section
        /// Any text.
        case text
        case flag
        case count(ClosedRange<Int>)
        /// A part of a whole.
        case ratio(ClosedRange<Double>)
        /// So many a second, perhaps not whole.
        case perSecond(ClosedRange<Double>)
        /// A text such as `10/s`, `30/m` or `100/h`.
        case rate
        case duration(ClosedRange<Duration>)
        /// Hours and minutes of the local day.
        case timeOfDay
        case size(ClosedRange<Int>)
        /// One of the first words; the second ones are known and to come.
        case choice([String], later: [String])
        case address
        /// The path part of a URL on our own listener.
        case route
        /// A web address of an upstream.
        case link
        /// A file that has to be there.
        case file
        /// A directory that has to be there.
        case directory
        /// A directory that the gateway makes itself.
        case madeDirectory
        /// A Unix socket that the gateway makes itself.
        case socket
        case prefix
        case digest
        case texts
        /// A table of texts under names of the writer's choice.
        case map
    }

    /// What holds when the key is left out.
    enum Standard: Sendable, Equatable {
        case text(String)
        case number(Int)
        case ratio(Double)
        case flag(Bool)
        case texts([String])
        /// No entries.
        case empty
        /// Differs between an installed gateway and one run from its checkout; the latter is relative to the checkout.
        case place(installed: String, checkout: String)
        /// Worked out from other things; the words say how.
        case derived(String)
        case required
        /// Sections have none of their own.
        case none
    }

    /// Parts of the path; `*` is a name of the writer's choice.
    let path: [String]
    let kind: Kind
    let standard: Standard
    let why: String
    /// Whether this version of the gateway can do it. When not, the key is refused by name.
    let isBuilt: Bool

    init(_ path: String, _ kind: Kind, _ standard: Standard, _ why: String, isBuilt: Bool = true) {
        self.path = path.split(separator: ".").map(String.init)
        self.kind = kind
        self.standard = standard
        self.why = why
        self.isBuilt = isBuilt
    }

    var name: String { path.last ?? "" }
    var section: [String] { Array(path.dropLast()) }

    /// The key whose pattern fits a path of a file.
    static func fitting(_ path: [String]) -> SettingsKey? { index[pattern(of: path)] }

    /// The path with the writer's own names replaced by `*`.
    static func pattern(of path: [String]) -> [String] {
        var pattern = path
        guard path.count >= 2, path[0] == "upstreams" || path[0] == "tools" else { return pattern }
        pattern[1] = "*"
        if path.count >= 4, path[2] == "tools" { pattern[3] = "*" }
        return pattern
    }

    private static let index: [[String]: SettingsKey] = Dictionary(uniqueKeysWithValues: all.map { ($0.path, $0) })

    /// What to suggest for a key that does not exist at this place: a neighbour spelt nearly so, or the same word
    /// elsewhere.
    static func suggestion(for path: [String]) -> String {
        let name = path.last ?? ""
        let section = Array(pattern(of: path).dropLast())
        let neighbours = all.filter { $0.section == section && $0.name != "*" }
        let near = neighbours.map { (key: $0, distance: distance(name, $0.name)) }
            .filter { $0.distance <= max(1, min(name.count, $0.key.name.count) / 3) }
            .min { ($0.distance, $0.key.name) < ($1.distance, $1.key.name) }
        if let meant = otherWords[name.lowercased()], neighbours.contains(where: { $0.name == meant }) {
            return "did you mean \"\(meant)\"?"
        }
        if let near { return "did you mean \"\(near.key.name)\"?" }
        if let elsewhere = all.first(where: { $0.name == name && $0.isBuilt }) {
            let place = elsewhere.section.map { $0 == "*" ? "NAME" : $0 }.joined(separator: ".")
            return place.isEmpty ? "it stands at the top of the file, as [\(name)]" : "it belongs in [\(place)]"
        }
        if neighbours.isEmpty { return "remove it" }
        return "known here: " + neighbours.filter(\.isBuilt).map(\.name).joined(separator: ", ")
    }

    /// What other programs call the same thing.
    private static let otherWords = [
        "mcpservers": "upstreams", "mcp_servers": "upstreams", "servers": "upstreams", "plugins": "tools",
        "logging": "log", "host": "listen", "port": "listen", "bind": "listen", "address": "listen",
        "database": "storage", "wasmtime": "library", "wasm": "module", "arguments": "args", "environment": "env",
    ]

    /// How many letters have to be typed, removed, changed or swapped with their neighbour. Long words count as far.
    static func distance(_ left: String, _ right: String) -> Int {
        let a = Array(left.lowercased().utf8)
        let b = Array(right.lowercased().utf8)
        guard a.count <= 40, b.count <= 40 else { return .max }
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        var rows = [Array(0...b.count)]
        for i in 1...a.count {
            var row = [i]
            for j in 1...b.count {
                var best = min(rows[i - 1][j], row[j - 1]) + 1
                best = min(best, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { best = min(best, rows[i - 2][j - 2] + 1) }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
