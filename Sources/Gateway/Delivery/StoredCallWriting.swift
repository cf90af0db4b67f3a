// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// From a client's message to what is stored, and from there to what is sent.
enum StoredCallWriting {
    /// Handles of the gateway's own begin so; those of upstreams' tasks are sealed and do not.
    static let handlePrefix = "call-"

    static func isHandle(_ text: String) -> Bool { text.hasPrefix(handlePrefix) }

    static func call(_ order: Delivery.Order, now: Int64) -> NewStoredCall {
        let (destination, inbound) = (order.destination, order.inbound)
        let bytes = inbound.bytes.readableBytesUInt8Span
        let given = inbound.message.metaMember(CallKey.metaMember, in: bytes)
            .flatMap { $0.kind == .string ? JSONText.string(bytes, value: $0.value) : nil }
        var stored = NewStoredCall(
            handle: "\(handlePrefix)\(RequestID.random())", upstream: destination.backend.name,
            tool: destination.exposedName, target: destination.target,
            arguments: inbound.message.member("arguments", in: bytes).map { Array(bytes, $0.value) },
            caller: inbound.caller.name, idempotencyKey: given ?? "\(RequestID.random())",
            requestID: inbound.requestID, createdAt: now)
        stored.meta = meta(inbound)
        stored.isIdempotent = destination.policy.isIdempotent
        stored.priority = destination.policy.priority
        stored.schemaDigest = destination.tool?.inputDigest
        stored.expiresAt = now + Int64(destination.policy.expires.milliseconds)
        stored.ledgerKey = order.key?.bytes
        return stored
    }

    /// The members of `_meta` that are the client's own: those of the protocol belong to this request alone.
    private static func meta(_ inbound: InboundMessage) -> [UInt8]? {
        let bytes = inbound.bytes.readableBytesUInt8Span
        var out: [UInt8] = []
        for member in inbound.message.meta {
            let key = String(decoding: Array(bytes, member.key), as: UTF8.self)
            if key.hasPrefix("io.modelcontextprotocol/") || key == "progressToken" { continue }
            if member.isNamed(CallKey.metaMember, in: bytes) { continue }
            if inbound.trace != nil, key == "traceparent" || key == "tracestate" { continue }
            out.append(out.isEmpty ? UInt8(ascii: "{") : UInt8(ascii: ","))
            out += Array(bytes, (member.key.lowerBound - 1)..<member.value.upperBound)
        }
        if let trace = inbound.trace {
            // Also one that came by headers, or that began here: what is sent later belongs to it.
            out.append(out.isEmpty ? UInt8(ascii: "{") : UInt8(ascii: ","))
            out += Array("\"traceparent\":\"\(trace.parent)\"".utf8)
            if let state = trace.state { out += Array(",\"tracestate\":\(JSONText.quoted(state))".utf8) }
        }
        return out.isEmpty ? nil : out + [UInt8(ascii: "}")]
    }

    /// A stored call as a message that a client could have sent. nil when what was stored is no JSON.
    static func message(_ leased: LeasedCall) -> (bytes: ByteBuffer, message: Message)? {
        var out = ByteBuffer(string: #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"#)
        out.writeString(JSONText.quoted(leased.call.target))
        if let arguments = leased.arguments {
            out.writeStaticString(#","arguments":"#)
            out.writeBytes(arguments)
        }
        out.writeString(#","_meta":{"\#(CallKey.metaMember)":\#(JSONText.quoted(leased.call.idempotencyKey))"#)
        if let meta = leased.meta, meta.count > 2 {
            out.writeStaticString(",")
            out.writeBytes(meta.dropFirst().dropLast())
        }
        out.writeStaticString("}}}")
        guard let message = try? MessageParser.parse(out.readableBytesUInt8Span, limits: WireLimits(bytesMax: .max))
        else { return nil }
        return (out, message)
    }
}
