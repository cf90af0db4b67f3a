// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Telemetry

/// Streamable HTTP as it was until 2025-11-25: sessions, the stream that answers no request, going on after a break,
/// responses to questions, cancellation in words, batches.
struct LegacyClients: Sendable {
    private let service: any MCPService
    private let sessions: SessionBook
    private let live: LiveSessions
    private let limits: WireLimits
    private let time: any TimeSource
    private let log: Logger

    init(service: any MCPService, sessions: SessionBook, limits: WireLimits, time: any TimeSource, log: Logger) {
        self.service = service
        self.sessions = sessions
        self.limits = limits
        self.time = time
        self.log = log
        live = LiveSessions(service: service, time: time)
    }

    func drain() { live.drain() }

    func endCallers(but callers: Set<String>) { live.endCallers(but: callers) }

    func sweep(isUrgent: Bool) { live.sweep(isUrgent: isUrgent) }

    // MARK: POST

    func initialize(
        _ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter, _ caller: Caller
    ) async {
        guard let greeting = Greeting(message, request.body, limits: limits) else {
            return writer.refuse(Greeting.refusal(message, request.body))
        }
        let (id, session) = sessions.begin(
            revision: greeting.revision, capabilities: greeting.capabilities, caller: caller)
        writer.headers = [("mcp-session-id", id)]
        _ = live.find(session)
        writer.awaitReply()
        var inbound = InboundMessage(
            bytes: request.body, message: message, revision: session.revision, caller: session.caller,
            requestID: request.id, arrivedAt: request.arrivedAt, loop: request.loop)
        inbound.address = request.peerAddress
        inbound.trace = request.trace
        writer.write(await service.handle(inbound))
    }

    func message(_ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter, _ caller: Caller) async {
        guard let id = request.header("mcp-session-id") else {
            return writer.exchange.refuse(
                .badRequest, code: "session_missing",
                "The header Mcp-Session-Id is missing. Begin with initialize, or send a request of 2026-07-28."
            )
        }
        guard let session = find(id, caller) else { return refuseSession(writer.exchange) }
        let live = live.find(session)
        switch message.kind {
        case .request: break
        case .result, .error:
            live.questions.take(request.body, message)
            return writer.accepted()
        case .notification:
            if message.method == .cancelled { live.requests.cancel(request.body, message) }
            return writer.accepted()
        }
        writer.live = live
        writer.awaitReply()
        let reply = await serve(message, request.body, request, live, writer)
        writer.write(reply)
    }

    /// Hands one request over; what comes back is nothing when the client has taken the request back meanwhile.
    private func serve(
        _ message: Message, _ bytes: ByteBuffer, _ request: HTTPRequest, _ live: LiveSession, _ writer: ReplyWriter
    ) async -> Reply {
        let (exchange, loop) = (writer.exchange, request.loop)
        let entry = live.requests.begin(id(message, bytes)) { loop.execute { exchange.cancelWork() } }
        let reply = await service.handle(inbound(message, bytes, request, live, writer))
        return live.requests.end(entry) ? reply : .accepted
    }

    /// The same for one of several in a batch: taking it back ends it alone.
    private func serveAlone(
        _ message: Message, _ bytes: ByteBuffer, _ request: HTTPRequest, _ live: LiveSession, _ writer: ReplyWriter
    ) async -> Reply {
        let entry = live.requests.begin(id(message, bytes))
        let inbound = inbound(message, bytes, request, live, writer)
        let work = Task(executorPreference: LoopExecutor(request.loop)) { await service.handle(inbound) }
        live.requests.set(entry) { work.cancel() }
        let reply = await withTaskCancellationHandler {
            await work.value
        } onCancel: {
            work.cancel()
        }
        return live.requests.end(entry) ? reply : .accepted
    }

    private func id(_ message: Message, _ bytes: ByteBuffer) -> [UInt8] {
        message.id.map { Array(bytes.readableBytesUInt8Span, $0) } ?? []
    }

    private func inbound(
        _ message: Message, _ bytes: ByteBuffer, _ request: HTTPRequest, _ live: LiveSession, _ writer: ReplyWriter
    ) -> InboundMessage {
        var inbound = InboundMessage(
            bytes: bytes, message: message, revision: live.revision, caller: live.session.caller,
            requestID: request.id, arrivedAt: request.arrivedAt, loop: request.loop,
            capabilities: live.session.capabilities, stream: writer.takesEvents ? writer : nil, session: live)
        inbound.address = request.peerAddress
        inbound.trace = request.trace
        return inbound
    }

    /// A session belongs to whoever began it; to others it is not there.
    private func find(_ id: String, _ caller: Caller) -> Session? {
        sessions.find(id).flatMap { $0.caller == caller ? $0 : nil }
    }

    private func refuseSession(_ exchange: HTTPExchange) {
        log.debug("a session id was not accepted", metadata: [LogKey.requestID: "\(exchange.request.id)"])
        exchange.refuse(
            .notFound, code: "session_unknown",
            "There is no such session: it was ended, is too old, or is not one of this gateway. Begin with initialize."
        )
    }

    // MARK: GET and DELETE

