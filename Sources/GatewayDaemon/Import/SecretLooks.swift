// Licensed under the Apache License 2.0; see LICENSE.

/// What looks as if it should not stand in a configuration file. Rather too much than too little: what is taken for a
/// secret becomes a variable that a person sets, and what is not is printed.
enum SecretLooks {
    private static let nameParts = [
        "TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "AUTHORIZATION", "COOKIE", "BEARER",
    ]
    private static let nameEnds = ["PASS", "_PWD", "_PAT", "_AUTH"]
    /// How the keys of well-known services begin.
    private static let beginnings = [
        "sk-", "sk_", "pk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxb-", "xoxp-",
        "xoxa-", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "eyJ", "hf_", "npm_", "pypi-", "dop_v1_", "lin_api_",
        "ntn_", "secret_", "SG.", "shpat_", "figd_", "sntrys_",
    ]
    /// Beginnings are as short as words; what follows a real one is not.
    private static let keyBytesMin = 16

    /// Whether the value under this name, of a header, a variable or an option, is a secret most likely.
    static func isName(_ name: some StringProtocol) -> Bool {
        let name = name.uppercased()
        return nameParts.contains { name.contains($0) } || nameEnds.contains { name.hasSuffix($0) }
    }

    /// Whether the text itself is one, or has one in it: a key of a well-known service, an address with a password, a
    /// credential with its scheme.
    static func isValue(_ text: String) -> Bool {
        if hasPassword(text) || text.contains("PRIVATE KEY-----") { return true }
        if let (head, _) = naming(text), head.utf8.count < text.utf8.count { return true }
        let small = text.lowercased()
        for mark in ["bearer ", "pwd="] {
            if let range = small.firstRange(of: mark), small[range.upperBound...].contains(where: { $0 != " " }) {
                return true
            }
        }
        let words = text.split { " \t\r\n\"'=:/?&,;".contains($0) }
        return words.contains { word in
            word.utf8.count >= keyBytesMin && beginnings.contains { word.hasPrefix($0) }
        }
    }

    /// `scheme://user:password@host`.
    private static func hasPassword(_ text: String) -> Bool {
        guard let scheme = text.firstRange(of: "://") else { return false }
        let authority = text[scheme.upperBound...].prefix { !"/?#".contains($0) }
        guard let mark = authority.lastIndex(of: "@") else { return false }
        guard let colon = authority[..<mark].firstIndex(of: ":") else { return false }
        return authority.index(after: colon) < mark
    }

    /// The word that says how the rest of an `Authorization` is meant, with its space; empty when there is none.
    static func scheme(_ value: String) -> String {
        guard let space = value.firstIndex(of: " ") else { return "" }
        let word = value[..<space].lowercased()
        return ["bearer", "basic", "token", "apikey", "digest"].contains(word) ? String(value[...space]) : ""
    }

    /// `--token=abc`, `API_KEY=abc`, `--header=X-Api-Key: abc`, `{"apiKey": "abc"}`: the part up to the value under the
    /// first name of a secret, and that name.
    static func naming(_ text: String) -> (head: String, name: String)? {
        for mark in text.indices where text[mark] == "=" || text[mark] == ":" {
            var before = text[..<mark]
            while let last = before.last, " \"'".contains(last) { before.removeLast() }
            let name = before.suffixOfName
            before.removeLast(name.count)
            // In `//keys:8080` a host has that name, and in `${A_KEY:-x}` a variable.
            guard !name.isEmpty, isName(name), !(text[mark] == ":" && before.hasSuffix("/")), !before.hasSuffix("${")
            else { continue }
            var start = text.index(after: mark)
            while start < text.endIndex, text[start] == " " { start = text.index(after: start) }
            return (String(text[..<start]), String(name))
        }
        return nil
    }

    /// `--token`, whose value is the next argument.
    static func isOption(_ argument: String) -> Bool {
        argument.hasPrefix("-") && !argument.contains("=") && !argument.contains(":") && isName(argument)
    }
}

extension Substring {
    /// The letters, digits, - and _ that it ends with, without the marks of an option before them.
    fileprivate var suffixOfName: Substring {
        var start = endIndex
        while start > startIndex {
            let before = index(before: start)
            guard self[before].utf8.allSatisfy(SettingsUnits.isNameByte) else { break }
            start = before
        }
        return self[start...].drop { $0 == "-" }
    }
}
