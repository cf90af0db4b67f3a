// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Telemetry
import Testing

@testable import MCPFront

/// How a refusal for load leaves the house.
@Suite("Answers that refuse for load") struct LoadAnswerTests {
    /// Answers every call with an error announced so, after saying something when it is asked to.
    private final class Service: MCPService {
        private let status: ReplyStatus
        private let talks: Bool

        init(_ status: ReplyStatus, talks: Bool = false) { (self.status, self.talks) = (status, talks) }

        func handle(_ inbound: InboundMessage) async -> Reply {
            guard let id = inbound.idText else { return .accepted }
            if inbound.message.method == .initialize {
                return .response(ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(id),"result":{}}"#), .ok)
            }
            if talks { inbound.stream?.send(#"{"jsonrpc":"2.0","method":"n"}"#) }
            return .response(
                ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(id),"error":{"code":-32603,"message":"m"}}"#), status)
        }

        func refuse(_ refusal: ProtocolRefusal) -> Reply { .accepted }
    }

    private func use(_ service: Service, _ body: (ScriptedClient) async throws -> Void) async throws {
        let time = ManualTime(runs: true)
        let sessions = SessionBook(
            keys: .forTests, tombstones: MemoryTombstones(), time: time, lifetime: .seconds(3_600))
        let logs = try silentLogs(time)
        let door = CallerDoor(mode: .open, desk: nil, log: logs, metrics: MetricsRegistry(), time: time)
        let endpoint = MCPEndpoint(
            service: service, sessions: sessions, door: door, bodyBytesMax: 10_000, time: time, logs: logs)
        try await TestSite.start([("/mcp", endpoint, false)], time: time).use { site in
            try await site.client(body)
            endpoint.drain()
        }
    }

    static let statuses: [(ReplyStatus, Int, String?)] = [
        (.limited(retryAfter: 7), 429, "7"), (.overloaded(retryAfter: 5), 503, "5"), (.ok, 200, nil),
        (.badEnvelope, 400, nil), (.noSuchMethod, 404, nil), (.ownFault, 500, nil),
    ]

    @Test(
        "A modern client gets the status, the seconds to wait, and the error with its id, whatever it accepts",
        arguments: statuses, ["application/json, text/event-stream", "text/event-stream", "application/json"])
    func modern(_ one: (ReplyStatus, Int, String?), _ accept: String) async throws {
        try await use(Service(one.0)) { client async throws in
            let answer = try await client.ask(RequestText.modern("tools/list", id: "12", accept: accept))
            #expect(answer.status == one.1)
            #expect(answer.header("retry-after") == one.2)
            #expect(answer.errorCode == -32603)
            #expect(answer.id == "12")
            #expect(answer.isStream == (accept == "text/event-stream" && one.1 == 200))
        }
    }

    @Test("Where something was said before, the refusal comes as the last event: the head is out already")
    func streaming() async throws {
        try await use(Service(.overloaded(retryAfter: 5), talks: true)) { client async throws in
            let answer = try await client.ask(RequestText.modern("tools/list", id: "12"))
            #expect(answer.status == 200)
            #expect(answer.isStream)
            #expect(answer.events.count == 2)
            #expect(answer.errorCode == -32603)
        }
    }

    @Test("In a legacy session an answer is 200, as the service announces it")
    func legacy() async throws {
        try await use(Service(.ok)) { client async throws in
            let session = try await client.openSession(.v2025_06_18)
            let answer = try await client.ask(
                RequestText.legacy("tools/list", session: session, revision: .v2025_06_18))
            #expect(answer.status == 200)
            #expect(answer.header("retry-after") == nil)
            #expect(answer.errorCode == -32603)
        }
    }
}
