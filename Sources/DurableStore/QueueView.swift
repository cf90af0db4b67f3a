// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// What everybody may see of the queue without waiting: as it was after the last commit. Held under a lock.
struct QueueView: Sendable {
    typealias Notice = @Sendable (String) -> Void

    private(set) var counts = QueueCounts()
    /// Bytes of what is over, which makes room for new calls.
    private var finishedBytes: Int64 = 0
    private(set) var waiting: [String: Int] = [:]
    private(set) var lanes: [LaneKey: Int] = [:]
    /// By upstream: when the next call may be sent.
    private(set) var next: [String: Int64] = [:]
    private(set) var notices: [Notice] = []
    /// The bounds were lowered below what is stored: nothing is dropped for new calls until it is within them.
    var refusesMore = false

    /// What counts towards `queueBytesMax`.
    var heldBytes: Int64 { counts.bytes - finishedBytes }

    mutating func add(_ notice: @escaping Notice) { notices.append(notice) }

    /// Takes over what a transaction changed. Costs something for each lane that was touched, not for those that exist.
    mutating func follow(_ index: inout QueueIndex) {
        for key in index.touched { lanes[key] = index.lanes[key]?.count }
        for upstream in Set(index.touched.map(\.upstream)) {
            let count = index.waiting(upstream: upstream)
            waiting[upstream] = count > 0 ? count : nil
            next[upstream] = index.soonest(upstream: upstream)?.head.availableAt
        }
        counts.items = index.items
        counts.bytes = index.bytes
        finishedBytes = index.finishedBytes
        counts.oldestWaiting = index.oldestWaiting
    }

    /// How the queue is, for operators.
    func status(_ settings: StoreSettings, isWritable: Bool, now: Int64) -> ComponentStatus {
        let waiting = counts.waiting
        var words = [waiting == 1 ? "1 call waits" : "\(waiting) calls wait"]
        if let oldest = counts.oldestWaiting {
            words[0] += ", the oldest for " + Self.span(milliseconds: now - oldest)
        }
        let unknown = counts.items[.unknown, default: 0]
        if unknown > 0 {
            let what = unknown == 1 ? "1 call was" : "\(unknown) calls were"
            words.append(
                "\(what) sent without an answer coming back (status unknown): look with 'mcp-gateway queue list', "
                    + "then retry or cancel by hand")
        }
        let isFull = waiting >= settings.queueItemsMax || heldBytes >= settings.queueBytesMax
        let isNearlyFull = isOverNineTenths(settings)
        let isBeyond = waiting > settings.queueItemsMax || heldBytes > settings.queueBytesMax
        let isRefusing = settings.whenFull == .refuse || (refusesMore && isBeyond)
        let deed = isRefusing ? "new ones are refused" : "the oldest are dropped"
        let advice = "bring the upstreams back, or cancel what is not needed"
        if isFull {
            words.append(
                "the queue is full (\(settings.queueItemsMax) calls, \(settings.queueBytesMax >> 20) MiB), \(deed): "
                    + advice)
        } else if isNearlyFull {
            words.append(
                "the queue is nearly full (\(waiting) of \(settings.queueItemsMax) calls, \(heldBytes >> 10) of "
                    + "\(settings.queueBytesMax >> 10) KiB), at the end of it \(deed): \(advice)")
        }
        if !isWritable { words.append("calls cannot be stored now, see storage") }
        let isWell = isWritable && !isFull && !isNearlyFull && unknown == 0
        return ComponentStatus(
            name: "queue", status: isWell ? .healthy : .degraded, detail: words.joined(separator: "; "),
            checkedAt: now)
    }

    /// Over nine tenths, as the alert has it. Bytes are hardly ever used up to the last one: a call that is too large
    /// for the rest is refused before.
    private func isOverNineTenths(_ settings: StoreSettings) -> Bool {
        Double(counts.waiting) > 0.9 * Double(settings.queueItemsMax)
            || Double(heldBytes) > 0.9 * Double(settings.queueBytesMax)
    }

    /// Two units at most.
    private static func span(milliseconds: Int64) -> String {
        let seconds = max(milliseconds, 0) / 1_000
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3_600 { return "\(seconds / 60) min" }
        if seconds < 86_400 { return "\(seconds / 3_600) h \(seconds / 60 % 60) min" }
        return "\(seconds / 86_400) d \(seconds / 3_600 % 24) h"
    }
}
