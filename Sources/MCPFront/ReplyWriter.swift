// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import NIOCore

/// Writes what belongs to one request in the form the client takes: a JSON body, or an event stream.
///
/// JSON is preferred, being one write. It becomes a stream when something has to be said before the answer, when the
/// client takes nothing else, or when the answer takes long, so that comments keep the connection alive.
final class ReplyWriter: ClientStream, @unchecked Sendable {
    // Everything mutable is confined to the loop of the exchange; needs no lock.
    let exchange: HTTPExchange
    private let accepts: Negotiation.Accepts
    private let service: any MCPService
    private let time: any TimeSource
    /// The legacy session the request belongs to.
    var live: LiveSession?
    /// The request asks for a stream without an end of its own.
    var isListening = false
    var headers: [(String, String)] = []
    /// The stream of a legacy session, kept for clients that lose it.
    private var trail: EventTrail?
    private var outlet: EventOutlet?
    private let loop: any EventLoop
    private var isAnswered = false
    private let asking = AskingClock()

    init(exchange: HTTPExchange, accepts: Negotiation.Accepts, service: any MCPService, time: any TimeSource) {
        self.exchange = exchange
        self.accepts = accepts
        self.service = service
        self.time = time
        loop = exchange.request.loop
    }

    /// From here on the client may have to wait.
    func awaitReply() {
        exchange.keepsAliveByEvents = accepts != .json && headers.isEmpty
        exchange.beginsEvents = { [weak self] in self?.begin() }
    }

    var takesEvents: Bool { accepts == .both || accepts == .events }

    // MARK: Before the answer

    /// Commits to an event stream.
    private func begin() {
        guard !exchange.isStreaming, trail == nil else { return }
        if isListening { exchange.startListening(headers: headers) } else { exchange.startEvents(headers: headers) }
        guard let live else { return }
        let (trail, outlet) = (live.newTrail(), EventOutlet(exchange))
        trail.attach(outlet, after: nil, marks: live.marksStreams)
        (self.trail, self.outlet) = (trail, outlet)
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if loop.inEventLoop { body() } else { loop.execute(body) }
    }

    func send(_ notification: ByteBuffer, isVital: Bool) {
        onLoop {
            // After the answer there is nobody to hear it.
            guard self.takesEvents, !self.isAnswered else { return }
            self.begin()
            if let trail = self.trail {
                trail.append(notification, isDroppable: !isVital)
            } else if self.exchange.isKeepingUp {
                self.exchange.sendEvent(notification)
            } else if isVital {
                self.exchange.cancelWork()
            }
        }
    }

    /// Only a legacy client answers requests, and only where they can reach it.
    var canAsk: Bool { live != nil && takesEvents }

    func ask(_ question: Question, deadline: Deadline) async -> QuestionOutcome {
        guard let live else { return .refused(code: -32601, message: "This client answers no requests.") }
        asking.begin(at: time.now())
        defer { asking.end(at: time.now()) }
        return await live.questions.ask(question, deadline: deadline, loop: loop, time: time) {
            self.send($0, isVital: true)
        }
    }

    func timeAsking(at now: Moment) -> Duration { asking.total(at: now) }

    /// What a person takes for an answer is no part of how long the request took.
    private func leaveOutAsking() { exchange.timeLeftOut = asking.total(at: time.now()) }

    func pause(resumeAfter: Duration) {
        onLoop {
            guard let live = self.live, live.marksStreams, self.takesEvents else { return }
            self.begin()
            self.leaveOutAsking()
            self.trail?.pause(retry: resumeAfter)
        }
    }

    // MARK: The answer

    func refuse(_ refusal: ProtocolRefusal) { write(service.refuse(refusal)) }

    func accepted() { exchange.answer(.accepted, .none, ByteBuffer()) }

    func write(_ reply: Reply) {
        isAnswered = true
        switch reply {
        case .accepted: withdrawn()
        case .response(let json, let status):
            if exchange.isStreaming { leaveOutAsking() }
            if let trail { return trail.append(json, isLast: true) }
            if exchange.isStreaming || (accepts == .events && status == .ok) {
                begin()
                if let trail { return trail.append(json, isLast: true) }
                exchange.sendEvent(json)
                exchange.finishEvents()
                return
            }
            var headers = headers
            if let seconds = status.retryAfter { headers.append(("retry-after", String(seconds))) }
            exchange.answer(Self.http(status), .json, json, headers: headers)
        }
    }

    /// The client has taken its request back and expects no answer; the connection needs one all the same.
    func withdrawn() {
        if exchange.isStreaming { leaveOutAsking() }
        if trail != nil {
            trail?.close(isOver: true)
        } else if exchange.isStreaming {
            exchange.finishEvents()
        } else {
            accepted()
        }
    }

    /// The replies of a batch, as one array; nothing when it held only notifications.
    func write(_ replies: [ByteBuffer]) {
        guard !replies.isEmpty else { return accepted() }
        var out = ByteBuffer(string: "[")
        for (index, reply) in replies.enumerated() {
            if index > 0 { out.writeStaticString(",") }
            out.writeImmutableBuffer(reply)
        }
        out.writeStaticString("]")
        write(.response(out, .ok))
    }

    private static func http(_ status: ReplyStatus) -> HTTPStatus {
        switch status {
        case .ok: .ok
        case .badEnvelope: .badRequest
        case .noSuchMethod: .notFound
        case .ownFault: .internalError
        case .overloaded: .unavailable
        case .limited: .tooManyRequests
        }
    }
}

extension ReplyStatus {
    fileprivate var retryAfter: Int? {
        switch self {
        case .overloaded(let seconds), .limited(let seconds): seconds
        case .ok, .badEnvelope, .noSuchMethod, .ownFault: nil
        }
    }
}
