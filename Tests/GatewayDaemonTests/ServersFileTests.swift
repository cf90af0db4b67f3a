// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite("Import of servers files") struct ServersFileTests {
    private func convert(_ json: String, withSecrets: Bool = false) -> ServersFile {
        ServersFile(Array(json.utf8), withSecrets: withSecrets)
    }

    /// The upstreams that a gateway has with what is printed; any problem but an absence is one of the test.
    private func load(_ file: ServersFile, _ environment: [String: String] = [:]) throws -> [UpstreamSettings] {
        var fixture = SettingsFixture(file.toml)
        fixture.environment.merge(environment) { $1 }
        let outcome = fixture.load()
        #expect(outcome.problems.filter { $0.severity == .error } == [])
        return try #require(outcome.settings).upstreams
    }

    private func environment(_ upstream: UpstreamSettings?) -> [String: String] {
        guard case .stdio(_, _, let environment, _) = upstream?.transport else { return [:] }
        return Dictionary(uniqueKeysWithValues: environment.map { ($0.name, $0.value.revealed) })
    }

    @Test func `a desktop client's file becomes tables, and what each needs stands above it`() throws {
        let file = convert(
            """
            {
              // kept by hand
              "mcpServers": {
                "GitHub (work)": {
                  "command": "npx",
                  "args": ["-y", "@modelcontextprotocol/server-github"],
                  "env": { "GITHUB_TOKEN": "ghp_0123456789abcdef", "PORT": 8080, },
                },
                "notes": { "command": "python3", "cwd": "~/notes", "autoApprove": ["add"], "timeout": 60 },
                "old": { "type": "sse", "url": "https://old.example/sse", "disabled": true },
              },
            }
            """)
        #expect(
            file.toml == """
                # In the file: "GitHub (work)".
                # Set GITHUB_WORK_GITHUB_TOKEN in the gateway's environment: env.GITHUB_TOKEN looks like a secret and \
                is not copied.
                [upstreams.GitHub-work]
                command = "npx"
                args = ["-y", "@modelcontextprotocol/server-github"]
                [upstreams.GitHub-work.env]
                GITHUB_TOKEN = "${GITHUB_WORK_GITHUB_TOKEN}"
                PORT = "8080"

                # Set HOME in the gateway's environment.
                # Not taken over: autoApprove, timeout.
                [upstreams.notes]
                command = "python3"
                cwd = "${HOME}/notes"

                # Switched off in the file.
                # The file says HTTP+SSE, the transport of old servers; give the server's newer address if it has one.
                # [upstreams.old]
                # url = "https://old.example/sse"

                """)
        #expect(file.importedCount == 3 && file.remarks == [])
        let upstreams = try load(file, ["GITHUB_WORK_GITHUB_TOKEN": "t", "HOME": "/srv"])
        #expect(upstreams.map(\.name) == ["GitHub-work", "notes"])
        #expect(environment(upstreams.first) == ["GITHUB_TOKEN": "t", "PORT": "8080"])
    }

    @Test func `an editor's file keeps its variables, and its questions become variables`() throws {
        let file = convert(
            #"""
            {
              "inputs": [{ "type": "promptString", "id": "api-key", "description": "Key of \"Acme\"" }],
              "servers": {
                "acme": {
                  "type": "http", "url": "https://${env:ACME_HOST}/mcp",
                  "headers": { "Authorization": "Bearer ${input:api-key}", "X-Team": "${TEAM:-blue}" }
                },
                "local": {
                  "type": "stdio", "command": "${workspaceFolder}/run", "args": ["${userHome}${/}x", "$5", "${A"],
                  "env": { "MY_KEY": "${env:MY_KEY}" }
                }
              }
            }
            """#)
        for words in [
            #"Set API_KEY in the gateway's environment: the client asked its user for it, saying "Key of \"Acme\"""#,
            "Set ACME_HOST in the gateway's environment.", "Set MY_KEY in the gateway's environment.",
            "Set WORKSPACE_FOLDER in the gateway's environment: only the client knows \"workspaceFolder\".",
        ] { #expect(file.toml.contains("# \(words)"), "\(words)") }
        let upstreams = try load(
            file,
            [
                "ACME_HOST": "acme.example", "API_KEY": "k", "MY_KEY": "m", "HOME": "/home/me",
                "WORKSPACE_FOLDER": "/src",
            ])
        #expect(
            upstreams.map(\.transport) == [
                .http(
                    url: "https://acme.example/mcp",
                    headers: [
                        NamedSecret(name: "Authorization", value: SecretText("Bearer k")),
                        NamedSecret(name: "X-Team", value: SecretText("blue")),
                    ]),
                .stdio(
                    command: "/src/run", arguments: ["/home/me/x", "$5", "${A"],
                    environment: [NamedSecret(name: "MY_KEY", value: SecretText("m"))], directory: nil),
            ])
    }

    static let secrets = [
        #""command": "x", "env": { "API_KEY": "hush" }"#, #""command": "x", "env": { "db_password": "hush" }"#,
        #""command": "x", "env": { "PG": "postgresql://me:hush@db/x" }"#,
        #""command": "x", "env": { "AUTH_HEADER": "Bearer hush" }"#,
        #""command": "x", "env": { "A_TOKEN": "${T:-hush}" }"#,
        #""command": "x", "env": { "ANY": "ghp_hush0123456789abcdef" }"#,
        #""command": "x", "args": ["--token", "hush"]"#, #""command": "x", "args": ["--api-key=hush"]"#,
        #""command": "x", "args": ["--header=X-Api-Key:hush"]"#,
        #""command": "x", "args": ["https://a/?token=hush&v=1"]"#,
        #""command": "x", "env": { "HEADERS": "{\"x-api-key\": \"hush\"}" }"#,
        #""command": "docker", "args": ["run", "-e", "MY_SECRET=hush"]"#,
        #""command": "x", "args": ["--header", "Authorization: Bearer hush"]"#,
        #""url": "https://a/", "headers": { "authorization": "hush" }"#,
        #""url": "https://a/", "headers": { "Authorization": "Basic hush" }"#,
        #""url": "https://a/", "headers": { "X-Api-Key": "hush" }"#, #""url": "https://a/?v=1&access_token=hush""#,
        #""url": "https://a/", "headers": { "Cookie": "session=hush" }"#,
    ]

    @Test("A secret is printed only when asked for", arguments: secrets)
    func secret(_ members: String) throws {
        let json = "{\"mcpServers\": {\"s\": {\(members)}}}"
        let hidden = convert(json)
        #expect(!hidden.toml.contains("hush") && hidden.toml.contains("# Set "), "\(hidden.toml)")
        #expect(try load(hidden).count == 1)
        let open = convert(json, withSecrets: true)
        #expect(open.toml.contains("hush") && !open.toml.contains("# Set S_"), "\(open.toml)")
        #expect(try load(open).count == 1)
    }

    static let plain = [
        #""command": "npx", "args": ["-y", "server", "/srv/keys", "http://keys:8080/mcp"]"#,
        #""command": "x", "env": { "LOG_LEVEL": "debug", "URL": "https://a.example:8443/?v=1", "EMPTY_TOKEN": "" }"#,
        #""url": "https://tokens:8080/mcp?lang=en", "headers": { "X-Team": "blue", "User-Agent": "a/1.0" }"#,
    ]

    @Test("What is no secret is printed as it is", arguments: plain)
    func open(_ members: String) throws {
        let json = "{\"mcpServers\": {\"s\": {\(members)}}}"
        #expect(!convert(json).toml.contains("$"))
        #expect(convert(json) == convert(json, withSecrets: true))
    }

    @Test func `user and password of an address become a header, whatever was asked for`() throws {
        for withSecrets in [false, true] {
            let file = convert(
                #"{"servers": {"s": {"url": "https://me:hush@a.example/mcp"}}}"#, withSecrets: withSecrets)
            #expect(!file.toml.contains("hush"))
            #expect(
                try load(file, ["S_AUTHORIZATION": "bWU6aHVzaA=="]).first?.transport
                    == .http(
                        url: "https://a.example/mcp",
                        headers: [NamedSecret(name: "Authorization", value: SecretText("Basic bWU6aHVzaA=="))]))
        }
    }

    @Test func `two secrets never share a variable, nor take one that the file speaks of`() throws {
        let file = convert(
            #"""
            {"mcpServers": {
              "a-b": { "command": "x", "env": { "TOKEN": "one" } },
              "a_b": { "command": "x", "env": { "TOKEN": "two", "KEY": "three" } },
              "c": { "command": "x", "env": { "ANY": "${A_B_KEY}" } }
            }}
            """#)
        let values = ["A_B_TOKEN": "1", "A_B_TOKEN_2": "2", "A_B_KEY_2": "3", "A_B_KEY": "4"]
        #expect(
            try load(file, values).map(environment) == [
                ["TOKEN": "1"], ["TOKEN": "2", "KEY": "3"], ["ANY": "4"],
            ])
    }

    @Test func `a variable of the server itself is left for the server to fill in`() throws {
        let file = convert(
            #"""
            {"mcpServers": {"s": {
              "command": "npx", "args": ["mcp-remote", "https://a/", "--header", "Authorization:${AUTH}"],
              "env": { "AUTH": "Bearer hush" }
            }}}
            """#)
        guard case .stdio(_, let arguments, _, _) = try load(file).first?.transport else {
            Issue.record("\(file.toml)")
            return
        }
        #expect(arguments.last == "Authorization:${AUTH}")
    }

    @Test func `names become legal, stay apart, and a legal one stays as it is`() {
        let originals = [
            "a b", "a-b", "a/b", "gateway", "größe", "", "x__y", "x_", String(repeating: "n", count: 50),
            String(repeating: "n", count: 51), "---", "a-b-2",
        ]
        let names = ImportNames.upstreams(originals)
        #expect(
            names == [
                "a-b-3", "a-b", "a-b-4", "gateway-upstream", "gr-e", "server", "x_y", "x",
                String(repeating: "n", count: 40), String(repeating: "n", count: 38) + "-2", "---", "a-b-2",
            ])
    }

    static let refusals: [(String, String)] = [
        ("3", "this is a number; an object with command or url would be right"),
        ("{}", "it has neither command nor url; one of them would be right"),
        (#"{"command": "x", "url": "https://a/"}"#, "it has command and url both; one of them would be right"),
        (#"{"command": ["x"]}"#, "command is a list; a text would be right"),
        (#"{"command": "x", "args": "y"}"#, "args is a text; a list of texts would be right"),
        (#"{"command": "x", "args": [[]]}"#, "args[0] is a list; a text would be right"),
        (#"{"command": ""}"#, "command: this is empty; a text in quotes would be right"),
        (#"{"type": "ws", "url": "ws://a"}"#, #"type "ws" is not known; stdio, http or sse would be right"#),
        (
            #"{"url": "ftp://a"}"#,
            "url: this is not an http:// or https:// address; \"https://erp.example/mcp\" would be right"
        ),
        (
            #"{"command": "x", "env": {"A": "a\u0000b"}}"#,
            "one of its texts has a zero byte in it, and configuration is plain text; mend it"
        ),
    ]

    @Test("What cannot be imported is told with its name", arguments: refusals)
    func refusal(_ entry: String, _ reason: String) throws {
        let file = convert("{\"mcpServers\": {\"it\": \(entry), \"good\": {\"command\": \"x\"}}}")
        #expect(file.remarks.map(\.description) == ["\"it\": \(reason)"])
        #expect(try load(file).map(\.name) == ["good"])
    }

    @Test func `headers of the gateway's own are left out with a word`() throws {
        let file = convert(
            #"{"servers": {"s": {"url": "http://a/", "headers": {"Accept": "x", "X": "1", "N": null}}}}"#)
        #expect(file.toml.contains("# headers.Accept is left out: the gateway writes this header itself."))
        #expect(file.toml.contains("# headers.N is left out: it is null, and a text would be right."))
        #expect(
            try load(file).first?.transport
                == .http(url: "http://a/", headers: [NamedSecret(name: "X", value: SecretText("1"))]))
    }

    static let wholes: [(String, String)] = [
        ("", "line 1: this is not the JSON that clients write: the JSON text ends in the middle"),
        ("{\n\"mcpServers\": {\n\"a\": x}}", "line 3: this is not the JSON that clients write: "),
        ("{}", "it has neither mcpServers nor servers; the file where a client keeps its servers would be right"),
        ("{\"mcpServers\": {}}", "there are no servers in it"),
        ("{\"servers\": []}", "servers is a list; an object with a name for each server would be right"),
    ]

    @Test("A file without servers is told what it lacks", arguments: wholes)
    func whole(_ json: String, _ reason: String) {
        let file = convert(json)
        #expect(file.toml == "" && file.importedCount == 0)
        #expect(file.remarks.count == 1 && file.remarks[0].description.hasPrefix(reason), "\(file.remarks)")
    }
}
