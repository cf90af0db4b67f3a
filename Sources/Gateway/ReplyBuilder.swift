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

    /// A result given by its members, without braces; `meta` are members of its `_meta`.
    func result(members: String, meta: String = "", to inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        var out = open(inbound, "result", room: members.utf8.count)
        dialect.writeResult(members: members, meta: meta, to: &out)
        out.writeStaticString("}")
        return .response(out, .ok)
    }

    /// The empty result of the eras that had sessions.
    func empty(to inbound: InboundMessage) -> Reply { result(Array("{}".utf8), to: inbound) }

    /// The owner asks first (2026-07-28).
    func inputRequired(members: String, to inbound: InboundMessage) -> Reply {
        var out = open(inbound, "result", room: members.utf8.count)
        out.writeStaticString(#"{"resultType":"input_required","#)
        out.writeString(members)
        out.writeStaticString("}}")
        return .response(out, .ok)
    }

    /// A task that was begun (2026-07-28).
    func task(members: String, to inbound: InboundMessage) -> Reply {
        var out = open(inbound, "result", room: members.utf8.count)
        out.writeStaticString(#"{"resultType":"task","#)
        out.writeString(members)
        out.writeStaticString("}}")
        return .response(out, .ok)
    }

    /// What the owner answered.
    ///
    /// - Parameter taskHandle: makes of an owner's task id one that clients may have.
    func reply(
        _ answer: CallAnswer, of destination: Destination, to inbound: InboundMessage, _ dialect: any Dialect,
        taskHandle: (String) -> String
    ) -> Reply {
        switch answer {
        case .result(let payload):
            var out = open(inbound, "result", room: payload.range.count + 192)
            let shown = withHandle(payload, destination, taskHandle) ?? payload
            dialect.write(shown, of: destination, as: "complete", to: &out)
            out.writeStaticString("}")
            return .response(out, .ok)
        case .task(let payload):
            guard let shown = withHandle(payload, destination, taskHandle) else {
                return error(-32603, "The owner began a task without an id.", to: inbound)
            }
            var out = open(inbound, "result", room: payload.range.count + 192)
            dialect.write(shown, of: destination, as: "task", to: &out)
            out.writeStaticString("}")
            return .response(out, .ok)
        case .inputRequired: return error(-32603, "The owner asks where nothing can be asked.", to: inbound)
        case .protocolError(let payload):
            var out = open(inbound, "error", room: payload.range.count)
            let code = writeError(payload, destination, dialect, to: &out)
            out.writeStaticString("}")
            return .response(out, code == -32021 ? .badEnvelope : .ok)
        }
    }

    /// The same with our handle in place of the owner's task id; nil when there is none to replace.
    private func withHandle(
        _ payload: Payload, _ destination: Destination, _ taskHandle: (String) -> String
    ) -> Payload? {
        let shown: String
        switch destination.operation {
        case .tool:
            guard let id = payload.member("taskId"), let text = payload.tree(id)?.stringValue else { return nil }
            shown = taskHandle(text)
        case .taskGet: shown = destination.exposedName
        case .prompt, .resource, .completion, .taskUpdate, .taskCancel: return nil
        }
        return payload.tree(payload.range).flatMap { Payload($0.with("taskId", .string(shown))) }
    }

    /// An upstream's error: its words and data, its code as this client's era knows it.
    private func writeError(
        _ payload: Payload, _ destination: Destination, _ dialect: any Dialect, to out: inout ByteBuffer
    ) -> Int {
        let bytes = payload.bytes.readableBytesUInt8Span
        let theirs =
            Message.find("code", payload.members, bytes).flatMap { Int(JSONText.string(bytes, inside: $0.value)) }
            ?? -32603
        var code = dialect.errorCode(theirs)
        let isMissing = destination.operation == .resource && (theirs == -32002 || theirs == -32602)
        if isMissing { code = dialect.noResourceCode }
        out.writeStaticString(#"{"code":"#)
        out.writeString(String(code))
        for member in payload.members where member.isNamed("message", in: bytes) || member.isNamed("data", in: bytes) {
            if isMissing, member.isNamed("data", in: bytes) { continue }
            out.writeStaticString(",")
            payload.write(member, to: &out)
        }
        if Message.find("message", payload.members, bytes) == nil {
            out.writeStaticString(#","message":"The upstream answered with an error without a message.""#)
        }
        if isMissing { out.writeString(#","data":{"uri":\#(JSONText.quoted(destination.exposedName))}"#) }
        out.writeStaticString("}")
        return code
    }

    /// `isError: true` with words: for what a model can react to.
    func toolError(_ words: String, to inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        result(members: Self.toolErrorMembers(words), to: inbound, dialect)
    }

    static func toolErrorMembers(_ words: String) -> String {
        #""content":[{"type":"text","text":\#(JSONText.quoted(words))}],"isError":true"#
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

    /// What a failed call looks like to the client: of a tool mostly a result that says so, because a model can act on
    /// it; a protocol error where the request itself was wrong, and for everything that is no tool.
    func failure(
        _ failure: CallFailure, of destination: Destination, to inbound: InboundMessage, _ dialect: any Dialect
    ) -> Reply {
        let words = FailureWords.of(failure, destination)
        switch failure {
        case .unknownTool: return error(-32602, words, to: inbound)
        case .badArguments where !dialect.badArgumentsAreResults: return error(-32602, words, to: inbound)
        case .cancelled: return error(-32603, words, to: inbound)
        case .unavailable, .timedOut, .outcomeUnknown, .garbage, .stopped, .badArguments, .overloaded, .needsInput:
            guard destination.operation == .tool else { return error(-32603, words, to: inbound) }
            return toolError(words, to: inbound, dialect)
        }
    }
}

/// Failures in words that a model, or the person behind it, can act on.
enum FailureWords {
    static func of(_ failure: CallFailure, _ destination: Destination) -> String {
        let owner = destination.backend.name
        let name = destination.operation == .completion ? "The completion" : destination.exposedName
        switch failure {
        case .unknownTool: return "There is no tool named \(name) any more; list the tools again."
        case .badArguments(let detail): return "The arguments of \(name) are not what it takes: \(detail)."
        case .unavailable(let detail):
            return "\(name) was not called: its server \"\(owner)\" cannot be reached (\(detail)). Nothing was sent. "
                + "Try again later, or use another tool."
        case .timedOut(let after, let sent):
            let consequence =
                sent
                ? "It may still have been carried out: check before calling it again."
                : "It was not sent, so calling again is safe."
            return "\(name) gave no answer within \(Words.seconds(after)). \(consequence)"
        case .outcomeUnknown(let detail):
            return
                "The connection to the server \"\(owner)\" was lost after \(name) was sent (\(detail)). Whether it was "
                + "carried out is unknown: check before calling it again."
        case .garbage(let detail):
            return "The server \"\(owner)\" answered \(name) with something that is no answer (\(detail)). "
                + "This is a fault of that server; calling again is unlikely to help."
        case .stopped(let detail): return "\(name) was stopped: \(detail)"
        case .overloaded(let detail, let seconds):
            return "\(name) was not called: \(detail). Try again in \(seconds) s."
        case .needsInput(let detail):
            return "\(name) needs input that it did not get: \(detail). Nothing more was done."
        case .cancelled: return "The call was cancelled."
        }
    }
}

enum Words {
    /// `2 s`, `0.25 s`
    static func seconds(_ duration: Duration) -> String {
        // A wait ends a little before or behind its time, which is nobody's concern.
        let exact = duration.milliseconds
        let milliseconds = exact >= 500 ? Int((exact / 10).rounded()) * 10 : Int(exact.rounded())
        if milliseconds % 1_000 == 0 { return "\(milliseconds / 1_000) s" }
        return "\(Double(milliseconds) / 1_000) s"
    }
}
