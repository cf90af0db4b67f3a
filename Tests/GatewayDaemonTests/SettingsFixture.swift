// Licensed under the Apache License 2.0; see LICENSE.

@testable import GatewayDaemon

/// A file system of a few texts, and a loader that sees nothing else.
struct SettingsFixture {
    var texts: [String: [UInt8]] = [:]
    var directories: Set<String> = []
    var environment = ["PATH": "/usr/bin"]
    var installation = Installation(programDirectory: "/usr/bin", checkout: nil)

    init(_ text: String) {
        texts["/etc/gw/gateway.toml"] = Array(text.utf8)
        texts["/usr/bin/python3"] = []
        texts["/srv/units.wasm"] = []
        directories = ["/srv", "/srv/data"]
    }

    func load(strict: Bool = false) -> SettingsOutcome {
        SettingsLoader.load(
            path: "/etc/gw/gateway.toml", strict: strict, environment: environment, installation: installation,
            files: files)
    }

    /// The problems without the name of the file.
    func problems(strict: Bool = false) -> [String] {
        load(strict: strict).problems.map { String($0.description.dropFirst("/etc/gw/gateway.toml:".count)) }
    }

    var files: SettingsFiles {
        let texts = texts
        let directories = directories
        return SettingsFiles(
            read: { path, bytesMax throws(SettingsFiles.Unreadable) in
                guard let bytes = texts[path] else {
                    throw SettingsFiles.Unreadable(reason: "there is no such file")
                }
                guard bytes.count <= bytesMax else {
                    throw SettingsFiles.Unreadable(reason: "it has more than \(bytesMax) bytes")
                }
                return bytes
            },
            kind: { texts[$0] != nil ? .file : directories.contains($0) ? .directory : .absent },
            isReadable: { _ in true }, isExecutable: { $0.hasPrefix("/usr/bin/") }, currentDirectory: { "/etc/gw" })
    }
}
