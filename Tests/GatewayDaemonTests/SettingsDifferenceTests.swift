// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

/// What a reload puts in force, and what it leaves for a restart. Every key is one or the other.
@Suite struct SettingsDifferenceTests {
    /// A file with something in each of its tables, so that a changed key is the only difference.
    private static let base: [[String]: String] = [
        ["limits", "requests_per_second"]: "5", ["limits", "per_caller", "requests_per_second"]: "5",
        ["upstreams", "up", "url"]: #""http://a/""#, ["upstreams", "up", "tools", "do", "title"]: #""t""#,
        ["upstreams", "up", "tools", "do", "idempotent"]: "true",
        ["upstreams", "up", "tools", "do", "circuit_breaker", "minimum_calls"]: "3",
        ["upstreams", "far", "command"]: #""python3""#, ["tools", "units", "module"]: #""/srv/units.wasm""#,
        ["tools", "units", "tools", "do", "title"]: #""t""#,
    ]

    private static func load(_ values: [[String]: String]) throws -> GatewaySettings {
        var text = ""
        for (section, keys) in Dictionary(grouping: values, by: { Array($0.key.dropLast()) })
            .sorted(by: { $0.key.lexicographicallyPrecedes($1.key) })
        {
            text += "[\(section.joined(separator: "."))]\n"
            for key in keys { text += "\(key.key.last ?? "") = \(key.value)\n" }
        }
        var fixture = SettingsFixture(text)
        fixture.texts["/srv/other.wasm"] = []
        fixture.texts["/usr/bin/perl"] = []
        let outcome = fixture.load()
        #expect(outcome.problems.filter { $0.severity == .error } == [], "\(text)")
        return try #require(outcome.settings)
    }

    // MARK: Another value for each key

    /// Where a table of the writer's own stands: the upstream with a command where the key goes with that.
    private static func place(of key: SettingsKey) -> [String] {
        var path = key.path
        let needsCommand = ["command", "args", "env", "cwd"].contains(path.last ?? "") && path.count == 3
        if path.count > 1, path[1] == "*" { path[1] = path[0] == "tools" ? "units" : needsCommand ? "far" : "up" }
        if path.count > 3, path[3] == "*" { path[3] = "do" }
        return path
    }

    private static let texts: [String: String] = [
        "allowed_hosts": #"["gateway.example"]"#, "allowed_origins": #"["https://app.example"]"#,
        "trusted_proxies": #"["10.0.0.0/8"]"#, "local": #"["root"]"#, "env": #"["TZ"]"#,
    ]

    /// The text of a value that is neither what the file says nor what holds without it; nil when there is none.
    private static func another(for key: SettingsKey) -> String? {
        func quoted(_ text: String) -> String { "\"\(text)\"" }
        switch key.kind {
        case .section: return nil
        case .flag: return base[place(of: key)] == "true" || key.standard == .flag(true) ? "false" : "true"
        case .count(let range):
            let taken = [key.standard == .number(range.lowerBound) ? "\(range.lowerBound)" : nil, base[place(of: key)]]
            return ["\(range.lowerBound)", "\(range.upperBound)"].first { !taken.contains($0) }
        case .ratio: return "0.25"
        case .perSecond: return "6.5"
        case .rate: return quoted("7/s")
        case .duration(let range):
            let standard = standardText(of: key).flatMap(SettingsUnits.duration)
            return [range.lowerBound, range.upperBound].first { $0 != standard }.map { quoted(SettingsUnits.text($0)) }
        case .timeOfDay: return quoted("04:45")
        case .size(let range):
            let standard = standardText(of: key).flatMap(SettingsUnits.size)
            return [range.lowerBound, range.upperBound].first { $0 != standard }
                .map { quoted(SettingsUnits.text(bytes: $0)) }
        case .choice(let words, _): return words.last { key.standard != .text($0) }.map(quoted)
        case .address: return quoted("127.0.0.1:9999")
        case .route: return quoted("/other")
        case .link: return quoted("http://b/")
        case .file: return quoted("/srv/other.wasm")
        case .directory: return quoted("/srv/data")
        case .madeDirectory: return quoted("/srv/made")
        case .socket: return quoted("/srv/other.sock")
        case .prefix: return quoted("other")
        case .digest: return quoted(String(repeating: "a", count: 64))
        case .text: return quoted(key.name == "command" ? "perl" : "other")
        case .texts: return texts[key.name] ?? #"["x"]"#
        case .map: return key.name == "directories" ? #"{ "/data" = "/srv/data" }"# : #"{ A = "v" }"#
        }
    }

    private static func standardText(of key: SettingsKey) -> String? {
        if case .text(let text) = key.standard { text } else { nil }
    }

    /// Keys whose values are files that have to fit each other: changed behind the file.
    private static let behindTheFile: [String: @Sendable (inout GatewaySettings.TLS) -> Void] = [
        "certificate": { $0.certificate = "other" }, "key": { $0.key = SecretText("other") },
        "client_ca": { $0.clientAuthorities = "other" },
        "require_client_certificate": { $0.requiresClientCertificate = true },
    ]

