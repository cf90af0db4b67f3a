// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Sealing

/// What tells a call that is sent a second time from a second call. Bound to its caller.
struct CallKey: Sendable {
    /// Digest of the key; what the ledger knows it by.
    let bytes: [UInt8]
    /// Digest of owner, tool and arguments.
    let digest: [UInt8]
    /// How long the ledger remembers it.
    let lifetime: Duration
    /// The client gave it, and so relies on it.
    let isGiven: Bool

    /// The member of `_meta` in which a client gives a key of its own: any text of at most 256 bytes. It goes on to the
    /// owner as well.
    static let metaMember: StaticString = "mcp-gateway/idempotency-key"

    private static let bytesMax = 256
    private static let remembered = Duration.seconds(86_400)

    /// nil when nothing tells the call from others. In this order: the client's own key; the request id of a legacy
    /// session, for tools whose calls are stored; equal arguments, for tools that say so.
    static func of(_ inbound: InboundMessage, _ destination: Destination) -> CallKey? {
        guard destination.operation == .tool else { return nil }
        let bytes = inbound.bytes.readableBytesUInt8Span
        let policy = destination.policy
        if let member = inbound.message.metaMember(metaMember, in: bytes), member.kind == .string {
            let text = JSONText.string(bytes, value: member.value)
            guard !text.isEmpty, text.utf8.count <= bytesMax else { return nil }
            return make(["given", inbound.caller.name, text], inbound, destination, remembered, isGiven: true)
        }
        if policy.offline == .queue, let session = inbound.session?.key, let id = inbound.message.id {
            let request = String(decoding: Array(bytes, id), as: UTF8.self)
            let name = session.bytes.map { String($0, radix: 16) }.joined(separator: ".")
            return make(["session", name, request], inbound, destination, remembered, isGiven: false)
        }
        guard let dedupe = policy.dedupe, let client = client(inbound) else { return nil }
        let arguments = Seal.digest(canonical(inbound)).map { String($0, radix: 16) }.joined(separator: ".")
        return make(["equal", client, arguments], inbound, destination, dedupe, isGiven: false)
    }

    /// Anonymous callers are many: without a session nothing says that two of them are one.
    private static func client(_ inbound: InboundMessage) -> String? {
        if inbound.caller != .anonymous { return "caller " + inbound.caller.name }
        return inbound.session.map { session in
            "session " + session.key.bytes.map { String($0, radix: 16) }.joined(separator: ".")
        }
    }

    private static func make(
        _ parts: [String], _ inbound: InboundMessage, _ destination: Destination, _ lifetime: Duration, isGiven: Bool
    ) -> CallKey {
        let name = [destination.backend.name, destination.target]
        let key = (parts + name).joined(separator: "\u{0}")
        let content = Array(name.joined(separator: "\u{0}").utf8) + [0] + canonical(inbound)
        return CallKey(
            bytes: Seal.digest(Array(key.utf8)), digest: Seal.digest(content), lifetime: lifetime, isGiven: isGiven)
    }

    /// The arguments, whatever their spelling.
    static func canonical(_ inbound: InboundMessage) -> [UInt8] {
        let bytes = inbound.bytes.readableBytesUInt8Span
        var text: [UInt8] = []
        guard let member = inbound.message.member("arguments", in: bytes),
            // Scanned before, within the limits of its transport.
            let value = try? JSONValue.parse(bytes.extracting(member.value), limits: WireLimits(bytesMax: .max))
        else { return text }
        value.canonical.write(to: &text)
        return text
    }
}
