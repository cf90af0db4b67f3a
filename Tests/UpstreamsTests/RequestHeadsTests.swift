// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Upstreams

/// Heads of requests: streams, sessions, and arguments in headers.
@Suite("Request heads") struct RequestHeadsTests {
    private func heads(_ headers: [(name: String, value: String)] = [("authorization", "Bearer k")]) throws
        -> RequestHeads
    {
        RequestHeads(address: try UpstreamAddress("http://h:81/p?q"), headers: headers)
    }

    /// The lines of a head, which must end with an empty one.
    private func lines(_ buffer: ByteBuffer, body: String = "") throws -> [String] {
        let text = String(buffer: buffer)
        let end = "\r\n\r\n" + body
        try #require(text.hasSuffix(end))
        // By bytes: a carriage return with its line feed is one character of Swift.
        let head = String(decoding: text.utf8.dropLast(end.utf8.count), as: UTF8.self)
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(!lines.contains { $0.isEmpty })
        return lines.map(String.init)
    }

    private static let common = ["host: h:81", "authorization: Bearer k"]
    private static let stream =
        ["GET /p?q HTTP/1.1"] + common + ["accept: text/event-stream", "cache-control: no-store"]

    static let streams: [(Era?, String?, [String])] = [
        (nil, nil, []), (.legacy(.v2024_11_05, session: nil), nil, []),
        (.legacy(.v2025_03_26, session: "s"), nil, ["mcp-session-id: s"]),
        (
            .legacy(.v2025_06_18, session: "s"), "1-7",
            ["mcp-session-id: s", "mcp-protocol-version: 2025-06-18", "last-event-id: 1-7"]
        ),
        (.legacy(.v2025_11_25, session: nil), "", ["mcp-protocol-version: 2025-11-25", "last-event-id: "]),
        (.legacy(.v2025_03_26, session: nil), "a b\u{e9}", ["last-event-id: a b\u{e9}"]),
        (.legacy(.v2025_03_26, session: nil), "a\r\nx: y\u{0}\t", ["last-event-id: ax: y"]),
    ]

    @Test(
        "A stream is opened, or gone on with, in its session, and no event's name smuggles in a line",
        arguments: streams)
    func opensStream(_ era: Era?, _ lastEvent: String?, _ more: [String]) throws {
        #expect(try lines(heads().stream(era, lastEvent: lastEvent)) == Self.stream + more)
    }

    static let ends: [(Era, [String])] = [
        (.legacy(.v2025_03_26, session: "s"), ["mcp-session-id: s"]),
        (.legacy(.v2025_11_25, session: "s"), ["mcp-session-id: s", "mcp-protocol-version: 2025-11-25"]),
    ]

    @Test("A session is ended by its name", arguments: ends)
    func end(_ era: Era, _ more: [String]) throws {
        #expect(try lines(heads().end(era)) == ["DELETE /p?q HTTP/1.1"] + Self.common + more)
    }

    @Test("A message has the headers of its era, and those of the settings in every one")
    func posts() throws {
        let body = ByteBuffer(string: "{}")
        let kinds = ["content-type: application/json", "accept: application/json, text/event-stream"]
        let opening = ["POST /p?q HTTP/1.1"] + Self.common + kinds
        let cases: [(Era?, [String])] = [
            (nil, []),
            (.legacy(.v2025_11_25, session: "s"), ["mcp-session-id: s", "mcp-protocol-version: 2025-11-25"]),
            (.modern, ["mcp-protocol-version: 2026-07-28", "mcp-method: m", "mcp-name: n", "Mcp-Param-A: v"]),
        ]
        for (era, more) in cases {
            var request = WireRequest(id: 1, method: "m", name: "n", body: body, era: era)
            request.parameterHeaders = [("Mcp-Param-A", "v")]
            #expect(try lines(heads().write(request), body: "{}") == opening + more + ["content-length: 2"])
        }
    }

    static let values: [(String, String)] = [
        ("plain", "plain"), ("", "=?base64??="), ("a b", "a b"), (" a", "=?base64?IGE=?="),
        ("a\r\nx: y", "=?base64?YQ0KeDogeQ==?="),
        ("\u{e9}", "=?base64?w6k=?="), ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
    ]

    @Test("An argument in a header is text that a header can hold, and stays on its line", arguments: values)
    func parameters(_ value: String, _ written: String) throws {
        var request = WireRequest(id: 1, method: "tools/call", name: "t", body: ByteBuffer(), era: .modern)
        request.parameterHeaders = [("Mcp-Param-A", value), ("Mcp-Param-B", "b")]
        let lines = try lines(heads().write(request))
        #expect(lines.filter { $0.hasPrefix("Mcp-Param-") } == ["Mcp-Param-A: \(written)", "Mcp-Param-B: b"])
    }

    private static let schema =
        #"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"deep":{"type":"object","#
        + #""properties":{"tenant":{"type":"integer","x-mcp-header":"Tenant-Id"}}},"#
        + #""dry":{"type":"boolean","x-mcp-header":"Dry"}}}"#

    static let arguments: [(String, [String])] = [
        (
            #","arguments":{"region":"eu","deep":{"tenant":42},"dry":true}"#,
            ["Mcp-Param-Region: eu", "Mcp-Param-Tenant-Id: 42", "Mcp-Param-Dry: true"]
        ),
        (#","arguments":{"dry":false,"region":""}"#, ["Mcp-Param-Region: ", "Mcp-Param-Dry: false"]),
        (#","arguments":{"region":null,"deep":{"tenant":"42"},"dry":1}"#, []),
        (#","arguments":{"tenant":42,"deep":5}"#, []), (#","arguments":{}"#, []), ("", []),
        (#","region":"eu""#, []), (#","arguments":{"r\u0065gion":"\u0065u"}"#, ["Mcp-Param-Region: eu"]),
    ]

    @Test("Arguments are repeated in headers as the call has them; absent ones are not", arguments: arguments)
    func repeated(_ members: String, _ expected: [String]) throws {
        let call = try RoutedCall.of(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"\#(members)}}"#, tool: "t")
        let parameters = try HeaderParameter.all(in: try JSONValue.parse(Self.schema))
        let headers = AnswerReading.headers(parameters, of: call)
        #expect(headers.map { "\($0.name): \($0.value)" } == expected)
    }

    @Test("Settings cannot smuggle in a line, in any kind of request")
    func settings() throws {
        let heads = try heads([("x-key", "a\r\nhost: evil\u{0}\n\n{")])
        let written = [
            heads.stream(nil, lastEvent: nil), heads.end(.modern),
            heads.write(WireRequest(id: 1, method: "m", body: ByteBuffer(), era: nil)),
        ]
        for buffer in written {
            let lines = try lines(buffer)
            #expect(lines.contains("x-key: ahost: evil{"))
            #expect(lines.count { $0.hasPrefix("host:") } == 1)
        }
    }
}
