// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import MCPWire

@Suite("Mended faults") struct MendedFaultTests {
    @Test("The place is that of the last whole event: half an event is asked for again")
    func halfAnEvent() throws {
        var parser = EventStreamParser(eventBytesMax: 1_000)
        _ = try parser.feed(Array("id: 1\ndata: a\n\nid: 2\ndata: b".utf8).span)
        #expect(parser.id == "1")
    }

    @Test(
        "Big integers, hexadecimal and infinite numbers are no spelling of another",
        arguments: [
            ("9007199254740992", "9007199254740993"), ("0x10", "16"), ("inf", "1e999"), ("1e400", "1e999"),
        ])
    func agreement(_ header: String, _ argument: String) {
        #expect(!HeaderParameter(name: "A", path: ["a"], kind: .integer).agrees(header, with: argument))
    }

    @Test(
        "An argument called x-mcp-header, and values that hold one, stay in the schema",
        arguments: [
            #"{"properties":{"x-mcp-header":{"type":"string"}}}"#, #"{"default":{"x-mcp-header":"v"}}"#,
        ])
    func removal(_ schema: String) throws {
        #expect(HeaderParameter.removed(from: try JSONValue.parse(schema)).text == schema)
    }
}
