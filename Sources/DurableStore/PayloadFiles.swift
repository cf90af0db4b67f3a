// Licensed under the Apache License 2.0; see LICENSE.

import Crypto
import Glibc
import Synchronization
import Telemetry

/// Large arguments and results, each a file of its own under `queue/`. A file is there, whole and synced, before the
/// row that names it; it goes some time after the row.
///
/// A backup is a copy of the database alone, so a file stays as long as a file in `backups/` may name it: one that is
/// named no longer gets the mode 0440, its time of change says since when, and `sweep` removes it when every file in
/// `backups/` is an hour younger than that. Without backups it goes at once.
final class PayloadFiles: Sendable {
    /// A file that could not be written or read, in words.
    struct Trouble: Error, Equatable {
        var words: String
        /// What was written is lost. Otherwise it is worth trying again.
        var isDamage = false
    }

    private static let suffix = ".payload"
    private static let temporary = ".tmp"
    private static let abandonedMode: UInt32 = 0o440
    private static let keptMode = PlainFile.mode
    /// A backup is begun before it has the time that its file shows.
    private static let backupSeconds = 3_600

    private let directory: String
    private let backups: String
    /// Files that rows name, or will name in a moment.
    private let named = Mutex<Set<String>>([])

    init(_ settings: StoreSettings) {
        directory = settings.payloadDirectory
        backups = settings.backupDirectory
    }

    /// At the start, before anything is written.
    func begin(named found: Set<String>) { named.withLock { $0 = found } }

    // MARK: One file

    /// Writes a file of its own. `reserveBytes` have to be free besides it, for what may be refused when the disk is
    /// almost full.
    func write(_ bytes: [UInt8], reserveBytes: UInt64? = nil) -> Result<PayloadReference, Trouble> {
        if let reserveBytes, let space = StorageFiles.space(at: directory),
            space.free < reserveBytes.addingReportingOverflow(UInt64(bytes.count)).partialValue
                || space.free < reserveBytes
        {
            return .failure(Trouble(words: "the disk is almost full; free space where \(directory) is"))
        }
        let name = Self.randomName()
        let (path, temporary) = (directory + "/" + name, directory + "/" + name + Self.temporary)
        named.withLock { _ = $0.insert(name) }
        guard PlainFile.create(temporary, bytes), unsafe rename(temporary, path) == 0,
            StorageFiles.sync(directory)
        else {
            let reason = errno
            discard(name)
            _ = unsafe unlink(temporary)
            let words = reason == ENOSPC ? "the disk is full; free space" : SystemError.text(reason) + "; look"
            return .failure(Trouble(words: "a large payload cannot be written: \(words) where \(directory) is"))
        }
        let digest = Array(SHA256.hash(data: bytes))
        return .success(PayloadReference(name: name, bytes: Int64(bytes.count), digest: digest))
    }

    private static func randomName() -> String {
        var digits: [UInt8] = []
        for _ in 0..<32 { digits.append(Array("0123456789abcdef".utf8)[Int.random(in: 0..<16)]) }
        return String(decoding: digits, as: UTF8.self) + suffix
    }

    /// Reads one back. A file that is not what was written is set aside as `.corrupt`.
    func read(_ reference: PayloadReference) -> Result<[UInt8], Trouble> {
        let path = directory + "/" + reference.name
        guard let bytes = PlainFile.contents(of: path, count: Int(reference.bytes)) else {
            let reason = errno
            if reason != 0 && reason != ENOENT {
                return .failure(Trouble(words: "\(path) cannot be read: \(SystemError.text(reason))"))
            }
            if reason == ENOENT {
                return .failure(Trouble(words: "payload damaged: \(path) is gone", isDamage: true))
            }
            return .failure(setAside(reference.name, "it has another length than was written"))
        }
        guard Array(SHA256.hash(data: bytes)) == reference.digest else {
            return .failure(setAside(reference.name, "it holds something else than was written"))
        }
        return .success(bytes)
    }

    private func setAside(_ name: String, _ what: String) -> Trouble {
        let path = directory + "/" + name
        named.withLock { _ = $0.remove(name) }
        let isMoved = unsafe rename(path, path + ".corrupt") == 0
        let place = isMoved ? "it was set aside as \(name).corrupt" : "it could not be set aside"
        return Trouble(words: "payload damaged: \(path): \(what); \(place)", isDamage: true)
    }

    /// Removes a file that no row ever named.
    func discard(_ name: String) {
        named.withLock { _ = $0.remove(name) }
        _ = unsafe unlink(directory + "/" + name)
    }

    // MARK: What nobody names any more

    /// Their rows are gone.
    func abandon(_ names: [String]) {
        let oldest = oldestBackup()
        for name in names {
            named.withLock { _ = $0.remove(name) }
            settle(name, oldestBackup: oldest)
        }
    }

    /// Looks through the directory for files that no row names, and takes away what may go. Call it now and then.
    func sweep() {
        let oldest = oldestBackup()
        for name in StorageFiles.names(in: directory) {
            if name.hasSuffix(Self.suffix + Self.temporary) {
                // One that is being written is named already.
                let isAtWork = named.withLock { $0.contains(String(name.dropLast(Self.temporary.utf8.count))) }
                if !isAtWork { _ = unsafe unlink(directory + "/" + name) }
            } else if name.hasSuffix(Self.suffix) {
                settle(name, oldestBackup: oldest)
            }
        }
    }

    private func settle(_ name: String, oldestBackup: Int?) {
        let path = directory + "/" + name
        var entry = stat()
        guard unsafe lstat(path, &entry) == 0, entry.st_mode & S_IFMT == S_IFREG else { return }
        let isMarked = entry.st_mode & 0o777 == Self.abandonedMode
        if named.withLock({ $0.contains(name) }) {
            // A restored database names it again.
            if isMarked { _ = unsafe chmod(path, Self.keptMode) }
            return
        }
        if let oldestBackup {
            guard isMarked else {
                _ = unsafe utimensat(AT_FDCWD, path, nil, 0)
                _ = unsafe chmod(path, Self.abandonedMode)
                return
            }
            if oldestBackup <= entry.st_mtim.tv_sec + Self.backupSeconds { return }
        }
        _ = unsafe unlink(path)
    }

    /// When the oldest file in `backups/` was written, in seconds; nil when there is none.
    private func oldestBackup() -> Int? {
        var oldest: Int?
        for name in StorageFiles.names(in: backups) {
            var entry = stat()
            guard unsafe lstat(backups + "/" + name, &entry) == 0, entry.st_mode & S_IFMT == S_IFREG else { continue }
            oldest = min(oldest ?? .max, entry.st_mtim.tv_sec)
        }
        return oldest
    }
}
