// Licensed under the Apache License 2.0; see LICENSE.

/// What `upstreams import` does with a file.
package struct ServersImport: Sendable, Equatable {
    /// For standard output: TOML, without the last line end; none when nothing could be imported.
    package let output: String?
    /// For standard error: `file: server: why it was left out`, one a line.
    package let complaints: [String]
    /// 0, or 1 when nothing could be imported.
    package let exitCode: Int32

    /// Reads `file` and changes nothing.
    package static func run(file: String, withSecrets: Bool, files: SettingsFiles = .machine) -> ServersImport {
        let bytes: [UInt8]
        do {
            let path = SettingsUnits.absolute(file, in: file.hasPrefix("/") ? "/" : files.currentDirectory())
            bytes = try files.read(path, RelaxedJSON.bytesMax)
        } catch {
            return ServersImport(
                output: nil, complaints: ["\(file): cannot read this file: \(error.reason)"], exitCode: 1)
        }
        let converted = ServersFile(bytes, withSecrets: withSecrets)
        let complaints = converted.remarks.map { "\(file): \($0)" }
        guard converted.importedCount > 0 else {
            return ServersImport(output: nil, complaints: complaints + ["\(file): nothing imported"], exitCode: 1)
        }
        let folder = SettingsUnits.folder(of: file)
        let name = folder == "." && !file.contains("/") ? file : String(file.dropFirst(folder.utf8.count + 1))
        let head = """
            # From \(SettingsUnits.excerpt(name)), by mcp-gateway upstreams import. Put the tables into the \
            configuration,
            # and ask mcp-gateway validate-config about it.
            """
        return ServersImport(output: "\(head)\n\n\(converted.toml.dropLast())", complaints: complaints, exitCode: 0)
    }
}
