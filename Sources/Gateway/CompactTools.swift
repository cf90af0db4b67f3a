// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// The compact mode: for fleets with hundreds of tools a client sees two, one that finds tools and one that calls them.
/// A tool that is called by its own name works all the same.
enum CompactTools {
    static let search = "search_tools"
    static let call = "call_tool"
    private static let hitsMax = 20
    private static let hitsUsual = 5

    static let items: [ListedItem] = [
        ListedItem(
            exposed: search,
            definition: [
                "title": "Find tools",
                "description":
                    """
                Finds tools by what they do. Say in a few words what is needed; the answer lists names, \
                descriptions and the schema of the arguments. Then call one with call_tool.
                """,
                "inputSchema": [
                    "type": "object",
                    "properties": [
                        "query": ["type": "string", "description": "What the tool should do, or its name."],
                        "limit": ["type": "integer", "minimum": 1, "maximum": 20, "default": 5],
                    ],
                    "required": ["query"],
                ],
                "annotations": ["readOnlyHint": true],
            ], owner: nil),
        ListedItem(
            exposed: call,
            definition: [
                "title": "Call a tool",
                "description": "Calls a tool that search_tools has found.",
                "inputSchema": [
                    "type": "object",
                    "properties": [
                        "name": ["type": "string", "description": "The tool's name, as search_tools gives it."],
                        "arguments": ["type": "object", "description": "What its inputSchema asks for."],
                    ],
                    "required": ["name"],
                ],
            ], owner: nil),
    ]

    /// The members of the result of `search_tools`; words when the arguments are not right.
    static func found(_ arguments: JSONValue?, in snapshot: Snapshot) -> Result<String, ToolFactsError> {
        guard let index = snapshot.index, let query = arguments?["query"]?.stringValue else {
            return .failure(ToolFactsError(words: "\"query\" must say in words what is looked for"))
        }
        let limit = min(max(arguments?["limit"]?.intValue ?? hitsUsual, 1), hitsMax)
        let hits = index.search(query, limit: limit).map { hit -> JSONValue in
            let shown = ItemText.shown(snapshot.tools[hit.index], .tools, .modern)
            var members: [(key: String, value: JSONValue)] = []
            for key in ["name", "title", "description", "inputSchema"] {
                // Nobody sends headers for arguments inside of call_tool.
                if let value = shown[key] {
                    members.append((key, key == "inputSchema" ? HeaderParameter.removed(from: value) : value))
                }
            }
            return .object(members)
        }
        let list = JSONValue.object([(key: "tools", value: .array(hits))]).text
        let words = hits.isEmpty ? "No tool fits; try other words." : list
        return .success(
            #""content":[{"type":"text","text":\#(JSONText.quoted(words))}],"structuredContent":\#(list),"#
                + #""isError":false"#)
    }

    /// The call inside a `call_tool`, as if the client had made it itself; nil when there is none.
    static func inner(_ inbound: InboundMessage) -> InboundMessage? {
        let bytes = inbound.bytes.readableBytesUInt8Span
        guard let arguments = inbound.message.member("arguments", in: bytes),
            // Scanned before, within the limits of its transport.
            let members = try? MessageParser.object(
                bytes.extracting(arguments.value), limits: WireLimits(bytesMax: .max)
            ).members
        else { return nil }
        let base = arguments.value.lowerBound
        func text(_ range: Range<Int>) -> ByteBuffer? {
            inbound.bytes.getSlice(at: inbound.bytes.readerIndex + base + range.lowerBound, length: range.count)
        }
        let inside = bytes.extracting(arguments.value)
        guard let name = Message.find("name", members, inside), name.kind == .string, let nameText = text(name.value)
        else { return nil }
        var out = ByteBuffer(string: #"{"jsonrpc":"2.0","id":"#)
        if let id = inbound.message.id { out.writeBytes(Array(bytes, id)) }
        out.writeStaticString(#","method":"tools/call","params":{"name":"#)
        out.writeImmutableBuffer(nameText)
        if let given = Message.find("arguments", members, inside) {
            guard given.kind == .object, let value = text(given.value) else { return nil }
            out.writeStaticString(#","arguments":"#)
            out.writeImmutableBuffer(value)
        }
        for member in inbound.message.members where !member.isNamed("name", in: bytes) {
            if member.isNamed("arguments", in: bytes) { continue }
            out.writeStaticString(",")
            out.writeBytes(Array(bytes, (member.key.lowerBound - 1)..<member.value.upperBound))
        }
        out.writeStaticString("}}")
        guard let message = try? MessageParser.parse(out.readableBytesUInt8Span, limits: WireLimits(bytesMax: .max))
        else { return nil }
        var inner = inbound
        inner.bytes = out
        inner.message = message
        // Its client knows the schema of call_tool only, and sends no headers for arguments inside of it.
        inner.parameterHeaders = nil
        return inner
    }
}
