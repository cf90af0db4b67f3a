// Licensed under the Apache License 2.0; see LICENSE.

internal import Access
internal import AdminPlane
internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import HTTPListener
internal import HostLoad
internal import Logging
internal import MCPFront
internal import NIOCore
internal import NIOPosix
internal import Outbound
internal import Sealing
internal import Telemetry
internal import Upstreams
internal import WasmSandbox

extension Assembly {
    static let instructions =
        "Tools of several servers behind one gateway. A tool's name begins with the name of the server it belongs to."

    /// Opens everything but the listeners. Nothing is written before the storage directory is ours.
    static func make(
        _ settings: GatewaySettings, source: Reloader.Source, group: MultiThreadedEventLoopGroup
    ) async throws(StartError) -> Assembly {
        let (time, metrics) = (SystemTime(), MetricsRegistry())
        let (logs, store, replicas) = try openFiles(settings, time: time, metrics: metrics)
        let log = logs.logger(component: LogComponent.daemon)

        let sandbox = sandbox(settings, in: replicas.folder, time: time, logs: logs)
        let modules = ModuleShelf(sandbox: sandbox, environment: source.environment, logs: logs)
        await modules.loadAll(settings.tools)

        let identity = ServerIdentity(version: GatewayVersion.text, instructions: instructions)
        let upstreams: UpstreamPool
        let (keys, book): (SealKeys, TokenBook)
        do throws(StartError) {
            upstreams = try openUpstreams(settings, source, identity, store, group, time: time, metrics, logs)
            (keys, book) = try openKeys(settings.storage.directory)
        } catch {
            store.close()
            throw error
        }
        let catalogue = Catalogue(
            entries: entries(settings, modules, upstreams), identity: identity,
            isCompact: settings.server.hasCompactTools, time: time, metrics: metrics, logs: logs)

        let load = LoadWatch(time: time)
        _ = load.look()
        let instance = "\(RequestID.random())"
        let tracing = Tracing(
            settings.telemetry, instance: instance, group: group, time: time, metrics: metrics, logs: logs)
        let pipeline = Pipeline(
            settings: settings.pipeline, catalogue: catalogue, settling: upstreams.settling, identity: identity,
            keys: keys, calls: store.calls, cache: store.replies, journal: store, archive: store.overrides,
            pressure: { load.pressure }, time: time, tracer: tracing.tracer, metrics: metrics, logs: logs)
        let reloader = Reloader(settings, source: source, modules: modules, journal: store, time: time, log: log)
        let sessions = SessionBook(keys: keys, tombstones: store, time: time, lifetime: .seconds(30 * 86_400))

        let tokenHealth = TokenHealth(book: book, areNeeded: { reloader.settings.auth.mode == .token }, time: time)
        if let words = tokenHealth.words { log.warning("\(words)") }
        let loopWatch = LoopWatch(Array(group.makeIterator()), time: time)
        let health = HealthReport(
            sources: [store, sandbox, load, reloader, tokenHealth, replicas, WithBreakers(upstreams, pipeline)],
            version: GatewayVersion.text, instance: instance, traffic: pipeline.traffic,
            stall: { loopWatch.stall }, time: time)
        show(load, sandbox, health, reloader, in: metrics)

        let tokens = tokenDesk(book, time: time, logs: logs)
        let callers = CallerDoor(mode: settings.auth.door, desk: tokens, log: logs, metrics: metrics, time: time)
        return Assembly(
            time: time, group: group, logs: logs, log: log, metrics: metrics, store: store, sandbox: sandbox,
            upstreams: upstreams, catalogue: catalogue, sessions: sessions, health: health, pipeline: pipeline,
            endpoint: MCPEndpoint(
                service: pipeline, sessions: sessions, door: callers, bodyBytesMax: bodyBytesMax, time: time,
                logs: logs),
            oldEndpoint: EventSourceEndpoint(
                service: pipeline, door: callers, bodyBytesMax: bodyBytesMax, messagesPath: "/messages", time: time),
            callers: callers, tokens: tokens, load: load, reloader: reloader, replicas: replicas, tracing: tracing,
            loopWatch: loopWatch)
    }

    /// The storage directory first: a second gateway that finds it taken leaves no log file either.
    private static func openFiles(
        _ settings: GatewaySettings, time: SystemTime, metrics: MetricsRegistry
    ) throws(StartError) -> (LogFiles, DurableStore, Replicas) {
        let logs: LogFiles
        let (store, replicas): (DurableStore, Replicas)
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
        return (logs, store, replicas)
    }

    private static func openUpstreams(
        _ settings: GatewaySettings, _ source: Reloader.Source, _ identity: ServerIdentity, _ store: DurableStore,
        _ group: MultiThreadedEventLoopGroup, time: SystemTime, _ metrics: MetricsRegistry, _ logs: LogFiles
    ) throws(StartError) -> UpstreamPool {
        do throws(UpstreamSettingsError) {
            return try UpstreamPool(
                settings.upstreams.map { $0.room(base: source.environment) }, identity: identity.json,
                children: ChildSettings(lineBytesMax: 16 << 20, pendingBytesMax: 32 << 20), group: group,
                archive: store.offers, time: time, metrics: metrics, logs: logs)
        } catch {
            throw StartError(error.words)
        }
    }

    private static func openKeys(_ directory: String) throws(StartError) -> (SealKeys, TokenBook) {
        let keys = try SessionKeyFile.load(directory: directory)
        do throws(AccessError) { return (keys, try TokenBook(directory: directory)) } catch {
            throw StartError(error.words)
        }
    }

    /// What belongs to no room, among the metrics.
    private static func show(
        _ load: LoadWatch, _ sandbox: Sandbox, _ health: HealthReport, _ reloader: Reloader,
        in metrics: MetricsRegistry
    ) {
        metrics.gauge(.wasmInstances) { Double(sandbox.usage().running) }
        metrics.gauge(.memoryUsed) { Double(load.reading?.memoryUsedBytes ?? 0) }
        metrics.gauge(.memoryLimit) { Double(load.reading?.memoryLimitBytes ?? 0) }
        metrics.gauge(.memoryPressure) { Double(load.pressure.rawValue) }
        metrics.gauge(.cpuLimit) { load.reading?.cpuCores ?? 0 }
        metrics.gauge(.buildInfo, labels: [("version", GatewayVersion.text)]).set(1)
        metrics.gauges(.componentStatus, label: "component") {
            health.components.map { ($0.name, Double($0.status.rank)) }
        }
        metrics.gauges(.certificateExpires, label: "file") {
            reloader.certificateExpires.map { [("server", Double($0))] } ?? []
        }
    }

    private static func tokenDesk(_ book: TokenBook, time: SystemTime, logs: LogFiles) -> TokenDesk {
        let lockouts = RefusalLog(log: logs, time: time)
        return TokenDesk(book: book, time: time) { address, length in
            let words =
                "suspected intrusion: one wrong token after the other; refused for \(length.components.seconds) s"
            lockouts.note(SecurityEvent.lockout, facts: [("peer", address), (LogKey.detail, words)])
        }
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
}
