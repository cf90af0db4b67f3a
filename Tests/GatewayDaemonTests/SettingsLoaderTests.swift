// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite struct SettingsLoaderTests {
    @Test func `an empty file is the defaults of an installed gateway`() throws {
        let settings = try #require(SettingsFixture("").load(strict: true).settings)
        #expect(settings.server.listen == ListenAddress(host: "127.0.0.1", port: 8_080))
        #expect(settings.server.path == "/mcp")
        #expect(settings.server.connectionsMax == 1_024)
        #expect(settings.server.bodyBytesMax == 4 << 20)
        #expect(settings.server.requestTimeout == .seconds(60))
        #expect(settings.server.headerTimeout == .seconds(10))
        #expect(settings.server.shutdownGrace == .seconds(10))
        #expect(settings.admin.controlSocket == "/run/mcp-gateway/control.sock")
        #expect(!settings.admin.hasPublicMetrics)
        #expect(settings.storage.directory == "/var/lib/mcp")
        #expect(settings.storage.retention == .seconds(7 * 86_400))
        #expect(settings.log.level == .info)
        #expect(settings.log.requestRowsPerSecond == 500)
        #expect(settings.log.writesToStandardOutput)
        #expect(settings.limits.inFlightMax == 1_024)
        #expect(settings.wasm.libraries == ["/usr/bin/libwasmtime.so", "/usr/lib/mcp-gateway/libwasmtime.so"])
        #expect(settings.wasm.cacheDirectory == nil, "beside the database")
        #expect(settings.upstreams.isEmpty && settings.tools.isEmpty)
    }

    @Test func `a gateway from a checkout keeps to the checkout`() throws {
        var fixture = SettingsFixture("[storage]\ndirectory = \"../var\"")
        fixture.installation = Installation(programDirectory: "/src/.build/debug", checkout: "/src")
        let settings = try #require(fixture.load().settings)
        #expect(settings.admin.controlSocket == "/src/var/run/control.sock")
        #expect(settings.log.directory == "/src/var/log/mcp-gateway")
        #expect(settings.wasm.libraries.first == "/src/vendor/lib/libwasmtime.so")
        #expect(settings.storage.directory == "/etc/var")
        #expect(settings.wasm.cacheDirectory == nil)
    }

    @Test func `upstreams and tools come in the order of the file with all they say`() throws {
        var fixture = SettingsFixture(
            """
            [tools.units]
            module = "../../srv/units.wasm"
            sha256 = "\(String(repeating: "AB", count: 32))"
            memory = "1MiB"
            timeout = "100ms"
            output = "512KiB"
            config = { precision = "3" }
            allow = { env = ["TZ"], directories = { "/out" = "/srv:rw", "/data" = "/srv/data" }, clock = true }
            [upstreams.zeta]
            command = "python3"
            args = ["server.py", "${WORD:-none}"]
            env.KEY = "${file:key}"
            cwd = "/srv"
            [upstreams.erp]
            url = "https://erp.example:8443/mcp?a=1"
            headers = { Authorization = "Bearer ${TOKEN}" }
            prefix = ""
            timeout = "5m"
            [server]
            request_timeout = "10m"
            """)
        fixture.environment["TOKEN"] = "s3cret"
        fixture.texts["/etc/gw/key"] = Array("hidden\n".utf8)
        let outcome = fixture.load(strict: true)
        #expect(outcome.problems == [])
        let settings = try #require(outcome.settings)
        #expect(settings.upstreams.map(\.name) == ["zeta", "erp"])
        #expect(
            settings.upstreams[0].transport
                == .stdio(
                    command: "python3", arguments: ["server.py", "none"],
                    environment: [NamedSecret(name: "KEY", value: SecretText("hidden"))], directory: "/srv"))
        #expect(
            settings.upstreams[1]
                == UpstreamSettings(
                    name: "erp", prefix: "",
                    transport: .http(
                        url: "https://erp.example:8443/mcp?a=1",
                        headers: [NamedSecret(name: "Authorization", value: SecretText("Bearer s3cret"))]),
                    timeout: .seconds(300),
                    breaker: BreakerSettings(
                        failures: 0.5, window: .seconds(30), callsMin: 10, openFor: .seconds(15), slowCall: nil)
                ))
        #expect(
            settings.tools == [
                ToolSettings(
                    name: "units", prefix: "units", modulePath: "/srv/units.wasm",
                    sha256: String(repeating: "ab", count: 32), memoryBytesMax: 1 << 20, timeout: .milliseconds(100),
                    outputBytesMax: 512 << 10, config: [NamedSecret(name: "precision", value: SecretText("3"))],
                    allowedEnvironment: ["TZ"],
                    directories: [
                        ToolSettings.Directory(guestPath: "/data", hostPath: "/srv/data", isWritable: false),
                        ToolSettings.Directory(guestPath: "/out", hostPath: "/srv", isWritable: true),
                    ], allowsClock: true, allowsRandom: false)
            ])
        #expect(!"\(settings)".contains("s3cret") && !"\(settings)".contains("hidden"))
        var dumped = ""
        dump(settings, to: &dumped)
        #expect(!dumped.contains("s3cret") && !dumped.contains("hidden"))
    }

    @Test func `what is only absent here is a warning, and an error when strict`() {
        let fixture = SettingsFixture(
            """
            [server]
            path = "${MCP_PATH}"
            allowed_hosts = ["${HOST_NAME}"]
            [upstreams.a]
            url = "${URL}"
            headers = { Authorization = "Bearer ${file:/run/token}" }
            [tools.t]
            module = "t.wasm"
            """)
        let expected = [
            "2: server.path: the environment variable MCP_PATH is not set; set it, or write ${MCP_PATH:-default}",
            """
            3: server.allowed_hosts[0]: the environment variable HOST_NAME is not set; set it, or write \
            ${HOST_NAME:-default}
            """,
            "5: upstreams.a.url: the environment variable URL is not set; set it, or write ${URL:-default}",
            "6: upstreams.a.headers.Authorization: cannot read /run/token: there is no such file",
            "8: tools.t.module: there is no file /etc/gw/t.wasm; make it, or mend the path",
        ]
        let loose = fixture.load()
        #expect(loose.problems.allSatisfy { $0.severity == .warning })
        #expect(fixture.problems().map { $0.replacing(": warning: ", with: ": ") } == expected)
        #expect(loose.settings?.upstreams.count == 1)
        #expect(fixture.problems(strict: true) == expected)
        #expect(fixture.load(strict: true).settings == nil)
    }

    @Test(
        "Texts are filled in from the environment and from files",
        arguments: [
            ("plain $5", .text("plain $5")), ("${A}", .text("one")), ("<${A}${A}>", .text("<oneone>")),
            ("${B:-two}", .text("two")), ("${EMPTY:-two}", .text("two")), ("${EMPTY}", .text("")),
            ("$${A}", .text("${A}")), ("${NEST}", .text("${A}")), ("${file:secret}", .text("s3")),
            ("${B:-}", .text("")),
            ("${B}", .missing("the environment variable B is not set; set it, or write ${B:-default}")),
            ("${A", .malformed("\"${\" without its \"}\"; write ${NAME}, or $${ for the two characters themselves")),
            ("${A B}", .malformed("\"${A B}\" is none of ${NAME}, ${NAME:-default} and ${file:/path}")),
            ("${}", .malformed("\"${}\" is none of ${NAME}, ${NAME:-default} and ${file:/path}")),
        ] as [(String, SettingsExpansion.Outcome)])
    func expansion(_ raw: String, _ outcome: SettingsExpansion.Outcome) {
        var fixture = SettingsFixture("")
        fixture.texts["/etc/gw/secret"] = Array("s3\r\n".utf8)
        let expansion = SettingsExpansion(
            environment: ["A": "one", "EMPTY": "", "NEST": "${A}"], files: fixture.files, folder: "/etc/gw")
        #expect(expansion.expand(raw) == outcome)
    }

    @Test(
        "Addresses are literal",
        arguments: [
            ("127.0.0.1:8080", "127.0.0.1:8080"), (":8080", "0.0.0.0:8080"), ("localhost:0", "localhost:0"),
            ("[::1]:80", "[::1]:80"), ("::1:80", nil), ("example.org:80", nil), ("127.0.0.1", nil), ("127.1:80", nil),
            ("127.0.0.1:65536", nil), ("127.0.0.1:+1", nil), ("", nil), (":", nil),
        ] as [(String, String?)])
    func address(_ text: String, _ printed: String?) {
        #expect(SettingsUnits.address(text)?.description == printed)
    }

    @Test(
        "Durations and sizes have a unit",
        arguments: [
            ("100ms", .milliseconds(100), nil), ("30s", .seconds(30), nil), ("5m", .seconds(300), nil),
            ("24h", .seconds(86_400), nil), ("7d", .seconds(604_800), nil), ("64MiB", nil, 67_108_864),
            ("512KiB", nil, 524_288), ("1GB", nil, 1_000_000_000), ("10B", nil, 10), ("30", nil, nil),
            ("s", nil, nil), ("-1s", nil, nil), ("1.5s", nil, nil), ("1 s", nil, nil), ("999999999s", nil, nil),
            ("64mib", nil, nil), ("", nil, nil), ("٣s", nil, nil),
        ] as [(String, Duration?, Int?)])
    func units(_ text: String, _ duration: Duration?, _ size: Int?) {
        #expect(SettingsUnits.duration(text) == duration)
        #expect(SettingsUnits.size(text) == size)
    }

    @Test func `an open address that is meant needs the names clients use`() {
        let text = "[server]\nlisten = \":80\"\n[auth]\nallow_anonymous = true"
        #expect(
            SettingsFixture(text).problems() == [
                "2: server.listen: warning: without allowed_hosts only requests to localhost are answered; "
                    + "list the names that clients use for this machine"
            ])
        #expect(SettingsFixture(text + "\n[server.x]").load().settings == nil)
    }
}
