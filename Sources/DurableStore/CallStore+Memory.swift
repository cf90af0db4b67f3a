// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization
import Telemetry

extension CallStore {
    package func waiting() -> [String: Int] { view.withLock { $0.waiting } }

    package func waiting(upstream: String, caller: String) -> Int {
        view.withLock { $0.lanes[LaneKey(upstream: upstream, caller: caller)] ?? 0 }
    }

    package func counts() -> QueueCounts { view.withLock { $0.counts } }

    package func nextAvailable(upstream: String) -> Int64? { view.withLock { $0.next[upstream] } }

    /// The notice comes on the writer's thread, which waits for it: it should only wake somebody.
    package func whenStored(_ notice: @escaping @Sendable (_ upstream: String) -> Void) {
        view.withLock { $0.add(notice) }
    }

    func status(isWritable: Bool, now: Int64) -> ComponentStatus {
        let settings = settings
        return view.withLock { $0.status(settings, isWritable: isWritable, now: now) }
    }

    /// After a commit: lets everybody see it.
    func follow(_ engine: CallEngine) {
        let (notices, stirred) = view.withLock { view in
            view.follow(&engine.index)
            view.refusesMore = engine.refusesMore
            return (view.notices, engine.index.stirred)
        }
        for upstream in stirred.sorted() where !notices.isEmpty {
            for notice in notices { notice(upstream) }
        }
    }

    func abandon(_ names: [String]) {
        if !names.isEmpty { desk.post { [files] in files.abandon(names) } }
    }

    func sweep() { desk.post { [files] in files.sweep() } }

    func show(in metrics: MetricsRegistry) {
        metrics.gauge(MetricName.queueSize) { [weak self] in Double(self?.counts().waiting ?? 0) }
        for status in StoredStatus.allCases {
            metrics.gauge(MetricName.queueItems, labels: [("status", status.rawValue)]) { [weak self] in
                Double(self?.counts().items[status] ?? 0)
            }
        }
        metrics.gauge(MetricName.queueLimit) { [weak self] in Double(self?.settings.queueItemsMax ?? 0) }
        metrics.gauge(MetricName.queueBytes) { [weak self] in Double(self?.view.withLock { $0.heldBytes } ?? 0) }
        metrics.gauge(MetricName.queueBytesLimit) { [weak self] in Double(self?.settings.queueBytesMax ?? 0) }
        metrics.gauge(MetricName.queueOldestAge) { [weak self] in
            guard let self, let oldest = counts().oldestWaiting else { return 0 }
            return Double(max(0, time.wallMilliseconds() - oldest)) / 1_000
        }
    }
}
