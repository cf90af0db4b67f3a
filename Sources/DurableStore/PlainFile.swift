// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// Whole files by the system's calls. Where something does not work the reason is in `errno`.
enum PlainFile {
    static let mode: UInt32 = 0o660

    /// Writes and syncs a file that did not exist.
    static func create(_ path: String, _ bytes: [UInt8]) -> Bool {
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { return false }
        fchmod(file, mode)
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { room in
                unsafe Glibc.write(file, room.baseAddress.map { unsafe $0 + written }, bytes.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            written += count
        }
        guard written == bytes.count, fsync(file) == 0 else {
            let reason = errno
            close(file)
            errno = reason
            return false
        }
        return close(file) == 0
    }

    /// A file of this length; nil with `errno` 0 when it has another.
    static func contents(of path: String, count: Int) -> [UInt8]? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var entry = stat()
        guard unsafe fstat(file, &entry) == 0 else { return nil }
        guard Int(entry.st_size) == count else {
            errno = 0
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let part = unsafe bytes.withUnsafeMutableBytes { room in
                unsafe Glibc.read(file, room.baseAddress.map { unsafe $0 + got }, count - got)
            }
            if part < 0, errno == EINTR { continue }
            guard part > 0 else {
                if part == 0 { errno = 0 }
                return nil
            }
            got += part
        }
        return bytes
    }
}