    /// Before and after a change of this key alone; nil when it has only one value.
    private static func change(_ key: SettingsKey) throws -> (before: GatewaySettings, after: GatewaySettings)? {
        var before = try load(base)
        if key.section == ["server", "tls"] {
            let tls = GatewaySettings.TLS(
                certificate: "c", key: SecretText("k"), clientAuthorities: "a", requiresClientCertificate: false)
            var other = tls
            let change = try #require(behindTheFile[key.name])
            change(&other)
            before.server.tls = tls
            var after = before
            after.server.tls = other
            return (before, after)
        }
        guard let value = another(for: key) else { return nil }
        return (before, try load(base.merging([place(of: key): value]) { $1 }))
    }

    /// The names under which a difference of this key may be told: its own, or that of a table it is in.
    private static func names(of key: SettingsKey) -> Set<String> {
        let place = place(of: key)
        if ["upstreams", "tools"].contains(place[0]) { return [place.prefix(2).joined(separator: ".")] }
        // How many at once belongs to how often.
        if key.path == ["limits", "burst"] { return ["limits.requests_per_second"] }
        return Set(place.indices.map { place[...$0].joined(separator: ".") })
    }

    private static let keys = SettingsKey.all.filter { $0.isBuilt && $0.kind != .section }

    // MARK: The walk

    @Test func `every key is put in force by a reload or said to wait, under its name`() throws {
        var unchangeable: [String] = []
        var waiting: [String] = []
        for key in Self.keys {
            let name = key.path.joined(separator: ".")
            guard let (before, after) = try Self.change(key) else {
                unchangeable.append(name)
                continue
            }
            #expect(before != after, "\(name) is read by nobody: SettingsBuild")
            let difference = SettingsDifference(from: before, to: after)
            let told = Self.names(of: key)
            #expect(
                (difference.changed + difference.waiting).contains(where: told.contains),
                "\(name) is not in SettingsDifference, so a reload would pass over it")
            if difference.waiting.contains(where: told.contains) {
                waiting.append(name)
                #expect(difference.changed == [] && difference.settings == before, "\(name)")
            } else {
                #expect(difference.waiting == [] && difference.changed.count == 1, "\(name)")
                #expect(difference.settings == after, "\(name)")
            }
        }
        #expect(unchangeable == ["storage.engine"])
        // What docs/decisions/0016-reload.md promises.
        #expect(
            Set(waiting) == [
                "server.listen", "admin.control_socket", "admin.listen", "storage.directory", "storage.replicas",
                "wasm.library",
                "wasm.cache", "wasm.workers", "wasm.max_waiting",
            ])
    }

    @Test func `a key that says of itself that it waits for a restart is one that does`() throws {
        for key in Self.keys where key.why.contains("Changes at a restart.") {
            guard let (before, after) = try Self.change(key) else { continue }
            #expect(SettingsDifference(from: before, to: after).waiting != [], "\(key.path)")
        }
    }

    @Test func `the same file is no difference`() throws {
        let settings = try Self.load(Self.base)
        let difference = SettingsDifference(from: settings, to: try Self.load(Self.base))
        #expect(difference.changed == [] && difference.waiting == [])
        #expect(difference.settings == settings)
    }

    @Test func `what can be put in force is, beside what has to wait`() throws {
        let before = try Self.load(Self.base)
        let new = [["server", "listen"]: #""127.0.0.1:9999""#, ["server", "path"]: #""/other""#]
        let difference = SettingsDifference(from: before, to: try Self.load(Self.base.merging(new) { $1 }))
        #expect(difference.changed == ["server.path"])
        #expect(difference.waiting == ["server.listen"])
        #expect(difference.settings.server.listen == before.server.listen)
        #expect(difference.settings.server.path == "/other")
    }

    // MARK: Upstreams and tools

    @Test func `who comes, goes and changes is named so`() throws {
        let before = try Self.load(Self.base)
        var values = Self.base.filter { $0.key[..<2] != ["upstreams", "far"] && $0.key[..<2] != ["tools", "units"] }
        values[["upstreams", "near", "url"]] = #""http://n/""#
        values[["upstreams", "up", "timeout"]] = #""5s""#
        values[["tools", "more", "module"]] = #""/srv/other.wasm""#
        let after = try Self.load(values)
        let difference = SettingsDifference(from: before, to: after)
        #expect(
            Set(difference.changed) == [
                "upstreams.near (new)", "upstreams.far (gone)", "upstreams.up", "tools.more (new)",
                "tools.units (gone)",
            ])
        #expect(difference.changed.count == 5)
        #expect(difference.settings == after)
    }

    @Test func `another order of the tables is a change, for lists have it`() throws {
        let text = ["[upstreams.a]\nurl = \"http://a/\"\n", "[upstreams.b]\nurl = \"http://b/\"\n"]
        let before = try #require(SettingsFixture(text.joined()).load().settings)
        let after = try #require(SettingsFixture(text.reversed().joined()).load().settings)
        #expect(SettingsDifference(from: before, to: after).changed == ["upstreams (order)"])
    }
}
