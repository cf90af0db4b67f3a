// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// The list of MCP servers that a desktop client or an editor keeps, turned into tables of our configuration.
///
/// Takes JSON with an object `mcpServers` or `servers` (also one inside of `mcp`), with comments and commas after the
/// last item. Servers that are switched off become comments. What looks like a secret becomes a variable that the
/// comment above the table names, unless `withSecrets`. What comes out is accepted by `SettingsLoader`: each table has
/// been through it. Pure; costs one pass over the file and one load for each server.
package struct ServersFile: Sendable, Equatable {
    /// What was not taken over.
    package struct Remark: Sendable, Equatable, CustomStringConvertible {
        /// The server's name in the file; none where the trouble is the file as a whole.
        package let entry: String?
        package let reason: String

        package var description: String {
            entry.map { "\(SettingsUnits.excerpt($0)): \(reason)" } ?? reason
        }
    }

    /// Empty when nothing could be imported.
    package let toml: String
    package let remarks: [Remark]
    package let importedCount: Int

    package init(_ bytes: [UInt8], withSecrets: Bool = false) {
        var conversion = Conversion(withSecrets: withSecrets)
        conversion.run(bytes)
        toml = conversion.tables.joined(separator: "\n")
        remarks = conversion.remarks
        importedCount = conversion.tables.count
    }
}

private struct Conversion {
    /// Nobody has that many; each costs a load.
    static let serversMax = 1_000

    let withSecrets: Bool
    var tables: [String] = []
    var remarks: [ServersFile.Remark] = []

    init(withSecrets: Bool) { self.withSecrets = withSecrets }

    mutating func run(_ bytes: [UInt8]) {
        let root: JSONValue
        do {
            root = try RelaxedJSON.parse(bytes)
        } catch {
            let line = error.offset.map { "line \(RelaxedJSON.line(of: $0, in: bytes)): " } ?? ""
            return remark(nil, "\(line)this is not the JSON that clients write: \(error.reason)")
        }
        guard var servers = servers(root) else { return }
        guard !servers.isEmpty else { return remark(nil, "there are no servers in it") }
        if servers.count > Self.serversMax {
            remark(nil, "it has \(servers.count) servers; those after the first \(Self.serversMax) are left out")
            servers.removeSubrange(Self.serversMax...)
        }
        let names = ImportNames.upstreams(servers.map(\.key))
        let inputs = inputs(root)
        var taken: Set<String> = []
        for server in servers { collectVariables(server.value, &taken) }
        for (server, name) in zip(servers, names) {
            let entry = ServerEntry(original: server.key, name: name, object: server.value)
            var texts = ImportTexts(upstream: name, inputs: inputs, withSecrets: withSecrets, taken: taken)
            do throws(UpstreamTable.Refusal) {
                let table = try entry.table(&texts)
                tables.append(written(table, entry, texts.notes))
                taken = texts.taken
            } catch {
                remark(server.key, error.reason)
            }
        }
    }

    private mutating func remark(_ entry: String?, _ reason: String) {
        remarks.append(ServersFile.Remark(entry: entry, reason: reason))
    }

    private func written(_ table: UpstreamTable, _ entry: ServerEntry, _ notes: [String]) -> String {
        var comments: [String] = []
        if entry.original != entry.name { comments.append("In the file: \(SettingsUnits.excerpt(entry.original)).") }
        if entry.isDisabled { comments.append("Switched off in the file.") }
        return (comments + notes).map(Self.comment).joined()
            + (entry.isDisabled ? table.disabledTOML : table.toml)
    }

    /// Lines of at most 120 columns, as in the files that come with the gateway.
    private static func comment(_ text: String) -> String {
        var lines = ["#"]
        for word in text.split(separator: " ") {
            if lines[lines.count - 1].count + word.count + 1 > 120 { lines.append("#") }
            lines[lines.count - 1] += " " + word
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// All lists of servers in the file, one behind the other; none when there is no list.
    private mutating func servers(_ root: JSONValue) -> [(key: String, value: JSONValue)]? {
        var servers: [(key: String, value: JSONValue)] = []
        var isFound = false
        for holder in [root, root["mcp"]].compactMap({ $0 }) {
            for key in ["mcpServers", "servers"] {
                guard let list = holder[key] else { continue }
                isFound = true
                guard let members = list.objectValue else {
                    remark(nil, "\(key) is \(list.words); an object with a name for each server would be right")
                    continue
                }
                servers += members
            }
        }
        guard isFound else {
            remark(
                nil, "it has neither mcpServers nor servers; the file where a client keeps its servers would be right")
            return nil
        }
        return servers.isEmpty && !remarks.isEmpty ? nil : servers
    }

    /// What some editors ask their users for: the words of the question, by id.
    private func inputs(_ root: JSONValue) -> [String: String] {
        var words: [String: String] = [:]
        for holder in [root, root["mcp"]].compactMap({ $0 }) {
            for input in holder["inputs"]?.arrayValue ?? [] {
                guard let id = input["id"]?.stringValue else { continue }
                words[id] = input["description"]?.stringValue
            }
        }
        return words
    }

    /// The variables that texts of the file speak of already; the depth was bounded when it was parsed.
    private func collectVariables(_ value: JSONValue, _ names: inout Set<String>) {
        switch value {
        case .null, .bool, .number: break
        case .string(let text):
            for piece in EditorText(text).pieces {
                if case .variable(let name, _) = piece { names.insert(name) }
                if case .input(let id) = piece { names.insert(ImportNames.variable(id)) }
            }
        case .array(let items): for item in items { collectVariables(item, &names) }
        case .object(let members): for member in members { collectVariables(member.value, &names) }
        }
    }
}
