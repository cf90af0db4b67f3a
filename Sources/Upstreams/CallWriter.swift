// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// Writes the messages the gateway sends to upstreams. Arguments are spliced in as the bytes the client sent.
struct CallWriter: Sendable {
    /// The `_meta` members every request of the stateless era begins with.
    private let modernMeta: String
    private let identity: JSONValue

    init(identity: JSONValue) {
        self.identity = identity
        modernMeta =
            #""io.modelcontextprotocol/protocolVersion":"\#(Revision.modern.name)","#
            + #""io.modelcontextprotocol/clientInfo":\#(identity.text),"#
            + #""io.modelcontextprotocol/clientCapabilities":"#
    }

    /// A client's call, with the owner's own name for what it is about.
    func call(_ call: RoutedCall, id: UInt64, era: Era) -> WireRequest {
        let bytes = call.bytes.readableBytesUInt8Span
        var out = ByteBuffer()
        out.reserveCapacity(call.bytes.readableBytes + 384)
        out.writeString(#"{"jsonrpc":"2.0","id":\#(id),"method":""#)
        out.writeString(call.operation.method)
        out.writeStaticString(#"","params":{""#)
        out.writeStaticString(call.operation.targetMember)
        out.writeStaticString("\":")
        out.writeBytes(call.targetJSON)
        for member in call.message.members where travels(member, call, bytes) {
            out.writeStaticString(",")
            write(member, of: call, to: &out)
        }
        if era == .modern, let resumption = call.resumption {
            if let responses = resumption.responses {
                out.writeStaticString(#","inputResponses":"#)
                out.writeBytes(responses)
            }
            if let state = resumption.state {
                out.writeStaticString(#","requestState":"#)
                out.writeBytes(state)
            }
        }
        writeMeta(call, id, bytes, era, to: &out)
        out.writeStaticString("}}")
        let name = call.operation == .completion ? nil : call.target
        return WireRequest(
            id: id, method: call.operation.method, name: name, trace: call.trace, body: out, era: era)
    }

    /// Which members of `params` go on: everything but what this hop writes itself or ends here.
    private func travels(_ member: Member, _ call: RoutedCall, _ bytes: Span<UInt8>) -> Bool {
        if member.isNamed(call.operation.targetMember, in: bytes) || member.isNamed("_meta", in: bytes) { return false }
        if member.isNamed("inputResponses", in: bytes) { return call.operation == .taskUpdate }
        return !member.isNamed("task", in: bytes) && !member.isNamed("requestState", in: bytes)
    }

    /// What the client put into `_meta` for others to read goes on; what belongs to its own hop does not.
    private func writeMeta(
        _ call: RoutedCall, _ id: UInt64, _ bytes: Span<UInt8>, _ era: Era, to out: inout ByteBuffer
    ) {
        var isFirst = true
        func comma() {
            out.writeStaticString(isFirst ? #","_meta":{"# : ",")
            isFirst = false
        }
        if era == .modern {
            comma()
            out.writeString(modernMeta)
            let capabilities = call.wishes.capabilities
            out.writeString(capabilities.isEmpty ? "{}" : capabilities.json(for: .modern).text)
            if let level = call.wishes.logLevel {
                out.writeString(#","io.modelcontextprotocol/logLevel":"\#(level.rawValue)""#)
            }
        }
        if call.wishes.progress {
            comma()
            out.writeString("\"progressToken\":\(id)")
        }
        for member in call.message.meta {
            if member.isNamed("progressToken", in: bytes) || isOfTrace(member, call, bytes)
                || member.keyBegins(with: "io.modelcontextprotocol/", in: bytes)
            {
                continue
            }
            comma()
            write(member, of: call, to: &out)
        }
        if let trace = call.trace {
            comma()
            out.writeString("\"traceparent\":\"\(trace.parent)\"")
            // Only what stands in a JSON text as it is.
            if let state = trace.state { out.writeString(",\"tracestate\":\(JSONText.quoted(state))") }
        }
        if !isFirst { out.writeStaticString("}") }
    }

    /// What the client says of a trace is said anew where we are part of it.
    private func isOfTrace(_ member: Member, _ call: RoutedCall, _ bytes: Span<UInt8>) -> Bool {
        call.trace != nil && (member.isNamed("traceparent", in: bytes) || member.isNamed("tracestate", in: bytes))
    }

    private func write(_ member: Member, of call: RoutedCall, to out: inout ByteBuffer) {
        guard let text = call.slice((member.key.lowerBound - 1)..<member.value.upperBound) else { return }
        out.writeImmutableBuffer(text)
    }

    /// A request of our own. `members` are members of `params` without braces.
    func request(_ method: String, id: UInt64, members: String = "", era: Era?) -> WireRequest {
        var params = members
        if era == .modern {
            if !params.isEmpty { params += "," }
            params += #""_meta":{\#(modernMeta){}}"#
        }
        let body = #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":{\#(params)}}"#
        return WireRequest(id: id, method: method, body: ByteBuffer(string: body), era: era)
    }

    /// - Parameter capabilities: what the client behind this session can answer; none for a shared one.
    func initialize(id: UInt64, capabilities: ClientCapabilities = []) -> WireRequest {
        let revision = Revision.newestLegacy
        return request(
            "initialize", id: id,
            members: #""protocolVersion":"\#(revision.name)","capabilities":\#(capabilities.json(for: revision).text),"#
                + #""clientInfo":\#(identity.text)"#, era: nil)
    }

    func notification(_ method: String, members: String = "", era: Era) -> WireRequest {
        let params = members.isEmpty ? "" : #","params":{\#(members)}"#
        return WireRequest(
            id: nil, method: method, body: ByteBuffer(string: #"{"jsonrpc":"2.0","method":"\#(method)"\#(params)}"#),
            era: era)
    }
}
