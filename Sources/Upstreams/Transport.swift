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
    /// Headers `Mcp-Param-…`, ready to be sent.
    var parameterHeaders: [(name: String, value: String)] = []
    /// Headers `traceparent` and `tracestate`.
    var trace: TraceContext?
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
    /// It says that the server wants to be asked later.
    var slowDown: SlowDown?

    /// The JSON-RPC error's code.
    var errorCode: Int? {
        guard let message, message.kind == .error else { return nil }
        let span = bytes.readableBytesUInt8Span
        return message.member("code", in: span).flatMap { Int(JSONText.string(span, inside: $0.value)) }
    }

    /// The JSON-RPC error's message without secrets, cut to a length fit for a log line.
    func errorText(hiding secrets: KnownSecrets) -> String {
        guard let message, message.kind == .error else { return "HTTP status \(status)" }
        let span = bytes.readableBytesUInt8Span
        guard let text = message.member("message", in: span), text.kind == .string else { return "an error" }
        return secrets.hidden(in: JSONText.string(span, value: text.value), bytesMax: 400)
    }
}

/// A message that answers none of our requests.
struct Incoming: Sendable {
    var bytes: ByteBuffer
    var message: Message
    /// The number of the request on whose own stream it came; nil where all messages come on one.
    var during: UInt64?

    /// The value of `params`.
    var payload: Payload? {
        guard let body = message.body, message.bodyKind == .object else { return nil }
        return Payload(bytes: bytes, range: body, members: message.members, meta: message.meta)
    }
}

/// What happens while an answer is awaited.
struct Hearing: Sendable {
    /// Anything that is not the answer.
    var message: @Sendable (Incoming) -> Void
    /// How much later than the deadline the answer may come, because somebody was asked something.
    var extraTime: @Sendable (Moment) -> Duration = { _ in .zero }
    /// The server has begun to answer with an event stream.
    var opened: @Sendable () -> Void = {}
    /// Where messages are to be sent (the old HTTP+SSE transport).
    var endpoint: @Sendable (String) -> Void = { _ in }
    /// The server has hung up and wants us to come back for the answer.
    var paused: @Sendable (Duration) -> Void = { _ in }
}

/// How a stream of the server's own ended.
enum StreamEnd: Sendable, Equatable {
    /// It was open, and is not any more; where to go on, if the server said so.
    case closed(lastEvent: String?, retry: Duration?)
    /// The server has none to offer, with its HTTP status; when to ask again, if it said so.
    case notOffered(Int, retry: Duration? = nil)
    case unreachable(String)
}

/// Carries messages to one upstream and answers back. Knows nothing of what they mean.
protocol Transport: Sendable {
    /// Sends a request and waits for its answer, at most until the deadline. Runs on `loop`, which must be the
    /// caller's.
    func exchange(
        _ request: WireRequest, on loop: any EventLoop, deadline: Deadline, hearing: Hearing?
    ) async throws(CallFailure) -> WireAnswer

    /// Sends what needs no answer: a notification, or our response to a question. Whether it arrived is not known.
    func notify(_ request: WireRequest, on loop: any EventLoop, deadline: Deadline) async

    /// Makes ready to be used: starts the process, if there is one. Throws words.
    ///
    /// - Parameters:
    ///   - hears: takes what comes outside of any request, where that can be told apart.
    ///   - lost: called when the one process or connection is gone, where there is one, with how it ended.
    func open(
        hears: @escaping @Sendable (Incoming) -> Void, lost: @escaping @Sendable (String) -> Void
    ) async throws(TransportError)

    /// Holds the server's own stream of a session open until it ends or the task is cancelled. Transports on which
    /// everything comes the same way have none.
    func listen(
        _ era: Era, from lastEvent: String?, on loop: any EventLoop, hearing: Hearing
    ) async -> StreamEnd

    /// Ends connections and processes. After it, `open` may be called again.
    func close() async

    /// Tells the server that a session is over, where that can be told.
    func end(_ era: Era, on loop: any EventLoop) async

    /// `http`, `sse` or `stdio`.
    var kind: String { get }

    /// How fast the server wants to be asked: by this and every other conversation with it.
    var pace: Pace { get }
}

extension Transport {
    func listen(
        _ era: Era, from lastEvent: String?, on loop: any EventLoop, hearing: Hearing
    ) async -> StreamEnd { .notOffered(405) }

    func end(_ era: Era, on loop: any EventLoop) async {}

    var pace: Pace { Pace() }

    /// Whether one conversation is one process or connection: then a second session needs a second one.
    var isDuplex: Bool { kind != "http" }
}

/// Why a transport cannot be used, in words.
struct TransportError: Error, Sendable {
    enum Kind: Sendable, Equatable {
        /// Nobody is there, or the network is not: at the edge a part of every day.
        case unreachable
        /// Nothing came in time.
        case silence
        /// It is there and wants to be asked later.
        case slowDown
        /// It does not take our credentials.
        case refusal
        /// Its process has ended, or cannot be started.
        case ended
        /// It answers, and not as it should.
        case broken

        /// Something for somebody to mend, which the log has to say in the word that is looked for.
        var isFailure: Bool {
            switch self {
            case .refusal, .ended, .broken: true
            case .unreachable, .silence, .slowDown: false
            }
        }
    }

    var words: String
    var kind = Kind.broken
    /// The address answers, but not as Streamable HTTP: an older transport may be there.
    var isNoEndpoint = false

    var isSilence: Bool { kind == .silence }
    var isSlowDown: Bool { kind == .slowDown }
}
