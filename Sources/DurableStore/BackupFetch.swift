// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Glibc
import Telemetry

/// A backup for a place that the gateway cannot reach: as a service it has a `/tmp` of its own, and sees no homes. The
/// gateway makes and verifies it among its backups, and whoever asked for it, and may read there, takes it away.
package struct BackupFetch: Sendable {
    static let tail = ".fetch"
    /// Whoever was to take it has not ended what it does after this time; it was killed.
    static let staleAfter: Int64 = 86_400_000

    private let database: String
    private let target: String
    /// The file that the gateway is to make.
    package let source: String

    /// - Parameters:
    ///   - target: an absolute path.
    ///   - directory: the storage directory.
    package init(to target: String, from directory: String) {
        database = directory + "/queue.db"
        self.target = target
        source = directory + "/backups/queue-\(String(UInt64.random(in: 0 ... .max), radix: 16))" + Self.tail
    }

    /// Whether this process may make files where the backup is to be. Nothing is fetched into the storage directory:
    /// the gateway itself knows what may be written there.
    package var isPossible: Bool {
        let (folder, home) = (StorageFiles.directory(of: target), StorageFiles.directory(of: database))
        guard folder != home, !folder.hasPrefix(home + "/") else { return false }
        return unsafe access(folder, W_OK | X_OK) == 0
    }

    /// Refuses a target that is in use, or somebody else's file.
    package func check() throws(StorageCareError) { try DurableStore.checkTarget(target, database: database) }

    /// Copies it: beside the target first, under its name when it is on disk and the same byte for byte. Returns its
    /// length.
    package func take() throws(StorageCareError) -> Int64 {
        let draft = target + Backup.draftTail
        StorageFiles.remove(draft)
        defer { StorageFiles.remove(draft) }
        guard StorageFiles.copy(source, to: draft) else {
            throw .impossible(
                detail: "no backup was made: \(source) cannot be copied to \(draft): \(SystemError.text(errno))")
        }
        guard let digest = PayloadCheck.digest(of: source), PayloadCheck.digest(of: draft) == digest else {
            throw .impossible(
                detail: "no backup was made: what is read at \(draft) is not what was written; is that disk sound?")
        }
        let bytes = StorageFiles.bytes(of: draft)
        guard unsafe rename(draft, target) == 0, StorageFiles.syncDirectory(of: target) else {
            throw .impossible(
                detail: "no backup was made: \(target) cannot be written: \(SystemError.text(errno))")
        }
        return bytes
    }

    /// Removes what the gateway has made.
    package func discard() { StorageFiles.remove(source) }
}

/// What the service manager hides from this process, or has given it of its own.
enum HiddenPlace {
    /// Where this process is below a place that others see otherwise, in words; else nil.
    static func words(for path: String) -> String? {
        let folder = StorageFiles.directory(of: path)
        var resolved = folder
        if let real = unsafe realpath(folder, nil) {
            resolved = unsafe String(cString: real)
            unsafe free(real)
        }
        return words(for: resolved, mounts: mounts())
    }

    /// - Parameter mounts: as in `/proc/self/mountinfo`.
    static func words(for folder: String, mounts: String) -> String? {
        var over = (point: "", root: "")
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ", maxSplits: 5)
            guard fields.count == 6 else { continue }
            let point = String(fields[4])
            let isOver = point == "/" || folder == point || folder.hasPrefix(point + "/")
            // Of two at one place the later one is seen.
            if isOver, point.utf8.count >= over.point.utf8.count { over = (point, String(fields[3])) }
        }
        if over.root.contains("/systemd-private-") {
            return "the service has a \(over.point) of its own, so nobody else would find a file there"
        }
        if over.root.hasSuffix("/inaccessible/dir") { return "\(over.point) is hidden from the service" }
        return nil
    }

    private static func mounts() -> String {
        let file = unsafe open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while bytes.count < 1 << 20 {
            let count = unsafe read(file, &piece, piece.count)
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
