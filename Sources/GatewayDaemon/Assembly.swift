// Licensed under the Apache License 2.0; see LICENSE.

internal import Access
internal import AdminPlane
internal import CHost
internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import HTTPListener
internal import HostLoad
internal import Logging
internal import MCPFront
internal import MCPWire
internal import NIOCore
internal import NIOPosix
internal import Telemetry
internal import Upstreams
internal import WasmSandbox

/// All rooms, wired together. Reads like the list of what there is; decides nothing.
struct Assembly: Sendable {
    let time: SystemTime
    let group: MultiThreadedEventLoopGroup
    let logs: LogFiles
    let log: Logger
    let metrics: MetricsRegistry
    let store: DurableStore
    let sandbox: Sandbox
    let upstreams: UpstreamPool
    let catalogue: Catalogue
    let sessions: SessionBook
    let health: HealthReport
    let pipeline: Pipeline
    let endpoint: MCPEndpoint
    let oldEndpoint: EventSourceEndpoint
    let callers: CallerDoor
    let tokens: TokenDesk
    let load: LoadWatch
    let reloader: Reloader
    let replicas: Replicas
    let tracing: Tracing
    let loopWatch: LoopWatch

    /// In the order of the file, modules before upstreams.
    static func entries(
        _ settings: GatewaySettings, _ modules: ModuleShelf, _ upstreams: UpstreamPool
    ) -> [CatalogueEntry] {
        let own = settings.tools.compactMap { tool in
            modules.module(tool.name).map {
                CatalogueEntry(
                    backend: $0, prefix: tool.prefix, exposure: tool.exposure.room(patience: tool.timeout),
                    traffic: tool.traffic)
            }
        }
        let others = zip(settings.upstreams, upstreams.upstreams).map {
            CatalogueEntry(
                backend: $1, prefix: $0.prefix, exposure: $0.exposure.room(patience: $0.timeout),
                traffic: $0.traffic(waitMax: settings.limits.waitMax))
        }
        return own + others
    }

    /// Tries every upstream now, lists what it has again, and sends what waits for it. Answers what came of it within
    /// some seconds.
    func syncNow() async -> JSONValue {
        let (before, begun) = (store.calls.waiting(), time.wallMilliseconds())
        upstreams.lookNow()
        for upstream in before.keys { await store.calls.hurry(upstream: upstream, now: begun) }
        pipeline.ringForStoredCalls()
        for _ in 0..<50 {
            // Ends early when the one who asks has left.
            do { try await Task.sleep(for: .milliseconds(100)) } catch { break }
            let waiting = store.calls.waiting()
            let isDone = upstreams.components().allSatisfy { component in
                component.checkedAt >= begun && (component.status != .healthy || waiting[component.upstream] == nil)
            }
            if isDone { break }
        }
        let after = store.calls.waiting()
        return .object(
            upstreams.components().map { component in
                let name = component.upstream
                let sent = max(0, (before[name] ?? 0) - (after[name] ?? 0))
                let facts: JSONValue = [
                    "status": .string(component.status.rawValue), "detail": .string(component.detail),
                    "calls_sent": .number(String(sent)), "calls_waiting": .number(String(after[name] ?? 0)),
                ]
                return (key: name, value: facts)
            })
    }

    var loops: [any EventLoop] { Array(group.makeIterator()) }

    // MARK: Routes

    /// What the public listener serves.
    func router(_ settings: GatewaySettings) -> Router {
        var router = operatorRouter(settings)
        router.add(settings.server.path, endpoint)
        router.add("/sse", oldEndpoint.stream)
        router.add("/messages", oldEndpoint.messages)
        return router
    }

    /// What the operators' own address serves.
    func adminRouter(_ settings: GatewaySettings) -> Router { operatorRouter(settings) }

    /// What the control socket serves: the operator's side only.
    func controlRouter(_ settings: GatewaySettings) -> Router {
        var router = operatorRouter(settings)
        router.add("/admin/explain", ExplainRoute(explain: pipeline.explain(_:as:)), isForOperators: true)
        return router
    }

    /// What both serve.
    private func operatorRouter(_ settings: GatewaySettings) -> Router {
        let door = OperatorDoor(
            isPublic: settings.admin.hasPublicMetrics, local: LocalUsers(settings.admin.local),
            requiresToken: settings.admin.requiresToken, tokens: tokens, owner: SocketOwners(time: time).owner(of:),
            wrongToken: callers.noteWrongToken(of:why:))
        var router = Router()
        router.add("/health", HealthRoute(.whole, report: health, door: door), isForOperators: true)
        router.add("/health/live", HealthRoute(.live, report: health, door: door), isForOperators: true)
        router.add("/health/ready", HealthRoute(.ready, report: health, door: door), isForOperators: true)
        router.add("/metrics", MetricsRoute(registry: metrics, door: door), isForOperators: true)
        var rooms = AdminRooms(
            queue: store.calls, cache: store.replies, care: store, traffic: pipeline.traffic,
            configuration: reloader, tokens: tokens.book, revoked: { endCallersWithoutTokens() }, time: time,
            version: GatewayVersion.text, folder: replicas.folder,
            uptime: { [health] in health.uptime }, health: { [health] in health.components },
            load: { [load] in load.json }, sync: { await syncNow() })
        rooms.listens = reloader.listens
        rooms.certificateExpires = { [reloader] in reloader.certificateExpires }
        rooms.inForce = { [reloader] in OutageTerms(reloader.settings).json }
        AdminRoutes(gate: AdminGate(door: door, log: logs, time: time), rooms: rooms).add(to: &router)
        return router
    }

