// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// The calls of one caller for one upstream.
struct LaneKey: Hashable, Sendable {
    var upstream: String
    var caller: String
}

/// The first call of a lane.
struct LaneHead: Equatable {
    var id: Int64
    var priority: Int
    var availableAt: Int64
    var expiresAt: Int64?
}

struct Lane {
    /// Calls that wait or are being sent.
    var count = 0
    var inFlight: Int64?
    /// Not kept up while one is being sent.
    var head: LaneHead?

    /// What may be sent next, when its time has come.
    var sendable: LaneHead? { inFlight == nil ? head : nil }
}

/// What is known in memory of the table `queue_items`: a few words a lane, sixteen bytes a call that waits, nothing of
/// a payload. Belongs to the writer's thread. Every change can be undone, so that it stays in step with a transaction
/// that is rolled back.
struct QueueIndex {
    /// What of a call its place depends on.
    struct Facts {
        var id: Int64
        var lane: LaneKey
        var priority: Int
        var createdAt: Int64
    }

    /// Where a call is counted, and with how many bytes.
    struct Place {
        var status: StoredStatus
        var bytes: Int64

        init(_ status: StoredStatus, bytes: Int64) {
            self.status = status
            self.bytes = bytes
        }

        /// It can make room for others.
        fileprivate var finishedBytes: Int64 { status.isOver && status != .unknown ? bytes : 0 }
    }

    private enum Step {
        case moved(Facts, from: Place?, to: Place?)
        case head(LaneKey, former: LaneHead?)
        case ledger(Int, bytes: Int64)
    }

    private struct Upstream {
        var waiting = 0
        var ready = ReadyHeap()
    }

    private(set) var lanes: [LaneKey: Lane] = [:]
    private(set) var callers: [String: Int] = [:]
    private(set) var items: [StoredStatus: Int] = [:]
    private(set) var bytes: Int64 = 0
    /// Those among them of calls that are over and wait for nobody.
    private(set) var finishedBytes: Int64 = 0
    private(set) var ledgerKeys = 0
    private(set) var ledgerBytes: Int64 = 0
    private var upstreams: [String: Upstream] = [:]
    private var lists: [Int: WaitingList] = [:]
    private var sending: Set<Int64> = []
    private var steps: [Step] = []
    /// Lanes that are no longer as they were at the last `settled()`.
    private(set) var touched: Set<LaneKey> = []
    /// Upstreams for which something can be sent that could not be before, or not then.
    private(set) var stirred: Set<String> = []

    var waiting: Int { items[.queued, default: 0] + items[.inFlight, default: 0] }
    var finished: Int { items.reduce(0) { $1.key.isOver && $1.key != .unknown ? $0 + $1.value : $0 } }

    func waiting(upstream: String) -> Int { upstreams[upstream]?.waiting ?? 0 }

    /// Entries that are held to find what may be sent next, those that are out of date among them.
    func readyCount(upstream: String) -> Int { upstreams[upstream]?.ready.count ?? 0 }

    var oldestWaiting: Int64? {
        lists.values.compactMap { $0.oldest() }.min { $0.id < $1.id }?.createdAt
    }

    /// The oldest of the lowest priority that waits and is not being sent.
    var leastWorthKeeping: Int64? {
        for (_, list) in lists.sorted(by: { $0.key < $1.key }) {
            if let found = list.oldest(where: { !sending.contains($0) }) { return found.id }
        }
        return nil
    }

    /// A call comes, goes, or becomes something else.
    mutating func move(_ facts: Facts, from: Place?, to: Place?) {
        // An empty lane is forgotten, its head with it.
        let leaves = from.map { !$0.status.isOver } == true && to.map { !$0.status.isOver } != true
        if leaves, let lane = lanes[facts.lane], lane.count <= 1, lane.head != nil { set(facts.lane, head: nil) }
        steps.append(.moved(facts, from: from, to: to))
        apply(facts, from: from, to: to)
    }

    mutating func set(_ key: LaneKey, head: LaneHead?) {
        steps.append(.head(key, former: lanes[key]?.head))
        place(key, head)
    }

    mutating func countLedger(_ keys: Int, bytes: Int64 = 0) {
        steps.append(.ledger(keys, bytes: bytes))
        ledgerKeys += keys
        ledgerBytes += bytes
    }

