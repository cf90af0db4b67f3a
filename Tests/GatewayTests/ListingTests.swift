// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import MCPWire
import Testing

@testable import Gateway

/// What each revision is shown of a tool.
@Suite("Listing") struct ListingTests {
    static let identity = ServerIdentity(version: "1.2", instructions: "")
    static let definition =
        #"{"name":"own","title":"T","description":"D","inputSchema":{"type":"object","x":1.0,"$defs":{}},"#
        + #""outputSchema":{"type":"object"},"annotations":{"readOnlyHint":true},"icons":[{"src":"data:i"}],"#
        + #""execution":{"taskSupport":"optional"},"_meta":{"a/b":1e3},"x-unknown":[1 , 2]}"#

    private func list(_ definitions: [String], _ revision: Revision) throws -> JSONValue {
        let items = try definitions.enumerated().map { index, text in
            let definition = try JSONValue.parse(text)
            let facts = try ToolFacts.of(definition, checksSchemas: false)
            return ListedItem(
                exposed: "up__\(index)", definition: definition, owner: nil, outputShape: facts.outputShape)
        }
        let bytes = Listing(kind: .tools, items: items, identity: Self.identity).result(revision)
        return try JSONValue.parse(bytes.span)
    }

    static let shown: [(Revision, [String])] = [
        (.v2024_11_05, ["name", "description", "inputSchema", "x-unknown"]),
        (.v2025_03_26, ["name", "description", "inputSchema", "annotations", "x-unknown"]),
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
        if revision >= .v2025_06_18 { #expect(tool["_meta"]?.text == #"{"a/b":1e3}"#) }
    }

    @Test("Only the stateless era has a result type, caching hints and an identity", arguments: Revision.allCases)
    func wrapping(_ revision: Revision) throws {
        let result = try list([], revision)
        let keys = result.objectValue?.map(\.key)
        #expect(keys == (revision.isModern ? ["resultType", "tools", "ttlMs", "cacheScope", "_meta"] : ["tools"]))
    }

    @Test("Output that is no object is wrapped for revisions that only know objects", arguments: Revision.allCases)
    func outputSchema(_ revision: Revision) throws {
        let schema = ##"{"$schema":"s","type":"array","items":{"$ref":"#/$defs/n"},"$defs":{"n":{"type":"number"}}}"##
        let result = try list([#"{"name":"a","inputSchema":{},"outputSchema":\#(schema)}"#], revision)
        let shown = result["tools"]?.arrayValue?.first?["outputSchema"]
        if revision.isModern {
            #expect(shown?.text == schema)
        } else if revision >= .v2025_06_18 {
            #expect(
                shown?.text
                    == ##"{"$schema":"s","$defs":{"n":{"type":"number"}},"type":"object","properties":{"result":"##
                    + ##"{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["result"]}"##)
        } else {
            #expect(shown == nil)
        }
    }

    @Test("A schema that points to its own top cannot be wrapped and is left out", arguments: Revision.allCases)
    func recursiveOutput(_ revision: Revision) throws {
        let schema = ##"{"type":"array","items":{"$ref":"#"}}"##
        let result = try list([#"{"name":"a","inputSchema":{},"outputSchema":\#(schema)}"#], revision)
        #expect((result["tools"]?.arrayValue?.first?["outputSchema"] != nil) == revision.isModern)
    }

    @Test("Icons of elsewhere are not shown: clients take them from the server they talk to only")
    func icons() throws {
        let icons = #"[{"src":"https://x.example/i.png"},{"src":"data:image/png;base64,AA=="}]"#
        let result = try list([#"{"name":"a","inputSchema":{},"icons":\#(icons)}"#], .v2025_11_25)
        #expect(
            result["tools"]?.arrayValue?.first?["icons"]?.text == #"[{"src":"data:image/png;base64,AA=="}]"#)
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
