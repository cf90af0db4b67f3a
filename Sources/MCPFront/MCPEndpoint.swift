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
/// transport's own rules (headers, sessions), and hands the message to the service.
package struct MCPEndpoint: HTTPRoute {
    private let service: any MCPService
    private let sessions: SessionBook
    private let limits: WireLimits
    private let log: Logger

    package init(service: any MCPService, sessions: SessionBook, bodyBytesMax: Int, logs: LogFiles) {
        self.service = service
        self.sessions = sessions
        limits = WireLimits(bytesMax: bodyBytesMax)
        log = logs.logger(component: LogComponent.front)
    }

    package func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        switch request.verb {
        case .post: await post(request, exchange)
        case .delete where request.header("mcp-protocol-version") != Revision.modern.name: delete(request, exchange)
        case .delete, .get, .head, .put, .options, .other:
            exchange.refuse(
                .methodNotAllowed, code: "method_not_allowed",
                "Send MCP messages with POST; this gateway opens no stream by GET here.",
                headers: [("allow", "POST, DELETE")])
        }
    }

    // MARK: POST

    private func post(_ request: HTTPRequest, _ exchange: HTTPExchange) async {
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
        let writer = ReplyWriter(exchange: exchange, accepts: accepts, service: service)
        if let session = batchSession(request) { return await batch(session, request, writer) }
        do throws(WireError) {
            let message = try MessageParser.parse(request.body.readableBytesUInt8Span, limits: limits)
            await route(message, request, writer)
        } catch {
            writer.refuse(
                ProtocolRefusal(
                    code: error.kind == .notJSON ? -32700 : -32600, message: error.text, idText: error.idText))
        }
    }

    /// By which revision the message is to be read. The body decides as well as the header: a client that fills in one
    /// of them wrongly deserves that era's error, not the other era's confusion.
    private func route(_ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter) async {
        let bytes = request.body.readableBytesUInt8Span
        let named = request.header("mcp-protocol-version")
        let isLegacyName = named.flatMap(Revision.init(name:)).map { !$0.isModern } ?? (named == nil)
        let hasModernMeta = message.metaMember("io.modelcontextprotocol/protocolVersion", in: bytes) != nil
        if hasModernMeta || !isLegacyName {
            await modern(message, request, writer)
        } else if message.method == .initialize, message.kind == .request {
            await initialize(message, request, writer)
        } else {
            await legacy(message, request, writer)
        }
    }

    private func modern(_ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter) async {
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
        await serve(message, request, revision: .modern, caller: .anonymous, writer)
    }

    private func initialize(_ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter) async {
        let bytes = request.body.readableBytesUInt8Span
        guard let body = message.body, let params = try? JSONValue.parse(bytes.extracting(body), limits: limits),
            let wanted = params["protocolVersion"]?.stringValue
        else {
            return writer.refuse(
                ProtocolRefusal(
                    code: -32602, message: "params.protocolVersion must name the protocol revision the client wants.",
                    idText: message.id.map { Array(bytes, $0) }, status: .ok))
        }
        // A revision we do not know, or one that has no handshake: the newest that has one.
        let asked = Revision(name: wanted) ?? .newestLegacy
        let revision = asked.isModern ? .newestLegacy : asked
        let session = sessions.begin(
            revision: revision, capabilities: ClientCapabilities(params["capabilities"]), caller: .anonymous)
        writer.headers = [("mcp-session-id", session)]
        await serve(message, request, revision: revision, caller: .anonymous, writer)
    }

    private func legacy(_ message: Message, _ request: HTTPRequest, _ writer: ReplyWriter) async {
        guard let id = request.header("mcp-session-id") else {
            return writer.exchange.refuse(
                .badRequest, code: "session_missing",
                "The header Mcp-Session-Id is missing. Begin with initialize, or send a request of 2026-07-28."
            )
        }
        guard let session = sessions.find(id) else { return refuseSession(writer.exchange) }
        guard message.kind == .request else { return writer.accepted() }
        await serve(message, request, revision: session.revision, caller: session.caller, writer)
    }

    private func serve(
        _ message: Message, _ request: HTTPRequest, revision: Revision, caller: Caller, _ writer: ReplyWriter
    ) async {
        writer.awaitReply()
        let inbound = InboundMessage(
            bytes: request.body, message: message, revision: revision, caller: caller, requestID: request.id,
            arrivedAt: request.arrivedAt, loop: request.loop)
        writer.write(await service.handle(inbound))
    }

    // MARK: Batches

    /// Revision 2025-03-26 alone lets a client send several messages in one array.
    private func batchSession(_ request: HTTPRequest) -> Session? {
        guard let first = request.body.readableBytesView.first(where: { !" \t\r\n".utf8.contains($0) }),
            first == UInt8(ascii: "["), let id = request.header("mcp-session-id"), let session = sessions.find(id),
            session.revision == .v2025_03_26
        else { return nil }
        return session
    }

    /// Takes a batch apart at the edge: the house only ever sees single messages.
    private func batch(_ session: Session, _ request: HTTPRequest, _ writer: ReplyWriter) async {
        var replies: [ByteBuffer] = []
        do throws(WireError) {
            for range in try MessageParser.batch(request.body.readableBytesUInt8Span, limits: limits) {
                if let reply = await element(range, of: request, session) { replies.append(reply) }
            }
        } catch {
            return writer.refuse(ProtocolRefusal(code: error.kind == .notJSON ? -32700 : -32600, message: error.text))
        }
        writer.write(replies)
    }

    private func element(_ range: Range<Int>, of request: HTTPRequest, _ session: Session) async -> ByteBuffer? {
        guard let bytes = request.body.getSlice(at: request.body.readerIndex + range.lowerBound, length: range.count)
        else { return nil }
        let reply: Reply
        do throws(WireError) {
            let message = try MessageParser.parse(bytes.readableBytesUInt8Span, limits: limits)
            if message.method == .initialize {
                let id = message.id.map { Array(bytes.readableBytesUInt8Span, $0) }
                let words = "initialize must not be part of a batch."
                reply = service.refuse(ProtocolRefusal(code: -32600, message: words, idText: id))
            } else {
                reply = await service.handle(
                    InboundMessage(
                        bytes: bytes, message: message, revision: session.revision, caller: session.caller,
                        requestID: request.id, arrivedAt: request.arrivedAt, loop: request.loop))
            }
        } catch {
            reply = service.refuse(ProtocolRefusal(code: -32600, message: error.text, idText: error.idText))
        }
        if case .response(let json, _) = reply { return json }
        return nil
    }

    // MARK: DELETE

    private func delete(_ request: HTTPRequest, _ exchange: HTTPExchange) {
        guard let id = request.header("mcp-session-id") else {
            return exchange.refuse(
                .badRequest, code: "session_missing", "The header Mcp-Session-Id must name the session to end.")
        }
        guard sessions.end(id) else { return refuseSession(exchange) }
        exchange.answer(.ok, .none, ByteBuffer())
    }

    private func refuseSession(_ exchange: HTTPExchange) {
        log.debug("a session id was not accepted", metadata: [LogKey.requestID: "\(exchange.request.id)"])
        exchange.refuse(
            .notFound, code: "session_unknown",
            "There is no such session: it was ended, is too old, or is not one of this gateway. Begin with initialize."
        )
    }
}

/// What content types a request carries and takes.
enum Negotiation {
    enum Accepts { case json, events, both, neither }

    static func isJSON(_ type: String?) -> Bool {
        guard let type else { return false }
        if type == "application/json" { return true }
        return type.prefix { $0 != ";" }.lowercased().filter { $0 != " " } == "application/json"
    }

    /// No Accept header means anything will do (RFC 9110, 12.5.1).
    static func accepts(_ values: [String]) -> Accepts {
        if values.isEmpty { return .json }
        // What real clients send, word for word; taking it apart each time would cost a twentieth of a call.
        if values.count == 1, values[0] == "application/json, text/event-stream" { return .both }
        var json = false
        var events = false
        for item in values.joined(separator: ",").split(separator: ",") {
            let range = item.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
            switch range {
            case "application/json", "application/*": json = true
            case "text/event-stream", "text/*": events = true
            case "*/*": json = true
            default: break
            }
        }
        switch (json, events) {
        case (true, true): return .both
        case (true, false): return .json
        case (false, true): return .events
        case (false, false): return .neither
        }
    }
}
