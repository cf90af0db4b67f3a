// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Glibc
import Logging
import Synchronization
import Telemetry

/// Does for the storage what takes long: backups, checks. One thread of its own that only reads the database, through
/// connections that it opens when it needs them; what has to be written it gives to the writer.
final class Caretaker: Sendable {
    /// It looks at the clock at least so often: the machine may have slept, or its clock been set.
    private static let lookEvery: Int64 = 60_000
    /// A backup that could not be made is tried again after this time.
    private static let tryAgainAfter = Duration.seconds(600)

    private struct Work {
        var jobs: [@Sendable (Bool) -> Void] = []
        var isClosing = false
    }

    let time: any TimeSource
    let log: Logger
    private let shared: StoreShared
    private let bell: Bell
    private let work = Mutex(Work())
    private let notBefore = Mutex<Moment?>(nil)
    private let thread = Mutex<WriterThread?>(nil)

    init(shared: StoreShared, time: any TimeSource, log: Logger) throws(StoreError) {
        self.shared = shared
        self.time = time
        self.log = log
        bell = try Bell()
    }

    func start(deepCheck: Bool) throws(StoreError) {
        let started = try WriterThread { [self] in
            if deepCheck { _ = look() }
            while keepsOn {
                let jobs = work.withLock { work in
                    defer { work.jobs = [] }
                    return work.jobs
                }
                for job in jobs { job(keepsOn) }
                round()
                if keepsOn, work.withLock({ $0.jobs.isEmpty }) { bell.wait(milliseconds: pause()) }
            }
            for job in work.withLock({ $0.jobs }) { job(false) }
        }
        thread.withLock { $0 = started }
    }

    private var settings: StoreSettings { shared.settings.withLock { $0 } }

    /// Has it look anew at what is due and when: the settings have changed.
    func wake() { bell.ring() }

    /// False as soon as the store closes. Asked in the middle of everything that takes long.
    var keepsOn: Bool { !work.withLock { $0.isClosing } }

    /// Ends what is going on and waits for that.
    func close() {
        work.withLock { $0.isClosing = true }
        bell.ring()
        let running = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        running?.join()
    }

    /// Has something done on its thread; nil when the store closes.
    func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
        await withCheckedContinuation { continuation in
            let isTaken = work.withLock { work in
                guard !work.isClosing else { return false }
                work.jobs.append { mayRun in continuation.resume(returning: mayRun ? body() : nil) }
                return true
            }
            if isTaken { bell.ring() } else { continuation.resume(returning: nil) }
        }
    }

    private func pause() -> Int32 {
        guard let backups = settings.backups else { return Int32(Self.lookEvery) }
        let now = time.wallMilliseconds()
        let next = BackupFiles(directory: settings.backupDirectory).next(backups, wallMilliseconds: now)
        return Int32(max(100, min(Self.lookEvery, next - now)))
    }

    /// What is due now. On this thread only.
    func round() {
        if shared.care.withLock({ $0.restored != nil }) { recount() }
        forgetWhatIsGone()
        guard let backups = settings.backups, keepsOn else { return }
        if let notBefore = notBefore.withLock({ $0 }), time.now() < notBefore { return }
        let files = BackupFiles(directory: settings.backupDirectory)
        guard files.isDue(backups, wallMilliseconds: time.wallMilliseconds()) else { return }
        do {
            let report = try backup(to: nil)
            log.info(
                "today's backup was made: \(report.path)",
                metadata: [
                    LogKey.took: "\((report.seconds * 1_000).rounded() / 1_000)", LogKey.count: "\(report.bytes)",
                ])
        } catch {
            if error == .closing { return }
            notBefore.withLock { $0 = time.now() + Self.tryAgainAfter }
        }
    }

    /// A backup now. On this thread only.
    func backup(to path: String?) throws(StorageCareError) -> BackupReport {
        let files = BackupFiles(directory: settings.backupDirectory)
        let target = path ?? files.path(wallMilliseconds: time.wallMilliseconds())
        if let damage = shared.care.withLock({ $0.damage }) { throw .damaged(detail: damage) }
        do {
            let report = try Backup(settings: settings, time: time).make(target) { keepsOn }
            if path == nil {
                files.rotate(
                    kept: (settings.backups ?? BackupSettings()).kept, wallMilliseconds: time.wallMilliseconds())
                notBefore.withLock { $0 = nil }
                shared.care.withLock { $0.backupTrouble = nil }
            }
            return report
        } catch {
            if path == nil, error != .closing {
                let isNews = shared.care.withLock { care in
                    defer { care.backupTrouble = error.text }
                    return care.backupTrouble != error.text
                }
                if isNews { log.error("\(error.text)") }
            }
            throw error
        }
    }

    /// The deep check behind serving: says what it finds, to health, log and the next start. True when all is well.
    func look() -> Bool {
        let found: String?
        do {
            found = try FileCheck.damage(try Connection(path: settings.databasePath, .read)) { keepsOn }
        } catch {
            // Ended early by a stop, or another process was in the way: nothing is known, and nothing is said.
            return shared.care.withLock { $0.damage == nil }
        }
        let words = found.map {
            "the deep check found the database damaged (\($0)); restart the gateway: it sets the file aside and "
                + "salvages what can be read"
        }
        let former = shared.care.withLock { care in
            defer { care.damage = words }
            return care.damage
        }
        if let words, former == nil { log.error("\(words)") }
        if former != words {
            write { connection in
                do { try DamageNote.write(words, connection) } catch {
                    // Health and log say so already; a restart in this state checks quickly, not deeply.
                }
            }
        }
        return words == nil
    }

    /// What was set aside at the start needs nobody any more once somebody has deleted it. On this thread only.
    func forgetWhatIsGone() {
        guard let file = shared.care.withLock({ $0.setAside?.file }), !StorageFiles.exists(file) else { return }
        shared.care.withLock { $0.setAside = nil }
        log.info("what was set aside at the start has been deleted", metadata: [LogKey.file: "\(file)"])
    }

    /// Whether calls of a restored copy still wait for a person.
    private func recount() {
        do {
            let open = try Restored.open(try Connection(path: settings.databasePath, .read))
            shared.care.withLock { $0.restored = open?.count ?? 0 > 0 ? open : nil }
            guard open?.count == 0 else { return }
            write { connection in
                do { try connection.execute("DELETE FROM meta WHERE key = '\(Restored.metaKey)'") } catch {
                    // The next start finds the note and no such calls, and tries again.
                }
            }
        } catch {
            // Not now; the next round counts again.
            return
        }
    }

    private func write(_ body: @escaping @Sendable (Connection) -> Void) {
        let isTaken = shared.inbox.withLock { inbox in
            inbox.put { connection in if let connection { body(connection) } }
        }
        if isTaken { shared.bell.ring() }
    }
}
