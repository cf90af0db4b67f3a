// Licensed under the Apache License 2.0; see LICENSE.

/// The table of keys as people read it: the tables of `docs/CONFIGURATION.md` and the whole of `config/example.toml`.
/// Tests hold both files
/// to what stands here.
package enum SettingsReference {
    /// The sections with their keys, then what is known and not built yet.
    package static func tables() -> String {
        var out = ""
        for section in SettingsKey.all where section.kind == .section {
            let keys = keys(in: section.path)
            let name = title(section.path)
            out += "### `[\(name)]`\n\n\(section.why)\n\n"
            guard !keys.isEmpty else { continue }
            out += "| Key | Takes | When left out | Why |\n|---|---|---|---|\n"
            for key in keys {
                out += "| `\(key.name)` | \(takes(key.kind)) | \(standard(key)) | \(key.why) |\n"
            }
            out += "\n"
        }
        out +=
            """
            ### Known, but not built yet\n\nWriting one of these is an error that says so.\n\n| Key | What it \
            will be |\n|---|---|\n
            """
        for key in SettingsKey.all where !key.isBuilt {
            out += "| `\(title(key.path))` | \(key.why) |\n"
        }
        for key in SettingsKey.all {
            guard case .choice(_, let later) = key.kind, !later.isEmpty else { continue }
            let words = later.map { "`\"\($0)\"`" }.joined(separator: ", ")
            out += "| `\(title(key.path))` = \(words) | Further values of this key. |\n"
        }
        return out
    }

    /// A file with every key, its default and its reason. What has a default stands in a comment, so that the file as
    /// it is means the same
    /// as an empty one.
    package static func example() -> String {
        var out = """
            # Every key of the gateway's configuration, with what holds when it is left out. Nothing here is in force:
            # remove the "# " in front of what you want to change. docs/CONFIGURATION.md explains the notation, and
            # `mcp-gateway validate-config FILE` checks a file without starting anything.

            """
        for key in SettingsKey.all where key.isBuilt {
            if key.kind == .section {
                out += "\n" + comment(key.why)
                // Sections whose tables have names of the writer's choice have no table of their own.
                if SettingsKey.all.contains(where: { $0.path == key.path + ["*"] }) { continue }
                // A table with keys that have to be given is not to be there without them.
                let isOff = key.path.contains("*") || keys(in: key.path).contains { $0.standard == .required }
                out += (isOff ? "# " : "") + "[\(exampleName(key.path).joined(separator: "."))]\n"
                continue
            }
            // One upstream cannot have both, so the second kind gets a table of its own.
            if key.path == ["upstreams", "*", "command"] { out += "\n# [upstreams.notes]\n" }
            out += comment(key.why) + "# \(key.name) = \(exampleValue(key))\n"
        }
        return out
    }

    private static func keys(in section: [String]) -> [SettingsKey] {
        SettingsKey.all.filter { $0.section == section && $0.isBuilt && $0.kind != .section }
    }

    private static func title(_ path: [String]) -> String {
        path.enumerated().map { $1 == "*" ? ($0 > 2 ? "TOOL" : "NAME") : $1 }.joined(separator: ".")
    }

    private static func exampleName(_ path: [String]) -> [String] {
        let names = path[0] == "tools" ? ["units", "convert"] : ["erp", "create_ticket"]
        return path.enumerated().map { $1 == "*" ? names[$0 > 2 ? 1 : 0] : $1 }
    }

    /// Comment lines of at most 120 columns.
    private static func comment(_ text: String) -> String {
        var lines = ["#"]
        for word in text.split(separator: " ") {
            if lines[lines.count - 1].count + word.count + 1 > 120 { lines.append("#") }
            lines[lines.count - 1] += " " + word
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func takes(_ kind: SettingsKey.Kind) -> String {
        switch kind {
        case .section: "a table"
        case .text: "text"
        case .flag: "`true` or `false`"
        case .count(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .ratio(let range), .perSecond(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .rate: "a number and `/s`, `/m` or `/h`"
        case .timeOfDay: "hours and minutes, local time"
        case .duration(let range):
            "\(SettingsUnits.text(range.lowerBound)) to \(SettingsUnits.text(range.upperBound))"
        case .size(let range):
            "\(SettingsUnits.text(bytes: range.lowerBound)) to \(SettingsUnits.text(bytes: range.upperBound))"
        case .choice(let words, _): words.map { "`\"\($0)\"`" }.joined(separator: ", ")
        case .address: "address and port"
        case .route: "path on the listener"
        case .link: "http or https address"
        case .file: "file"
        case .directory: "directory"
        case .madeDirectory: "directory, made if missing"
        case .socket: "socket, made at start"
        case .prefix: "letters, digits, `-`, `_`"
        case .digest: "64 hexadecimal digits"
        case .texts: "list of texts"
        case .map: "table of texts"
        }
    }

    private static func standard(_ key: SettingsKey) -> String {
        switch key.standard {
        case .text(let text): "`\"\(text)\"`"
        case .number(let number): "`\(number)`"
        case .ratio(let ratio): "`\(ratio)`"
        case .flag(let flag): "`\(flag)`"
        case .texts(let texts): "`\(list(texts))`"
        case .empty: key.kind == .texts ? "`[]`" : "`{}`"
        case .place(let installed, let checkout): "`\"\(installed)\"`; in a checkout its `\(checkout)`"
        case .derived(let words): words
        case .required: "has to be given"
        case .none: ""
        }
    }

    private static func list(_ texts: [String]) -> String {
        "[" + texts.map { "\"\($0)\"" }.joined(separator: ", ") + "]"
    }

    private static func exampleValue(_ key: SettingsKey) -> String {
        switch key.standard {
        case .text(let text): "\"\(text)\""
        case .number(let number): "\(number)"
        case .ratio(let ratio): "\(ratio)"
        case .flag(let flag): "\(flag)"
        case .texts(let texts): list(texts)
        case .place(let installed, _): "\"\(installed)\""
        case .empty, .derived, .required, .none:
            examples[key.path.joined(separator: ".")] ?? (key.kind == .texts ? "[]" : "{}")
        }
    }

    /// For keys whose default is no value, or one that shows nothing.
    private static let examples = [
        "server.trusted_proxies": "[\"127.0.0.1\", \"10.0.0.0/8\"]",
        "server.tls.certificate": "\"/etc/mcp-gateway/tls/certificate.pem\"",
        "server.tls.key": "\"/etc/mcp-gateway/tls/key.pem\"",
        "server.tls.client_ca": "\"/etc/mcp-gateway/tls/clients.pem\"",
        "admin.listen": "\"127.0.0.1:8081\"",
        "wasm.library": "\"/usr/lib/mcp-gateway/libwasmtime.so\"",
        "wasm.cache": "\"/var/lib/mcp/wasm-cache\"",
        "upstreams.*.url": "\"https://erp.example/mcp\"",
        "upstreams.*.headers": "{ Authorization = \"Bearer ${ERP_TOKEN}\" }",
        "upstreams.*.command": "\"python3\"",
        "upstreams.*.args": "[\"server.py\"]",
        "upstreams.*.env": "{ NOTES_FILE = \"/var/lib/notes.txt\" }",
        "upstreams.*.cwd": "\"/srv/notes\"",
        "upstreams.*.prefix": "\"notes\"",
        "upstreams.*.allow_tools": "[\"get_*\"]",
        "upstreams.*.deny_tools": "[\"*_internal\"]",
        "upstreams.*.tools.*.name": "\"new_ticket\"",
        "upstreams.*.tools.*.title": "\"New ticket\"",
        "upstreams.*.tools.*.description": "\"Opens a ticket and returns its number.\"",
        "storage.max_queue_per_caller": "1000",
        "upstreams.*.circuit_breaker.slow_call": "\"5s\"",
        "limits.requests_per_second": "100",
        "telemetry.otlp_endpoint": "\"http://127.0.0.1:4318\"",
        "limits.burst": "200",
        "limits.per_caller.requests_per_second": "10",
        "limits.per_caller.burst": "20",
        "upstreams.*.tools.*.rate": "\"10/s\"",
        "upstreams.*.tools.*.max_in_flight": "4",
        "upstreams.*.tools.*.hedge": "\"200ms\"",
        "upstreams.*.tools.*.circuit_breaker.slow_call": "\"5s\"",
        "tools.*.max_in_flight": "8",
        "tools.*.tools.*.rate": "\"10/s\"",
        "upstreams.*.tools.*.cache": "\"10m\"",
        "upstreams.*.tools.*.dedupe": "\"2m\"",
        "tools.*.allow_tools": "[\"convert\"]",
        "tools.*.deny_tools": "[\"debug_*\"]",
        "tools.*.tools.*.name": "\"convert\"",
        "tools.*.tools.*.title": "\"Convert units\"",
        "tools.*.tools.*.description": "\"Converts a value between two units.\"",
        "tools.*.module": "\"/var/lib/mcp/tools/units.wasm\"",
        "tools.*.sha256": "\"0000000000000000000000000000000000000000000000000000000000000000\"",
        "tools.*.prefix": "\"units\"",
        "tools.*.config": "{ precision = \"3\" }",
        "tools.*.allow.env": "[\"TZ\"]",
        "tools.*.allow.directories": "{ \"/data\" = \"/srv/data:ro\" }",
    ]
}
