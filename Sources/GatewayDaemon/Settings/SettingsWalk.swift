// Licensed under the Apache License 2.0; see LICENSE.

/// Goes over a parsed file along the table of keys: what is unknown or not built is refused by name, what is known
/// becomes a checked
/// value. One key at a time; what keys mean together is `SettingsChecks`'.
struct SettingsWalk {
    var report: SettingsReport
    var values: SettingsValues
    let expansion: SettingsExpansion
    var files: SettingsFiles { expansion.files }
    var folder: String { expansion.folder }

    static let mapEntriesMax = 256

    mutating func table(_ entries: [SettingsNode.Entry], at path: [String]) {
        for entry in entries { self.entry(entry, at: path + [entry.name]) }
    }

    private mutating func entry(_ entry: SettingsNode.Entry, at path: [String]) {
        guard let key = SettingsKey.fitting(path) else {
            return report.error(path, report.isFull ? "" : "unknown key; \(SettingsKey.suggestion(for: path))")
        }
        guard key.isBuilt else {
            let topic = key.why.hasSuffix(".") ? String(key.why.dropLast()) : key.why
            return report.error(path, "known, but not built yet in this version (\(topic)); remove it")
        }
        if key.path.count == 2, key.name == "*" { checkName(entry.name, at: path) }
        switch key.kind {
        case .section:
            if case .table(let inner) = entry.node { table(inner, at: path) } else { wrongType(entry.node, key, path) }
        case .flag:
            if case .flag(let flag) = entry.node { keep(.flag(flag), path) } else { wrongType(entry.node, key, path) }
        case .count(let range):
            guard case .integer(let number) = entry.node else { return wrongType(entry.node, key, path) }
            guard range.contains(number) else {
                return report.error(
                    path, "\(number) is out of bounds; \(range.lowerBound) to \(range.upperBound) would be right")
            }
            keep(.number(number), path)
        case .ratio(let range), .perSecond(let range):
            let number: Double
            switch entry.node {
            case .fraction(let written): number = written
            case .integer(let written): number = Double(written)
            default: return wrongType(entry.node, key, path)
            }
            guard range.contains(number) else {
                return report.error(
                    path, "\(number) is out of bounds; \(range.lowerBound) to \(range.upperBound) would be right")
            }
            keep(.ratio(number), path)
        case .texts: list(entry.node, key, path)
        case .map: map(entry.node, key, path)
        case .text, .duration, .timeOfDay, .size, .choice, .address, .route, .link, .file, .directory, .madeDirectory,
            .socket, .prefix, .digest, .rate:
            guard case .text(let raw) = entry.node else { return wrongType(entry.node, key, path) }
            if let text = expanded(raw, at: path) { check(text, as: key, at: path) } else { keep(.unfilled(raw), path) }
        }
    }

    mutating func keep(_ value: SettingsValues.Value, _ path: [String]) { values.written[path] = value }

    private mutating func wrongType(_ node: SettingsNode, _ key: SettingsKey, _ path: [String]) {
        report.error(path, "this is \(node.words); \(key.kind.words) would be right")
    }

    /// The text with everything filled in; none when that cannot be had here, which has been reported then.
    private mutating func expanded(_ raw: String, at path: [String]) -> String? {
        switch expansion.expand(raw) {
        case .text(let text): return text
        case .missing(let message): report.absence(path, message)
        case .malformed(let message): report.error(path, message)
        }
        return nil
    }

    private mutating func list(_ node: SettingsNode, _ key: SettingsKey, _ path: [String]) {
        guard case .list(let elements) = node else { return wrongType(node, key, path) }
        guard elements.count <= Self.mapEntriesMax else { return tooMany(elements.count, path) }
        var texts: [String] = []
        for (index, element) in elements.enumerated() {
            let place = path + [TOMLLines.element(index)]
            guard case .text(let raw) = element else {
                report.error(place, "this is \(element.words); a text in quotes would be right")
                continue
            }
            texts.append(expanded(raw, at: place) ?? raw)
        }
        keep(.texts(texts), path)
    }

    private mutating func map(_ node: SettingsNode, _ key: SettingsKey, _ path: [String]) {
        guard case .table(let entries) = node else { return wrongType(node, key, path) }
        guard entries.count <= Self.mapEntriesMax else { return tooMany(entries.count, path) }
        var out: [SettingsValues.Entry] = []
        for entry in entries {
            let place = path + [entry.name]
            guard case .text(let raw) = entry.node else {
                report.error(place, "this is \(entry.node.words); a text in quotes would be right")
                continue
            }
            out.append(SettingsValues.Entry(name: entry.name, text: expanded(raw, at: place) ?? raw))
        }
        keep(.map(out), path)
    }

    private mutating func tooMany(_ count: Int, _ path: [String]) {
        report.error(path, "\(count) entries are too many; at most \(Self.mapEntriesMax) would be right")
    }

    private mutating func checkName(_ name: String, at path: [String]) {
        if name == "gateway" {
            report.error(path, "this name is the gateway's own; another one would be right")
        } else if name.isEmpty || name.utf8.count > 40 || !name.utf8.allSatisfy(SettingsUnits.isNameByte) {
            report.error(path, "not a name clients can use; 1 to 40 letters, digits, - and _ would be right")
        }
    }
}

extension SettingsKey.Kind {
    /// What would be right, with an example where one helps.
    var words: String {
        switch self {
        case .section: "a table"
        case .text: "a text in quotes"
        case .flag: "true or false, without quotes,"
        case .count(let range): "a whole number from \(range.lowerBound) to \(range.upperBound), without quotes,"
        case .rate: "a rate in quotes, such as \"10/s\", \"30/m\" or \"100/h\","
        case .ratio(let range), .perSecond(let range):
            "a number from \(range.lowerBound) to \(range.upperBound), without quotes, such as 0.5,"
        case .timeOfDay: "a time of day in quotes, such as \"03:30\","
        case .duration: "a time with its unit in quotes, such as \"30s\", \"5m\" or \"100ms\","
        case .size: "a size with its unit in quotes, such as \"64MiB\" or \"512KiB\","
        case .choice(let words, _): "one of " + words.map { "\"\($0)\"" }.joined(separator: ", ")
        case .address: "an address and port in quotes, such as \"127.0.0.1:8080\" or \"[::1]:8080\","
        case .route: "a path in quotes, such as \"/mcp\","
        case .link: "an address in quotes, such as \"https://erp.example/mcp\","
        case .file, .directory, .madeDirectory, .socket: "a path in quotes"
        case .prefix: "letters, digits, - and _ in quotes"
        case .digest: "64 hexadecimal digits in quotes"
        case .texts: "a list of texts, such as [\"one\", \"two\"],"
        case .map: "a table of texts, such as { NAME = \"value\" },"
        }
    }
}
