// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Logging
import Synchronization
import Telemetry

/// The one that writes. Unchecked, because everything in it belongs to one thread: it is handed to its `WriterThread`
/// right after it is made, and everybody else reaches it through `shared` only.
final class StoreWriter: @unchecked Sendable {
    /// How long rows gather before they are written together.
    private static let gather: Int32 = 200
    /// Log rows are written after as many groups of orders, when orders leave no pause.
    private static let roundsMax = 100
    private static let pauseInTrouble: Int32 = 1_000
    /// A write-ahead log this large is brought over to the main file.
    private static let logBytesMax: UInt64 = 32 << 20
    private static let sweepEvery = Duration.seconds(3_600)
    private static let checkpointEvery = Duration.seconds(4)
    private static let checkpointTicks = 20
    private static let quietTicks = 4

    private var settings: StoreSettings
    private let shared: StoreShared
    private let lock: StorageLock
    private let time: any TimeSource
    private let log: Logger
    private let numbers: StoreNumbers
    private var connection: Connection?
    private var rows: RowWriter?
    private var pruner: Pruner
    private let calls: CallStore
    private let replies: ReplyShelf
    private var engine: CallEngine?
    private var group: GroupCommit?
    private let inode: UInt64?

    private var toll: TollBook

    private var isComplete = false
    private var isInTrouble = false
    /// The file is no longer where it was: writing works, and is of no use.
    private var isLost = false
    private var quiet = 0
    private var sinceCheckpoint = 0
    private var lastCheckpoint: Moment
    private var lastRows: Moment
    private var lastSweep: Moment?
    private var rounds = 0
    /// How large the write-ahead log may get before the next attempt to empty it.
    private var logBytesNext = StoreWriter.logBytesMax

    init(
        _ settings: StoreSettings, connection: Connection, calls: CallStore, engine: CallEngine, replies: ReplyShelf,
        shared: StoreShared, lock: StorageLock, time: any TimeSource, log: Logger, numbers: StoreNumbers
    ) throws(SQLiteFailure) {
        self.settings = settings
        self.connection = connection
        self.shared = shared
        self.lock = lock
        self.time = time
        self.log = log
        self.numbers = numbers
        toll = TollBook(shared: shared, time: time, log: log)
        self.calls = calls
        self.engine = engine
        self.replies = replies
        group = try GroupCommit(connection, engine)
        rows = try RowWriter(connection)
        pruner = try Pruner(settings, connection)
        inode = StorageFiles.inode(of: settings.databasePath)
        lastCheckpoint = time.now()
        lastRows = lastCheckpoint
    }

    /// Works until the inbox is closed.
    func run() {
        while true {
            let isGathered = sleep()
            let didCommit = serveOrders()
            let now = time.now()
            rounds += 1
            let isDue = now.since(lastRows) >= .milliseconds(Int64(Self.gather)) || rounds >= Self.roundsMax
            // Orders do not wait for log rows, so rows gather although orders wake the writer in between.
            guard isGathered || isDue || shared.inbox.withLock({ $0.rowsHurry }) else {
                keepHouse(wrote: didCommit, isTick: false)
                continue
            }
            (lastRows, rounds) = (now, 0)
            let batch = shared.inbox.withLock { $0.take(wallSecond: time.wallMilliseconds() / 1_000) }
            numbers.droppedCalls.increment(by: UInt64(batch.lostCalls))
            numbers.droppedErrors.increment(by: UInt64(batch.lostErrors))
            let wrote = write(batch)
            for job in batch.jobs {
                job(connection)
                isComplete = false
            }
            if batch.isClosing { break }
            keepHouse(wrote: wrote || didCommit, isTick: true)
        }
        finish()
    }

    /// Whether log rows have gathered for long enough.
    private func sleep() -> Bool {
        let mayRest = isComplete && !isInTrouble && !pruner.hasMore && engine?.hasMore != true
        if mayRest, shared.inbox.withLock({ $0.rest() }) {
            shared.bell.wait(milliseconds: restMax())
        }
        if shared.inbox.withLock({ $0.hurries }) { return false }
        return !shared.bell.wait(milliseconds: isInTrouble ? Self.pauseInTrouble : Self.gather)
    }

    /// How long nothing has to be done when nobody asks for anything. Capped, because a wall clock may be set.
    private func restMax() -> Int32? {
        guard toll.isEmpty else { return min(callsDue ?? 60_000, 60_000) }
        return callsDue
    }

    private var callsDue: Int32? {
        guard let engine, engine.nextDue != nil || engine.index.ledgerKeys > 0 else { return nil }
        let due = min(engine.nextDue ?? .max, engine.index.ledgerKeys > 0 ? engine.ledgerDue : .max)
        return Int32(min(max(due - time.wallMilliseconds(), 1), 60_000))
    }

    // MARK: Orders

