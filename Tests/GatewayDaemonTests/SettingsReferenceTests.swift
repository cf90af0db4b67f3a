// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite struct SettingsReferenceTests {
    /// The checkout that this test was compiled in.
    static let checkout = SettingsUnits.absolute("../..", in: SettingsUnits.folder(of: "\(#filePath)"))

    static func text(_ path: String) throws -> String {
        String(decoding: try SettingsFiles.machine.read("\(checkout)/\(path)", 1 << 20), as: UTF8.self)
    }

    /// Says the first line that differs; to mend it, write into the file what the second text has.
    static func compare(_ written: Substring, _ expected: String, _ file: String) {
        let left = written.split(separator: "\n", omittingEmptySubsequences: false)
        let right = expected.split(separator: "\n", omittingEmptySubsequences: false)
        for index in 0..<max(left.count, right.count) {
            let pair = (index < left.count ? left[index] : nil, index < right.count ? right[index] : nil)
            guard pair.0 != pair.1 else { continue }
            Issue.record("\(file) says \(pair.0 ?? "nothing more"), and the code \(pair.1 ?? "nothing more")")
            return
        }
    }

    @Test func `the tables of CONFIGURATION are those of the code`() throws {
        let text = try Self.text("docs/CONFIGURATION.md")
        let parts = text.split(separator: "<!-- keys -->\n", omittingEmptySubsequences: false)
        try #require(parts.count == 3)
        Self.compare(parts[1], SettingsReference.tables(), "docs/CONFIGURATION.md")
    }

    @Test func `the example file is that of the code`() throws {
        Self.compare(try Self.text("config/example.toml")[...], SettingsReference.example(), "config/example.toml")
    }

    @Test func `the example file changes nothing as it is, and is right when all of it is in force`() throws {
        let example = SettingsReference.example()
        #expect(SettingsFixture(example).load(strict: true).settings == SettingsFixture("").load(strict: true).settings)
        let lines = example.split(separator: "\n", omittingEmptySubsequences: false).map { line -> Substring in
            let isKey =
                line.hasPrefix("# [")
                || (line.hasPrefix("# ") && line.dropFirst(2).contains(" = ")
                    && line.dropFirst(2).prefix { $0 != " " }.utf8.allSatisfy(SettingsUnits.isNameByte))
            return isKey ? line.dropFirst(2) : line
        }
        let inForce = lines.joined(separator: "\n")
        #expect(SettingsFixture(inForce).load().problems.filter { $0.severity == .error } == [])
        for key in SettingsKey.all where key.isBuilt && key.kind != .section {
            #expect(inForce.contains("\n\(key.name) = "), "\(key.path)")
        }
    }

    @Test func `every key has a reason and every default passes its own check`() {
        for key in SettingsKey.all {
            #expect(key.why.hasSuffix("."), "\(key.path)")
            guard case .text(let text) = key.standard else { continue }
            let section = key.section.joined(separator: ".").replacing("*", with: "x")
            let source = "[\(section)]\n\(key.name) = \"\(text)\""
            let problems = SettingsFixture(source).load().problems.filter { $0.key.hasSuffix(key.name) }
            #expect(problems == [], "\(key.path)")
        }
    }

    @Test(arguments: ["default", "production", "example"])
    func `the files we ship are right`(_ name: String) throws {
        let outcome = SettingsLoader.load(
            path: "\(Self.checkout)/config/\(name).toml", strict: false, environment: ["PATH": "/usr/bin:/bin"],
            installation: Installation(programDirectory: "/usr/bin", checkout: nil))
        #expect(outcome.problems.filter { $0.severity == .error } == [])
        let settings = try #require(outcome.settings)
        #expect(settings.server.listen.isLoopback)
        if name == "default" {
            #expect(settings.storage.directory == "\(Self.checkout)/var/lib/mcp")
            #expect(settings.tools.map(\.name) == ["units", "text", "checksum"])
            #expect(settings.upstreams.map(\.name) == ["notes"])
        }
    }
}
