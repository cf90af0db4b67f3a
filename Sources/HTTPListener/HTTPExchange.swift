// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
package import NIOCore

/// The status codes the gateway answers with.
package enum HTTPStatus: Int, Sendable, CaseIterable {
    case ok = 200
    case accepted = 202
    case noContent = 204
    case badRequest = 400
    case unauthorized = 401
    case forbidden = 403
    case notFound = 404
    case methodNotAllowed = 405
    case notAcceptable = 406
    case requestTimeout = 408
    case conflict = 409
    case contentTooLarge = 413
    case unsupportedMediaType = 415
    case misdirected = 421
    case tooManyRequests = 429
    case headersTooLarge = 431
    case internalError = 500
    case unavailable = 503

    var reason: StaticString {
        switch self {
        case .ok: "200 OK"
        case .accepted: "202 Accepted"
        case .noContent: "204 No Content"
        case .badRequest: "400 Bad Request"
        case .unauthorized: "401 Unauthorized"
        case .forbidden: "403 Forbidden"
        case .notFound: "404 Not Found"
        case .methodNotAllowed: "405 Method Not Allowed"
        case .notAcceptable: "406 Not Acceptable"
        case .requestTimeout: "408 Request Timeout"
        case .conflict: "409 Conflict"
        case .contentTooLarge: "413 Content Too Large"
        case .unsupportedMediaType: "415 Unsupported Media Type"
        case .misdirected: "421 Misdirected Request"
        case .tooManyRequests: "429 Too Many Requests"
        case .headersTooLarge: "431 Request Header Fields Too Large"
        case .internalError: "500 Internal Server Error"
        case .unavailable: "503 Service Unavailable"
        }
    }
}

package enum HTTPContent: Sendable {
    case json, text, prometheus, none

    var type: StaticString? {
        switch self {
        case .json: "application/json"
        case .text: "text/plain; charset=utf-8"
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .none: nil
        }
    }
}

