// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// The texts that go in and out of a hyper-mcp plug-in, both generations.
extension PluginInterface {
    var callExport: String {
        switch self {
        case .v1: "call"
        case .v2: "call_tool"
        }
    }

    /// What to call for the list of tools, and with what; nil when the plug-in has no list.
    var listing: (export: String, input: GuestInput)? {
        switch self {
        case .v1: ("describe", GuestInput())
        case .v2(listsTools: true):
            ("list_tools", GuestInput(head: Array(#"{"context":{"id":"list","_meta":{}}}"#.utf8)))
        case .v2(listsTools: false): nil
        }
    }

    /// The input of a tool call: the client's own bytes of `arguments` and `id` between ours.
    func input(for call: RoutedCall) -> GuestInput {
        var input = GuestInput()
        switch self {
        case .v1: input.head.append(contentsOf: #"{"params":{"name":"#.utf8)
        case .v2: input.head.append(contentsOf: #"{"request":{"name":"#.utf8)
        }
        JSONText.append(call.target, to: &input.head)
        if let arguments = call.arguments {
            input.head.append(contentsOf: #","arguments":"#.utf8)
            input.body = arguments
        }
        switch self {
        case .v1: input.tail.append(contentsOf: "}}".utf8)
        case .v2:
            input.tail.append(contentsOf: #"},"context":{"id":"#.utf8)
            if let id = call.message.id.flatMap(call.slice) {
                input.tail.append(contentsOf: id.readableBytesView)
            } else {
                input.tail.append(UInt8(ascii: "0"))
            }
            input.tail.append(contentsOf: #","_meta":{}}}"#.utf8)
        }
        return input
    }
}

enum ToolList {
    static let toolsMax = 1_024

    /// Reads what `describe` or `list_tools` returned. Every definition keeps its spelling and its order; members that
    /// are null, as serialisers of some languages leave them for "absent", are dropped, and a missing `inputSchema`
    /// becomes one that takes any object, because clients refuse a tool without.
    static func parse(_ bytes: ByteBuffer) throws(SandboxError) -> [OfferedItem] {
        let value: JSONValue
        do throws(WireError) {
            value = try JSONValue.parse(bytes.readableBytesUInt8Span)
        } catch {
            throw .noTools("The module's list of tools is not JSON: \(error.text).")
        }
        guard let items = value["tools"]?.arrayValue else {
            throw .noTools("The module's list of tools has no array \"tools\".")
        }
        guard items.count <= toolsMax else {
            throw .noTools("The module lists \(items.count) tools; \(toolsMax) are allowed.")
        }
        var tools: [OfferedItem] = []
        var names: Set<String> = []
        for item in items {
            guard var members = item.objectValue, let name = item["name"]?.stringValue, !name.isEmpty else {
                throw .noTools("The module lists a tool without a name.")
            }
            guard names.insert(name).inserted else { throw .noTools("The module lists the tool '\(name)' twice.") }
            members.removeAll { $0.value == .null }
            if !members.contains(where: { $0.key == "inputSchema" }) {
                members.append((key: "inputSchema", value: ["type": "object"]))
            }
            var definition: [UInt8] = []
            JSONValue.object(members).write(to: &definition)
            tools.append(OfferedItem(name: name, definition: definition))
        }
        return tools
    }
}

enum ToolResult {
    /// A guest's output as the result of `tools/call`.
    static func read(_ output: ByteBuffer, bytesMax: Int) throws(CallFailure) -> CallAnswer {
        guard output.readableBytes > 0 else { throw .garbage(detail: "the tool returned no answer") }
        do throws(WireError) {
            let limits = WireLimits(bytesMax: bytesMax)
            let found = try MessageParser.object(output.readableBytesUInt8Span, limits: limits)
            let given = Payload(bytes: output, range: found.range, members: found.members, meta: found.meta)
            if Message.find("content", found.members, output.readableBytesUInt8Span) != nil { return .result(given) }
            let whole = withContent(given)
            let (range, members, meta) = try MessageParser.object(
                whole.readableBytesUInt8Span, limits: WireLimits(bytesMax: .max))
            return .result(Payload(bytes: whole, range: range, members: members, meta: meta))
        } catch {
            throw .garbage(detail: "the tool's answer is no JSON object: \(error.text)")
        }
    }

    /// The protocol wants `content` in every result. A tool that gave structured data alone has that as text too, for
    /// clients that do not read the other.
    private static func withContent(_ object: Payload) -> ByteBuffer {
        let bytes = object.bytes.readableBytesUInt8Span
        var out = ByteBuffer(string: #"{"content":["#)
        if let structured = Message.find("structuredContent", object.members, bytes) {
            let text = String(decoding: Array(bytes, structured.value), as: UTF8.self)
            out.writeString(#"{"type":"text","text":\#(JSONText.quoted(text))}"#)
        }
        out.writeStaticString(object.members.isEmpty ? "]" : "],")
        out.writeBytes(Array(bytes, (object.range.lowerBound + 1)..<object.range.upperBound))
        return out
    }

    /// A tool's own complaint as a result that says so.
    static func complaint(_ text: String) throws(CallFailure) -> CallAnswer {
        var bytes = Array(#"{"content":[{"type":"text","text":"#.utf8)
        JSONText.append(String(text.prefix(8_000)), to: &bytes)
        bytes.append(contentsOf: #"}],"isError":true}"#.utf8)
        return try read(ByteBuffer(bytes: bytes), bytesMax: bytes.count)
    }
}
