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
    /// Calls that wait in each folder that is being emptied.
    private let adopted = Mutex<[String: Int]>([:])
    /// What is left in folders that nobody has had for a while, and that are not being emptied.
    private let left = Mutex<[SiblingFolders.Abandoned]>([])
    private let stopping = SharedLatch()
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
        for folder in places(settings) {
            var own = settings.store
            own.directory = folder
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

    /// The folders that can be ours, those first in which another gateway has left something: a person may have started
    /// this one for its sake.
    private static func places(_ settings: GatewaySettings) -> [String] {
        let base = settings.storage.directory
        let all = (1...settings.storage.replicasMax).map { base + "/" + SiblingFolders.name($0) }
        let left = Set(SiblingFolders(base: base, own: "").abandoned().map(\.folder))
        return all.filter(left.contains) + all.filter { !left.contains($0) }
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

    /// Folders being emptied at a time: each is a database open, with its threads.
    private static let adoptedMax = 4

    /// Takes over the calls of those that are gone, until it is told to stop; what is under way then ends first, unless
    /// its task is cancelled.
    func run(_ assembly: Assembly) async {
        guard let siblings else { return }
        await withDiscardingTaskGroup { group in
            var freeSince: [String: Moment] = [:]
            var told: [String: String] = [:]
            while !Task.isCancelled, !stopping.isOpen {
                let adoptAfter = assembly.reloader.settings.storage.adoptAfter
                await stopping.wait(atMost: adoptAfter / 2, on: assembly.group.next())
                if stopping.isOpen { break }
                let found = await Self.apart { siblings.abandoned() } ?? []
                let now = time.now()
                freeSince = Dictionary(
                    uniqueKeysWithValues: found.map { ($0.folder, freeSince[$0.folder] ?? now) })
                // One that is only being restarted has its folder again before that.
                let gone = found.filter { one in freeSince[one.folder].map { now.since($0) >= adoptAfter } ?? false }
                for one in gone where isWorthIt(one, assembly) && adopted.withLock({ $0.count < Self.adoptedMax }) {
                    guard let store = await take(one.folder, assembly, &told) else { continue }
                    group.addTask { await self.send(store, one.folder, assembly) }
                }
                tell(gone, &told)
            }
        }
    }

    /// Begins nothing new from here on.
    func stop() { stopping.open() }

    /// Where nobody can be reached the calls would only be held, and the place with them.
    private func isWorthIt(_ one: SiblingFolders.Abandoned, _ assembly: Assembly) -> Bool {
        one.isDamaged || assembly.pipeline.canReach(Set(one.waiting.keys))
    }

    /// What nobody here can do anything about has to be seen by somebody.
    private func tell(_ gone: [SiblingFolders.Abandoned], _ told: inout [String: String]) {
        let others = gone.filter { one in adopted.withLock { $0[one.folder] == nil } }
        left.withLock { $0 = others }
        for one in others {
            guard let words = needsSomebody(one),
                told.updateValue(words, forKey: one.folder) != words
            else { continue }
            log.warning(
                "a gateway that is gone has left something for a person",
                metadata: [LogKey.file: "\(one.folder)", LogKey.detail: "\(words)"])
        }
    }

    private func needsSomebody(_ one: SiblingFolders.Abandoned) -> String? {
        if let trouble = one.trouble {
            return one.isDamaged ? nil : "\(one.name)/queue.db cannot be read (\(trouble)): see who owns it, ls -l"
        }
        guard one.unknown > 0 else { return nil }
        let calls = one.unknown == 1 ? "1 call was" : "\(one.unknown) calls were"
        return "\(one.name): \(calls) sent without an answer; "
            + (one.folder == siblings?.base
                ? "they are of a gateway without storage.replicas: start one with storage.replicas = false, and ask "
                    + "that one: mcp-gateway queue list --status unknown"
                : "start one more gateway, which takes this folder, and ask that one: mcp-gateway queue list --status "
                    + "unknown")
    }

    /// For what waits for the disk, away from the threads that serve, and to its end also when the task is cancelled;
    /// nil when the process ends.
    private static func apart<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { state in
                continuation.resume(returning: state == .active ? body() : nil)
            }
        }
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

    /// `replicas`, where there may be several. Degraded while another one has left what a person has to look at.
    func components() -> [ComponentStatus] {
        guard siblings != nil else { return [] }
        let (adopted, left) = (adopted.withLock { $0 }, left.withLock { $0 })
        let name = { (folder: String) in folder.split(separator: "/").last.map(String.init) ?? folder }
        var words = ["this is \(name(folder))"]
        let sent = adopted.sorted { $0.key < $1.key }.map { "\($0.value) calls of \(name($0.key))" }
        if !sent.isEmpty { words.append("sends " + sent.joined(separator: ", ")) }
        for one in left where !one.waiting.isEmpty {
            let count = one.waiting.values.reduce(0, +)
            words.append("\(count) calls of \(one.name) wait for " + one.waiting.keys.sorted().joined(separator: ", "))
        }
        let forSomebody = left.compactMap(needsSomebody)
        return [
            ComponentStatus(
                name: "replicas", status: forSomebody.isEmpty ? .healthy : .degraded,
                detail: (words + forSomebody).joined(separator: "; "), checkedAt: time.wallMilliseconds())
        ]
    }
}
