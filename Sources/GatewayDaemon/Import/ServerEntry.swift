// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// One server of a servers file, as the client describes it.
struct ServerEntry {
    /// As it is called in the file.
    let original: String
    /// As it is called in our configuration.
    let name: String
    let object: JSONValue

    /// Clients write it in one way or the other.
    var isDisabled: Bool { object["disabled"]?.boolValue == true || object["enabled"]?.boolValue == false }

    private enum Kind {
        case program
        case address
    }

    /// What we read; all else is named in a comment.
    private static let read: Set<String> = ["type", "transport", "transportType", "disabled", "enabled"]
    private static let programKeys: Set<String> = ["command", "args", "env", "cwd"]
    private static let addressKeys = ["url", "serverUrl", "httpUrl"]

    /// The table, with what a person has to know about it noted in `texts`.
    func table(_ texts: inout ImportTexts) throws(UpstreamTable.Refusal) -> UpstreamTable {
        guard let members = object.objectValue else {
            throw UpstreamTable.Refusal(reason: "this is \(object.words); an object with command or url would be right")
        }
        var table = UpstreamTable(name: name)
        var known = Self.read
        switch try kind(&texts) {
        case .program:
            known.formUnion(Self.programKeys)
            try program(&table, &texts)
        case .address:
            known.formUnion(Self.addressKeys + ["headers"])
            try address(&table, &texts)
        }
        for note in try table.settle() { texts.note(note) }
        let others = members.map(\.key).filter { !known.contains($0) }
        if !others.isEmpty {
            let names = others.prefix(12).map { SettingsUnits.keyText([$0]) }.joined(separator: ", ")
            texts.note("Not taken over: \(names)\(others.count > 12 ? ", …" : "").")
        }
        return table
    }

    /// By its type, else by what it has.
    private func kind(_ texts: inout ImportTexts) throws(UpstreamTable.Refusal) -> Kind {
        let hasCommand = object["command"] != nil
        let hasAddress = Self.addressKeys.contains { object[$0] != nil }
        let type = object["type"] ?? object["transport"] ?? object["transportType"]
        switch type?.stringValue?.lowercased().filter({ $0 != "-" && $0 != "_" }) {
        case "stdio", "local": return .program
        case "http", "https", "streamablehttp", "remote": return .address
        case "sse":
            texts.note(
                "The file says HTTP+SSE, the transport of old servers; give the server's newer address if it has one.")
            return .address
        case nil where hasCommand && hasAddress:
            throw UpstreamTable.Refusal(reason: "it has command and url both; one of them would be right")
        case nil where hasCommand: return .program
        case nil where hasAddress: return .address
        case nil:
            throw UpstreamTable.Refusal(reason: "it has neither command nor url; one of them would be right")
        case .some(let other):
            throw UpstreamTable.Refusal(
                reason: "type \(SettingsUnits.excerpt(other)) is not known; stdio, http or sse would be right")
        }
    }

    private func program(_ table: inout UpstreamTable, _ texts: inout ImportTexts) throws(UpstreamTable.Refusal) {
        table.command = texts.path(try text("command", object["command"] ?? .null), key: "command")
        let environment = try map("env", &texts)
        // `${NAME}` of a variable that the server gets is for the server to fill in: no client looks there.
        let own = Set(environment.map(\.name))
        table.arguments = texts.arguments(try list("args"), leaving: own)
        table.environment = environment.map { name, raw in
            let place = SettingsUnits.keyText(["env", name])
            return UpstreamTable.Entry(name: name, text: texts.text(raw, key: name, place: place))
        }
        if let directory = object["cwd"], directory != .null {
            table.directory = texts.path(try text("cwd", directory), key: "cwd")
        }
    }

    private func address(_ table: inout UpstreamTable, _ texts: inout ImportTexts) throws(UpstreamTable.Refusal) {
        guard let key = Self.addressKeys.first(where: { object[$0] != nil }) else {
            throw UpstreamTable.Refusal(reason: "it has no url; url = \"https://…\" would be right")
        }
        let link = texts.link(try text(key, object[key] ?? .null))
        table.url = link.url
        table.headers = try map("headers", &texts).map { name, raw in
            let place = SettingsUnits.keyText(["headers", name])
            return UpstreamTable.Entry(name: name, text: texts.text(raw, key: name, place: place))
        }
        if let authorization = link.authorization,
            !table.headers.contains(where: { $0.name.lowercased() == "authorization" })
        {
            table.headers.append(UpstreamTable.Entry(name: "Authorization", text: authorization))
        }
    }

    private func text(_ key: String, _ value: JSONValue) throws(UpstreamTable.Refusal) -> String {
        guard let text = value.stringValue else {
            throw UpstreamTable.Refusal(reason: "\(key) is \(value.words); a text would be right")
        }
        return text
    }

    private func list(_ key: String) throws(UpstreamTable.Refusal) -> [String] {
        guard let value = object[key], value != .null else { return [] }
        guard let items = value.arrayValue else {
            throw UpstreamTable.Refusal(reason: "\(key) is \(value.words); a list of texts would be right")
        }
        var texts: [String] = []
        for (index, item) in items.enumerated() {
            guard let text = item.plainText else {
                throw UpstreamTable.Refusal(reason: "\(key)[\(index)] is \(item.words); a text would be right")
            }
            texts.append(text)
        }
        return texts
    }

    private func map(
        _ key: String, _ texts: inout ImportTexts
    ) throws(UpstreamTable.Refusal) -> [(name: String, raw: String)] {
        guard let value = object[key], value != .null else { return [] }
        guard let members = value.objectValue else {
            throw UpstreamTable.Refusal(reason: "\(key) is \(value.words); an object of texts would be right")
        }
        var entries: [(name: String, raw: String)] = []
        for member in members {
            if let raw = member.value.plainText {
                entries.append((member.key, raw))
            } else {
                let place = SettingsUnits.keyText([key, member.key])
                texts.note("\(place) is left out: it is \(member.value.words), and a text would be right.")
            }
        }
        return entries
    }
}
