// Licensed under the Apache License 2.0; see LICENSE.

/// Says in words of its own what the TOML parser stumbled over, with a guess at what was meant from the line itself.
enum SettingsSyntax {
    static func words(
        _ error: SettingsNode.SyntaxError, text: String, repetition: TOMLLines.Repetition?
    ) -> (key: String, message: String) {
        if let repetition, error.message.contains("redefine") || error.message.contains("extend") {
            return (
                SettingsUnits.keyText(repetition.path),
                "already set on line \(repetition.firstLine); each key and each table stands once"
            )
        }
        let all = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let line = error.line >= 1 && error.line <= all.count ? String(Substring(all[error.line - 1])) : ""
        let place = "column \(error.column)"
        if let guess = guess(line) { return ("", "this line is not TOML (\(place)): \(guess)") }
        return ("", "this is not TOML (\(place)): \(tidy(error.message))")
    }

    /// The usual slips, by looking at the line; none when it looks like none of them.
    private static func guess(_ line: String) -> String? {
        let line = line.unicodeScalars.filter { $0 != "\r" }.reduce(into: "") { $0.unicodeScalars.append($1) }
        if SettingsUnits.hasControls(line.replacingTabs) {
            return "there is a control character in it; retype the line"
        }
        if line.unicodeScalars.contains(where: { "“”‘’„".unicodeScalars.contains($0) }) {
            return "these are typographic quotes; \" would be right"
        }
        let content = trimmed(line[...])
        if content.hasPrefix("[") {
            return content.contains("]") ? nil : "a table is written [name], and the closing bracket is missing"
        }
        guard let equals = content.firstIndex(of: "=") else {
            guard content.contains(":") else { return nil }
            return "between a key and its value stands =, not :"
        }
        let value = trimmed(content[content.index(after: equals)...])
        if value.isEmpty || value.hasPrefix("#") { return "there is no value after =; remove the line, or give one" }
        guard let first = value.unicodeScalars.first else { return nil }
        if value.hasPrefix("True") || value.hasPrefix("False") { return "true and false are written small" }
        if first.properties.isAlphabetic || "/$.~".unicodeScalars.contains(first) || isNumberWithUnit(value) {
            let word = String(value.prefix { $0 != "#" && $0 != "," && $0 != " " }.prefix(40))
            return "a text needs quotes; \(SettingsUnits.excerpt(word)) would be right"
        }
        if first == "\"" && value.dropFirst().firstIndex(of: "\"") == nil { return "the closing quote is missing" }
        return nil
    }

    private static func isNumberWithUnit(_ value: Substring) -> Bool {
        let rest = value.drop { $0.isNumber }
        return rest.count < value.count && (rest.first?.isLetter ?? false)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return text
    }

    /// The parser's own words, without what only its authors need.
    private static func tidy(_ message: String) -> String {
        var message = message[...]
        if message.hasPrefix("Error while parsing "), let colon = message.firstIndex(of: ":") {
            let topic = message[..<colon].dropFirst("Error while parsing ".count)
            message = "in \(topic)\(message[colon...])"[...]
        }
        var out = ""
        for scalar in message.unicodeScalars.prefix(300) {
            out.unicodeScalars.append(scalar.value < 0x20 ? " " : scalar)
        }
        return out
    }
}

extension String {
    fileprivate var replacingTabs: String { String(map { $0 == "\t" ? " " : $0 }) }
}
