// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// How one era words its answers. Everything that differs between the eras in replies is behind this; the pipeline asks
/// no further.
protocol Dialect: Sendable {
    /// Whether the method exists in this era and the gateway offers it.
    func offers(_ method: Method) -> Bool
    /// How a transport announces that a method does not exist.
    var unknownMethodStatus: ReplyStatus { get }
    /// The code under which an upstream's error is passed on.
    func errorCode(_ code: Int) -> Int
    /// Writes a tool's result, converted from whatever era its owner speaks.
    func write(_ payload: Payload, to out: inout ByteBuffer)
    /// Writes a `result` object whose members, without braces, are `members`.
    func writeResult(members: String, to out: inout ByteBuffer)
}

/// 2026-07-28: stateless, every result says its type and who made it.
struct ModernDialect: Dialect {
    private let serverInfo: [UInt8]

    init(identity: ServerIdentity) {
        var out = Array("\"\(ModernMeta.serverInfo)\":".utf8)
        identity.json.write(to: &out)
        serverInfo = out
    }

    func offers(_ method: Method) -> Bool {
        switch method {
        case .discover, .toolsList, .toolsCall: true
        case .initialize, .initialized, .ping, .cancelled, .other: false
        }
    }

    var unknownMethodStatus: ReplyStatus { .noSuchMethod }

    /// The envelope of our own hop is our own affair: what an upstream finds wrong with it is no news for the client.
    func errorCode(_ code: Int) -> Int {
        if (-32099...(-32020)).contains(code) { return -32603 }
        return code == -32002 ? -32602 : code
    }

    func writeResult(members: String, to out: inout ByteBuffer) {
        out.writeStaticString(#"{"resultType":"complete","#)
        out.writeString(members)
        out.writeStaticString(",")
        writeIdentity(to: &out)
    }

    func write(_ payload: Payload, to out: inout ByteBuffer) {
        let bytes = payload.bytes.readableBytesUInt8Span
        out.writeStaticString(#"{"resultType":"complete""#)
        for member in payload.members {
            if member.isNamed("resultType", in: bytes) || member.isNamed("_meta", in: bytes) { continue }
            out.writeStaticString(",")
            payload.write(member, to: &out)
        }
        out.writeStaticString(",")
        writeIdentity(keeping: payload, to: &out)
    }

    /// Ends the result with its `_meta`: what the owner put there, with our own identity instead of its.
    private func writeIdentity(keeping payload: Payload? = nil, to out: inout ByteBuffer) {
        out.writeStaticString(#""_meta":{"#)
        if let payload {
            let bytes = payload.bytes.readableBytesUInt8Span
            for member in payload.meta where !member.isNamed("io.modelcontextprotocol/serverInfo", in: bytes) {
                payload.write(member, to: &out)
                out.writeStaticString(",")
            }
        }
        out.writeBytes(serverInfo)
        out.writeStaticString("}}")
    }
}

/// 2024-11-05 to 2025-11-25: opened with `initialize`, results without wrapping.
struct LegacyDialect: Dialect {
    let revision: Revision

    func offers(_ method: Method) -> Bool {
        switch method {
        case .initialize, .initialized, .ping, .toolsList, .toolsCall, .cancelled: true
        case .discover, .other: false
        }
    }

    var unknownMethodStatus: ReplyStatus { .ok }

    /// Codes of the stateless era mean nothing here.
    func errorCode(_ code: Int) -> Int { (-32099...(-32020)).contains(code) ? -32603 : code }

    func writeResult(members: String, to out: inout ByteBuffer) {
        out.writeStaticString("{")
        out.writeString(members)
        out.writeStaticString("}")
    }

    func write(_ payload: Payload, to out: inout ByteBuffer) {
        let bytes = payload.bytes.readableBytesUInt8Span
        let hasModernMeta = payload.meta.contains { $0.keyBegins(with: ModernMeta.prefix, in: bytes) }
        if !hasModernMeta, payload.members.allSatisfy({ isShown($0, bytes) }) {
            if let whole = payload.slice(payload.range) { out.writeImmutableBuffer(whole) }
            return
        }
        out.writeStaticString("{")
        var isFirst = true
        for member in payload.members where isShown(member, bytes) {
            if member.isNamed("_meta", in: bytes) { continue }
            if !isFirst { out.writeStaticString(",") }
            isFirst = false
            payload.write(member, to: &out)
        }
        let meta = payload.meta.filter { !$0.keyBegins(with: ModernMeta.prefix, in: bytes) }
        if !meta.isEmpty {
            out.writeStaticString(isFirst ? #""_meta":{"# : #","_meta":{"#)
            for (index, member) in meta.enumerated() {
                if index > 0 { out.writeStaticString(",") }
                payload.write(member, to: &out)
            }
            out.writeStaticString("}")
        }
        out.writeStaticString("}")
    }

    private func isShown(_ member: Member, _ bytes: Span<UInt8>) -> Bool {
        if member.isNamed("structuredContent", in: bytes) {
            return revision >= .v2025_06_18 && member.kind == .object
        }
        return !member.isNamed("resultType", in: bytes) && !member.isNamed("ttlMs", in: bytes)
            && !member.isNamed("cacheScope", in: bytes)
    }
}

extension Payload {
    func slice(_ range: Range<Int>) -> ByteBuffer? {
        bytes.getSlice(at: bytes.readerIndex + range.lowerBound, length: range.count)
    }

    /// Writes `"key":value` as it stands.
    func write(_ member: Member, to out: inout ByteBuffer) {
        guard let text = slice((member.key.lowerBound - 1)..<member.value.upperBound) else { return }
        out.writeImmutableBuffer(text)
    }
}