    /// One group of orders, and what is to be read after it. Whether something was committed.
    private func serveOrders() -> Bool {
        guard let engine else { return false }
        var (orders, looks) = shared.inbox.withLock { $0.takeOrders(GroupCommit.ordersMax) }
        follow(engine)
        let now = time.wallMilliseconds()
        if !isInTrouble {
            orders.insert(contentsOf: shared.inbox.withLock { $0.takeLateEnds() }.map { .late($0, shared) }, at: 0)
            // First, so that nobody finds a call whose time is over.
            if engine.isUpkeepDue(now: now) { orders.insert(.upkeep(now: now), at: 0) }
        }
        let didCommit = !orders.isEmpty && commit(orders, engine)
        for look in looks { look(engine) }
        return didCommit
    }

    /// Takes over settings that have changed. Behind the taking of orders, so that who asks for something after a
    /// change gets it by the new ones.
    private func follow(_ engine: CallEngine) {
        let next = shared.settings.withLock { $0 }
        guard next != settings else { return }
        settings = next
        shared.inbox.withLock { $0.change(rowsPerSecond: next.requestRowsPerSecond) }
        pruner.change(next)
        engine.change(next)
        calls.follow(engine)
        replies.change(bytesMax: next.cacheBytesMax)
    }

    private func commit(_ offered: [StoreOrder], _ engine: CallEngine) -> Bool {
        guard let group else { return false }
        let orders = isLost ? refuse(offered) : keepReserve(offered)
        guard !orders.isEmpty else { return false }
        let begun = time.now()
        let result: GroupCommit.Result
        do {
            result = try group.run(orders)
        } catch {
            let words = OpenDatabase.words(for: error, path: settings.databasePath)
            become(error.isBusy ? .flawed(words) : .broken(Self.cannotWrite + words))
            for order in orders { order.refused(.unwritable(Self.cannotWrite + words)) }
            return false
        }
        numbers.commit.observe(seconds: time.now().since(begun).milliseconds / 1_000)
        isComplete = false
        calls.follow(engine)
        calls.abandon(engine.settled())
        toll.add(engine.takeToll(), connection)
        for answer in result.committed { answer() }
        for (order, failure) in result.refused {
            let words = OpenDatabase.words(for: failure, path: settings.databasePath)
            if !failure.isOfRow { become(.broken(Self.cannotWrite + words)) }
            order.refused(.unwritable(Self.cannotWrite + words))
        }
        return true
    }

    private static let cannotWrite = "the database cannot be written: "

    /// The file is no longer where it was.
    private func refuse(_ orders: [StoreOrder]) -> [StoreOrder] {
        for order in orders { order.refused(.unwritable(Self.cannotWrite + lostWords)) }
        return []
    }

    /// Refuses new calls when the disk is almost full; returns the others.
    private func keepReserve(_ orders: [StoreOrder]) -> [StoreOrder] {
        guard orders.contains(where: \.isNew), isShort else { return orders }
        let words = "less than \(reserveWords); new calls are not stored, free some space"
        become(.flawed(words))
        for order in orders where order.isNew { order.refused(.unwritable(words)) }
        return orders.filter { !$0.isNew }
    }

    /// What is left is needed to complete the main file, and to finish what was begun.
    private var isShort: Bool {
        StorageFiles.space(at: settings.directory).map { $0.free < settings.reserveBytes } ?? false
    }

    private var reserveWords: String { "\(settings.reserveBytes >> 20) MiB free at \(settings.directory)" }

    // MARK: Log rows

    /// Commits everything in one transaction. Whether it did.
    private func write(_ offered: Inbox.Batch) -> Bool {
        guard let connection, let rows else { return false }
        var batch = offered
        let isShort = isShort
        if isShort && batch.hasLogRows {
            drop(batch)
            (batch.calls, batch.errors) = ([], [])
            become(.flawed("less than \(reserveWords): log rows are dropped; free some space"))
        }
        guard batch.hasRows else {
            if isInTrouble && !isLost && !isShort { probe(connection) }
            return false
        }
        let begun = time.now()
        do {
            try connection.transaction { () throws(SQLiteFailure) in try rows.write(batch) }
        } catch {
            refused(batch, by: error)
            return false
        }
        numbers.commit.observe(seconds: time.now().since(begun).milliseconds / 1_000)
        numbers.calls.increment(by: UInt64(batch.calls.count))
        numbers.errors.increment(by: UInt64(batch.errors.count))
        pruner.written += batch.calls.count + batch.errors.count
        if !isLost && !isShort { become(.well) }
        isComplete = false
        return true
    }

    private func refused(_ batch: Inbox.Batch, by failure: SQLiteFailure) {
        let words = OpenDatabase.words(for: failure, path: settings.databasePath)
        if failure.isBusy {
            shared.inbox.withLock { $0.giveBack(batch) }
            become(.flawed(words))
            return
        }
        // Log rows are not worth holding on to; ended sessions are few and must stay ended.
        shared.inbox.withLock { $0.giveBack(tombstones: batch.tombstones) }
        drop(batch)
        become(.broken("the database cannot be written: \(words); log rows are dropped until it can"))
    }