    /// Holds a stream of the session open: the one that answers no request, or one that broke.
    func stream(_ request: HTTPRequest, _ exchange: HTTPExchange, _ caller: Caller) async {
        guard let id = request.header("mcp-session-id") else {
            return exchange.refuse(
                .methodNotAllowed, code: "method_not_allowed",
                "GET opens the event stream of a session, which Mcp-Session-Id has to name. Begin with initialize.",
                headers: [("allow", "POST, GET, DELETE")])
        }
        guard let session = find(id, caller) else { return refuseSession(exchange) }
        let live = live.find(session)
        var place: (trail: EventTrail, sequence: UInt64?) = (live.standalone, nil)
        if let event = request.header("last-event-id") {
            guard let found = live.find(event: event) else {
                return exchange.refuse(
                    .badRequest, code: "event_unknown",
                    "The stream of this Last-Event-ID is not kept (any more). Ask again for what is still wanted.")
            }
            place = (found.trail, found.sequence)
        }
        // The stream is over when the client is gone; the session is not.
        exchange.endsWithClient = true
        exchange.keepsAliveByEvents = true
        let outlet = EventOutlet(exchange)
        // Before the client can know: it may come again as soon as it has the head, on another loop, and of two
        // connections the later one has the stream. What is sent here waits for the loop, and so for the head.
        place.trail.attach(outlet, after: place.sequence, marks: live.marksStreams)
        exchange.startListening()
        await outlet.closed.wait()
        place.trail.detach(outlet)
    }

    func delete(_ request: HTTPRequest, _ exchange: HTTPExchange, _ caller: Caller) {
        guard let id = request.header("mcp-session-id") else {
            return exchange.refuse(
                .badRequest, code: "session_missing", "The header Mcp-Session-Id must name the session to end.")
        }
        guard find(id, caller) != nil, let session = sessions.end(id) else { return refuseSession(exchange) }
        live.end(session.key)
        exchange.answer(.ok, .none, ByteBuffer())
    }

    // MARK: Batches

    /// Revision 2025-03-26 alone lets a client send several messages in one array.
    func batchSession(_ request: HTTPRequest, _ caller: Caller) -> Session? {
        guard let first = request.body.readableBytesView.first(where: { !" \t\r\n".utf8.contains($0) }),
            first == UInt8(ascii: "["), let id = request.header("mcp-session-id"), let session = find(id, caller),
            session.revision == .v2025_03_26
        else { return nil }
        return session
    }

    /// Takes a batch apart at the edge: the house only ever sees single messages.
    func batch(_ session: Session, _ request: HTTPRequest, _ writer: ReplyWriter) async {
        let live = live.find(session)
        writer.live = live
        writer.awaitReply()
        var replies: [ByteBuffer] = []
        do throws(WireError) {
            for range in try MessageParser.batch(request.body.readableBytesUInt8Span, limits: limits) {
                if let reply = await element(range, of: request, live, writer) { replies.append(reply) }
            }
        } catch {
            return writer.refuse(ProtocolRefusal(code: error.kind == .notJSON ? -32700 : -32600, message: error.text))
        }
        writer.write(replies)
    }

    private func element(
        _ range: Range<Int>, of request: HTTPRequest, _ live: LiveSession, _ writer: ReplyWriter
    ) async -> ByteBuffer? {
        guard let bytes = request.body.getSlice(at: request.body.readerIndex + range.lowerBound, length: range.count)
        else { return nil }
        let reply: Reply
        do throws(WireError) {
            let message = try MessageParser.parse(bytes.readableBytesUInt8Span, limits: limits)
            switch message.kind {
            case .request where message.method == .initialize:
                let id = message.id.map { Array(bytes.readableBytesUInt8Span, $0) }
                let words = "initialize must not be part of a batch."
                reply = service.refuse(ProtocolRefusal(code: -32600, message: words, idText: id))
            case .request: reply = await serveAlone(message, bytes, request, live, writer)
            case .result, .error:
                live.questions.take(bytes, message)
                reply = .accepted
            case .notification:
                if message.method == .cancelled { live.requests.cancel(bytes, message) }
                reply = .accepted
            }
        } catch {
            reply = service.refuse(ProtocolRefusal(code: -32600, message: error.text, idText: error.idText))
        }
        if case .response(let json, _) = reply { return json }
        return nil
    }
}

/// What a legacy client says of itself when it begins.
struct Greeting: Sendable {
    /// The revision it will be answered in.
    let revision: Revision
    let capabilities: ClientCapabilities

    init?(_ message: Message, _ body: ByteBuffer, limits: WireLimits) {
        guard let range = message.body,
            let params = try? JSONValue.parse(body.readableBytesUInt8Span.extracting(range), limits: limits),
            let wanted = params["protocolVersion"]?.stringValue
        else { return nil }
        // A revision we do not know, or one that has no handshake: the newest that has one.
        let asked = Revision(name: wanted) ?? .newestLegacy
        revision = asked.isModern ? .newestLegacy : asked
        capabilities = ClientCapabilities(params["capabilities"]).known(in: revision)
    }

    static func refusal(_ message: Message, _ body: ByteBuffer) -> ProtocolRefusal {
        ProtocolRefusal(
            code: -32602, message: "params.protocolVersion must name the protocol revision the client wants.",
            idText: message.id.map { Array(body.readableBytesUInt8Span, $0) }, status: .ok)
    }
}
