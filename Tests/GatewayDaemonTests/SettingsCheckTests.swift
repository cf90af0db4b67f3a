// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite struct SettingsCheckTests {
    private func run(_ text: String, strict: Bool = false, json: Bool = false) -> ConfigurationCheck {
        let fixture = SettingsFixture(text)
        return ConfigurationCheck.run(
            file: "gateway.toml", strict: strict, json: json, environment: fixture.environment,
            installation: fixture.installation, files: fixture.files)
    }

    @Test func `a right file is one line and status 0`() {
        let check = run("[upstreams.a]\nurl = \"http://a/\"")
        #expect(
            check == ConfigurationCheck(output: ["gateway.toml: ok, 1 upstream, 0 tools"], complaints: [], exitCode: 0))
    }

    @Test func `a wrong file is its problems and status 78`() {
        let check = run("x = 1")
        #expect(check.output == [])
        #expect(check.exitCode == 78)
        #expect(
            check.complaints == [
                """
                gateway.toml:1: x: unknown key; known here: server, admin, storage, cache, log, telemetry, limits, \
                auth, wasm, upstreams, tools
                """,
                "gateway.toml: 1 problem; the gateway would not start with this file",
            ])
    }

    @Test func `for machines it is one object`() {
        #expect(
            run("a\"b = 1", json: true).output.first?.hasPrefix(
                "{\"file\":\"gateway.toml\",\"ok\":false,\"problems\":[{\"line\":1,")
                == true)
        #expect(
            run("", json: true).output == [
                "{\"file\":\"gateway.toml\",\"ok\":true,\"upstreams\":0,\"tools\":0,\"problems\":[]}"
            ])
    }

    @Test func `the configuration is looked for in the promised order`() {
        var fixture = SettingsFixture("")
        fixture.texts["/src/Package.swift"] = []
        fixture.texts["/src/config/default.toml"] = []
        let built = "/src/.build/x86_64/debug/mcp-gateway"
        func find(_ explicit: String?, _ environment: [String: String], _ executable: String) -> String {
            ConfigurationPath.find(
                explicit: explicit, environment: environment, executablePath: executable, files: fixture.files)
        }
        #expect(find("a.toml", ["MCP_GATEWAY_CONFIG": "/b.toml"], built) == "a.toml")
        #expect(find(nil, ["MCP_GATEWAY_CONFIG": "/b.toml"], built) == "/b.toml")
        #expect(find(nil, ["MCP_GATEWAY_CONFIG": ""], built) == "/src/config/default.toml")
        #expect(find(nil, [:], "/usr/bin/mcp-gateway") == "/etc/mcp-gateway/production.toml")
        #expect(find(nil, [:], "mcp-gateway") == "/etc/mcp-gateway/production.toml")
    }

    @Test func `devices and directories are not read`() {
        for (path, reason) in [
            ("/dev/zero", "it is not a regular file"), ("/", "it is a directory"), ("/nosuch", "there is no such file"),
        ] {
            #expect(throws: SettingsFiles.Unreadable(reason: reason)) { try SettingsFiles.machine.read(path, 10) }
        }
    }

    @Test func `the environment of this process can be read`() {
        #expect(ProcessEnvironment.current()["PATH"]?.isEmpty == false)
    }
}