    private func drop(_ batch: Inbox.Batch) {
        numbers.droppedCalls.increment(by: UInt64(batch.calls.reduce(0) { $0 + $1.weight }))
        numbers.droppedErrors.increment(by: UInt64(batch.errors.count))
    }

    /// Finds out whether the trouble is over when there is nothing to write.
    private func probe(_ connection: Connection) {
        do {
            let now = WallTime.text(milliseconds: time.wallMilliseconds())
            try connection.execute("INSERT OR REPLACE INTO meta VALUES ('last_probe', '\(now)')")
            isComplete = false
            become(.well)
        } catch {
            let words = OpenDatabase.words(for: error, path: settings.databasePath)
            become(error.isBusy ? .flawed(words) : .broken("the database cannot be written: \(words)"))
        }
    }

    private func become(_ condition: StoreState.Condition) {
        isInTrouble = condition != .well
        let isNews = shared.state.withLock { $0.become(condition, now: time.wallMilliseconds()) }
        guard isNews else { return }
        switch condition {
        case .well: log.notice("the database can be written again")
        case .flawed(let words):
            log.warning("the database is not as it should be", metadata: [LogKey.detail: "\(words)"])
        case .broken(let words): log.error("\(words)")
        }
    }

    private func keepHouse(wrote: Bool, isTick: Bool) {
        guard let connection else { return }
        toll.tellWhenDue()
        if lastSweep.map({ time.now().since($0) >= Self.sweepEvery }) ?? true {
            lastSweep = time.now()
            calls.sweep()
        }
        do {
            let (now, wall) = (time.now(), time.wallMilliseconds())
            if !isInTrouble, try pruner.step(now: now, wallMilliseconds: wall) { isComplete = false }
        } catch {
            troubled(by: error)
            return
        }
        // Also in trouble: emptying the write-ahead log may be what gives the disk room again.
        guard !isComplete else { return }
        if wrote { quiet = 0 }
        if isTick {
            quiet += wrote ? 0 : 1
            sinceCheckpoint += 1
        }
        let logBytes = wrote ? StorageFiles.size(of: settings.databasePath + "-wal") : 0
        let isDue =
            sinceCheckpoint >= Self.checkpointTicks || time.now().since(lastCheckpoint) >= Self.checkpointEvery
            || logBytes >= logBytesNext
        if quiet >= Self.quietTicks || isDue { complete(connection, waitMax: 100) }
    }

    /// Brings the main file up to date, so that a plain copy of it holds everything.
    private func complete(_ connection: Connection, waitMax: Int32) {
        quiet = 0
        sinceCheckpoint = 0
        lastCheckpoint = time.now()
        connection.waitForOthers(milliseconds: waitMax)
        defer { connection.waitForOthers(milliseconds: 2_000) }
        do {
            isComplete = try connection.checkpoint()
        } catch {
            troubled(by: error)
            return
        }
        // A reader in the way keeps the log long: trying again with every group would hold up all of them.
        let rest = isComplete ? 0 : StorageFiles.size(of: settings.databasePath + "-wal")
        logBytesNext = rest + Self.logBytesMax
        if isComplete, StorageFiles.inode(of: settings.databasePath) != inode {
            isLost = true
            become(.broken(lostWords))
        }
    }

    private var lostWords: String {
        "\(settings.databasePath) was moved or replaced while the gateway runs, what is written goes to the old file; "
            + "restart the gateway"
    }

    private func troubled(by failure: SQLiteFailure) {
        // What is wrong already is known in better words.
        if failure.isBusy || isInTrouble { return }
        become(.broken("the database cannot be kept: " + OpenDatabase.words(for: failure, path: settings.databasePath)))
    }

    /// Leaves one plain file and lets the next start know.
    private func finish() {
        while shared.inbox.withLock({ $0.hasOrders }) { _ = serveOrders() }
        if !toll.isEmpty { toll.tell() }
        // Rows that another process kept us from writing get a last chance.
        let rest = shared.inbox.withLock { $0.take(wallSecond: time.wallMilliseconds() / 1_000) }
        if rest.hasRows, !write(rest) {
            log.warning(
                "log rows could not be written before the stop", metadata: [LogKey.count: "\(rest.calls.count)"])
        }
        let left = shared.inbox.withLock { $0.end() }
        for job in rest.jobs + left.jobs { job(nil) }
        for order in left.orders { order.refused(.closing) }
        for look in left.looks { look(nil) }
        if let connection, !isComplete { complete(connection, waitMax: 1_000) }
        let path = settings.databasePath
        pruner.end()
        (rows, group, engine) = (nil, nil, nil)
        connection = nil
        let isWhole = isComplete && !isInTrouble && shared.care.withLock { $0.damage == nil }
        lock.release(cleanMark: isWhole ? StorageFiles.mark(of: path) : nil)
    }
}
