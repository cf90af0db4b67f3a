// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore

/// Commands to type next, about the gateway that is looked at and no other.
struct NextCommands: Sendable {
    /// The file as it was named on the command line, absolute; nil where the verbs find it by themselves.
    let configuration: String?
    /// systemd has a unit for this gateway.
    let isManaged: Bool

    static let unit = "mcp-gateway"

    /// A verb that reads the configuration.
    func verb(_ words: String) -> String {
        "mcp-gateway " + words + (configuration.map { " --config " + Self.quoted($0) } ?? "")
    }

    var start: String { isManaged ? "systemctl start \(Self.unit)" : verb("serve") }

    var reload: String { isManaged ? "systemctl reload \(Self.unit)" : verb("reload") }

    /// - Parameter directory: of the storage that it holds.
    func restart(_ directory: String) -> String {
        if isManaged { return "systemctl restart \(Self.unit)" }
        guard let holder = DurableStore.holder(of: directory), holder.pid > 0 else { return start }
        // Two at a time exclude each other: the new one waits for the end of the old one.
        return "kill \(holder.pid) && tail --pid=\(holder.pid) -f /dev/null && \(start)"
    }

    /// How its process is.
    var look: String {
        isManaged ? "systemctl status \(Self.unit)" : "ps -C mcp-gateway -o pid,stat,etime,args"
    }

    /// As one word of a shell.
    static func quoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.utf8.allSatisfy { SettingsUnits.isNameByte($0) || "./@:+=,".utf8.contains($0) }
        return isPlain ? text : "'" + text.replacing("'", with: #"'\''"#) + "'"
    }
}
