// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry

/// The files of the storage directory: made with the right modes, set aside when damaged.
enum StorageFiles {
    /// Makes the directory and those above it.
    static func make(directory path: String) throws(StoreError) {
        var made = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            made += (made.isEmpty || made.hasSuffix("/") ? "" : "/") + part
            let existed = exists(made)
            if !existed, unsafe mkdir(made, 0o2770) != 0, errno != EEXIST {
                throw .unusable(what: "the storage directory \(path)", detail: SystemError.text(errno) + " at \(made)")
            }
            // The umask may have taken the group's rights, and mkdir may ignore the bit that hands the group down.
            if !existed { _ = unsafe chmod(made, 0o2770) }
        }
    }

    /// What belongs in the directory besides the database. Called with the lock held.
    static func prepare(_ settings: StoreSettings) throws(StoreError) {
        for name in ["queue", "backups"] { try make(directory: settings.directory + "/" + name) }
        let path = settings.databasePath
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o660)
        if descriptor >= 0 {
            fchmod(descriptor, 0o660)
            close(descriptor)
        } else if errno != EEXIST {
            throw .unusable(what: path, detail: SystemError.text(errno) + "; " + rights(of: settings.directory))
        } else if unsafe access(path, R_OK | W_OK) != 0 {
            throw .unusable(what: path, detail: SystemError.text(errno) + "; " + rights(of: path))
        }
    }

    /// Lets the group read and write a file that was perhaps copied here by hand. Only its owner may; somebody else's
    /// file that we can write is good enough.
    static func openToGroup(_ path: String) { _ = unsafe chmod(path, 0o660) }

    /// Renames the database and what lies beside it, never over an older one. Returns the new name of the database.
    static func setAside(_ path: String) throws(StoreError) -> String {
        var number = 0
        func name(_ original: String) -> String { original + (number == 0 ? "" : ".\(number)") + ".corrupt" }
        while exists(name(path)) || exists(name(path + "-wal")) {
            number += 1
            if number > 10_000 { throw .damaged(file: path, detail: "too many set aside already") }
        }
        // The write-ahead log first: a fresh database must never find the old one's.
        if exists(path + "-wal"), unsafe rename(path + "-wal", name(path + "-wal")) != 0 {
            throw .damaged(file: path, detail: SystemError.text(errno))
        }
        _ = unsafe unlink(path + "-shm")
        guard unsafe rename(path, name(path)) == 0 else { throw .damaged(file: path, detail: SystemError.text(errno)) }
        return name(path)
    }

    static func exists(_ path: String) -> Bool {
        var entry = stat()
        return unsafe lstat(path, &entry) == 0
    }

    /// Tells one state of a file from every other, or nil when there is no such file.
    static func mark(of path: String) -> String? {
        var entry = stat()
        guard unsafe lstat(path, &entry) == 0 else { return nil }
        return "\(entry.st_ino) \(entry.st_size) \(entry.st_mtim.tv_sec).\(entry.st_mtim.tv_nsec)"
    }

    static func inode(of path: String) -> UInt64? {
        var entry = stat()
        return unsafe lstat(path, &entry) == 0 ? UInt64(entry.st_ino) : nil
    }

    /// Zero for a file that is not there.
    static func size(of path: String) -> UInt64 {
        var entry = stat()
        return unsafe lstat(path, &entry) == 0 ? UInt64(entry.st_size) : 0
    }

    /// Who may do what with a file, for the operator who has to repair it.
    static func rights(of path: String) -> String {
        var entry = stat()
        guard unsafe stat(path, &entry) == 0 else { return "\(path) does not exist" }
        let mode = String(entry.st_mode & 0o7777, radix: 8)
        return "\(path) belongs to user \(entry.st_uid), group \(entry.st_gid), mode \(mode), and the gateway runs as "
            + "user \(geteuid()): correct owner or mode, or set storage.directory to another place"
    }

    /// Free and total bytes where the path is.
    static func space(at path: String) -> (free: UInt64, total: UInt64)? {
        var space = statvfs()
        guard unsafe statvfs(path, &space) == 0 else { return nil }
        return (UInt64(space.f_bavail) * UInt64(space.f_frsize), UInt64(space.f_blocks) * UInt64(space.f_frsize))
    }
}