/// The way back: a route answers through it once, with a whole body or with a stream of events.
///
/// Every method must be called on the connection's event loop; a route's task runs there.
package final class HTTPExchange: @unchecked Sendable {
    // Confined to the connection's event loop, which is why it needs no lock.
    private let connection: HTTPConnection
    package let request: HTTPRequest
    private var state: State = .waiting

    /// End the route's task when the client leaves. Off: the work goes on without it.
    package var endsWithClient = false {
        didSet { if endsWithClient, isAbandoned { work?.cancel() } }
    }
    /// The route's task. Held here, because the connection may go on, or be gone, while it still runs.
    var work: Task<Void, Never>?
    private var isAbandoned = false

    /// The client's connection is gone; perhaps before the route has begun.
    func clientLeft() {
        isAbandoned = true
        if state == .listening {
            connection.countStream(since: listeningSince)
            state = .done
        }
        if endsWithClient { work?.cancel() }
    }

    /// Turn a quiet wait into an event stream with comments, so that nobody on the path gives up. Only for clients that
    /// take events.
    package var keepsAliveByEvents = false
    /// Called instead of `startEvents` when a quiet wait turns into a stream.
    package var beginsEvents: (() -> Void)?

    private enum State { case waiting, streaming, listening, done }
    private var listeningSince = Moment(nanoseconds: 0)
    /// What of the time until the answer is not the gateway's, and does not count: a person was asked something.
    package var timeLeftOut = Duration.zero

    init(connection: HTTPConnection, request: HTTPRequest) {
        self.connection = connection
        self.request = request
    }

    /// Sends a whole answer. A second answer to the same request is a mistake of ours and is ignored.
    package func answer(
        _ status: HTTPStatus, _ content: HTTPContent, _ body: ByteBuffer, headers: [(String, String)] = []
    ) {
        guard state == .waiting else { return }
        state = .done
        connection.writeAnswer(status, content, body, headers: headers, to: request)
    }

    /// The JSON error of everything that is not JSON-RPC.
    ///
    /// - Parameter problems: single mistakes, where there are several.
    package func refuse(
        _ status: HTTPStatus, code: String, _ message: String, headers: [(String, String)] = [],
        problems: [String] = []
    ) {
        let body = HTTPRefusal.body(code: code, message: message, request: request.id, problems: problems)
        answer(status, .json, body, headers: headers)
    }

    /// Commits to an event stream (`text/event-stream`).
    package func startEvents(headers: [(String, String)] = []) {
        guard state == .waiting else { return }
        state = .streaming
        connection.writeStreamHead(headers: headers, to: request)
    }

    /// The same for a stream that has no end of its own. As far as the duration of requests goes, its head is the
    /// answer; how long it stays open is counted apart.
    package func startListening(headers: [(String, String)] = []) {
        guard state == .waiting else { return }
        state = .listening
        connection.writeStreamHead(headers: headers, to: request)
        listeningSince = connection.countHead(of: request, without: .zero)
    }

    package var isStreaming: Bool { state == .streaming || state == .listening }

    /// One JSON-RPC message as one event. JSON text has no raw line ends, so it always fits one `data:` line.
    ///
    /// - Parameters:
    ///   - id: where a client can go on after a break.
    ///   - name: what kind of event it is.
    package func sendEvent(_ json: ByteBuffer, id: String? = nil, name: StaticString = "message") {
        guard isStreaming else { return }
        connection.writeEvent(json, id: id, name: name)
    }

    /// An event without data: tells a client where it is, and, where given, how long to stay away after a break.
    package func sendMark(id: String, retry: Duration? = nil) {
        guard isStreaming else { return }
        connection.writeMark(id: id, retryMilliseconds: retry.map { Int($0.milliseconds) })
    }

    /// Whether the client takes what it is sent; a slow one has some hundred KiB waiting for it.
    package var isKeepingUp: Bool { connection.isKeepingUp }

    /// Bytes that wait for the client to read.
    package var unsentBytes: Int { connection.unsentBytes }

    /// Ends the work on this request as if its client had left.
    package func cancelWork() { work?.cancel() }

    /// The same for work that has an answer of its own: on a stream that listens, those of others may be on their way.
    func endWork() { if state != .listening { work?.cancel() } }

    /// A comment, so that nobody on the path takes a quiet stream for a dead one.
    package func sendKeepAlive() {
        guard isStreaming else { return }
        connection.writeKeepAlive()
    }

    package func finishEvents() {
        guard isStreaming else { return }
        if state == .listening {
            connection.countStream(since: listeningSince)
        } else {
            _ = connection.countHead(of: request, without: timeLeftOut)
        }
        state = .done
        connection.finishStream()
    }

    /// Called about once a second while the answer is awaited.
    func tick(waited: Duration) {
        guard keepsAliveByEvents, waited >= Self.keepAliveInterval * (keepAlives + 1) else { return }
        keepAlives += 1
        if state == .waiting, let beginsEvents { beginsEvents() } else { startEvents() }
        sendKeepAlive()
    }

    private var keepAlives = 0
    /// Shorter than the half minute after which many proxies and clients take silence for death.
    private static let keepAliveInterval = Duration.seconds(15)
}

enum HTTPRefusal {
    /// `{"error":{"code":…,"message":…,"request_id":…}}`. Neither text comes from the client.
    static func body(code: String, message: String, request: RequestID, problems: [String] = []) -> ByteBuffer {
        let list = problems.map { "\"\(escaped($0))\"" }.joined(separator: ",")
        let more = problems.isEmpty ? "" : #","problems":[\#(list)]"#
        return ByteBuffer(
            string:
                #"{"error":{"code":"\#(code)","message":"\#(escaped(message))","request_id":"\#(request)"\#(more)}}"#)
    }

    private static func escaped(_ message: String) -> String {
        var escaped = ""
        for character in message.unicodeScalars {
            switch character {
            case "\"", "\\": escaped += "\\\(character)"
            case "\u{0}"..<"\u{20}": escaped += " "
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
