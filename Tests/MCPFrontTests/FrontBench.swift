// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import MCPWire
import NIOCore
import Sealing
import Synchronization
import Telemetry

@testable import MCPFront

/// A service that notes what it was handed and answers everything with `{"ok":true}`.
final class NotingService: MCPService {
    private let seen = Mutex<[InboundMessage]>([])

    var messages: [InboundMessage] { seen.withLock { $0 } }

    func handle(_ inbound: InboundMessage) async -> Reply {
        seen.withLock { $0.append(inbound) }
        guard let range = inbound.message.id else { return .accepted }
        let id = String(decoding: Array(inbound.bytes.readableBytesView)[range], as: UTF8.self)
        return .response(ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(id),"result":{"ok":true}}"#), .ok)
    }

    func refuse(_ refusal: ProtocolRefusal) -> Reply {
        let id = refusal.idText.map { String(decoding: $0, as: UTF8.self) } ?? "null"
        let data = refusal.data.map { #","data":\#($0)"# } ?? ""
        let error = #"{"code":\#(refusal.code),"message":\#(JSONText.quoted(refusal.message))\#(data)}"#
        return .response(ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(id),"error":\#(error)}"#), refusal.status)
    }
}

/// The endpoint on a real listener, in front of a service that only notes.
struct FrontBench {
    let service = NotingService()
    let tombstones = MemoryTombstones()
    let time = ManualTime(runs: true)
    var keys = SealKeys(current: .init(id: 1, secret: Array(repeating: 3, count: 32)))

    func use<T>(_ body: (ScriptedClient, SessionBook) async throws -> T) async throws -> T {
        let sessions = SessionBook(keys: keys, tombstones: tombstones, time: time, lifetime: .seconds(3_600))
        let logs = try silentLogs(time)
        let door = CallerDoor(mode: .open, desk: nil, log: logs, metrics: MetricsRegistry(), time: time)
        let endpoint = MCPEndpoint(
            service: service, sessions: sessions, door: door, bodyBytesMax: 100_000, time: time, logs: logs)
        return try await TestSite.start([("/mcp", endpoint, false)], time: time).use { site in
            try await site.client { try await body($0, sessions) }
        }
    }
}
