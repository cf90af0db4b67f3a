// Licensed under the Apache License 2.0; see LICENSE.

/// Fills `${NAME}`, `${NAME:-default}` and `${file:/path}` into the texts of a configuration file. `$${` stands for
/// `${` itself. What
/// was filled in is not searched again.
struct SettingsExpansion {
    enum Outcome: Equatable {
        case text(String)
        /// Right as written, but not on this machine, now: an unset variable or an unreadable secret.
        case missing(String)
        case malformed(String)
    }

    static let secretBytesMax = 64 << 10

    let environment: [String: String]
    let files: SettingsFiles
    /// Where relative paths begin.
    let folder: String

    static func isNeeded(_ text: String) -> Bool { text.contains("${") }

    func expand(_ raw: String) -> Outcome {
        guard Self.isNeeded(raw) else { return .text(raw) }
        var out = ""
        var missing: [String] = []
        var rest = raw[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            rest = rest[dollar...]
            if rest.hasPrefix("$${") {
                out += "${"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("${") {
                guard let end = rest.firstIndex(of: "}") else {
                    return .malformed(
                        "\"${\" without its \"}\"; write ${NAME}, or $${ for the two characters themselves")
                }
                switch fill(String(rest[rest.index(rest.startIndex, offsetBy: 2)..<end])) {
                case .text(let text): out += text
                case .missing(let message): missing.append(message)
                case .malformed(let message): return .malformed(message)
                }
                rest = rest[rest.index(after: end)...]
            } else {
                out += "$"
                rest = rest.dropFirst()
            }
        }
        return missing.isEmpty ? .text(out + rest) : .missing(missing.joined(separator: "; "))
    }

    private func fill(_ inner: String) -> Outcome {
        if inner.hasPrefix("file:") { return secret(String(inner.dropFirst(5))) }
        var name = inner[...]
        var standIn: Substring?
        if let mark = inner.firstIndex(of: ":"), inner[mark...].hasPrefix(":-") {
            name = inner[..<mark]
            standIn = inner[inner.index(mark, offsetBy: 2)...]
        }
        guard isVariable(name) else {
            return .malformed(
                "\(SettingsUnits.excerpt("${\(inner)}")) is none of ${NAME}, ${NAME:-default} and ${file:/path}")
        }
        if let value = environment[String(name)], !value.isEmpty || standIn == nil { return .text(value) }
        if let standIn { return .text(String(standIn)) }
        return .missing("the environment variable \(name) is not set; set it, or write ${\(name):-default}")
    }

    private func secret(_ path: String) -> Outcome {
        guard !path.isEmpty else { return .malformed("${file:} names no file; write ${file:/path}") }
        let place = SettingsUnits.absolute(path, in: folder)
        let bytes: [UInt8]
        do {
            bytes = try files.read(place, Self.secretBytesMax)
        } catch {
            return .missing("cannot read \(place): \(error.reason)")
        }
        guard var text = String(validating: bytes, as: UTF8.self), !text.utf8.contains(0) else {
            return .missing("\(place) is not UTF-8 text")
        }
        // Editors and `echo` end a file with a line end that nobody means as part of the secret.
        if text.utf8.last == UInt8(ascii: "\n") { text.unicodeScalars.removeLast() }
        if text.utf8.last == UInt8(ascii: "\r") { text.unicodeScalars.removeLast() }
        return .text(text)
    }

    private func isVariable(_ name: Substring) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy { SettingsUnits.isNameByte($0) && $0 != UInt8(ascii: "-") }
    }
}
