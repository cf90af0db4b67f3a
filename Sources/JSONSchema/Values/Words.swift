// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// How values and names are shown: short, quoted, escaped. Nothing here grows with the value.
enum Words {
    /// Characters shown of a text of the value.
    static let excerptMax = 60
    /// Characters shown of a text of the schema, which helps only when it can be read as a whole.
    static let schemaTextMax = 160
    /// Names or values in one enumeration.
    static let listMax = 12
    /// Characters of a place.
    static let placeMax = 300

    /// Cut after `max` characters, with a mark.
    static func cut(_ text: String, max: Int = excerptMax) -> String {
        // Each character has at least one byte, so most texts need not be counted.
        guard text.utf8.count > max else { return text }
        // One character can be any number of combining marks: these are cut by code points first.
        let start = text.unicodeScalars.prefix(max * 4)
        let kept = Substring(start).prefix(max)
        guard kept.endIndex < text.endIndex else { return text }
        return kept + "\u{2026}"
    }

    /// Cut, quoted and escaped.
    static func quoted(_ text: String, max: Int = excerptMax) -> String {
        JSONText.quoted(cut(text, max: max))
    }

    /// What the value is, without saying more of it than fits into a line.
    static func excerpt(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let flag): flag ? "true" : "false"
        case .number(let text): cut(text)
        case .string(let text): quoted(text)
        case .array(let items): "an array of \(count(items.count, "item", "items"))"
        case .object(let members): "an object with \(count(members.count, "property", "properties"))"
        }
    }

    /// The value's type and, where it is short, the value.
    static func kind(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let flag): flag ? "true" : "false"
        case .number(let text): (TypeSet.isInteger(text) ? "the integer " : "the number ") + cut(text)
        case .string(let text): "the string \(quoted(text))"
        case .array, .object: excerpt(value)
        }
    }

    /// A value of the schema, which the reader may have to write: its text, cut.
    static func label(_ value: JSONValue) -> String {
        switch value {
        case .array, .object: cut(value.text, max: schemaTextMax)
        case .string(let text): quoted(text, max: schemaTextMax)
        case .null, .bool, .number: excerpt(value)
        }
    }

    static func count(_ number: Int, _ one: String, _ many: String) -> String {
        number == 1 ? "1 \(one)" : "\(number) \(many)"
    }

    /// "a, b or c"; of many only the first.
    static func list(_ parts: [String], last: String) -> String {
        guard let end = parts.last, parts.count > 1 else { return parts.first ?? "nothing" }
        guard parts.count <= listMax else {
            return parts.prefix(listMax).joined(separator: ", ") + " and \(parts.count - listMax) more"
        }
        return parts.dropLast().joined(separator: ", ") + " \(last) " + end
    }

    /// "a", or "one of a or b".
    static func choice(of labels: [String]) -> String {
        (labels.count > 1 ? "one of " : "") + list(labels, last: "or")
    }

    static func names(_ names: [String], last: String = "and") -> String {
        // Only those that will be shown are cut and quoted; the others count.
        let shown = names.prefix(listMax + 1).map { quoted($0) }
        guard names.count > listMax else { return list(shown, last: last) }
        return shown.prefix(listMax).joined(separator: ", ") + " and \(names.count - listMax) more"
    }

    /// A JSON pointer, with long names and long pointers cut.
    static func pointer(_ names: some Sequence<String>) -> String {
        var text = ""
        for name in names {
            text += "/"
            for scalar in cut(name).unicodeScalars {
                switch scalar {
                case "~": text += "~0"
                case "/": text += "~1"
                default: text.unicodeScalars.append(scalar)
                }
            }
            if text.utf8.count > placeMax { return text + "/\u{2026}" }
        }
        return text
    }
}
