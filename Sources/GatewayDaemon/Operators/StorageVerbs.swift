// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import GatewayCore
internal import MCPWire
internal import Telemetry

/// What the command line does with database files, with or without a gateway that runs.
package struct StorageVerbs: Sendable {
    private let settings: GatewaySettings
    private let client: ControlClient

    package init(settings: GatewaySettings) {
        self.settings = settings
        client = ControlClient(socketPath: settings.admin.controlSocket)
    }

    /// The gateway makes it. Where this process may write, it then takes the file there itself: the places that a
    /// service sees are not those of whoever types this.
    ///
    /// - Parameter file: as it was typed; a relative one begins in the current directory.
    package func backup(to file: String?) throws(StartError) -> OperatorAnswer {
        guard let path = file.map(Self.absolute) else { return try client.backup(to: nil) }
        let parent = SettingsUnits.folder(of: path)
        guard SettingsFiles.machine.kind(parent) == .directory else {
            throw StartError("no backup was made: there is no directory \(parent), or you may not look there")
        }
        let fetch = BackupFetch(to: path, from: settings.storage.directory)
        // Of gateways that share a directory each has backups of its own, and which of them answers is not known here.
        guard fetch.isPossible, !settings.storage.isShared else { return try client.backup(to: path) }
        try Self.withCare { () throws(StorageCareError) in try fetch.check() }
        defer { fetch.discard() }
        let answer = try client.backup(to: fetch.source)
        let bytes = try Self.withCare { () throws(StorageCareError) in try fetch.take() }
        return OperatorAnswer(
            json: answer.json.replacing(Self.quoted(fetch.source), with: Self.quoted(path)),
            screen: ControlClient.words("backup made and verified: \(path), \(bytes) bytes"))
    }

    private static func withCare<Value>(
        _ body: () throws(StorageCareError) -> Value
    ) throws(StartError) -> Value {
        do throws(StorageCareError) { return try body() } catch { throw StartError(error.text) }
    }

    /// As it stands within a text of JSON.
    private static func quoted(_ path: String) -> String { String(JSONText.quoted(path).dropFirst().dropLast()) }

    /// Looks at a file, or without one at the database: through the gateway while it runs, since it alone knows what is
    /// not in the file yet.
    package func verify(_ file: String?) throws(StartError) -> OperatorAnswer {
        if file == nil, client.isAnswered { return try client.verify() }
        let path = if let file { Self.absolute(file) } else { try folder(of: nil) + "/queue.db" }
        guard SettingsFiles.machine.kind(path) != .absent else {
            throw StartError("there is no file \(path); backups lie in \(settings.storage.directory)/backups")
        }
        let report = DurableStore.verify(file: path, time: SystemTime())
        return OperatorAnswer(
            json: StorageScreen.json(report).text, screen: StorageScreen.text(report), isGood: report.isSound)
    }

    /// Puts a backup in the place of the database. Only while no gateway runs.
    package func restore(_ file: String) throws(StartError) -> OperatorAnswer {
        let report: RestoreReport
        let folder = try folder(of: Self.absolute(file))
        do {
            // Files that root leaves behind are files that the service cannot write.
            _ = try StorageOwner.become(of: settings.storage.directory)
            report = try DurableStore.restore(
                from: Self.absolute(file), directory: folder, time: SystemTime())
        } catch {
            if case .locked(let pid, let directory, _) = error {
                throw StartError(
                    "nothing was restored: a gateway (process \(pid)) has \(directory) in use; stop it first "
                        + "(systemctl stop mcp-gateway), restore, then start it again")
            }
            throw StartError("nothing was restored: " + error.text)
        }
        return OperatorAnswer(
            json: StorageScreen.json(report).text, screen: StorageScreen.text(report), isGood: true)
    }

    /// Where the database is. Of gateways that share a directory each has a folder of its own, and its backups in it.
    private func folder(of file: String?) throws(StartError) -> String {
        let base = settings.storage.directory
        guard settings.storage.isShared else { return base }
        let own = file.flatMap { file -> String? in
            let folder = SettingsUnits.folder(of: SettingsUnits.folder(of: file))
            return SettingsUnits.folder(of: folder) == base ? folder : nil
        }
        if let own { return own }
        throw StartError(
            "several gateways share \(base), each with a folder of its own: name a file of \(base)/replica-N or of its "
                + "backups/")
    }

    private static func absolute(_ file: String) -> String {
        SettingsUnits.absolute(file, in: SettingsFiles.machine.currentDirectory())
    }
}

/// Reports about database files, for people and for machines.
enum StorageScreen {
    static func text(_ report: VerifyReport) -> String {
        var lines = [report.path + (report.isSound ? ": sound" : ": NOT sound")]
        // Texts of a damaged file may hold anything.
        lines += report.problems.map { "  ! " + LogText.escaped($0, bytesMax: 500) }
        if !report.rows.isEmpty {
            let rows = report.rows.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            lines.append("  rows: " + rows.joined(separator: ", "))
        }
        if report.payloadsSound > 0 { lines.append("  payload files as recorded: \(report.payloadsSound)") }
        if !report.isSound {
            lines.append("  Next: keep it, and take the newest sound one: mcp-gateway verify BACKUP; restore BACKUP")
        }
        return lines.joined(separator: "\n")
    }

    static func json(_ report: VerifyReport) -> JSONValue {
        let rows = report.rows.sorted { $0.key < $1.key }.map { (key: $0.key, value: JSONValue.number("\($0.value)")) }
        return .object([
            ("path", .string(report.path)), ("sound", .bool(report.isSound)),
            ("problems", .array(report.problems.map { .string($0) })), ("rows", .object(rows)),
            ("payloads_sound", .number("\(report.payloadsSound)")),
            ("seconds", .number("\((report.seconds * 1_000).rounded() / 1_000)")),
        ])
    }

    static func text(_ report: RestoreReport) -> String {
        var lines = ["restored: \(report.path), \(report.bytes) bytes"]
        if let kept = report.kept { lines.append("what was there before is kept as \(kept)") }
        if report.undecided > 0 {
            lines.append(
                "\(report.undecided) calls in it may have been carried out since the backup: they will wait for a "
                    + "person as unknown")
        }
        if report.sentAgain > 0 { lines.append("\(report.sentAgain) calls that may be sent twice will be sent again") }
        lines.append("Next: start the gateway (systemctl start mcp-gateway), then mcp-gateway queue list")
        return lines.joined(separator: "\n")
    }

    static func json(_ report: RestoreReport) -> JSONValue {
        .object([
            ("path", .string(report.path)), ("bytes", .number("\(report.bytes)")),
            ("kept", report.kept.map { .string($0) } ?? .null), ("undecided", .number("\(report.undecided)")),
            ("sent_again", .number("\(report.sentAgain)")),
        ])
    }
}
