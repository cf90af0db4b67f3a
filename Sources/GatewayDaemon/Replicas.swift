// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import Logging
internal import NIOCore
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
    private let time: any TimeSource
    private let log: Logger

    /// How often the others are looked at: a gateway that is only restarted is back by then.
    private static let lookEvery = Duration.seconds(10)

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

    /// Takes over the calls of those that are gone, until its task is cancelled.
    func run(_ assembly: Assembly) async {
        guard let siblings else { return }
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                // Ends early when the gateway stops.
                do { try await Task.sleep(for: Self.lookEvery) } catch { return }
                for folder in siblings.abandoned() where adopted.withLock({ $0[folder] == nil }) {
                    guard let store = take(folder, assembly) else { continue }
                    group.addTask { await self.send(store, folder, assembly) }
                }
            }
        }
    }

    private func take(_ folder: String, _ assembly: Assembly) -> DurableStore? {
        do throws(StoreError) {
            // Its numbers would stand in the place of ours.
            let store = try DurableStore.open(
                Self.settings(assembly.reloader.settings, folder), time: time, log: log, metrics: MetricsRegistry())
            adopted.withLock { $0[folder] = store.calls.waiting().values.reduce(0, +) }
            log.notice(
                "calls of a gateway that is gone are taken over",
                metadata: [
                    LogKey.file: "\(folder)", LogKey.count: "\(store.calls.waiting().values.reduce(0, +))",
                ])
            return store
        } catch {
            // It came back, or another one was quicker.
            if case .locked = error { return nil }
            log.warning(
                "calls of a gateway that is gone cannot be taken over",
                metadata: [LogKey.file: "\(folder)", LogKey.detail: "\(error.text)"])
            return nil
        }
    }

    private func send(_ store: DurableStore, _ folder: String, _ assembly: Assembly) async {
        await assembly.pipeline.send(from: store.calls, on: assembly.loops) { left in
            self.adopted.withLock { $0[folder] = left }
        }
        store.close()
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
