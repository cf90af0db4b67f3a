// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import HTTPListener
internal import Logging
internal import MCPWire
internal import NIOCore
package import Telemetry

/// `/mcp`: Streamable HTTP for clients of every revision.
///
/// Decides nothing about calls. It reads the envelope, finds out by which revision it has to be read, keeps the
/// transport's own rules (headers, sessions, streams), and hands the message to the service. What only legacy clients
/// do is in `LegacyClients`.
package struct MCPEndpoint: HTTPRoute {
    private let service: any MCPService
    private let legacy: LegacyClients
    private let limits: WireLimits
    private let door: CallerDoor
    private let time: any TimeSource

    package init(
        service: any MCPService, sessions: SessionBook, door: CallerDoor, bodyBytesMax: Int, time: any TimeSource,
        logs: LogFiles
    ) {
        self.door = door
        self.service = service
        self.time = time
        limits = WireLimits(bytesMax: bodyBytesMax)
        legacy = LegacyClients(
            service: service, sessions: sessions, limits: limits, time: time,
            log: logs.logger(component: LogComponent.front))
    }

    package func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        guard let caller = door.caller(of: request, exchange) else { return }
        let isModern = request.header("mcp-protocol-version") == Revision.modern.name
        switch request.verb {
        case .post: await post(request, exchange, caller)
        case .get where !isModern && Negotiation.takesEvents(request.headers("accept")):
            await legacy.stream(request, exchange, caller)
        case .delete where !isModern: legacy.delete(request, exchange, caller)
        case .delete, .get, .head, .put, .options, .other:
            exchange.refuse(
                .methodNotAllowed, code: "method_not_allowed",
                "Send MCP messages with POST; GET opens the event stream of a session, DELETE ends one.",
                headers: [("allow", "POST, GET, DELETE")])
        }
    }

    /// Ends the streams that have no end of their own, so that a stop need not wait for them.
    package func drain() { legacy.drain() }

    /// Ends the streams of callers whose tokens are revoked or expired; to be called when either has happened.
    ///
    /// - Parameter callers: the names that are good.
    package func endCallers(but callers: Set<String>) { legacy.endCallers(but: callers) }

    /// Forgets what nobody has come for. To be called twice a minute or so; urgently when memory is wanted back.
    package func sweep(isUrgent: Bool) { legacy.sweep(isUrgent: isUrgent) }

    // MARK: POST

    private func post(_ request: HTTPRequest, _ exchange: HTTPExchange, _ caller: Caller) async {
        guard Negotiation.isJSON(request.header("content-type")) else {
            return exchange.refuse(
                .unsupportedMediaType, code: "unsupported_media_type",
                "The body must be JSON: Content-Type: application/json.")
        }
        let accepts = Negotiation.accepts(request.headers("accept"))
        guard accepts != .neither else {
            return exchange.refuse(
                .notAcceptable, code: "not_acceptable",
                "Answers are application/json or text/event-stream; the Accept header must allow one of them.")
        }
        let writer = ReplyWriter(exchange: exchange, accepts: accepts, service: service, time: time)
        if let session = legacy.batchSession(request, caller) { return await legacy.batch(session, request, writer) }
        do throws(WireError) {
            let message = try MessageParser.parse(request.body.readableBytesUInt8Span, limits: limits)
            await route(message, request, writer, caller)
        } catch {
            writer.refuse(
                ProtocolRefusal(
                    code: error.kind == .notJSON ? -32700 : -32600, message: error.text, idText: error.idText))
        }
    }

    /// By which revision the message is to be read. The body decides as well as the header: a client that fills in one
    /// of them wrongly deserves that era's error, not the other era's confusion.
    private func route(
        _ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter, _ caller: Caller
    ) async {
        let bytes = request.body.readableBytesUInt8Span
        let named = request.header("mcp-protocol-version")
        let isLegacyName = named.flatMap(Revision.init(name:)).map { !$0.isModern } ?? (named == nil)
        let hasModernMeta = message.metaMember("io.modelcontextprotocol/protocolVersion", in: bytes) != nil
        if hasModernMeta || !isLegacyName {
            await modern(message, request, writer, caller)
        } else if message.method == .initialize, message.kind == .request {
            await legacy.initialize(message, request, writer, caller)
        } else {
            await legacy.message(message, request, writer, caller)
        }
    }

    private func modern(
        _ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter, _ caller: Caller
    ) async {
        switch message.kind {
        case .request: break
        case .notification: return writer.accepted()
        case .result, .error:
            return writer.refuse(
                ProtocolRefusal(code: -32600, message: "In this revision a client sends requests, never responses."))
        }
        if let refusal = HeaderLadder.refusal(of: request, message) { return writer.refuse(refusal) }
        // Leaving is how a client of this era cancels.
        writer.exchange.endsWithClient = true
        writer.isListening = message.method == .listen
        writer.awaitReply()
        var inbound = InboundMessage(
            bytes: request.body, message: message, revision: .modern, caller: caller, requestID: request.id,
            arrivedAt: request.arrivedAt, loop: request.loop, capabilities: message.declared(in: request.body),
            stream: writer.takesEvents ? writer : nil,
            parameterHeaders: request.headers(beginningWith: "mcp-param-"))
        inbound.isCancelledByLeaving = true
        inbound.address = request.peerAddress
        inbound.trace = request.trace
        writer.write(await service.handle(inbound))
    }
}

extension Message {
    /// The capabilities that a request of the stateless era declares.
    func declared(in body: ByteBuffer) -> ClientCapabilities {
        let bytes = body.readableBytesUInt8Span
        guard let member = metaMember("io.modelcontextprotocol/clientCapabilities", in: bytes), member.value.count > 2
        else { return [] }
        // A shape we cannot read declares nothing.
        return ClientCapabilities(try? JSONValue.parse(bytes.extracting(member.value)))
    }
}
