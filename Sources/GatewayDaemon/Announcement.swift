// Licensed under the Apache License 2.0; see LICENSE.

internal import Gateway
internal import GatewayCore
internal import Telemetry
internal import Upstreams
internal import WasmSandbox

/// What a person who started the gateway by hand wants to know.
enum Announcement {
    static func text(_ assembly: Assembly, address: String) -> String {
        let server = assembly.reloader.settings.server
        let place = (server.tls == nil ? "http://" : "https://") + address
        var lines = ["", "mcp-gateway \(GatewayVersion.text) serves MCP at \(place)\(server.path)", ""]
        for component in assembly.sandbox.components() + assembly.upstreams.components() {
            // Words of servers are in it, and a terminal or a log that is read by machines is at the other end.
            lines.append(
                "  " + LogText.escaped("\(component.name): \(component.status.rawValue) (\(component.detail))"))
        }
        lines.append("  \(assembly.catalogue.toolCount) tools in all")
        lines.append("")
        lines.append("Try it:")
        lines.append(
            "  "
                + curl(
                    place: place, path: server.path,
                    example: exampleArguments.keys.sorted().reversed().first(where: assembly.catalogue.has)))
        lines.append("Look at it:  curl -s \(place)/health | jq .")
        lines.append("Stop it:     Ctrl-C")
        lines.append("")
        return lines.joined(separator: "\n")
    }

    /// One line that works when pasted into a shell.
    static func curl(place: String, path: String, example: String?) -> String {
        let meta =
            #""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#
            + #""io.modelcontextprotocol/clientCapabilities":{}}"#
        let method = example == nil ? "tools/list" : "tools/call"
        var params = meta
        var headers = "-H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: \(method)'"
        if let example {
            params = #""name":"\#(example)","arguments":\#(exampleArguments[example] ?? "{}"),"# + meta
            headers += " -H 'Mcp-Name: \(example)'"
        }
        let body = #"{"jsonrpc":"2.0","id":1,"method":"\#(method)","params":{\#(params)}}"#
        return "curl -s \(place)\(path) -H 'Content-Type: application/json' \(headers) -d '\(body)'"
    }

    /// Arguments for the tools of the default configuration.
    static let exampleArguments = [
        "units__convert": #"{"value":100,"from":"km","to":"mi"}"#,
        "text__echo": #"{"text":"hello"}"#,
    ]
}
