// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// What an answer of a server means for the call it answers.
enum AnswerReading {
    /// Inside a session 404 means that the session is gone, and some servers say 400 with an error of their transport.
    /// Neither ran the call. A method that does not exist, or an error that a tool came back with, is another matter:
    /// what handles requests names the request, and a transport that refuses does not.
    static func isSessionLoss(_ answer: WireAnswer) -> Bool {
        let span = answer.bytes.readableBytesUInt8Span
        let namesRequest = answer.message?.id.map { span[$0.lowerBound] != UInt8(ascii: "\"") } ?? false
        let isTransports = answer.errorCode.map { [-32000, -32001, -32600].contains($0) } ?? false
        switch answer.status {
        case 404: return answer.message == nil || isTransports || (!namesRequest && answer.errorCode != -32601)
        case 400: return isTransports && !namesRequest
        default: return false
        }
    }

    /// - Parameter secrets: not to be read in what it says of a failure.
    static func answer(_ answer: WireAnswer, hiding secrets: KnownSecrets) throws(CallFailure) -> CallAnswer {
        // What it says about our credentials is between it and us.
        if answer.status == 401 || answer.status == 403 { throw failure(status: answer.status, isEmpty: false) }
        guard let message = answer.message, let body = message.body else {
            throw failure(status: answer.status, isEmpty: answer.bytes.readableBytes == 0)
        }
        let payload = Payload(bytes: answer.bytes, range: body, members: message.members, meta: message.meta)
        let span = answer.bytes.readableBytesUInt8Span
        if message.kind == .error {
            if let code = answer.errorCode, code == -32020 || code == -32022 {
                throw .garbage(detail: "it does not accept our envelope: \(answer.errorText(hiding: secrets))")
            }
            return .protocolError(payload)
        }
        guard message.bodyKind == .object else { throw .garbage(detail: "the result is not an object") }
        guard let type = message.member("resultType", in: span) else { return .result(payload) }
        switch type.kind == .string ? JSONText.string(span, value: type.value) : "" {
        case "complete": return .result(payload)
        case "input_required": return .inputRequired(payload)
        case "task": return .task(payload)
        default: throw .garbage(detail: "its result is of a type that this gateway does not know")
        }
    }

    private static func failure(status: Int, isEmpty: Bool) -> CallFailure {
        switch status {
        case 401, 403: .unavailable(detail: "it refuses our credentials, HTTP status \(status)")
        // Also what proxies say of a connection that broke behind them.
        case 502...504: .outcomeUnknown(detail: "HTTP status \(status)")
        case 200..<300 where isEmpty: .outcomeUnknown(detail: "HTTP status \(status) without an answer")
        default: .garbage(detail: "HTTP status \(status) without a JSON-RPC answer")
        }
    }

    /// The arguments that have to be repeated in headers.
    static func headers(_ parameters: [HeaderParameter], of call: RoutedCall) -> [(name: String, value: String)] {
        guard let text = call.arguments,
            // The message was scanned before, within the limits of its transport.
            let arguments = try? JSONValue.parse(text.readableBytesUInt8Span, limits: WireLimits(bytesMax: .max))
        else { return [] }
        return parameters.compactMap { parameter in
            parameter.text(in: arguments).map { ("Mcp-Param-\(parameter.name)", $0) }
        }
    }
}
