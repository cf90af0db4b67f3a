// Licensed under the Apache License 2.0; see LICENSE.

/// Reads a configuration file and says all that is wrong with it at once.
package enum SettingsLoader {
    /// The longest file that is read.
    package static let fileBytesMax = 1 << 20

    /// Reads and checks `path`; a relative one begins in the current directory. With `strict`, what is right as written
    /// but not on this
    /// machine (an unset variable, an unreadable secret, an absent path) is an error instead of a warning: `serve` and
    /// `reload` are
    /// strict. Gives settings only when no problem is an error. Costs one pass over the text and a look at each path
    /// that it names; never
    /// waits for anything but the disk.
    package static func load(
        path: String, strict: Bool, environment: [String: String], installation: Installation,
        files: SettingsFiles = .machine
    ) -> SettingsOutcome {
        var report = SettingsReport(file: path, isStrict: strict)
        let source = SettingsUnits.absolute(path, in: path.hasPrefix("/") ? "/" : files.currentDirectory())
        guard let entries = parsed(path, source, files, &report) else { return report.outcome(nil) }

        let folder = SettingsUnits.folder(of: source)
        var walk = SettingsWalk(
            report: report, values: SettingsValues(installation: installation),
            expansion: SettingsExpansion(environment: environment, files: files, folder: folder))
        walk.table(entries, at: [])

        let upstreams = names("upstreams", in: entries, walk.report)
        let tools = names("tools", in: entries, walk.report)
        var checks = SettingsChecks(
            report: walk.report, values: walk.values, files: files, folder: folder, environment: environment,
            upstreams: upstreams, tools: tools)
        checks.run()
        if source.hasPrefix(SettingsUnits.folder(of: ConfigurationPath.installed) + "/"),
            let directory = checks.values.text("storage", "directory"),
            let hidden = files.hiddenFromOwner(source, directory)
        {
            // Root reads everything, and becomes that user as soon as it serves.
            let words = [hidden.reason, hidden.advice].compactMap { $0 }.joined(separator: "; ")
            checks.report.add(line: nil, key: "", .error, "the gateway cannot read this file: \(words)")
        }
        guard !checks.report.hasErrors else { return checks.report.outcome(nil) }
        let build = SettingsBuild(
            values: walk.values, tls: checks.tls, sourcePath: source, upstreams: upstreams, tools: tools)
        return checks.report.outcome(build.settings())
    }

    /// Where things are by a file that would be refused, as far as it can be read, and else where they usually are.
    package struct Guess: Sendable {
        /// Without upstreams and tools.
        package let settings: GatewaySettings
        /// The file is there, and could be parsed.
        package let isReadable: Bool
        /// It says itself where the control socket is.
        package let namesSocket: Bool
    }

    package static func guess(
        path: String, environment: [String: String], installation: Installation, files: SettingsFiles = .machine
    ) -> Guess {
        var report = SettingsReport(file: path, isStrict: false)
        let source = SettingsUnits.absolute(path, in: path.hasPrefix("/") ? "/" : files.currentDirectory())
        let entries = parsed(path, source, files, &report)
        var walk = SettingsWalk(
            report: report, values: SettingsValues(installation: installation),
            expansion: SettingsExpansion(
                environment: environment, files: files, folder: SettingsUnits.folder(of: source)))
        walk.table(entries ?? [], at: [])
        let build = SettingsBuild(values: walk.values, tls: nil, sourcePath: source, upstreams: [], tools: [])
        return Guess(
            settings: build.settings(), isReadable: entries != nil,
            namesSocket: walk.values.written[["admin", "control_socket"]] != nil)
    }

    private static func parsed(
        _ path: String, _ source: String, _ files: SettingsFiles, _ report: inout SettingsReport
    ) -> [SettingsNode.Entry]? {
        let bytes: [UInt8]
        do {
            bytes = try files.read(source, fileBytesMax)
        } catch {
            report.add(
                line: nil, key: "", .error,
                "cannot read this file: \(error.reason); \(error.advice ?? "give the path of a TOML file")")
            return nil
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            report.add(
                line: lineOfFirstBadByte(bytes), key: "", .error,
                "this line is not UTF-8 text; save the file as UTF-8")
            return nil
        }
        let lines = TOMLLines(bytes)
        if let refusal = lines.refusal {
            if refusal.isSyntax, let earlier = mistake(in: text, before: refusal.line, lines) {
                report.add(line: earlier.line, key: earlier.key, .error, earlier.message)
                return nil
            }
            let error = SettingsNode.SyntaxError(
                line: refusal.line, column: refusal.column, message: refusal.message)
            let message =
                refusal.isSyntax
                ? SettingsSyntax.words(error, text: text, repetition: nil).message : refusal.message
            report.add(line: refusal.line, key: "", .error, message)
            return nil
        }
        report.lines = lines.lines
        do {
            guard case .table(let entries) = try SettingsNode.parse(text) else { return [] }
            return entries
        } catch {
            let words = SettingsSyntax.words(error, text: text, repetition: lines.repetitions[error.line])
            report.add(line: error.line, key: words.key, .error, words.message)
            return nil
        }
    }

    /// What the parser says to the lines before one that it must not see.
    private static func mistake(
        in text: String, before line: Int, _ lines: TOMLLines
    ) -> (line: Int, key: String, message: String)? {
        let pieces = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let head = pieces.prefix(line - 1).map { String(Substring($0)) + "\n" }.joined()
        do {
            _ = try SettingsNode.parse(head)
            return nil
        } catch {
            // Cut off where it is, a list of several lines has no end; that is our doing.
            if error.message.contains("end-of-file") { return nil }
            let words = SettingsSyntax.words(error, text: head, repetition: lines.repetitions[error.line])
            return (error.line, words.key, words.message)
        }
    }

    /// The tables below `section`, in the order of the file. What is no table has been refused before.
    private static func names(_ section: String, in entries: [SettingsNode.Entry], _ report: SettingsReport) -> [String]
    {
        guard case .table(let inner) = entries.first(where: { $0.name == section })?.node else { return [] }
        return inner.filter { if case .table = $0.node { true } else { false } }
            .map { (name: $0.name, line: report.line(of: [section, $0.name]) ?? 0) }
            .sorted { ($0.line, $0.name) < ($1.line, $1.name) }.map(\.name)
    }

    private static func lineOfFirstBadByte(_ bytes: [UInt8]) -> Int {
        var line = 1
        for piece in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            if String(validating: piece, as: UTF8.self) == nil { break }
            line += 1
        }
        return line
    }
}