    /// Ends what clients hold open without an end of its own, so that a stop need not wait for them.
    func drain() {
        health.drain()
        pipeline.drain()
        replicas.stop()
        endpoint.drain()
        oldEndpoint.drain()
    }

    /// Every half minute lets sessions go that nobody uses, and looks whether a burst of large messages has left pages
    /// behind that nobody uses, to hand them back while no call runs. Ends when its task is cancelled.
    func trimWhenIdle() async {
        var lowest = ProcessMetrics.residentBytes()
        while true {
            // Cancelled means that the gateway is stopping.
            do { try await Task.sleep(for: .seconds(30)) } catch { return }
            endpoint.sweep(isUrgent: false)
            let resident = ProcessMetrics.residentBytes()
            lowest = min(lowest, resident)
            guard pipeline.callsInFlight == 0, resident > lowest + Self.trimWorthwhile else { continue }
            csystem_malloc_trim()
            lowest = ProcessMetrics.residentBytes()
        }
    }

    private static let trimWorthwhile = 32 << 20

    /// What has to be looked at once a second: memory and processor, tokens that others have changed, log files that
    /// others have taken away, overrides whose time is over, a reload on probation.
    ///
    /// - Parameter lastRelease: when caches were dropped last for want of memory.
    func lookAround(_ lastRelease: inout Moment) async {
        loopWatch.ask()
        for change in load.look() { note(change) }
        if load.pressure >= .high, time.now().since(lastRelease) >= Self.releasesApart {
            lastRelease = time.now()
            await releaseMemory()
        }
        do throws(AccessError) {
            if try tokens.book.refreshIfChanged() { log.notice("tokens read again") }
        } catch {
            log.warning("the tokens are as they were", metadata: [LogKey.detail: "\(error.words)"])
        }
        endCallersWithoutTokens()
        logs.lookAfter()
        await pipeline.traffic.undoOverdue()
        await reloader.watch()
    }

    /// Whoever shows a token that is good is asked at each request; what is held open has to be ended.
    private func endCallersWithoutTokens() {
        let now = time.wallMilliseconds()
        let good = Set(tokens.book.all().filter { !$0.hasExpired(at: now) }.map(\.name))
        endpoint.endCallers(but: good)
        oldEndpoint.endCallers(but: good)
    }

    private static let releasesApart = Duration.seconds(30)

    private func note(_ change: LoadChange) {
        switch change {
        case .memory(_, .none), .cpu(isBusy: false): log.notice("\(change.message)")
        case .memory, .cpu(isBusy: true): log.warning("\(change.message)")
        }
    }

    /// Drops what can be had again and hands the pages back.
    func releaseMemory() async {
        let before = ProcessMetrics.residentBytes()
        sandbox.releaseMemory()
        sessions.releaseMemory()
        endpoint.sweep(isUrgent: true)
        await store.releaseMemory()
        csystem_malloc_trim()
        let after = ProcessMetrics.residentBytes()
        log.info(
            "gave back what was not in use",
            metadata: [LogKey.residentBefore: "\(before)", LogKey.residentAfter: "\(after)"])
    }
}

extension LoadWatch {
    /// For the operator's screen.
    fileprivate var json: JSONValue {
        guard let reading else { return .null }
        func number(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }
        let share: JSONValue = cpuShare.map { .number(String(($0 * 1_000).rounded() / 1_000)) } ?? .null
        var facts: [(key: String, value: JSONValue)] = [
            ("cpu_share", share), ("cores", .number(String(reading.cpuCores))),
        ]
        facts.append(("resident_bytes", reading.residentBytes.map { number($0) } ?? .null))
        facts.append(("memory_used_bytes", reading.memoryUsedBytes.map { number($0) } ?? .null))
        facts.append(("memory_limit_bytes", reading.memoryLimitBytes.map { number($0) } ?? .null))
        return .object(facts)
    }
}

extension ComponentStatus {
    /// The name of the upstream whose line this is.
    fileprivate var upstream: String { String(name.drop { $0 != ":" }.dropFirst()) }
}

/// The upstreams' lines with what their breakers do.
struct WithBreakers: StatusSource {
    let upstreams: UpstreamPool
    let pipeline: Pipeline

    init(_ upstreams: UpstreamPool, _ pipeline: Pipeline) {
        self.upstreams = upstreams
        self.pipeline = pipeline
    }

    func components() -> [ComponentStatus] {
        upstreams.components().map { component in
            guard let breaker = pipeline.breaker(of: component.upstream) else { return component }
            var changed = component
            changed.detail += ", " + breaker.words
            // Half-open the next call finds out, and nobody may come with one for hours.
            if breaker.isOpen { changed.status = .unhealthy }
            return changed
        }
    }
}
