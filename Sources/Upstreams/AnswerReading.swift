// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// What an answer of a server means for the call it answers.
enum AnswerReading {
    /// Inside a session 404 means that the session is gone, and some servers say 400 with an error code of their own.
    /// Neither ran the call. A method that does not exist is another matter.
    static func isSessionLoss(_ answer: WireAnswer) -> Bool {
        switch answer.status {
        case 404: answer.errorCode != -32601
        case 400: answer.errorCode == nil || answer.errorCode == -32000 || answer.errorCode == -32600
        default: false
        }
    }

    static func answer(_ answer: WireAnswer) throws(CallFailure) -> CallAnswer {
        guard let message = answer.message, let body = message.body else {
            throw failure(status: answer.status)
        }
        let payload = Payload(bytes: answer.bytes, range: body, members: message.members, meta: message.meta)
        let span = answer.bytes.readableBytesUInt8Span
        if message.kind == .error {
            if let code = answer.errorCode, code == -32020 || code == -32022 {
                throw .garbage(detail: "it does not accept our envelope: \(answer.errorText)")
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

    private static func failure(status: Int) -> CallFailure {
        switch status {
        case 401, 403: .unavailable(detail: "it refuses our credentials, HTTP status \(status)")
        case 429, 503: .unavailable(detail: "it is too busy, HTTP status \(status)")
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
