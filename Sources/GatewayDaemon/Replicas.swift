// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization
internal import Telemetry

/// Several gateways on one storage directory: each takes the first folder in it that is free, and when one is gone for
/// good another one sends the calls that it has accepted.
///
/// Without `storage.replicas` there is one folder, the directory itself, and nothing to look after.
final class Replicas: StatusSource {
    /// Where our own database is.
    let folder: String
    private let siblings: SiblingFolders?
    private let adopted = Mutex<[String: Int]>([:])
    private let stopping = StopSignal()
    private let time: any TimeSource
    private let log: Logger

    private init(folder: String, siblings: SiblingFolders?, time: any TimeSource, log: Logger) {
        self.folder = folder
        self.siblings = siblings
        self.time = time
        self.log = log
    }

    /// Opens the store in the first folder that nobody has.
    static func open(
        _ settings: GatewaySettings, time: any TimeSource, logs: LogFiles, metrics: MetricsRegistry
    ) throws(StoreError) -> (store: DurableStore, replicas: Replicas) {
        let log = logs.logger(component: LogComponent.storage)
        let base = settings.storage.directory
        guard settings.storage.isShared else {
            let store = try DurableStore.open(settings.store, time: time, log: log, metrics: metrics)
            return (store, Replicas(folder: base, siblings: nil, time: time, log: log))
        }
        var last = StoreError.unusable(what: base, detail: "no folder of it can be had")
        for number in 1...settings.storage.replicasMax {
            var own = settings.store
            own.directory = base + "/" + SiblingFolders.name(number)
            let siblings = SiblingFolders(base: base, own: own.directory)
            own.siblings = siblings
            do throws(StoreError) {
                let store = try DurableStore.open(own, time: time, log: log, metrics: metrics)
                log.info("this is one of several", metadata: [LogKey.file: "\(own.directory)"])
                return (store, Replicas(folder: own.directory, siblings: siblings, time: time, log: log))
            } catch {
                guard case .locked = error else { throw error }
                last = error
            }
        }
        guard case .locked(let pid, _, _) = last else { throw last }
        throw .unusable(
            what: base,
            detail: "all \(settings.storage.replicasMax) places of storage.replicas_max are taken, the last one by "
                + "process \(pid); stop one of these gateways, or raise storage.replicas_max")
    }

    /// What the store of an adopted folder is like: as ours, elsewhere.
    private static func settings(_ settings: GatewaySettings, _ folder: String) -> StoreSettings {
        var store = settings.store
        store.directory = folder
        // A copy a day of what soon is empty helps nobody.
        store.backups = nil
        return store
    }

    // MARK: Looking after the others

    /// Takes over the calls of those that are gone, until it is told to stop; what is under way then ends first, unless
    /// its task is cancelled.
    func run(_ assembly: Assembly) async {
        guard let siblings else { return }
        await withDiscardingTaskGroup { group in
            var seen: Set<String> = []
            var told: [String: String] = [:]
            while !Task.isCancelled, !stopping.isGiven {
                let pause = assembly.reloader.settings.storage.adoptAfter / 2
                await stopping.rest(atMost: pause, on: assembly.group.next())
                if stopping.isGiven { break }
                let found = await Self.apart { siblings.abandoned() } ?? []
                // One that is only being restarted is there again at the next look.
                let ready = found.filter { seen.contains($0.folder) && isWorthIt($0, assembly) }
                seen = Set(found.map(\.folder))
                for one in ready where adopted.withLock({ $0[one.folder] == nil }) {
                    guard let store = await take(one.folder, assembly, &told) else { continue }
                    group.addTask { await self.send(store, one.folder, assembly) }
                }
            }
        }
    }

    /// Begins nothing new from here on.
    func stop() { stopping.give() }

    /// Where nobody can be reached the calls would only be held, and the place with them.
    private func isWorthIt(_ one: SiblingFolders.Abandoned, _ assembly: Assembly) -> Bool {
        one.upstreams.isEmpty || assembly.pipeline.canReach(one.upstreams)
    }

    /// For what waits for the disk, away from the threads that serve; nil when the process ends.
    private static func apart<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
        try? await NIOThreadPool.singleton.runIfActive { body() }
    }

    private func take(
        _ folder: String, _ assembly: Assembly, _ told: inout [String: String]
    ) async -> DurableStore? {
        let (settings, time, log) = (Self.settings(assembly.reloader.settings, folder), time, log)
        let opened = await Self.apart { () -> Result<DurableStore, StoreError> in
            // Its numbers would stand in the place of ours.
            Result { () throws(StoreError) in
                try DurableStore.open(settings, time: time, log: log, metrics: MetricsRegistry())
            }
        }
        switch opened {
        case .success(let store):
            told[folder] = nil
            let count = store.calls.waiting().values.reduce(0, +)
            adopted.withLock { $0[folder] = count }
            log.notice(
                "calls of a gateway that is gone are taken over",
                metadata: [LogKey.file: "\(folder)", LogKey.count: "\(count)"])
            return store
        // It came back, or another one was quicker.
        case .failure(.locked), nil: return nil
        case .failure(let error):
            if told.updateValue(error.text, forKey: folder) != error.text {
                log.warning(
                    "calls of a gateway that is gone cannot be taken over",
                    metadata: [LogKey.file: "\(folder)", LogKey.detail: "\(error.text)"])
            }
            return nil
        }
    }

    private func send(_ store: DurableStore, _ folder: String, _ assembly: Assembly) async {
        await assembly.pipeline.send(from: store.calls, on: assembly.loops, stop: stopping) { left in
            self.adopted.withLock { $0[folder] = left }
        }
        _ = await Self.apart { store.close() }
        let left = adopted.withLock { $0.removeValue(forKey: folder) } ?? 0
        log.notice(
            left == 0 ? "all calls of a gateway that is gone were sent" : "calls of a gateway that is gone wait on",
            metadata: [LogKey.file: "\(folder)", LogKey.count: "\(left)"])
    }

    /// `replicas`, where there may be several.
    func components() -> [ComponentStatus] {
        guard siblings != nil else { return [] }
        let adopted = adopted.withLock { $0 }.sorted { $0.key < $1.key }
        let name = folder.split(separator: "/").last.map(String.init) ?? folder
        let others = adopted.map { "\($0.value) calls of \($0.key.split(separator: "/").last ?? "?")" }
        let words = others.isEmpty ? "" : "; sends " + others.joined(separator: ", ")
        return [
            ComponentStatus(
                name: "replicas", status: .healthy, detail: "this is \(name)" + words,
                checkedAt: time.wallMilliseconds())
        ]
    }
}
