// Licensed under the Apache License 2.0; see LICENSE.

/// Turns the texts of one server into texts of our configuration, and remembers what a person has to do for them.
struct ImportTexts {
    /// The name that the server has with us.
    let upstream: String
    /// What the client would ask its user for, by id, in its own words.
    let inputs: [String: String]
    let withSecrets: Bool
    /// Variables that are spoken of in the file, or that another secret stands for already.
    var taken: Set<String>
    /// Sentences for the comment above the table, in the order of their causes.
    private(set) var notes: [String] = []

    init(upstream: String, inputs: [String: String], withSecrets: Bool, taken: Set<String>) {
        self.upstream = upstream
        self.inputs = inputs
        self.withSecrets = withSecrets
        self.taken = taken
    }

    mutating func note(_ text: String) {
        if !notes.contains(text) { notes.append(text) }
    }

    /// The value of `place`; `key` is the last part of it, and may say that the value is a secret.
    mutating func text(_ raw: String, key: String, place: String, leaving names: Set<String> = []) -> String {
        let text = EditorText(raw, leaving: names)
        let isSecret = !withSecrets && (SecretLooks.isName(key) || SecretLooks.isValue(text.literals))
        if isSecret {
            let scheme = SecretLooks.scheme(raw)
            // Without names to leave: a variable of the server is no secret in itself.
            if !EditorText(String(raw.dropFirst(scheme.count))).literals.isEmpty {
                let what = scheme.isEmpty ? "" : " after \"\(scheme.dropLast())\""
                return scheme
                    + standIn(key: key, because: "\(place)\(what) looks like a secret and is not copied")
            }
        }
        guard text.isExpressible else {
            return standIn(key: key, because: "\(place) has a $ right before ${…}, which cannot be written here")
        }
        return text.pieces.reduce(into: "") { $0 += written($1, isSecret: isSecret) }
    }

    /// A variable for a value that is not written down.
    private mutating func standIn(key: String, because reason: String) -> String {
        let wanted = ImportNames.variable(upstream) + "_" + ImportNames.variable(key)
        var name = ImportNames.variable(wanted)
        var number = 2
        while !taken.insert(name).inserted {
            name = ImportNames.variable("\(wanted)_\(number)")
            number += 1
        }
        return needed(name, because: reason)
    }

    private mutating func needed(_ name: String, because reason: String? = nil) -> String {
        note("Set \(name) in the gateway's environment\(reason.map { ": \($0)" } ?? "").")
        return "${\(name)}"
    }

    private mutating func written(_ piece: EditorText.Piece, isSecret: Bool) -> String {
        switch piece {
        case .literal(let text):
            return EditorText.escaped(text)
        case .variable(let name, let standIn):
            let legal = ImportNames.isVariable(name) ? name : ImportNames.variable(name)
            if let standIn {
                // What is a secret in itself is one as a default, too.
                if withSecrets || !(isSecret && !standIn.isEmpty || SecretLooks.isValue(standIn)) {
                    return "${\(legal):-\(standIn)}"
                }
                return needed(legal, because: "its default in the file looks like a secret and is not copied")
            }
            return needed(legal, because: legal == name ? nil : "the file calls it \(SettingsUnits.excerpt(name))")
        case .input(let id):
            let asked = inputs[id].map { ", saying \(SettingsUnits.excerpt($0))" } ?? ""
            return needed(ImportNames.variable(id), because: "the client asked its user for it\(asked)")
        case .file(let path) where path.hasPrefix("/") && !SettingsUnits.hasControls(path):
            note("The gateway has to be able to read \(SettingsUnits.excerpt(path)).")
            return "${file:\(path)}"
        case .file(let path):
            let words = SettingsUnits.excerpt("${file:\(path)}")
            return standIn(key: "file", because: "\(words) is no absolute path; ${file:/path} would be right")
        case .word(let word):
            return needed(
                ImportNames.variable(Self.parted(word)), because: "only the client knows \(SettingsUnits.excerpt(word))"
            )
        }
    }

    /// `workspaceFolder` as two words.
    private static func parted(_ word: String) -> String {
        word.reduce(into: "") { out, letter in
            if letter.isUppercase, out.last?.isLowercase == true { out += "_" }
            out.append(letter)
        }
    }
}

extension ImportTexts {
    /// - Parameter names: The variables that the server itself gets.
    mutating func arguments(_ raw: [String], leaving names: Set<String>) -> [String] {
        var out: [String] = []
        /// The option before this argument, when its name is that of a secret.
        var option: String?
        for (index, argument) in raw.enumerated() {
            let place = "args[\(index)]"
            if let named = option, !argument.hasPrefix("-") {
                out.append(text(argument, key: named, place: place, leaving: names))
                option = nil
                continue
            }
            option = SecretLooks.isOption(argument) ? argument : nil
            if let (head, name) = SecretLooks.naming(argument), Self.isWhole(head[...]) {
                let value = String(argument.dropFirst(head.count))
                out.append(
                    text(head, key: "ARG_\(index)", place: place, leaving: names)
                        + text(value, key: name, place: place, leaving: names))
            } else {
                out.append(text(argument, key: "ARG_\(index)", place: place, leaving: names))
            }
        }
        return out
    }

    /// A program or a directory: `~` is a word of the shell, and no shell reads our configuration.
    mutating func path(_ raw: String, key: String) -> String {
        let isHome = raw == "~" || raw.hasPrefix("~/")
        if raw.hasPrefix("./") || raw.hasPrefix("../") || (key == "command" && raw.contains("/") && isRelative(raw)) {
            note("\(key) is a relative path; it begins at the folder of the gateway's configuration.")
        }
        return text(isHome ? "${HOME}" + raw.dropFirst() : raw, key: key, place: key)
    }

    private func isRelative(_ path: String) -> Bool {
        !path.hasPrefix("/") && !path.hasPrefix("~") && !path.hasPrefix("$")
    }

    /// The address, and what has to be sent as `Authorization` when user and password stood in it.
    mutating func link(_ raw: String) -> (url: String, authorization: String?) {
        var address = raw
        var authorization: String?
        if let scheme = raw.firstRange(of: "://") {
            let authority = raw[scheme.upperBound...].prefix { !"/?#".contains($0) }
            if let mark = authority.lastIndex(of: "@"), Self.isWhole(authority[..<mark]) {
                address = String(raw[..<scheme.upperBound] + raw[raw.index(after: mark)...])
                authorization =
                    "Basic "
                    + standIn(
                        key: "Authorization",
                        because: "user and password stood in the url; give user:password in Base64")
            }
        }
        guard let mark = address.firstIndex(of: "?") else {
            return (text(address, key: "url", place: "url"), authorization)
        }
        let parts = address[address.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false)
        guard Self.isWhole(address[..<mark]), parts.allSatisfy(Self.isWhole) else {
            return (text(address, key: "url", place: "url"), authorization)
        }
        var url = text(String(address[..<mark]), key: "url", place: "url") + "?"
        for (index, part) in parts.enumerated() {
            let name = part.prefix { $0 != "=" }
            let head = part.prefix(min(part.count, name.count + 1))
            url += (index == 0 ? "" : "&") + EditorText.escaped(String(head))
            url += text(String(part.dropFirst(head.count)), key: String(name), place: "url")
        }
        return (url, authorization)
    }

    /// Whether no `${` is left open, so that the text was not cut inside of one.
    private static func isWhole(_ text: Substring) -> Bool {
        guard let open = text.ranges(of: "${").last else { return true }
        return text[open.upperBound...].contains("}")
    }
}
