// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// Writes the messages the gateway sends to upstreams. Arguments are spliced in as the bytes the client sent.
struct CallWriter: Sendable {
    /// The `_meta` members every request of the stateless era carries. The gateway declares no client capabilities: it
    /// answers no questions on a client's behalf.
    private let modernMeta: String
    private let identity: JSONValue

    init(identity: JSONValue) {
        self.identity = identity
        modernMeta =
            #""io.modelcontextprotocol/protocolVersion":"\#(Revision.modern.name)","#
            + #""io.modelcontextprotocol/clientInfo":\#(identity.text),"#
            + #""io.modelcontextprotocol/clientCapabilities":{}"#
    }

    /// A `tools/call` for the owner's own tool name.
    func call(_ call: ToolCall, id: UInt64, era: Era) -> WireRequest {
        let bytes = call.bytes.readableBytesUInt8Span
        var out = ByteBuffer()
        out.reserveCapacity(call.bytes.readableBytes + 320)
        out.writeString(#"{"jsonrpc":"2.0","id":\#(id),"method":"tools/call","params":{"name":"#)
        var name: [UInt8] = []
        JSONText.append(call.tool, to: &name)
        out.writeBytes(name)
        for member in call.message.members where travels(member, bytes) {
            out.writeStaticString(",")
            write(member, of: call, to: &out)
        }
        writeMeta(call, bytes, era, to: &out)
        out.writeStaticString("}}")
        return WireRequest(id: id, method: "tools/call", name: call.tool, body: out, era: era)
    }

    /// Which members of `params` go on: everything but what this hop writes itself or ends here.
    private func travels(_ member: Member, _ bytes: Span<UInt8>) -> Bool {
        !member.isNamed("name", in: bytes) && !member.isNamed("_meta", in: bytes) && !member.isNamed("task", in: bytes)
            && !member.isNamed("inputResponses", in: bytes) && !member.isNamed("requestState", in: bytes)
    }

    /// What the client put into `_meta` for others to read goes on; what belongs to its own hop does not.
    private func writeMeta(_ call: ToolCall, _ bytes: Span<UInt8>, _ era: Era, to out: inout ByteBuffer) {
        var isFirst = true
        if era == .modern {
            out.writeStaticString(#","_meta":{"#)
            out.writeString(modernMeta)
            isFirst = false
        }
        for member in call.message.meta {
            if member.isNamed("progressToken", in: bytes)
                || member.keyBegins(with: "io.modelcontextprotocol/", in: bytes)
            {
                continue
            }
            out.writeStaticString(isFirst ? #","_meta":{"# : ",")
            isFirst = false
            write(member, of: call, to: &out)
        }
        if !isFirst { out.writeStaticString("}") }
    }

    private func write(_ member: Member, of call: ToolCall, to out: inout ByteBuffer) {
        guard let text = call.slice((member.key.lowerBound - 1)..<member.value.upperBound) else { return }
        out.writeImmutableBuffer(text)
    }

    /// A request of our own. `members` are members of `params` without braces.
    func request(_ method: String, id: UInt64, members: String = "", era: Era?) -> WireRequest {
        var params = members
        if era == .modern {
            if !params.isEmpty { params += "," }
            params += #""_meta":{\#(modernMeta)}"#
        }
        let body = #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":{\#(params)}}"#
        return WireRequest(id: id, method: method, body: ByteBuffer(string: body), era: era)
    }

    func initialize(id: UInt64) -> WireRequest {
        request(
            "initialize", id: id,
            members:
                #""protocolVersion":"\#(Revision.newestLegacy.name)","capabilities":{},"clientInfo":\#(identity.text)"#,
            era: nil)
    }

    func notification(_ method: String, members: String = "", era: Era) -> WireRequest {
        let params = members.isEmpty ? "" : #","params":{\#(members)}"#
        return WireRequest(
            id: nil, method: method, body: ByteBuffer(string: #"{"jsonrpc":"2.0","method":"\#(method)"\#(params)}"#),
            era: era)
    }
}
