// Licensed under the Apache License 2.0; see LICENSE.

/// Writes the Prometheus text format 0.0.4.
struct MetricsText {
    private(set) var bytes: [UInt8] = []

    mutating func begin(_ name: String, kind: String, help: String) {
        put("# HELP ", name, " ", Self.escaped(help, quotes: false), "\n# TYPE ", name, " ", kind, "\n")
    }

    mutating func line(_ name: String, _ labels: String, _ value: String) {
        put(name)
        if !labels.isEmpty { put("{", labels, "}") }
        put(" ", value, "\n")
    }

    mutating func histogram(_ name: String, _ labels: String, _ histogram: Histogram) {
        let (running, sum) = histogram.read()
        let prefix = labels.isEmpty ? "" : labels + ","
        for (index, count) in running.enumerated() {
            let bound = index < histogram.bounds.count ? Self.number(histogram.bounds[index]) : "+Inf"
            line(name + "_bucket", prefix + "le=\"" + bound + "\"", "\(count)")
        }
        line(name + "_sum", labels, Self.number(sum))
        line(name + "_count", labels, "\(running.last ?? 0)")
    }

    private mutating func put(_ parts: String...) {
        for part in parts { bytes.append(contentsOf: part.utf8) }
    }

    /// What stands between the braces; empty without labels.
    static func labels(_ labels: [(String, String)]) -> String {
        var out = ""
        for (name, value) in labels {
            if !out.isEmpty { out += "," }
            out += name + "=\"" + escaped(value, quotes: true) + "\""
        }
        return out
    }

    /// The first of them, as it is written there.
    static func first(of labels: String) -> String {
        var (quotes, isEscaped) = (0, false)
        for index in labels.utf8.indices {
            switch labels.utf8[index] {
            case 0x5C: isEscaped.toggle()
            case 0x22 where !isEscaped: quotes += 1
            default: isEscaped = false
            }
            if quotes == 2 { return String(labels[...index]) }
        }
        return labels
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        let text = value.description
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || $0 == 0x22 }) else { return text }
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\"" where quotes: out += "\\\""
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
