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
            // Where a service may not set the bit that hands the group down, it comes from the folder above.
            if !existed, unsafe mkdir(made, 0o770) != 0, errno != EEXIST {
                throw .unusable(what: "the storage directory \(path)", detail: SystemError.text(errno) + " at \(made)")
            }
            // The umask may have taken the group's rights.
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

    /// Puts a complete file in the place of the database, and gives the former one and the log beside it other names,
    /// never those of older ones. At no moment there is no database: a crash leaves the former, or the new one.
    /// Returns the new name of the former.
    static func replace(_ path: String, by draft: String) throws(StoreError) -> String {
        var number = 0
        func name(_ original: String) -> String { original + (number == 0 ? "" : ".\(number)") + ".corrupt" }
        while exists(name(path)) || exists(name(path + "-wal")) {
            number += 1
            if number > 10_000 { throw .damaged(file: path, detail: "too many set aside already") }
        }
        for original in [path, path + "-wal"] where exists(original) { try keep(original, as: name(original)) }
        guard unsafe rename(draft, path) == 0 else { throw .damaged(file: path, detail: SystemError.text(errno)) }
        // Should this not be reached: the new file has an epoch of its own, and the log is known for an alien one.
        for tail in ["-wal", "-shm", "-journal"] { _ = unsafe unlink(path + tail) }
        _ = syncDirectory(of: path)
        return name(path)
    }

    /// Gives a file a second name; where the file system has none of those, makes a copy.
    static func keep(_ path: String, as name: String) throws(StoreError) {
        if unsafe link(path, name) == 0 { return }
        guard copy(path, to: name) else {
            let reason = SystemError.text(errno)
            _ = unsafe unlink(name)
            throw .unusable(what: name, detail: reason + "; free some space or move \(path) away by hand")
        }
    }

    /// Copies bytes and syncs them. Not for the database in use: see decision 0004.
    static func copy(_ path: String, to target: String) -> Bool {
        let from = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard from >= 0 else { return false }
        defer { close(from) }
        let to = unsafe open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o660)
        guard to >= 0 else { return false }
        defer { close(to) }
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = unsafe read(from, &buffer, buffer.count)
            if count == 0 { return fsync(to) == 0 }
            guard count > 0 else { return false }
            // A disk that fills up takes a part, and only then says so.
            var left = buffer[..<count]
            while !left.isEmpty {
                let written = unsafe left.withUnsafeBytes { unsafe write(to, $0.baseAddress, $0.count) }
                guard written > 0 else { return false }
                left = left.dropFirst(written)
            }
        }
    }

    static func exists(_ path: String) -> Bool {
        var entry = stat()
        return unsafe lstat(path, &entry) == 0
    }

    /// The size of a file; 0 when there is none.
    static func bytes(of path: String) -> Int64 {
        var entry = stat()
        return unsafe lstat(path, &entry) == 0 ? Int64(entry.st_size) : 0
    }

    /// Has the disk keep a file as it is now. Not for the database in use: see decision 0004.
    static func sync(_ path: String) -> Bool {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return fsync(descriptor) == 0
    }

    /// Has the disk keep the names in the directory of a file.
    static func syncDirectory(of path: String) -> Bool { sync(directory(of: path)) }

    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func name(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    /// A file with bytes in it: reading a pipe or a device may never end.
    static func isRegular(_ path: String) -> Bool {
        var entry = stat()
        return unsafe stat(path, &entry) == 0 && entry.st_mode & S_IFMT == S_IFREG
    }

    static func names(in directory: String) -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
                unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Makes an empty file for a new database.
    static func create(_ path: String) -> Bool {
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o660)
        guard descriptor >= 0 else { return false }
        fchmod(descriptor, 0o660)
        close(descriptor)
        return true
    }

    /// Removes a file of our own making and what SQLite may have left beside it.
    static func remove(_ path: String) {
        for tail in ["", "-journal", "-wal", "-shm"] { _ = unsafe unlink(path + tail) }
    }

    /// A name that is free, with `tail` after a number where one is needed.
    static func free(_ name: String, tail: String = "") -> String {
        var number = 0
        while exists(name + (number == 0 ? "" : ".\(number)") + tail) { number += 1 }
        return name + (number == 0 ? "" : ".\(number)") + tail
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
        let advice =
            isSomebodyElses(entry.st_mode & S_IFMT == S_IFDIR ? path : directory(of: path))
            ? "start the gateway as its owner (root becomes it by itself: systemctl start mcp-gateway), or set "
                + "storage.directory to a place of your own"
            : "correct owner or mode, or set storage.directory to another place"
        return "\(path) belongs to user \(entry.st_uid), group \(entry.st_gid), mode \(mode), and the gateway runs as "
            + "user \(geteuid()): \(advice)"
    }

    /// The storage of another user's gateway, whose rights are right for that one.
    private static func isSomebodyElses(_ directory: String) -> Bool {
        var entry = stat()
        return unsafe stat(directory, &entry) == 0 && entry.st_uid != 0 && entry.st_uid != geteuid()
    }

    /// Free and total bytes where the path is.
    static func space(at path: String) -> (free: UInt64, total: UInt64)? {
        var space = statvfs()
        guard unsafe statvfs(path, &space) == 0 else { return nil }
        return (UInt64(space.f_bavail) * UInt64(space.f_frsize), UInt64(space.f_blocks) * UInt64(space.f_frsize))
    }
}
