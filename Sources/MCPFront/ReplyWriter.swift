// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import NIOCore

/// Writes one reply in the form the client takes: a JSON body, or an event stream.
///
/// JSON is preferred, being one write. A client that takes only events gets a stream with one event; one that takes
/// both gets a stream when its answer takes long, so that comments keep the connection alive.
final class ReplyWriter {
    let exchange: HTTPExchange
    private let accepts: Negotiation.Accepts
    private let service: any MCPService
    var headers: [(String, String)] = []

    init(exchange: HTTPExchange, accepts: Negotiation.Accepts, service: any MCPService) {
        self.exchange = exchange
        self.accepts = accepts
        self.service = service
    }

    /// From here on the client may have to wait.
    func awaitReply() {
        exchange.keepsAliveByEvents = accepts != .json && headers.isEmpty
    }

    func refuse(_ refusal: ProtocolRefusal) { write(service.refuse(refusal)) }

    func accepted() { exchange.answer(.accepted, .none, ByteBuffer()) }

    func write(_ reply: Reply) {
        switch reply {
        case .accepted: accepted()
        case .response(let json, let status):
            if exchange.isStreaming || (accepts == .events && status == .ok) {
                exchange.startEvents(headers: headers)
                exchange.sendEvent(json)
                exchange.finishEvents()
                return
            }
            var headers = headers
            if case .overloaded(let seconds) = status { headers.append(("retry-after", String(seconds))) }
            exchange.answer(Self.http(status), .json, json, headers: headers)
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
        }
    }
}
