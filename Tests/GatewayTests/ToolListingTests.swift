// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import MCPWire
import Testing

@testable import Gateway

/// What each revision is shown of a tool.
@Suite("Tool listing") struct ToolListingTests {
    static let identity = ServerIdentity(version: "1.2", instructions: "")
    static let definition =
        #"{"name":"own","title":"T","description":"D","inputSchema":{"type":"object","x":1.0,"$defs":{}},"#
        + #""outputSchema":{"type":"object"},"annotations":{"readOnlyHint":true},"icons":[{"src":"i"}],"#
        + #""execution":{"taskSupport":"optional"},"_meta":{"a/b":1e3},"x-unknown":[1 , 2]}"#

    private func list(_ definitions: [String], _ revision: Revision) throws -> JSONValue {
        let tools = definitions.enumerated().map { (name: "up__\($0)", json: Array($1.utf8)) }
        let bytes = ToolListing.result(tools, revision: revision, identity: Self.identity)
        return try JSONValue.parse(bytes.span)
    }

    static let shown: [(Revision, [String])] = [
        (.v2024_11_05, ["name", "description", "inputSchema", "_meta", "x-unknown"]),
        (.v2025_03_26, ["name", "description", "inputSchema", "annotations", "_meta", "x-unknown"]),
        (
            .v2025_06_18,
            ["name", "title", "description", "inputSchema", "outputSchema", "annotations", "_meta", "x-unknown"]
        ),
        (
            .v2025_11_25,
            [
                "name", "title", "description", "inputSchema", "outputSchema", "annotations", "icons", "_meta",
                "x-unknown",
            ]
        ),
        (
            .v2026_07_28,
            [
                "name", "title", "description", "inputSchema", "outputSchema", "annotations", "icons", "_meta",
                "x-unknown",
            ]
        ),
    ]

    @Test("A revision is shown the members it knows, as their owner spelled them", arguments: shown)
    func members(_ revision: Revision, _ keys: [String]) throws {
        let result = try list([Self.definition], revision)
        let tool = try #require(result["tools"]?.arrayValue?.first)
        #expect(tool.objectValue?.map(\.key) == keys)
        #expect(tool["name"]?.stringValue == "up__0")
        #expect(tool["inputSchema"]?.text == #"{"type":"object","x":1.0,"$defs":{}}"#)
        #expect(tool["_meta"]?.text == #"{"a/b":1e3}"#)
    }

    @Test("Only the stateless era has a result type, caching hints and an identity", arguments: Revision.allCases)
    func wrapping(_ revision: Revision) throws {
        let result = try list([], revision)
        let keys = result.objectValue?.map(\.key)
        #expect(keys == (revision.isModern ? ["resultType", "tools", "ttlMs", "cacheScope", "_meta"] : ["tools"]))
    }

    @Test("An output schema that is no object is for the newest revision only", arguments: Revision.allCases)
    func outputSchema(_ revision: Revision) throws {
        let result = try list([#"{"name":"a","inputSchema":{},"outputSchema":{"type":"array"}}"#], revision)
        #expect((result["tools"]?.arrayValue?.first?["outputSchema"] != nil) == revision.isModern)
    }

    @Test("A tool without a description gets one, because some clients insist")
    func description() throws {
        let result = try list([#"{"name":"a","inputSchema":{}}"#, #"{"inputSchema":{}}"#], .v2025_11_25)
        let words = result["tools"]?.arrayValue?.map { $0["description"]?.stringValue }
        #expect(words == ["Tool up__0", "Tool up__1"])
    }

    @Test("Escaped keys are known for what they are")
    func escapedKeys() throws {
        let result = try list([#"{"n\u0061me":"x","inputSchema":{},"ic\u006fns":[],"description":"d"}"#], .v2025_06_18)
        let tool = try #require(result["tools"]?.arrayValue?.first)
        #expect(tool.objectValue?.map(\.key) == ["name", "inputSchema", "description"])
    }
}
