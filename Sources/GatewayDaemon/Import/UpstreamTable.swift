// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// One `[upstreams.NAME]` to be written down. Its texts are in the notation of our configuration, not yet in TOML's.
struct UpstreamTable: Sendable {
    struct Entry: Sendable {
        var name: String
        var text: String
    }

    let name: String
    var url: String?
    var headers: [Entry] = []
    var command: String?
    var arguments: [String] = []
    var environment: [Entry] = []
    var directory: String?

    /// A list of arguments longer than this is written one a line.
    private static let columnsMax = 100

    /// The lines of the table, each with its line end.
    var toml: String {
        var out = "[upstreams.\(name)]\n"
        if let url { out += "url = \(JSONText.quoted(url))\n" }
        if let command { out += "command = \(JSONText.quoted(command))\n" }
        if !arguments.isEmpty { out += "args = \(list)\n" }
        if let directory { out += "cwd = \(JSONText.quoted(directory))\n" }
        out += map("headers", headers) + map("env", environment)
        return out
    }

    private var list: String {
        // What JSON escapes is what TOML's basic strings escape, in the same letters.
        let items = arguments.map { JSONText.quoted($0) }
        let line = "[\(items.joined(separator: ", "))]"
        guard line.utf8.count > Self.columnsMax else { return line }
        return "[\n" + items.map { "    \($0),\n" }.joined() + "]"
    }

    private func map(_ key: String, _ entries: [Entry]) -> String {
        guard !entries.isEmpty else { return "" }
        var out = "[upstreams.\(name).\(key)]\n"
        for entry in entries {
            let isBare = !entry.name.isEmpty && entry.name.utf8.allSatisfy(SettingsUnits.isNameByte)
            out += "\(isBare ? entry.name : JSONText.quoted(entry.name)) = \(JSONText.quoted(entry.text))\n"
        }
        return out
    }

    /// The table as a comment, for a server that is switched off.
    var disabledTOML: String {
        toml.split(separator: "\n", omittingEmptySubsequences: true).map { "# \($0)\n" }.joined()
    }
}

extension UpstreamTable {
    /// Why this server cannot be had; one sentence for a person.
    struct Refusal: Error, Equatable {
        let reason: String
    }

    /// Leaves out the headers and variables that our configuration refuses, and gives a sentence for each. Throws what
    /// it has against the rest: the rules are the loader's own, so that a file that was printed is a file that loads.
    mutating func settle() throws(Refusal) -> [String] {
        let texts = [url, command, directory].compactMap { $0 } + arguments + (headers + environment).map(\.text)
        if texts.contains(where: { $0.utf8.contains(0) }) {
            throw Refusal(reason: "one of its texts has a zero byte in it, and configuration is plain text; mend it")
        }
        var notes: [String] = []
        while let problem = firstProblem() {
            let reason = problem.message.prefix { $0 != ";" }
            if let index = headers.firstIndex(where: { key("headers", $0.name) == problem.key }) {
                notes.append("\(SettingsUnits.keyText(["headers", headers[index].name])) is left out: \(reason).")
                headers.remove(at: index)
            } else if let index = environment.firstIndex(where: { key("env", $0.name) == problem.key }) {
                notes.append("\(SettingsUnits.keyText(["env", environment[index].name])) is left out: \(reason).")
                environment.remove(at: index)
            } else {
                let whole = key(nil, nil)
                let place = problem.key.hasPrefix(whole + ".") ? problem.key.dropFirst(whole.count + 1) + ": " : ""
                throw Refusal(reason: place + problem.message)
            }
        }
        return notes
    }

    private func key(_ section: String?, _ entry: String?) -> String {
        SettingsUnits.keyText(["upstreams", name] + [section, entry].compactMap { $0 })
    }

    /// Loads the table alone, on a machine that has nothing: what is only absent is no error then.
    private func firstProblem() -> SettingsProblem? {
        let bytes = Array(toml.utf8)
        let path = "/import.toml"
        let files = SettingsFiles(
            read: { asked, _ throws(SettingsFiles.Unreadable) in
                guard asked == path else { throw SettingsFiles.Unreadable(reason: "there is no such file") }
                return bytes
            },
            kind: { _ in .absent }, isReadable: { _ in false }, isExecutable: { _ in false },
            currentDirectory: { "/" })
        let outcome = SettingsLoader.load(
            path: path, strict: false, environment: [:],
            installation: Installation(programDirectory: "/", checkout: nil), files: files)
        return outcome.problems.first { $0.severity == .error }
    }
}
