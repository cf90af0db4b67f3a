// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Logging
import Synchronization
import Telemetry

/// What the writer and everybody else share.
final class StoreShared: Sendable {
    let inbox: Mutex<Inbox>
    let state: Mutex<StoreState>
    let bell: Bell
    let care = Mutex(CareState())

    init(inbox: Inbox, state: StoreState) throws(StoreError) {
        self.inbox = Mutex(inbox)
        self.state = Mutex(state)
        bell = try Bell()
    }
}

/// The one that writes. Unchecked, because everything in it belongs to one thread: it is handed to its `WriterThread`
/// right after it is made, and everybody else reaches it through `shared` only.
final class StoreWriter: @unchecked Sendable {
    /// How long rows gather before they are written together.
    private static let gather: Int32 = 200
    private static let pauseInTrouble: Int32 = 1_000
    /// Below this log rows are not written: what is left is needed to complete the main file, and for more important
    /// things than logs.
    static let freeMin: UInt64 = 16 << 20
    private static let checkpointEvery = Duration.seconds(4)
    private static let checkpointTicks = 20
    private static let quietTicks = 4

    private let settings: StoreSettings
    private let shared: StoreShared
    private let lock: StorageLock
    private let time: any TimeSource
    private let log: Logger
    private let numbers: StoreNumbers
    private var connection: Connection?
    private var rows: RowWriter?
    private var pruner: Pruner
    private let inode: UInt64?

    private var isComplete = false
    private var isInTrouble = false
    /// The file is no longer where it was: writing works, and is of no use.
    private var isLost = false
    private var quiet = 0
    private var sinceCheckpoint = 0
    private var lastCheckpoint: Moment

    init(
        _ settings: StoreSettings, connection: Connection, shared: StoreShared, lock: StorageLock,
        time: any TimeSource, log: Logger, numbers: StoreNumbers
    ) throws(SQLiteFailure) {
        self.settings = settings
        self.connection = connection
        self.shared = shared
        self.lock = lock
        self.time = time
        self.log = log
        self.numbers = numbers
        rows = try RowWriter(connection)
        pruner = try Pruner(settings, connection)
        inode = StorageFiles.inode(of: settings.databasePath)
        lastCheckpoint = time.now()
    }

    /// Works until the inbox is closed.
    func run() {
        while true {
            sleep()
            let batch = shared.inbox.withLock { $0.take(wallSecond: time.wallMilliseconds() / 1_000) }
            numbers.droppedCalls.increment(by: UInt64(batch.lostCalls))
            numbers.droppedErrors.increment(by: UInt64(batch.lostErrors))
            let wrote = write(batch)
            for job in batch.jobs {
                job(connection)
                isComplete = false
            }
            if batch.isClosing { break }
            keepHouse(wrote: wrote)
        }
        finish()
    }

    private func sleep() {
        let mayRest = isComplete && !isInTrouble && !pruner.hasMore
        if mayRest, shared.inbox.withLock({ $0.rest() }) {
            shared.bell.wait(milliseconds: nil)
            if shared.inbox.withLock({ $0.hurries }) { return }
        }
        shared.bell.wait(milliseconds: isInTrouble ? Self.pauseInTrouble : Self.gather)
    }

    /// Commits everything in one transaction. Whether it did.
    private func write(_ offered: Inbox.Batch) -> Bool {
        guard let connection, let rows else { return false }
        var batch = offered
        let isShort = StorageFiles.space(at: settings.directory).map { $0.free < Self.freeMin } ?? false
        if isShort && batch.hasLogRows {
            drop(batch)
            (batch.calls, batch.errors) = ([], [])
            let place = "\(Self.freeMin >> 20) MiB free at \(settings.directory)"
            become(.flawed("less than \(place): log rows are dropped; free some space"))
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

    private func keepHouse(wrote: Bool) {
        guard let connection else { return }
        do {
            let (now, wall) = (time.now(), time.wallMilliseconds())
            if !isInTrouble, try pruner.step(now: now, wallMilliseconds: wall) { isComplete = false }
        } catch {
            troubled(by: error)
            return
        }
        // Also in trouble: emptying the write-ahead log may be what gives the disk room again.
        guard !isComplete else { return }
        quiet = wrote ? 0 : quiet + 1
        sinceCheckpoint += 1
        let isDue = sinceCheckpoint >= Self.checkpointTicks || time.now().since(lastCheckpoint) >= Self.checkpointEvery
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
        if isComplete, StorageFiles.inode(of: settings.databasePath) != inode {
            isLost = true
            become(
                .broken(
                    "\(settings.databasePath) was moved or replaced while the gateway runs, what is written goes to "
                        + "the old file; restart the gateway"))
        }
    }

    private func troubled(by failure: SQLiteFailure) {
        // What is wrong already is known in better words.
        if failure.isBusy || isInTrouble { return }
        become(.broken("the database cannot be kept: " + OpenDatabase.words(for: failure, path: settings.databasePath)))
    }

    /// Leaves one plain file and lets the next start know.
    private func finish() {
        // Rows that another process kept us from writing get a last chance.
        let rest = shared.inbox.withLock { $0.take(wallSecond: time.wallMilliseconds() / 1_000) }
        if rest.hasRows, !write(rest) {
            log.warning(
                "log rows could not be written before the stop", metadata: [LogKey.count: "\(rest.calls.count)"])
        }
        for job in rest.jobs + shared.inbox.withLock({ $0.end() }) { job(nil) }
        if let connection, !isComplete { complete(connection, waitMax: 1_000) }
        let path = settings.databasePath
        pruner.end()
        rows = nil
        connection = nil
        let isWhole = isComplete && !isInTrouble && shared.care.withLock { $0.damage == nil }
        lock.release(cleanMark: isWhole ? StorageFiles.mark(of: path) : nil)
    }
}
