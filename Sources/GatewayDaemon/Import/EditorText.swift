// Licensed under the Apache License 2.0; see LICENSE.

/// A text of a servers file, cut into what stands for itself and what the client would fill in: `${NAME}`,
/// `${NAME:-default}`, `${env:NAME}`, `${input:id}`, `${file:/path}`, and words of its own like `${workspaceFolder}`.
///
/// Cuts by characters, as `SettingsExpansion` does, so that both mean the same places.
struct EditorText: Sendable {
    enum Piece: Sendable, Equatable {
        case literal(String)
        case variable(name: String, standIn: String?)
        /// The client asks its user for it.
        case input(String)
        case file(String)
        /// Only the client knows what it is.
        case word(String)
    }

    let pieces: [Piece]

    /// - Parameter names: Variables whose `${NAME}` is no business of the client, since the server gets the variable
    ///   and looks for the text itself.
    init(_ text: String, leaving names: Set<String> = []) {
        var pieces: [Piece] = []
        var literal = ""
        func endLiteral() {
            if !literal.isEmpty { pieces.append(.literal(literal)) }
            literal = ""
        }
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            literal += rest[..<dollar]
            rest = rest[dollar...]
            guard rest.hasPrefix("${"), let end = rest.firstIndex(of: "}") else {
                literal += "$"
                rest = rest.dropFirst()
                continue
            }
            let inner = String(rest[rest.index(dollar, offsetBy: 2)..<end])
            let piece = names.contains(inner) ? .literal("${\(inner)}") : Self.piece(inner)
            if case .literal(let text) = piece {
                literal += text
            } else {
                endLiteral()
                pieces.append(piece)
            }
            rest = rest[rest.index(after: end)...]
        }
        literal += rest
        endLiteral()
        self.pieces = pieces
    }

    /// Words that look like variables and are none.
    private static let words: Set<String> = [
        "workspaceFolder", "workspaceFolderBasename", "workspaceRoot", "userHome", "cwd", "file", "fileDirname",
        "fileBasename", "relativeFile", "extensionPath", "execPath", "defaultBuildTask", "lineNumber", "selectedText",
    ]

    private static func piece(_ inner: String) -> Piece {
        if inner == "/" || inner == "pathSeparator" { return .literal("/") }
        if inner == "userHome" { return .variable(name: "HOME", standIn: nil) }
        if inner.hasPrefix("input:") { return .input(String(inner.dropFirst("input:".count))) }
        if inner.hasPrefix("file:") { return .file(String(inner.dropFirst("file:".count))) }
        let body = inner.hasPrefix("env:") ? inner.dropFirst("env:".count) : inner[...]
        var name = body
        var standIn: String?
        if let colon = body.firstIndex(of: ":"), body[colon...].hasPrefix(":-") {
            name = body[..<colon]
            standIn = String(body[body.index(colon, offsetBy: 2)...])
        }
        let isEnvironment = body.startIndex != inner.startIndex
        guard isEnvironment || (ImportNames.isVariable(name) && !words.contains(inner)) else { return .word(inner) }
        return .variable(name: String(name), standIn: standIn)
    }

    /// What stands in the file itself, without what would be filled in.
    var literals: String {
        pieces.reduce(into: "") { out, piece in if case .literal(let text) = piece { out += text } }
    }

    /// Whether our notation has a way to write it: `$` right before `${…}` reads as an escape there, and a default is
    /// not searched for further variables.
    var isExpressible: Bool {
        var endsWithDollar = false
        for piece in pieces {
            switch piece {
            case .literal(let text): endsWithDollar = text.hasSuffix("$")
            case .variable(_, let standIn):
                if endsWithDollar || (standIn?.contains("${") ?? false) { return false }
            case .input, .file, .word: if endsWithDollar { return false }
            }
        }
        return true
    }

    /// So that `SettingsExpansion` gives `text` back: it takes `$${` for `${`, and every other `$` for itself.
    static func escaped(_ text: String) -> String {
        var out = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            rest = rest[dollar...]
            out += rest.hasPrefix("${") ? "$$" : "$"
            rest = rest.dropFirst()
        }
        return out + rest
    }
}
