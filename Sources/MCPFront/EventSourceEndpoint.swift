// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import HTTPListener
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// The old HTTP+SSE transport (2024-11-05): `GET /sse` opens the stream on which everything comes, and its first event
/// says where to post. Closing the stream ends the session.
package final class EventSourceEndpoint: Sendable {
    private let service: any MCPService
    private let bodyBytesMax: Int
    private let door: CallerDoor
    private let time: any TimeSource
    private let messagesPath: String
    private let clients = Mutex<[String: DuplexClient]>([:])
    private let outlets = Mutex<[String: EventOutlet]>([:])
    private let isStopping = Atomic(false)
    private static let clientsMax = 1_024

    /// - Parameter messagesPath: where `messages` is served.
    package init(
        service: any MCPService, door: CallerDoor, bodyBytesMax: Int, messagesPath: String, time: any TimeSource
    ) {
        self.door = door
        self.service = service
        self.bodyBytesMax = bodyBytesMax
        self.messagesPath = messagesPath
        self.time = time
    }

    /// `GET /sse`.
    package var stream: any HTTPRoute { Stream(endpoint: self) }
    /// `POST /messages`.
    package var messages: any HTTPRoute { Messages(endpoint: self) }

    /// Ends each stream when its client has the answers it waits for. New ones are refused, and nothing more can be
    /// posted.
    package func drain() {
        isStopping.store(true, ordering: .relaxed)
        let outlets = outlets.withLock { $0 }
        for (id, client) in clients.withLock({ $0 }) {
            client.stop(canAnswer: false) { outlets[id]?.finish() }
        }
    }

    /// The gateway waits no longer: calls are ended, and their answers, which come on the streams, say so.
    package func endWork() { for client in clients.withLock({ Array($0.values) }) { client.endWork() } }

    /// As `MCPEndpoint.endCallers`.
    package func endCallers(but callers: Set<String>) {
        let ended = clients.withLock {
            $0.filter { $0.value.caller != .anonymous && !callers.contains($0.value.caller.name) }
        }
        let outlets = outlets.withLock { $0 }
        for (id, client) in ended {
            client.close()
            outlets[id]?.finish()
        }
    }

    private struct Stream: HTTPRoute {
        let endpoint: EventSourceEndpoint

        func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
            guard request.verb == .get else {
                return exchange.refuse(
                    .methodNotAllowed, code: "method_not_allowed",
                    "This is the old HTTP+SSE transport: open it with GET. Streamable HTTP is at /mcp.",
                    headers: [("allow", "GET")])
            }
            guard Negotiation.accepts(request.headers("accept")) != .neither else {
                return exchange.refuse(
                    .notAcceptable, code: "not_acceptable", "The Accept header must allow text/event-stream.")
            }
            guard let caller = endpoint.door.caller(of: request, exchange) else { return }
            await endpoint.hold(request, exchange, caller)
        }
    }

    private func hold(_ request: HTTPRequest, _ exchange: HTTPExchange, _ caller: Caller) async {
        let id = Base64URL.encode(SessionKey.random().bytes)
        let outlet = EventOutlet(exchange)
        let client = DuplexClient(
            service: service, bodyBytesMax: bodyBytesMax, caller: caller, address: request.peerAddress,
            allowsModern: false, loop: request.loop, time: time
        ) { outlet.send($0, id: nil) }
        let isFull = clients.withLock { clients in
            guard clients.count < Self.clientsMax, !isStopping.load(ordering: .relaxed) else { return true }
            clients[id] = client
            return false
        }
        guard !isFull else {
            return exchange.refuse(
                .unavailable, code: "too_many_sessions",
                "Too many sessions of this transport are open. Try again later.",
                headers: [("retry-after", "5")])
        }
        outlets.withLock { $0[id] = outlet }
        exchange.endsWithClient = true
        exchange.keepsAliveByEvents = true
        exchange.startListening()
        exchange.sendEvent(ByteBuffer(string: "\(messagesPath)?session_id=\(id)"), name: "endpoint")
        await outlet.closed.wait()
        _ = clients.withLock { $0.removeValue(forKey: id) }
        _ = outlets.withLock { $0.removeValue(forKey: id) }
        client.close()
    }

    private struct Messages: HTTPRoute {
        let endpoint: EventSourceEndpoint

        func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
            guard request.verb == .post else {
                return exchange.refuse(
                    .methodNotAllowed, code: "method_not_allowed", "Messages are sent with POST.",
                    headers: [("allow", "POST")])
            }
            guard Negotiation.isJSON(request.header("content-type")) else {
                return exchange.refuse(
                    .unsupportedMediaType, code: "unsupported_media_type",
                    "The body must be JSON: Content-Type: application/json.")
            }
            let id = request.query("session_id").map(String.init)
            guard let caller = endpoint.door.caller(of: request, exchange) else { return }
            guard let id, let (client, outlet) = endpoint.find(id), client.caller == caller else {
                return exchange.refuse(
                    .notFound, code: "session_unknown", "There is no such session; open one with GET /sse.")
            }
            let body = request.body
            // The client's messages are taken where its stream lives.
            outlet.run { client.take(body) }
            exchange.answer(.accepted, .text, ByteBuffer(string: "Accepted"))
        }
    }

    private func find(_ id: String) -> (DuplexClient, EventOutlet)? {
        guard let client = clients.withLock({ $0[id] }), let outlet = outlets.withLock({ $0[id] }) else { return nil }
        return (client, outlet)
    }
}
