// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Upstreams

/// What goes to an upstream.
@Suite("Call writer") struct CallWriterTests {
    private let writer = CallWriter(identity: ["name": "gw", "version": "1"])
    static let modernMeta =
        #""io.modelcontextprotocol/protocolVersion":"2026-07-28","#
        + #""io.modelcontextprotocol/clientInfo":{"name":"gw","version":"1"},"#
        + #""io.modelcontextprotocol/clientCapabilities":{}"#

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// The client's `params`.
        let params: String
        let legacy: String
        let modern: String
        var testDescription: String { name }

        init(_ name: String, _ params: String, legacy: String, modern: String) {
            (self.name, self.params) = (name, params)
            (self.legacy, self.modern) = (legacy, modern.replacing("MODERN", with: CallWriterTests.modernMeta))
        }
    }

    static let cases: [Case] = [
        Case(
            "a name alone", #"{"name":"up__t"}"#, legacy: #"{"name":"t"}"#, modern: #"{"name":"t","_meta":{MODERN}}"#),
        Case(
            "arguments as they stand", #"{"arguments": {"b":1.0,"a":[ 1e400 ]} ,"name":"up__t"}"#,
            legacy: #"{"name":"t","arguments": {"b":1.0,"a":[ 1e400 ]}}"#,
            modern: #"{"name":"t","arguments": {"b":1.0,"a":[ 1e400 ]},"_meta":{MODERN}}"#),
        Case(
            "meta for others", #"{"name":"x","_meta":{"a/b":1.0,"traceparent":"00"}}"#,
            legacy: #"{"name":"t","_meta":{"a/b":1.0,"traceparent":"00"}}"#,
            modern: #"{"name":"t","_meta":{MODERN,"a/b":1.0,"traceparent":"00"}}"#),
        Case(
            "meta of the client's own hop",
            #"{"name":"x","_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"x","#
                + #""io.modelcontextprotocol/new":2}}"#,
            legacy: #"{"name":"t"}"#, modern: #"{"name":"t","_meta":{MODERN}}"#),
        Case(
            "the same with escaped keys",
            #"{"n\u0061me":"x","_met\u0061":{"progress\u0054oken":1,"io.modelcontextprotocol\/x":1,"k":2}}"#,
            legacy: #"{"name":"t","_meta":{"k":2}}"#, modern: #"{"name":"t","_meta":{MODERN,"k":2}}"#),
        Case(
            "members that end here", #"{"name":"x","task":{},"inputResponses":{},"requestState":"s","other":[1.50]}"#,
            legacy: #"{"name":"t","other":[1.50]}"#, modern: #"{"name":"t","other":[1.50],"_meta":{MODERN}}"#),
        Case(
            "a meta that is no object", #"{"name":"x","_meta":5}"#, legacy: #"{"name":"t"}"#,
            modern: #"{"name":"t","_meta":{MODERN}}"#),
    ]

    @Test("Arguments are spliced in as the client wrote them, meta is sorted by whose it is", arguments: cases)
    func calls(_ one: Case) throws {
        let call = try RoutedCall.of(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":\#(one.params)}"#, tool: "t")
        for (era, params) in [(Era.legacy(.v2025_11_25, session: nil), one.legacy), (.modern, one.modern)] {
            let request = writer.call(call, id: 42, era: era)
            let text = String(buffer: request.body)
            #expect(text == #"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":\#(params)}"#)
            #expect(throws: Never.self) { try JSONValue.parse(text) }
            #expect(request.id == 42)
            #expect(request.name == "t")
        }
    }

    @Test("A tool's name is escaped, in the body as JSON and in the header by base64")
    func names() throws {
        let name = "größe \"x\"\n"
        let call = try RoutedCall.of(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#, tool: name)
        let request = writer.call(call, id: 1, era: .modern)
        #expect(try JSONValue.parse(String(buffer: request.body))["params"]?["name"]?.stringValue == name)
        let heads = RequestHeads(address: try UpstreamAddress("http://h/"), headers: [])
        let head = String(buffer: heads.write(request))
        #expect(head.contains("\r\nmcp-name: =?base64?Z3LDtsOfZSAieCIK?=\r\n"))
    }

    @Test("Requests of our own are valid and say what their era wants")
    func own() throws {
        let list = writer.request("tools/list", id: 2, members: #""cursor":"c""#, era: .modern)
        #expect(
            String(buffer: list.body)
                == #"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"c","#
                + #""_meta":{\#(Self.modernMeta)}}}"#
        )
        let old = writer.request("tools/list", id: 3, era: .legacy(.v2024_11_05, session: nil))
        #expect(String(buffer: old.body) == #"{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{}}"#)
        let opening = try JSONValue.parse(String(buffer: writer.initialize(id: 4).body))
        #expect(opening["params"]?["protocolVersion"]?.stringValue == "2025-11-25")
        #expect(opening["params"]?["clientInfo"]?["name"]?.stringValue == "gw")
        let note = writer.notification("notifications/initialized", era: .legacy(.v2025_11_25, session: "s"))
        #expect(String(buffer: note.body) == #"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
    }

    static let heads: [(Era?, [String], [String])] = [
        (nil, [], ["mcp-protocol-version", "mcp-session-id", "mcp-method"]),
        (.modern, ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/call", "mcp-name: t"], ["mcp-session-id"]),
        (
            .legacy(.v2025_03_26, session: "s"), ["mcp-session-id: s"],
            ["mcp-protocol-version", "mcp-method", "mcp-name"]
        ),
        (.legacy(.v2025_06_18, session: nil), ["mcp-protocol-version: 2025-06-18"], ["mcp-session-id", "mcp-method"]),
    ]

    @Test("The head says what the era wants, and settings cannot smuggle in a line", arguments: heads)
    func head(_ era: Era?, _ present: [String], _ absent: [String]) throws {
        let heads = RequestHeads(
            address: try UpstreamAddress("http://h:81/p?q"),
            headers: [(name: "authorization", value: "Bearer a\r\nx: y")])
        let body = ByteBuffer(string: "{}")
        let text = String(
            buffer: heads.write(WireRequest(id: 1, method: "tools/call", name: "t", body: body, era: era)))
        let lines = text.split(separator: "\r\n").map(String.init)
        #expect(lines.first == "POST /p?q HTTP/1.1")
        for line in present + ["host: h:81", "content-length: 2", "authorization: Bearer ax: y"] {
            #expect(lines.contains(line), "\(line)")
        }
        for name in absent { #expect(!lines.contains { $0.hasPrefix(name) }, "\(name)") }
        #expect(text.hasSuffix("\r\n\r\n{}"))
    }
}
