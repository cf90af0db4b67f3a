// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Synchronization
import Telemetry

/// Holds the storage directory for one process. The file says who holds it, and after a clean stop which database it
/// left.
final class StorageLock: Sendable {
    private let descriptor: Int32
    /// The port may be told while the store closes.
    private let isHeld = Mutex(true)
    /// What the last clean stop said about the database, or nil after any other end.
    let cleanMark: String?

    /// Takes the lock or says who has it. Creates the lock file if there is none; changes nothing when another holds
    /// it.
    init(directory: String) throws(StoreError) {
        let path = directory + "/gateway.lock"
        let flags = O_RDWR | O_CLOEXEC | O_CREAT | O_NOFOLLOW
        let descriptor = unsafe open(path, flags, 0o660)
        guard descriptor >= 0 else {
            throw .unusable(what: path, detail: SystemError.text(errno) + "; " + StorageFiles.rights(of: directory))
        }
        // Somebody may only look whether it is free, which takes moments.
        var tries = 5
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK, tries > 0,
            flock(descriptor, LOCK_SH | LOCK_NB) == 0
        {
            flock(descriptor, LOCK_UN)
            usleep(20_000)
            tries -= 1
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            defer { close(descriptor) }
            guard reason == EWOULDBLOCK else { throw .unusable(what: path, detail: SystemError.text(reason)) }
            let (pid, port) = Self.holder(descriptor)
            throw .locked(pid: pid, directory: directory, port: port)
        }
        let found = Self.read(descriptor)
        cleanMark = found.hasPrefix("clean ") ? String(found.dropFirst(6).prefix { $0 != "\n" }) : nil
        self.descriptor = descriptor
        fchmod(descriptor, 0o660)
        write("\(getpid())\n")
    }

    deinit { release(cleanMark: nil) }

    /// Adds the port for whoever finds the lock taken.
    func note(port: Int) {
        isHeld.withLock { held in
            if held { write("\(getpid()) \(port)\n") }
        }
    }

    /// Lets go. With a mark the next start knows that the database it describes was left whole.
    func release(cleanMark: String?) {
        isHeld.withLock { held in
            guard held else { return }
            held = false
            if let cleanMark { write("clean \(cleanMark)\n") }
            close(descriptor)
        }
    }

    private func write(_ text: String) {
        ftruncate(descriptor, 0)
        let bytes = Array(text.utf8)
        _ = unsafe pwrite(descriptor, bytes, bytes.count, 0)
    }

    /// The holder writes its name right after it has taken the lock: a reader may be a moment too early.
    static func holder(_ descriptor: Int32) -> (pid: Int32, port: Int?) {
        for _ in 0..<10 {
            let words = read(descriptor).split(whereSeparator: { $0 == " " || $0 == "\n" })
            if let first = words.first, let pid = Int32(first) {
                return (pid, words.count > 1 ? Int(words[1]) : nil)
            }
            usleep(20_000)
        }
        return (0, nil)
    }

    private static func read(_ descriptor: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = unsafe pread(descriptor, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }
}
