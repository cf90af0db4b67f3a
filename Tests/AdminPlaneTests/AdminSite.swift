// Licensed under the Apache License 2.0; see LICENSE.

import Access
import AdminPlane
import GatewayCore
import GatewayTestKit
import HTTPListener
import MCPWire
import Synchronization
import Telemetry

/// Storage that does what a test says and remembers what it was told.
final class ScriptedCare: StorageCare {
    private let told = Mutex<[String]>([])
    private let trouble = Mutex<StorageCareError?>(nil)
    private let problems = Mutex<[String]>([])

    var orders: [String] { told.withLock { $0 } }
    func fail(_ error: StorageCareError) { trouble.withLock { $0 = error } }
    func find(_ words: [String]) { problems.withLock { $0 = words } }

    func backup(to path: String?) async throws(StorageCareError) -> BackupReport {
        told.withLock { $0.append("backup \(path ?? "of the day")") }
        if let error = trouble.withLock({ $0 }) { throw error }
        return BackupReport(path: path ?? "/var/lib/mcp/backups/queue-20261123.db", bytes: 4_096, seconds: 0.25)
    }

    func verify(_ path: String?) async -> VerifyReport {
        told.withLock { $0.append("verify \(path ?? "the database")") }
        var report = VerifyReport(path: path ?? "/var/lib/mcp/queue.db")
        report.problems = problems.withLock { $0 }
        report.rows = ["queue_items": 3, "error_log": 0]
        return report
    }

    func rebuild() async -> RebuildReport {
        told.withLock { $0.append("rebuild") }
        var report = RebuildReport()
        report.indices = 7
        report.problems = problems.withLock { $0 }
        return report
    }
}

/// Keeps the lines of `security.log`.
final class RecordingSecurityLog: SecurityLog {
    struct Line: Sendable {
        let event: String
        let kind: SecurityKind
        let facts: [(String, String)]
        func fact(_ key: String) -> String? { facts.first { $0.0 == key }?.1 }
    }

    private let kept = Mutex<[Line]>([])
    var lines: [Line] { kept.withLock { $0 } }

    func security(_ event: String, kind: SecurityKind, facts: [(String, String)]) {
        kept.withLock { $0.append(Line(event: event, kind: kind, facts: facts)) }
    }
}

/// The admin routes on a real loopback port.
struct AdminSite {
    let store = MemoryStore()
    let care = ScriptedCare()
    let traffic = ScriptedTraffic()
    let configuration = ScriptedReload()
    let log = RecordingSecurityLog()
    /// Stands still, so that ages are exact.
    let time = ManualTime()
    /// The user at the other end; nil when it cannot be found.
    var uid: UInt32? = 0
    var isPublic = false
    var door: OperatorDoor?

    func use<T>(_ body: (ScriptedClient) async throws -> T) async throws -> T {
        let uid = uid
        let door = door ?? OperatorDoor(isPublic: isPublic, local: LocalUsers(["root"])) { _ in uid }
        var router = Router()
        let folder = TemporaryFolder()
        let book = try TokenBook(directory: folder.path)
        let rooms = AdminRooms(
            queue: store, cache: store, care: care, traffic: traffic, configuration: configuration, tokens: book,
            time: time, version: "1.0-test", uptime: { .seconds(90) },
            health: { [ComponentStatus(name: "upstream:erp", status: .healthy, detail: "3 tools", checkedAt: 0)] },
            load: { ["cores": .number("2")] }, sync: { ["erp": "listed, 3 tools"] })
        AdminRoutes(gate: AdminGate(door: door, log: log, time: time), rooms: rooms).add(to: &router)
        router.add(
            "/metrics", MetricsRoute(registry: MetricsRegistry(), door: door), isForOperators: true)
        return try await TestSite.start(router).use { site in try await site.client(body) }
    }

    /// A stored call; its id.
    @discardableResult
    func store(_ tool: String = "erp__order", upstream: String = "erp", secret: String = "4111-1111") async throws
        -> Int64
    {
        let call = NewStoredCall(
            handle: "handle-\(secret)", upstream: upstream, tool: tool, target: "order",
            arguments: Array(#"{"card":"\#(secret)"}"#.utf8), caller: "anna", idempotencyKey: "key-\(tool)",
            requestID: .random(), createdAt: time.wallMilliseconds())
        return try await store.accept(call).call.id
    }
}

extension ScriptedClient {
    func order(
        _ verb: String, _ path: String, _ body: String = "", headers: [(String, String)] = []
    ) async throws -> RecordedAnswer {
        try await ask(RequestText.http(verb, path, headers: headers, body: body))
    }
}

extension RecordedAnswer {
    var sentence: String? { json?["words"]?.stringValue }
}
