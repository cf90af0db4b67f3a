// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import Logging
import Synchronization
package import Telemetry

/// The embedded database: stored calls, the ledger, log rows and ended sessions.
///
/// One thread of its own writes: orders of the queue and the ledger at once, log rows of a fifth of a second together
/// in one synced transaction. `record` and `add` only put something into a bounded buffer (well under a microsecond)
/// and never wait; with nothing to write the thread sleeps. The main file alone is complete after a second without
/// writes and at least every five seconds, so that a plain copy is of use. When the disk cannot take rows they are
/// dropped and counted, `storage` says so, and it recovers by itself.
package final class DurableStore: Journal, Tombstones, StatusSource, Sendable {
    let time: any TimeSource
    let shared: StoreShared
    private let lock: StorageLock
    private let tombstones: Mutex<TombstoneSet>
    private let thread: Mutex<WriterThread?>
    let caretaker: Caretaker
    private let desk: FileDesk
    private let siblingDesk: FileDesk?

    /// The queue and the ledger.
    package let calls: CallStore
    package let replies: ReplyShelf
    package let offers: OffersShelf
    /// What operators have changed by hand.
    package let overrides: OverrideShelf

    /// Takes the storage lock before anything else, then opens the database; makes what is missing, sets a damaged
    /// file aside and goes on with a fresh one. Waits for the disk; after an unclean stop up to two seconds for a
    /// check of the file.
    package static func open(
        _ settings: StoreSettings, time: any TimeSource, log: Logger, metrics: MetricsRegistry
    ) throws(StoreError) -> DurableStore {
        try StorageFiles.make(directory: settings.directory)
        let lock = try StorageLock(directory: settings.directory)
        let opened = try OpenDatabase(settings, lock: lock, time: time, log: log)
        do {
            return try DurableStore(settings, opened, lock: lock, time: time, log: log, metrics: metrics)
        } catch let failure as SQLiteFailure {
            let words = OpenDatabase.words(for: failure, path: settings.databasePath)
            throw .unusable(what: settings.databasePath, detail: words)
        } catch let error as StoreError {
            throw error
        } catch {
            throw .unusable(what: settings.databasePath, detail: "\(error)")
        }
    }

    private init(
        _ settings: StoreSettings, _ opened: OpenDatabase, lock: StorageLock, time: any TimeSource, log: Logger,
        metrics: MetricsRegistry
    ) throws {
        self.time = time
        self.lock = lock
        let connection = opened.connection
        let now = time.wallMilliseconds()
        tombstones = Mutex(try Self.loadTombstones(connection, now: now))
        let seed = time.now().nanoseconds ^ UInt64(bitPattern: now)
        let shared = try StoreShared(
            settings, inbox: Inbox(rowsPerSecond: settings.requestRowsPerSecond, seed: seed),
            state: StoreState(quarantine: opened.quarantine, now: now))
        self.shared = shared
        shared.care.withLock { $0 = opened.care }
        let caretaker = try Caretaker(shared: shared, time: time, log: log)
        self.caretaker = caretaker
        shared.recount.withLock { $0 = { [weak caretaker] in caretaker?.wake() } }
        let behind: ReplyShelf.Writer = { job in
            let isTaken = shared.inbox.withLock { $0.put(job) }
            if isTaken { shared.bell.ring() }
            return isTaken
        }
        replies = try ReplyShelf(connection, bytesMax: settings.cacheBytesMax, writer: behind)
        offers = try OffersShelf(connection, writer: behind)
        overrides = try OverrideShelf(connection) { body in await Self.perform(shared, body) }
        let engine = try CallEngine(settings, connection)
        let found = try engine.count()
        if !found.sending.isEmpty {
            try connection.transaction { () throws(SQLiteFailure) in try engine.recover(found.sending, now: now) }
        }
        try engine.lineUp()
        let files = PayloadFiles(settings)
        files.begin(named: found.files)
        var view = QueueView()
        view.follow(&engine.index)
        _ = engine.settled()
        desk = try FileDesk()
        siblingDesk = settings.siblings == nil ? nil : try FileDesk()
        calls = CallStore(
            shared: shared, files: files, desk: desk, siblingDesk: siblingDesk, view: view, time: time)
        let writer = try StoreWriter(
            settings, connection: connection, calls: calls, engine: engine, replies: replies, shared: shared,
            lock: lock, time: time, log: log, numbers: StoreNumbers(in: metrics))
        thread = Mutex(try WriterThread { writer.run() })
        try caretaker.start(deepCheck: opened.needsDeepCheck)
        calls.show(in: metrics)
        let directory = settings.directory
        if settings.backups != nil {
            let backups = BackupFiles(directory: settings.backupDirectory)
            metrics.gauge(MetricName.backupAge) {
                backups.newest.map { Double(max(0, time.wallMilliseconds() - $0.madeAt)) / 1_000 } ?? .infinity
            }
        }
        metrics.gauge(MetricName.storageFree) { Double(StorageFiles.space(at: directory)?.free ?? 0) }
    }

    deinit { close() }

    var settings: StoreSettings { shared.settings.withLock { $0 } }

    private static func loadTombstones(_ connection: Connection, now: Int64) throws -> TombstoneSet {
        var loaded = TombstoneSet()
        let statement = try connection.prepare(
            """
            SELECT session, CAST(strftime('%s', expires_at) AS INTEGER) FROM session_tombstones
            WHERE expires_at >= ? ORDER BY expires_at DESC LIMIT \(loaded.countMax)
            """)
        statement.bind(1, WallTime.text(milliseconds: now))
        while try statement.step() {
            let expires = ((statement.integer(1) ?? 0) + 1) * 1_000
            loaded.add(SessionKey(statement.bytes(0)), expires: expires, now: now)
        }
        return loaded
    }

    package func record(_ call: CallRecord) {
        if shared.inbox.withLock({ $0.put(call) }) { shared.bell.ring() }
    }

    package func record(_ error: ErrorRecord) {
        if shared.inbox.withLock({ $0.put(error) }) { shared.bell.ring() }
    }

    package func contains(_ session: SessionKey) -> Bool {
        tombstones.withLock { $0.contains(session) }
    }

    package func add(_ session: SessionKey, expires: Int64) {
        let now = time.wallMilliseconds()
        tombstones.withLock { $0.add(session, expires: expires, now: now) }
        if shared.inbox.withLock({ $0.put(session, expires: expires) }) { shared.bell.ring() }
    }

    package func components() -> [ComponentStatus] {
        let storage = shared.state.withLock { $0.status }
        let now = time.wallMilliseconds()
        let disk = Self.disk(StorageFiles.space(at: settings.directory), directory: settings.directory, now: now)
        let queue = calls.status(isWritable: storage.status != .unhealthy, now: now)
        return shared.care.withLock { $0.amend([storage, disk, queue]) }
    }

    /// The names of the daily backups in a folder of backups, the newest last.
    package static func dailyBackups(in folder: String) -> [String] { BackupFiles(directory: folder).daily }

    /// The newest daily backup in a folder of backups, and the wall milliseconds of what it holds.
    package static func newestBackup(in folder: String) -> (name: String, madeAt: Int64)? {
        BackupFiles(directory: folder).newest
    }

    /// Degraded below a twentieth or 200 MB of free space.
    static func disk(_ space: (free: UInt64, total: UInt64)?, directory: String, now: Int64) -> ComponentStatus {
        guard let space, space.total > 0 else {
            return ComponentStatus(
                name: "disk", status: .degraded, detail: "the free space at \(directory) is unknown", checkedAt: now)
        }
        let percent = Int(Double(space.free) / Double(space.total) * 100)
        let words = "\(percent) % (\(space.free / 1_000_000) MB) free at \(directory)"
        let isLow = percent < 5 || space.free < 200_000_000
        return ComponentStatus(
            name: "disk", status: isLow ? .degraded : .healthy, detail: isLow ? words + "; free some space" : words,
            checkedAt: now)
    }

    /// Returns when everything recorded before is committed, or was dropped because the database cannot be written.
    /// After `close` it returns at once.
    package func flush() async {
        _ = await perform { _ in true }
    }

    /// Gives back the database's memory and brings the main file up to date.
    package func releaseMemory() async {
        replies.releaseMemory()
        _ = await perform { connection in
            connection.releaseMemory()
            // A reader in the way is no reason for more than trying again at the next quiet moment.
            return (try? connection.checkpoint()) ?? false
        }
    }

    /// Has the writer's thread do something with its connection; nil after `close`.
    func perform<Value: Sendable>(_ body: @escaping @Sendable (Connection) -> Value) async -> Value? {
        await Self.perform(shared, body)
    }

    private static func perform<Value: Sendable>(
        _ shared: StoreShared, _ body: @escaping @Sendable (Connection) -> Value
    ) async -> Value? {
        await withCheckedContinuation { continuation in
            let isTaken = shared.inbox.withLock { inbox in
                inbox.put { connection in continuation.resume(returning: connection.map(body)) }
            }
            if isTaken { shared.bell.ring() } else { continuation.resume(returning: nil) }
        }
    }

    /// Tells a second gateway that finds the directory taken where this one listens.
    package func noteListening(port: Int) { lock.note(port: port) }

    /// Writes what is left, completes the main file so that no `-wal` lies beside it, and lets go of the directory.
    /// Blocks for as long as the disk takes; afterwards what is recorded is forgotten. May be called more than once.
    package func close() {
        let thread = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        guard let thread else { return }
        // First the one that reads: it would keep the writer from completing the main file.
        caretaker.close()
        shared.inbox.withLock { $0.close() }
        shared.bell.ring()
        thread.join()
        desk.close()
        siblingDesk?.close()
    }
}
