// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// The one place where outcomes become JSON-RPC: results, errors, and failures in words a model can act on.
struct ReplyBuilder: Sendable {
    private let modern: ModernDialect
    private let legacy: [Revision: LegacyDialect]

    init(identity: ServerIdentity) {
        modern = ModernDialect(identity: identity)
        legacy = Dictionary(
            uniqueKeysWithValues: Revision.allCases.filter { !$0.isModern }.map { ($0, LegacyDialect(revision: $0)) })
    }

    func dialect(of revision: Revision) -> any Dialect {
        if revision.isModern { return modern }
        return legacy[revision] ?? LegacyDialect(revision: revision)
    }

    // MARK: Results

    /// `{"jsonrpc":"2.0","id":…,"result":` with room for `bytes` more.
    private func open(_ inbound: InboundMessage, _ member: StaticString, room bytes: Int) -> ByteBuffer {
        var out = ByteBuffer()
        out.reserveCapacity(bytes + 192)
        out.writeStaticString(#"{"jsonrpc":"2.0","id":"#)
        if let id = inbound.message.id,
            let text = inbound.bytes.getSlice(at: inbound.bytes.readerIndex + id.lowerBound, length: id.count)
        {
            out.writeImmutableBuffer(text)
        } else {
            out.writeStaticString("null")
        }
        out.writeStaticString(",\"")
        out.writeStaticString(member)
        out.writeStaticString("\":")
        return out
    }

    /// A result written beforehand.
    func result(_ json: [UInt8], to inbound: InboundMessage) -> Reply {
        var out = open(inbound, "result", room: json.count)
        out.writeBytes(json)
        out.writeStaticString("}")
        return .response(out, .ok)
    }

    /// A result given by its members, without braces.
    func result(members: String, to inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        var out = open(inbound, "result", room: members.utf8.count)
        dialect.writeResult(members: members, to: &out)
        out.writeStaticString("}")
        return .response(out, .ok)
    }

    /// The empty result.
    func empty(to inbound: InboundMessage) -> Reply { result(Array("{}".utf8), to: inbound) }

    /// What the owner of a tool answered.
    func reply(_ reply: ToolReply, to inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        switch reply {
        case .result(let payload):
            var out = open(inbound, "result", room: payload.range.count + 192)
            dialect.write(payload, to: &out)
            out.writeStaticString("}")
            return .response(out, .ok)
        case .protocolError(let payload):
            var out = open(inbound, "error", room: payload.range.count)
            writeError(payload, dialect, to: &out)
            out.writeStaticString("}")
            return .response(out, .ok)
        }
    }

    /// An upstream's error: its words and data, its code as this client's era knows it.
    private func writeError(_ payload: Payload, _ dialect: any Dialect, to out: inout ByteBuffer) {
        let bytes = payload.bytes.readableBytesUInt8Span
        let code = Message.find("code", payload.members, bytes).flatMap {
            Int(JSONText.string(bytes, inside: $0.value))
        }
        out.writeStaticString(#"{"code":"#)
        out.writeString(String(dialect.errorCode(code ?? -32603)))
        for member in payload.members where member.isNamed("message", in: bytes) || member.isNamed("data", in: bytes) {
            out.writeStaticString(",")
            payload.write(member, to: &out)
        }
        if Message.find("message", payload.members, bytes) == nil {
            out.writeStaticString(#","message":"The upstream answered with an error without a message.""#)
        }
        out.writeStaticString("}")
    }

    /// `isError: true` with words: for what a model can react to.
    func toolError(_ words: String, to inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        result(
            members: #""content":[{"type":"text","text":\#(JSONText.quoted(words))}],"isError":true"#, to: inbound,
            dialect)
    }

    // MARK: Errors

    func error(
        _ code: Int, _ message: String, data: String? = nil, to inbound: InboundMessage, status: ReplyStatus = .ok
    ) -> Reply {
        var out = open(inbound, "error", room: message.utf8.count + 64)
        Self.writeError(code, message, data, to: &out)
        return .response(out, status)
    }

    func refusal(_ refusal: ProtocolRefusal) -> Reply {
        var out = ByteBuffer()
        out.writeStaticString(#"{"jsonrpc":"2.0","#)
        if let id = refusal.idText {
            out.writeStaticString(#""id":"#)
            out.writeBytes(id)
            out.writeStaticString(",")
        } else {
            out.writeStaticString(#""id":null,"#)
        }
        out.writeStaticString(#""error":"#)
        Self.writeError(refusal.code, refusal.message, refusal.data, to: &out)
        return .response(out, refusal.status)
    }

    private static func writeError(_ code: Int, _ message: String, _ data: String?, to out: inout ByteBuffer) {
        out.writeString(#"{"code":\#(code),"message":\#(JSONText.quoted(message))"#)
        if let data {
            out.writeStaticString(#","data":"#)
            out.writeString(data)
        }
        out.writeStaticString("}}")
    }

    // MARK: Failures in words

    /// What a failed call looks like to the client: mostly a tool error, because a model can act on it; a protocol
    /// error where the request itself was wrong.
    func failure(
        _ failure: CallFailure, of destination: Destination, to inbound: InboundMessage, _ dialect: any Dialect
    ) -> Reply {
        let owner = destination.backend.name
        let name = destination.exposedName
        switch failure {
        case .unknownTool:
            return error(-32602, "There is no tool named \(name) any more; list the tools again.", to: inbound)
        case .badArguments(let detail):
            return error(-32602, "The arguments of \(name) are not what it takes: \(detail).", to: inbound)
        case .unavailable(let detail):
            return toolError(
                "\(name) was not called: its server \"\(owner)\" cannot be reached (\(detail)). Nothing was sent. "
                    + "Try again later, or use another tool.", to: inbound, dialect)
        case .timedOut(let after, let sent):
            let consequence =
                sent
                ? "It may still have been carried out: check before calling it again."
                : "It was not sent, so calling again is safe."
            return toolError(
                "\(name) gave no answer within \(Words.seconds(after)). \(consequence)", to: inbound, dialect)
        case .outcomeUnknown(let detail):
            return toolError(
                "The connection to the server \"\(owner)\" was lost after \(name) was sent (\(detail)). Whether it was "
                    + "carried out is unknown: check before calling it again.", to: inbound, dialect)
        case .garbage(let detail):
            return toolError(
                "The server \"\(owner)\" answered \(name) with something that is no answer (\(detail)). "
                    + "This is a fault of that server; calling again is unlikely to help.", to: inbound, dialect)
        case .stopped(let detail):
            return toolError("\(name) was stopped: \(detail)", to: inbound, dialect)
        case .overloaded(let detail):
            return toolError("\(name) was not called: \(detail). Try again in a second.", to: inbound, dialect)
        case .cancelled:
            return error(-32603, "The call was cancelled.", to: inbound)
        }
    }
}

enum Words {
    /// `2 s`, `0.25 s`
    static func seconds(_ duration: Duration) -> String {
        let milliseconds = Int(duration.milliseconds.rounded())
        if milliseconds % 1_000 == 0 { return "\(milliseconds / 1_000) s" }
        return "\(Double(milliseconds) / 1_000) s"
    }
}
