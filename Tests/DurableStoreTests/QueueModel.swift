// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// The rules of the queue in their plainest form: one array, every question answered by looking through all of it.
struct QueueModel {
    struct Item {
        var id: Int64
        var handle: String
        var status: StoredStatus
        var lane: [String]
        var isIdempotent: Bool
        var priority: Int
        var attempts = 0
        var createdAt: Int64
        var availableAt: Int64
        var expiresAt: Int64?
        var keepUntil: Int64?
        var words: String?
        var payloadBytes: Int64
        var isForgotten = false
        var resultBytes: Int64 = 0
        var bytes: Int64 { (status == .completed ? 0 : payloadBytes) + resultBytes }
        var isFinished: Bool { status.isOver && status != .unknown }
    }

    let bounds: CallQueueContract.Bounds
    var items: [Item] = []
    var now: Int64

    init(bounds: CallQueueContract.Bounds, now: Int64) {
        self.bounds = bounds
        self.now = now
    }

    var waiting: [Item] { items.filter { !$0.status.isOver } }
    var bytes: Int64 { items.reduce(0) { $0 + $1.bytes } }

    var counts: QueueCounts {
        var counts = QueueCounts()
        for item in items { counts.items[item.status, default: 0] += 1 }
        counts.bytes = bytes
        counts.oldestWaiting = waiting.min { $0.id < $1.id }?.createdAt
        return counts
    }

    mutating func end(_ id: Int64, _ status: StoredStatus, _ words: String?) {
        guard let index = items.firstIndex(where: { $0.id == id }) else { return }
        items[index].status = status
        items[index].words = words
        items[index].keepUntil =
            switch status {
            case .completed: now + bounds.resultKeepSeconds * 1_000
            case .failed, .expired, .cancelled: now + bounds.retentionSeconds * 1_000
            default: nil
            }
    }

    /// Time has passed.
    mutating func upkeep() {
        for item in items where item.status == .queued && item.expiresAt.map({ $0 <= now }) ?? false {
            end(item.id, .expired, "its time was over before \(item.lane[0]) could take it")
        }
        items.removeAll { $0.status.isOver && $0.keepUntil.map({ $0 <= now }) ?? false }
    }

    /// Whether there is room; drops what has to go for it.
    mutating func makeRoom(caller: String, bytes added: Int64) -> Bool {
        if waiting.filter({ $0.lane[1] == caller }).count >= bounds.perCallerMax { return false }
        if added > bounds.bytesMax { return false }
        let former = items
        while waiting.count >= bounds.itemsMax || bytes + added > bounds.bytesMax {
            // Those that end at the same time go in no order that is promised; the first row is the first to go here.
            let heavy = items.filter { $0.isFinished && $0.bytes > 0 }
            let needed = bytes + added - bounds.bytesMax
            let suffices = bounds.dropsOldest || heavy.reduce(0) { $0 + $1.bytes } >= needed
            let first = heavy.min { ($0.keepUntil ?? .max, $0.id) < ($1.keepUntil ?? .max, $1.id) }
            if waiting.count < bounds.itemsMax, suffices, let first {
                items.removeAll { $0.id == first.id }
                continue
            }
            let least = items.filter { $0.status == .queued }.min { ($0.priority, $0.id) < ($1.priority, $1.id) }
            guard bounds.dropsOldest, let least else {
                items = former
                return false
            }
            end(least.id, .cancelled, "dropped: queue full")
            if let index = items.firstIndex(where: { $0.id == least.id }) {
                items[index].isForgotten = least.payloadBytes > 0
                items[index].payloadBytes = 0
            }
        }
        return true
    }

    func head(of lane: [String]) -> Item? {
        let calls = waiting.filter { $0.lane == lane }
        if calls.contains(where: { $0.status == .inFlight }) { return nil }
        return calls.min { (-$0.priority, $0.id) < (-$1.priority, $1.id) }
    }

    func heads(upstream: String) -> [Item] {
        Set(waiting.map(\.lane)).filter { $0[0] == upstream }.compactMap { head(of: $0) }
    }

    func nextAvailable(upstream: String) -> Int64? { heads(upstream: upstream).map(\.availableAt).min() }

    /// Soonest first.
    mutating func lease(upstream: String, limit: Int) -> [Int64] {
        let ready = heads(upstream: upstream).filter { $0.availableAt <= now }
        let taken = ready.sorted { ($0.availableAt, $0.id) < ($1.availableAt, $1.id) }.prefix(limit).map(\.id)
        for index in items.indices where taken.contains(items[index].id) {
            items[index].status = .inFlight
            items[index].attempts += 1
        }
        return taken
    }

    mutating func restart() {
        for index in items.indices where items[index].status == .inFlight {
            items[index].status = items[index].isIdempotent ? .queued : .unknown
            items[index].availableAt = items[index].isIdempotent ? now : items[index].availableAt
            items[index].words = nil
        }
    }
}
