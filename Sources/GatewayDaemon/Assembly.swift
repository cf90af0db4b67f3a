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
internal import Outbound
internal import Sealing
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

    static let instructions =
        "Tools of several servers behind one gateway. A tool's name begins with the name of the server it belongs to."

    /// Opens everything but the listeners. Nothing is written before the storage directory is ours.
    static func make(
        _ settings: GatewaySettings, source: Reloader.Source, group: MultiThreadedEventLoopGroup
    ) async throws(StartError) -> Assembly {
        let time = SystemTime()
        let metrics = MetricsRegistry()
        let logs: LogFiles
        let store: DurableStore
        let replicas: Replicas
        do {
            logs = try LogFiles(settings.log.files, time: time, opensFiles: false)
            (store, replicas) = try Replicas.open(settings, time: time, logs: logs, metrics: metrics)
        } catch let error as StoreError {
            throw StartError(error.text)
        } catch {
            throw StartError("\(error)")
        }
        do {
            try logs.reopen()
        } catch {
            store.close()
            throw StartError(error.text)
        }
        ProcessMetrics.register(in: metrics)
        logs.register(in: metrics)

        let sandbox = sandbox(settings, in: replicas.folder, time: time, logs: logs)
        let modules = ModuleShelf(sandbox: sandbox, environment: source.environment, logs: logs)
        await modules.loadAll(settings.tools)
        metrics.gauge(.wasmInstances) { Double(sandbox.usage().running) }

        let identity = ServerIdentity(version: GatewayVersion.text, instructions: instructions)
        let upstreams: UpstreamPool
        let keys: SealKeys
        let book: TokenBook
        do {
            upstreams = try UpstreamPool(
                settings.upstreams.map { $0.room(base: source.environment) }, identity: identity.json,
                children: ChildSettings(lineBytesMax: 16 << 20, pendingBytesMax: 32 << 20), group: group,
                archive: store.offers, time: time, metrics: metrics, logs: logs)
            keys = try SessionKeyFile.load(directory: settings.storage.directory)
            book = try TokenBook(directory: settings.storage.directory)
        } catch let error as UpstreamSettingsError {
            store.close()
            throw StartError(error.words)
        } catch let error as AccessError {
            store.close()
            throw StartError(error.words)
        } catch {
            store.close()
            throw error as? StartError ?? StartError("\(error)")
        }
        let catalogue = Catalogue(
            entries: entries(settings, modules, upstreams), identity: identity,
            isCompact: settings.server.hasCompactTools, time: time, metrics: metrics, logs: logs)
        let load = LoadWatch(time: time)
        _ = load.look()
        metrics.gauge(.memoryUsed) { Double(load.reading?.memoryUsedBytes ?? 0) }
        metrics.gauge(.memoryLimit) { Double(load.reading?.memoryLimitBytes ?? 0) }
        metrics.gauge(.memoryPressure) { Double(load.pressure.rawValue) }
        metrics.gauge(.cpuLimit) { load.reading?.cpuCores ?? 0 }
        metrics.gauge(.buildInfo, labels: [("version", GatewayVersion.text)]).set(1)
        let instance = "\(RequestID.random())"
        let tracing = Tracing(
            settings.telemetry, instance: instance, group: group, time: time, metrics: metrics, logs: logs)
        let pipeline = Pipeline(
            settings: settings.pipeline, catalogue: catalogue, settling: upstreams.settling, identity: identity,
            keys: keys, calls: store.calls, cache: store.replies, journal: store, archive: store.overrides,
            pressure: { load.pressure }, time: time, tracer: tracing.tracer, metrics: metrics, logs: logs)
        let log = logs.logger(component: LogComponent.daemon)
        let reloader = Reloader(settings, source: source, modules: modules, journal: store, time: time, log: log)
        let sessions = SessionBook(keys: keys, tombstones: store, time: time, lifetime: .seconds(30 * 86_400))
        let tokenHealth = TokenHealth(
            book: book, areNeeded: { reloader.settings.auth.mode == .token }, time: time)
        if let words = tokenHealth.words { log.warning("\(words)") }
        let loopWatch = LoopWatch(Array(group.makeIterator()), time: time)
        let health = HealthReport(
            sources: [store, sandbox, load, reloader, tokenHealth, replicas, WithBreakers(upstreams, pipeline)],
            version: GatewayVersion.text,
            instance: instance, traffic: pipeline.traffic,
            stall: { loopWatch.stall }, time: time)
        metrics.gauges(.componentStatus, label: "component") {
            health.components.map { ($0.name, Double($0.status.rank)) }
        }
        metrics.gauges(.certificateExpires, label: "file") {
            reloader.certificateExpires.map { [("server", Double($0))] } ?? []
        }
        let lockouts = RefusalLog(log: logs, time: time)
        let tokens = TokenDesk(book: book, time: time) { address, length in
            let words =
                "suspected intrusion: one wrong token after the other; refused for \(length.components.seconds) s"
            lockouts.note(SecurityEvent.lockout, facts: [("peer", address), (LogKey.detail, words)])
        }
        let callers = CallerDoor(mode: settings.auth.door, desk: tokens, log: logs, metrics: metrics, time: time)
        let endpoint = MCPEndpoint(
            service: pipeline, sessions: sessions, door: callers, bodyBytesMax: bodyBytesMax, time: time, logs: logs)
        let oldEndpoint = EventSourceEndpoint(
            service: pipeline, door: callers, bodyBytesMax: bodyBytesMax, messagesPath: "/messages", time: time)
        return Assembly(
            time: time, group: group, logs: logs, log: log, metrics: metrics, store: store, sandbox: sandbox,
            upstreams: upstreams, catalogue: catalogue, sessions: sessions, health: health, pipeline: pipeline,
            endpoint: endpoint, oldEndpoint: oldEndpoint, callers: callers, tokens: tokens, load: load,
            reloader: reloader, replicas: replicas, tracing: tracing, loopWatch: loopWatch)
    }

    /// The listener holds requests to `server.max_body`, which a reload may change; what it lets through is taken.
    private static let bodyBytesMax = 256 << 20

    /// - Parameter folder: where the store is.
    private static func sandbox(
        _ settings: GatewaySettings, in folder: String, time: SystemTime, logs: LogFiles
    ) -> Sandbox {
        let log = logs.logger(component: LogComponent.wasm)
        let workers = settings.wasm.workers > 0 ? settings.wasm.workers : System.coreCount
        return Sandbox(
            settings: SandboxSettings(
                libraryPaths: settings.wasm.libraries,
                cacheDirectory: settings.wasm.cacheDirectory ?? folder + "/wasm-cache",
                compileCommand: ["/proc/self/exe"], workers: workers, waitingMax: settings.wasm.waitingMax),
            time: time,
            report: { level, message, facts in
                let metadata = Logger.Metadata(uniqueKeysWithValues: facts.map { ($0.key, "\($0.value)") })
                let text = Logger.Message(stringLiteral: "\(message)")
                switch level {
                case .debug: log.debug(text, metadata: metadata)
                case .info: log.info(text, metadata: metadata)
                case .warning: log.warning(text, metadata: metadata)
                }
            })
    }

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
private struct WithBreakers: StatusSource {
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
