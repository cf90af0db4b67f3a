// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// What waits for the writer. A pure machine; the store holds it under one lock.
struct Inbox: Sendable {
    typealias Job = @Sendable (Connection?) -> Void

    /// What the writer took out in one go.
    struct Batch {
        var calls: [SampledCall] = []
        var errors: [ErrorRecord] = []
        var tombstones: [(SessionKey, Int64)] = []
        var jobs: [Job] = []
        var lostCalls: Int64 = 0
        var lostErrors: Int64 = 0
        var isClosing = false

        var hasLogRows: Bool { !calls.isEmpty || !errors.isEmpty }
        var hasRows: Bool { hasLogRows || !tombstones.isEmpty }
    }

    /// As many rows in waiting wake the writer at once.
    static let rowsAtOnce = 500
    static let errorsMax = 5_000
    /// Rows of `error_log` that one second may have; a flood says nothing new after that many.
    static let errorsPerSecond = 1_000
    static let tombstonesMax = 100_000
    static let lateEndsMax = 1_000
    static let lateBytesMax = 8 << 20

    /// Whether something put in will be done, and whether the bell has to be rung for it.
    enum Putting {
        case taken(rings: Bool)
        case closed
    }

    /// The end of a call that could not be written into the ledger.
    struct LateEnd: Sendable {
        var key: [UInt8]
        var answer: StoredAnswer?
    }

    private var sampler: RequestSampler
    private var errors: [ErrorRecord] = []
    private var tombstones: [(SessionKey, Int64)] = []
    private var jobs: [Job] = []
    private var orders: [StoreOrder] = []
    private var looks: [StoreLook] = []
    private var lateEnds: [LateEnd] = []
    private var lateBytes = 0
    private var lostErrors: Int64 = 0
    private var errorSecond: Int64 = 0
    private var errorsOfSecond = 0
    /// The writer sleeps until it is rung for.
    private(set) var isIdle = false
    private var isUrgent = false
    private var isForced = false
    private(set) var isClosing = false
    /// Nobody will come for what is put in.
    private(set) var isClosed = false

    init(rowsPerSecond: Int, seed: UInt64) {
        sampler = RequestSampler(rowsPerSecond: rowsPerSecond, seed: seed)
    }

    mutating func change(rowsPerSecond: Int) { sampler.change(rowsPerSecond: rowsPerSecond) }

    /// Each `put` tells whether the bell has to be rung.
    mutating func put(_ call: CallRecord) -> Bool {
        guard !isClosed else { return false }
        sampler.offer(call)
        return wake(atOnce: sampler.readyCount >= Self.rowsAtOnce)
    }

    mutating func put(_ error: ErrorRecord) -> Bool {
        guard !isClosed else { return false }
        let second = error.wallMilliseconds / 1_000
        if second != errorSecond { (errorSecond, errorsOfSecond) = (second, 0) }
        errorsOfSecond += 1
        guard errors.count < Self.errorsMax, errorsOfSecond <= Self.errorsPerSecond else {
            lostErrors += 1
            return false
        }
        errors.append(error)
        return wake(atOnce: errors.count >= Self.rowsAtOnce)
    }

    mutating func put(_ session: SessionKey, expires: Int64) -> Bool {
        guard !isClosed, tombstones.count < Self.tombstonesMax else { return false }
        tombstones.append((session, expires))
        return wake(atOnce: false)
    }

    /// False when the writer is gone: the job will not be done.
    mutating func put(_ job: @escaping Job) -> Bool {
        guard !isClosed else { return false }
        jobs.append(job)
        (isIdle, isUrgent, isForced) = (false, true, true)
        return true
    }

    /// Orders wake the writer at once; what comes while it syncs shares the next sync. New calls are not taken any
    /// more when the store closes, ends of calls are to the last moment.
    mutating func put(_ order: StoreOrder) -> Putting {
        guard !isClosed, !(order.isNew && isClosing) else { return .closed }
        orders.append(order)
        return .taken(rings: callWriter(isFirst: orders.count == 1))
    }

    mutating func put(look: @escaping StoreLook) -> Putting {
        guard !isClosed else { return .closed }
        looks.append(look)
        return .taken(rings: callWriter(isFirst: looks.count == 1))
    }

    private mutating func callWriter(isFirst: Bool) -> Bool {
        defer { isIdle = false }
        return isIdle || isFirst
    }

    /// Keeps the end of a call until the ledger can be written. Beyond the bounds it is forgotten; the key then finds
    /// that the call was lost, after the next start.
    mutating func postpone(_ key: [UInt8], _ answer: StoredAnswer?) {
        let bytes = key.count + (answer?.bytes.count ?? 0)
        guard lateEnds.count < Self.lateEndsMax, lateBytes + bytes <= Self.lateBytesMax else { return }
        lateBytes += bytes
        lateEnds.append(LateEnd(key: key, answer: answer))
    }

    mutating func takeLateEnds() -> [LateEnd] {
        defer { (lateEnds, lateBytes) = ([], 0) }
        return lateEnds
    }

    mutating func takeOrders(_ countMax: Int) -> (orders: [StoreOrder], looks: [StoreLook]) {
        defer { looks = [] }
        guard orders.count > countMax else {
            defer { orders = [] }
            return (orders, looks)
        }
        defer { orders.removeFirst(countMax) }
        return (Array(orders.prefix(countMax)), looks)
    }

    mutating func close() {
        (isClosing, isIdle, isUrgent, isForced) = (true, false, true, true)
    }

    private mutating func wake(atOnce: Bool) -> Bool {
        if isIdle {
            isIdle = false
            return true
        }
        guard atOnce, !isUrgent else { return false }
        isUrgent = true
        return true
    }

    /// Whether the writer may sleep until it is rung for.
    mutating func rest() -> Bool {
        isIdle = sampler.isEmpty && errors.isEmpty && tombstones.isEmpty && jobs.isEmpty && !isClosing && !hasOrders
        return isIdle
    }

    /// Whether somebody waits for the writer, so that it should not gather more first.
    var hurries: Bool { isUrgent || hasOrders }
    var hasOrders: Bool { !orders.isEmpty || !looks.isEmpty }
    /// Whether rows and jobs should be taken now.
    var rowsHurry: Bool { isUrgent || isClosing }

    mutating func take(wallSecond: Int64) -> Batch {
        let (calls, lostCalls) = sampler.take(second: wallSecond, force: isForced || isClosing)
        let batch = Batch(
            calls: calls, errors: errors, tombstones: tombstones, jobs: jobs, lostCalls: lostCalls,
            lostErrors: lostErrors, isClosing: isClosing)
        (errors, tombstones, jobs, lostErrors) = ([], [], [], 0)
        (isUrgent, isForced) = (false, false)
        return batch
    }

    /// Puts back what could not be written yet and may be written later.
    mutating func giveBack(_ batch: Batch) {
        sampler.giveBack(batch.calls)
        let room = max(0, Self.errorsMax - errors.count)
        lostErrors += Int64(max(0, batch.errors.count - room))
        errors.insert(contentsOf: batch.errors.prefix(room), at: 0)
        giveBack(tombstones: batch.tombstones)
    }

    mutating func giveBack(tombstones former: [(SessionKey, Int64)]) {
        tombstones.insert(contentsOf: former.prefix(max(0, Self.tombstonesMax - tombstones.count)), at: 0)
    }

    /// Ends it: what is left is given to the caller, who answers it.
    mutating func end() -> (jobs: [Job], orders: [StoreOrder], looks: [StoreLook]) {
        isClosed = true
        defer { (jobs, orders, looks) = ([], [], []) }
        return (jobs, orders, looks)
    }
}