    private mutating func apply(_ facts: Facts, from former: Place?, to next: Place?) {
        let (from, to) = (former?.status, next?.status)
        if let from {
            let left = items[from, default: 0] - 1
            items[from] = left > 0 ? left : nil
        }
        if let to { items[to, default: 0] += 1 }
        bytes += (next?.bytes ?? 0) - (former?.bytes ?? 0)
        finishedBytes += (next?.finishedBytes ?? 0) - (former?.finishedBytes ?? 0)
        let wasWaiting = from.map { !$0.isOver } ?? false
        let isWaiting = to.map { !$0.isOver } ?? false
        guard wasWaiting || isWaiting else { return }
        touched.insert(facts.lane)
        var lane = lanes[facts.lane] ?? Lane()
        let formerHead = lane.sendable
        if from == .inFlight, lane.inFlight == facts.id { lane.inFlight = nil }
        if from == .inFlight { sending.remove(facts.id) }
        if to == .inFlight {
            lane.inFlight = facts.id
            sending.insert(facts.id)
        }
        let change = (isWaiting ? 1 : 0) - (wasWaiting ? 1 : 0)
        if change > 0 { lists[facts.priority, default: WaitingList()].enter(facts.id, createdAt: facts.createdAt) }
        if change < 0 {
            lists[facts.priority]?.leave(facts.id)
            if lists[facts.priority]?.count == 0 { lists[facts.priority] = nil }
        }
        lane.count += change
        let ofCaller = callers[facts.lane.caller, default: 0] + change
        callers[facts.lane.caller] = ofCaller > 0 ? ofCaller : nil
        lanes[facts.lane] = lane.count > 0 ? lane : nil
        upstreams[facts.lane.upstream, default: Upstream()].waiting += change
        if upstreams[facts.lane.upstream]?.waiting ?? 0 <= 0 { upstreams[facts.lane.upstream] = nil }
        ring(facts.lane, former: formerHead)
    }

    private mutating func place(_ key: LaneKey, _ head: LaneHead?) {
        guard let former = lanes[key] else { return }
        lanes[key]?.head = head
        touched.insert(key)
        ring(key, former: former.sendable)
    }

    /// Puts the lane where its head belongs now.
    private mutating func ring(_ key: LaneKey, former: LaneHead?) {
        guard let head = lanes[key]?.sendable, head != former else { return }
        stirred.insert(key.upstream)
        let entry = ReadyHeap.Entry(availableAt: head.availableAt, id: head.id, caller: key.caller)
        upstreams[key.upstream]?.ready.push(entry)
        guard let upstream = upstreams[key.upstream], upstream.ready.count > 64 + 4 * upstream.waiting else { return }
        let lanes = lanes
        upstreams[key.upstream]?.ready.sweep { Self.isCurrent($0, in: lanes, of: key.upstream) }
    }

    private static func isCurrent(_ entry: ReadyHeap.Entry, in lanes: [LaneKey: Lane], of upstream: String) -> Bool {
        let head = lanes[LaneKey(upstream: upstream, caller: entry.caller)]?.sendable
        return head?.id == entry.id && head?.availableAt == entry.availableAt
    }

    /// The lane of this upstream whose first call may be sent soonest.
    mutating func soonest(upstream: String) -> (lane: LaneKey, head: LaneHead)? {
        while let entry = upstreams[upstream]?.ready.top {
            let key = LaneKey(upstream: upstream, caller: entry.caller)
            if Self.isCurrent(entry, in: lanes, of: upstream), let head = lanes[key]?.sendable { return (key, head) }
            upstreams[upstream]?.ready.pop()
        }
        return nil
    }

    /// How far back `undo` can go.
    var mark: Int { steps.count }

    mutating func undo(to mark: Int) {
        while steps.count > mark {
            switch steps.removeLast() {
            case .moved(let facts, let from, let to): apply(facts, from: to, to: from)
            case .head(let key, let former): place(key, former)
            case .ledger(let keys, let bytes):
                ledgerKeys -= keys
                ledgerBytes -= bytes
            }
        }
    }

    /// The transaction is over: nothing is undone any more.
    mutating func settled() {
        steps.removeAll(keepingCapacity: true)
        (touched, stirred) = ([], [])
    }
}
