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

    /// A client that gives a key relies on it, so one that cannot be used is a mistake, not none.
    enum Found: Sendable {
        case none
        case key(CallKey)
        case unusable
    }

    /// What tells the call from others, if anything does. In this order: the client's own key; equal arguments, for
    /// tools that say so; the request id of a legacy session, for tools whose calls are stored.
    ///
    /// A client that comes back with answers (`requestState`) goes on with its call: each such round has a key made of
    /// the client's and its state.
    static func of(_ inbound: InboundMessage, _ destination: Destination) -> Found {
        guard destination.operation == .tool else { return .none }
        let bytes = inbound.bytes.readableBytesUInt8Span
        if let member = inbound.message.metaMember(metaMember, in: bytes) {
            guard member.kind == .string else { return .unusable }
            let text = JSONText.string(bytes, value: member.value)
            guard !text.isEmpty, text.utf8.count <= bytesMax else { return .unusable }
            var parts = ["given", inbound.caller.name, text]
            if let state = inbound.message.member("requestState", in: bytes), state.kind == .string {
                parts.append(JSONText.string(bytes, value: state.value))
            }
            return .key(make(parts, inbound, destination, remembered, isGiven: true))
        }
        if inbound.isContinued { return .none }
        return own(inbound, destination).map { .key($0) } ?? .none
    }

    /// The key of the first round, in a later one.
    static func ofFirstRound(_ inbound: InboundMessage, _ destination: Destination) -> CallKey? {
        let bytes = inbound.bytes.readableBytesUInt8Span
        guard inbound.isContinued, let member = inbound.message.metaMember(metaMember, in: bytes) else { return nil }
        let text = JSONText.string(bytes, value: member.value)
        return make(["given", inbound.caller.name, text], inbound, destination, remembered, isGiven: true)
    }

    private static func own(_ inbound: InboundMessage, _ destination: Destination) -> CallKey? {
        let bytes = inbound.bytes.readableBytesUInt8Span
        let policy = destination.policy
        if let dedupe = policy.dedupe, let client = client(inbound) {
            let arguments = Seal.digest(canonical(inbound)).map { String($0, radix: 16) }.joined(separator: ".")
            return make(["equal", client, arguments], inbound, destination, dedupe, isGiven: false)
        }
        if policy.offline == .queue, let session = inbound.session?.key, let id = inbound.message.id {
            let request = String(decoding: Array(bytes, id), as: UTF8.self)
            let name = session.bytes.map { String($0, radix: 16) }.joined(separator: ".")
            return make(["session", name, request], inbound, destination, remembered, isGiven: false)
        }
        return nil
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

extension InboundMessage {
    /// The client comes back with answers: this is the middle of a call, not its beginning.
    var isContinued: Bool {
        let span = bytes.readableBytesUInt8Span
        return message.member("requestState", in: span) != nil || message.member("inputResponses", in: span) != nil
    }
}
