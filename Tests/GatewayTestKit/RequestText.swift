// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import MCPWire

/// Requests as MCP clients send them, byte for byte.
package enum RequestText {
    package static func http(
        _ verb: String = "POST", _ path: String = "/mcp", headers: [(String, String)] = [], body: String = ""
    ) -> String {
        var text = "\(verb) \(path) HTTP/1.1\r\n"
        if !headers.contains(where: { $0.0 == "host" }) { text += "host: localhost\r\n" }
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if verb == "POST" || !body.isEmpty { text += "content-length: \(body.utf8.count)\r\n" }
        return text + "\r\n" + body
    }

    package static let both = ("accept", "application/json, text/event-stream")
    package static let json = ("content-type", "application/json")

    /// A request of the stateless era with all it has to say about itself. `params` are members without braces.
    package static func modern(
        _ method: String, id: String = "1", params: String = "", meta: String = "", name: String? = nil,
        accept: String = "application/json, text/event-stream"
    ) -> String {
        var headers = [
            json, ("accept", accept), ("mcp-protocol-version", Revision.modern.name), ("mcp-method", method),
        ]
        if let name { headers.append(("mcp-name", HeaderText.encode(name))) }
        return http(headers: headers, body: modernBody(method, id: id, params: params, meta: meta))
    }

    package static func modernBody(_ method: String, id: String = "1", params: String = "", meta: String = "") -> String
    {
        let own =
            #""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#
        let all = meta.isEmpty ? own : "\(own),\(meta)"
        return #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":{"_meta":{\#(all)}"#
            + (params.isEmpty ? "" : ",\(params)") + "}}"
    }

    package static func initialize(_ revision: String, id: String = "0", capabilities: String = "{}") -> String {
        let params =
            #"{"protocolVersion":"\#(revision)","capabilities":\#(capabilities),"#
            + #""clientInfo":{"name":"test","version":"1"}}"#
        return http(
            headers: [json, both], body: #"{"jsonrpc":"2.0","id":\#(id),"method":"initialize","params":\#(params)}"#)
    }

    /// A request inside a legacy session. `params` are members without braces.
    package static func legacy(
        _ method: String, id: String? = "1", params: String = "", session: String?, revision: Revision? = nil,
        accept: String = "application/json, text/event-stream"
    ) -> String {
        var headers = [json, ("accept", accept)]
        if let session { headers.append(("mcp-session-id", session)) }
        if let revision, revision >= .v2025_06_18 { headers.append(("mcp-protocol-version", revision.name)) }
        let number = id.map { #""id":\#($0),"# } ?? ""
        return http(
            headers: headers, body: #"{"jsonrpc":"2.0",\#(number)"method":"\#(method)","params":{\#(params)}}"#)
    }
}

extension ScriptedClient {
    /// Opens a legacy session; its id.
    package func openSession(_ revision: Revision) async throws -> String {
        let answer = try await ask(RequestText.initialize(revision.name))
        guard answer.status == 200, let session = answer.header("mcp-session-id") else {
            throw WaitedTooLong(what: "a session; the answer was \(answer.status) \(answer.text)")
        }
        let noted = try await ask(
            RequestText.legacy("notifications/initialized", id: nil, session: session, revision: revision))
        guard noted.status == 202 else { throw WaitedTooLong(what: "202 to initialized; it was \(noted.status)") }
        return session
    }
}
