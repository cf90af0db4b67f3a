// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// What an upstream turned out to speak.
enum Era: Sendable, Equatable {
    case modern
    /// With the session id it gave us, if it gave one.
    case legacy(Revision, session: String?)
}

/// One message on its way to an upstream.
struct WireRequest: Sendable {
    /// The number it is sent under; nil for a notification.
    var id: UInt64?
    var method: String
    /// What `Mcp-Name` has to repeat.
    var name: String?
    var body: ByteBuffer
    /// By which era's rules it travels; nil while that is being found out with `initialize`.
    var era: Era?
}

/// What came back.
struct WireAnswer: Sendable {
    /// The HTTP status; 200 on transports that have none.
    var status: Int
    var bytes: ByteBuffer
    /// The JSON-RPC response with our number in it; nil when the body was something else.
    var message: Message?
    /// The session that the answer opens.
    var session: String?

    /// The JSON-RPC error's code.
    var errorCode: Int? {
        guard let message, message.kind == .error else { return nil }
        let span = bytes.readableBytesUInt8Span
        return message.member("code", in: span).flatMap { Int(JSONText.string(span, inside: $0.value)) }
    }

    /// The JSON-RPC error's message, cut to a length fit for a log line.
    var errorText: String {
        guard let message, message.kind == .error else { return "HTTP status \(status)" }
        let span = bytes.readableBytesUInt8Span
        guard let text = message.member("message", in: span), text.kind == .string else { return "an error" }
        return String(JSONText.string(span, value: text.value).prefix(200))
    }
}

/// Carries messages to one upstream and answers back. Knows nothing of what they mean.
protocol Transport: Sendable {
    /// Sends a request and waits for its answer, at most until the deadline. Runs on `loop`, which must be the
    /// caller's.
    func exchange(
        _ request: WireRequest, on loop: any EventLoop, deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer

    /// Sends what needs no answer. Whether it arrived is not known.
    func notify(_ request: WireRequest, on loop: any EventLoop, deadline: Deadline) async

    /// Makes ready to be used: starts the process, if there is one. Throws words.
    func open() async throws(TransportError)

    /// Ends connections and processes. After it, `open` may be called again.
    func close() async

    /// `http` or `stdio`.
    var kind: String { get }
}

/// Why a transport cannot be used, in words.
struct TransportError: Error, Sendable {
    var words: String
}
