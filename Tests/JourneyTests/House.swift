// Licensed under the Apache License 2.0; see LICENSE.

import AdminPlane
import Gateway
import GatewayCore
import GatewayTestKit
import HTTPListener
import MCPFront
import MCPWire
import NIOCore
import NIOPosix
import Outbound
import Sealing
import Telemetry
import Testing
import Upstreams

/// What a journey's gateway is to be like.
struct HousePlan: Sendable {
    var upstreams: [UpstreamSettings] = []
    /// Stands between the catalogue and an upstream.
    var wrap: @Sendable (any Backend) -> any Backend = { $0 }
    var backends: [CatalogueEntry] = []
    var threads = 2
    var timeout: Duration = .seconds(30)
    var inFlightMax = 256
    var bodyBytesMax = 1 << 20
    /// Long: a test that waits for the first lists must not lose them to a busy machine.
    var settle: Duration = .seconds(60)
    var time = ManualTime(runs: true)
    var journal = RecordingJournal()

    init(_ upstreams: [String: ScriptedUpstream] = [:], timeout: Duration = .seconds(30), answerBytesMax: Int = 1 << 20)
    {
        self.timeout = timeout
        self.upstreams = upstreams.sorted { $0.key < $1.key }.map { name, upstream in
            UpstreamSettings(
                name: name, place: .http(url: upstream.url, headers: [("authorization", "Bearer of-\(name)")]),
                timeout: timeout, answerBytesMax: answerBytesMax)
        }
    }
}

/// The whole gateway in this process, wired from its real rooms as the daemon wires them; only the clock, the journal
/// and the upstreams are the test's.
final class House: Sendable {
    let port: Int
    let pool: UpstreamPool
    let catalogue: Catalogue
    let plan: HousePlan
    private let listener: HTTPListener
    private let group: MultiThreadedEventLoopGroup
    private let care: Task<Void, Never>

    init(_ plan: HousePlan) async throws {
        self.plan = plan
        group = MultiThreadedEventLoopGroup(numberOfThreads: plan.threads)
        let logs = try LogFiles.silent(plan.time)
        let metrics = MetricsRegistry()
        let identity = ServerIdentity(version: "0.0-test", instructions: "A house for tests.")
        var cadence = Cadence()
        cadence.attemptsApart = .milliseconds(2)
        cadence.pauseMax = .milliseconds(15)
        cadence.patience = .seconds(45)
        cadence.settle = plan.settle
        let pool = try UpstreamPool(
            plan.upstreams, identity: identity.json, children: ChildSettings(), cadence: cadence, group: group,
            time: plan.time, metrics: metrics, logs: logs)
        let entries = pool.upstreams.map { CatalogueEntry(backend: plan.wrap($0), prefix: $0.name) }
        let catalogue = Catalogue(
            entries: plan.backends + entries, identity: identity, time: plan.time, metrics: metrics, logs: logs)
        let memory = MemoryStore()
        let pipeline = Pipeline(
            settings: PipelineSettings(inFlightMax: plan.inFlightMax, timeout: plan.timeout, slowCall: .seconds(60)),
            catalogue: catalogue, settling: pool.settling, identity: identity, keys: .forTests, calls: memory,
            cache: memory, journal: plan.journal, archive: memory,
            time: plan.time, metrics: metrics, logs: logs)
        let sessions = SessionBook(
            keys: .forTests,
            tombstones: MemoryTombstones(), time: plan.time, lifetime: .seconds(3_600))
        let health = HealthReport(sources: [pool], version: "0.0-test", instance: "test", time: plan.time)
        let door = OperatorDoor(
            isPublic: false, local: LocalUsers(["self"]), owner: SocketOwners(time: plan.time).owner(of:))
        var router = Router()
        router.add("/health", HealthRoute(.whole, report: health, door: door), isForOperators: true)
        router.add("/metrics", MetricsRoute(registry: metrics, door: door), isForOperators: true)
        let callers = CallerDoor(mode: .open, desk: nil, log: logs, metrics: metrics, time: plan.time)
        let endpoint = MCPEndpoint(
            service: pipeline, sessions: sessions, door: callers, bodyBytesMax: plan.bodyBytesMax, time: plan.time,
            logs: logs)
        router.add("/mcp", endpoint)
        let old = EventSourceEndpoint(
            service: pipeline, door: callers, bodyBytesMax: plan.bodyBytesMax, messagesPath: "/messages",
            time: plan.time)
        router.add("/sse", old.stream)
        router.add("/messages", old.messages)
        listener = try await HTTPListener.start(
            .tcp(host: "127.0.0.1", port: 0), router: router,
            limits: HTTPLimits(bodyBytesMax: plan.bodyBytesMax, connectionsMax: 200, receiveTimeout: .seconds(120)),
            guardian: OriginGuard(listenHost: "127.0.0.1", hosts: [], origins: []), group: group, time: plan.time,
            metrics: metrics)
        port = listener.port ?? 0
        self.pool = pool
        self.catalogue = catalogue
        care = Task {
            await pool.run {
                pipeline.offersChanged()
            } updated: { upstream, uri in
                pipeline.updated(uri, of: upstream)
            }
        }
    }

    func close() async {
        await listener.stop(grace: .zero)
        care.cancel()
        await care.value
        // Nothing runs on it any more; a failure would only mean that it is gone already.
        try? await group.shutdownGracefully()
    }

    /// Until every upstream has been heard of.
    func untilAllAreUp() async throws {
        try await wait(for: "all upstreams: \(pool.components())") {
            pool.components().allSatisfy { $0.status == .healthy }
        }
    }

    func component(_ name: String) -> ComponentStatus? { pool.components().first { $0.name == "upstream:\(name)" } }

    func client<T>(_ body: (ScriptedClient) async throws -> T) async throws -> T {
        try await ScriptedClient.with(port: port, body)
    }
}

/// A gateway for the length of `body`. Waits until all upstreams are there, unless told not to.
func withHouse<T>(
    _ plan: HousePlan, waits: Bool = true, _ body: (House) async throws -> T
) async throws -> T {
    let house = try await House(plan)
    do {
        if waits { try await house.untilAllAreUp() }
        let value = try await body(house)
        await house.close()
        return value
    } catch {
        await house.close()
        throw error
    }
}

/// Who asks, in the way of its era.
enum ClientKind: Sendable, CustomTestStringConvertible {
    case modern
    case legacy(Revision)

    static let all: [ClientKind] = [.modern] + Revision.allCases.filter { !$0.isModern }.map { .legacy($0) }

    var testDescription: String {
        switch self {
        case .modern: "client of 2026-07-28"
        case .legacy(let revision): "client of \(revision.name)"
        }
    }

    var revision: Revision {
        switch self {
        case .modern: .modern
        case .legacy(let revision): revision
        }
    }

    /// Opens a session if this kind of client has one; what makes its requests.
    func begin(_ client: ScriptedClient) async throws -> Asker {
        switch self {
        case .modern: Asker(kind: self, session: nil)
        case .legacy(let revision): Asker(kind: self, session: try await client.openSession(revision))
        }
    }
}

struct Asker: Sendable {
    let kind: ClientKind
    let session: String?

    func list(id: String = "1") -> String { request("tools/list", id: id) }

    func call(_ tool: String, id: String = "1", arguments: String = "{}", meta: String = "") -> String {
        let params = #""name":\#(JSONText.quoted(tool)),"arguments":\#(arguments)"#
        return request("tools/call", id: id, params: params, meta: meta, name: tool)
    }

    func request(
        _ method: String, id: String = "1", params: String = "", meta: String = "", name: String? = nil
    ) -> String {
        switch kind {
        case .modern: return RequestText.modern(method, id: id, params: params, meta: meta, name: name)
        case .legacy(let revision):
            let parts = [params, meta.isEmpty ? "" : #""_meta":{\#(meta)}"#].filter { !$0.isEmpty }
            return RequestText.legacy(
                method, id: id, params: parts.joined(separator: ","), session: session, revision: revision)
        }
    }
}
