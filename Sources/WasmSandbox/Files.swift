// Licensed under the Apache License 2.0; see LICENSE.

internal import Crypto
internal import Glibc

/// The few things the sandbox does with files. Errors are words.
enum Files {
    struct Problem: Error { var text: String }

    struct Digest {
        var hex: String
        /// The first eight bytes.
        var head: [UInt8]
        var bytes: Int
    }

    private static func reason() -> String { unsafe String(cString: strerror(errno)) }

    /// Reads the file piece by piece, so that a large one never lies in memory as a whole.
    private static func read(_ path: String, bytesMax: Int, each: (ArraySlice<UInt8>) -> Void) throws(Problem) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Problem(text: "\(path) cannot be opened: \(reason())") }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var total = 0
        while true {
            let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Problem(text: "\(path) cannot be read: \(reason())") }
            if count == 0 { return }
            total += count
            guard total <= bytesMax else { throw Problem(text: "\(path) is larger than \(Words.bytes(bytesMax))") }
            each(buffer[..<count])
        }
    }

    static func digest(_ path: String, bytesMax: Int) throws(Problem) -> Digest {
        var hash = SHA256()
        var head: [UInt8] = []
        var bytes = 0
        try read(path, bytesMax: bytesMax) { piece in
            if head.count < 8 { head.append(contentsOf: piece.prefix(8 - head.count)) }
            bytes += piece.count
            unsafe piece.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
        }
        return Digest(hex: hexadecimal(hash.finalize()), head: head, bytes: bytes)
    }

    static func digest(of bytes: [UInt8]) -> String {
        var hash = SHA256()
        unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
        return hexadecimal(hash.finalize())
    }

    private static func hexadecimal(_ digest: SHA256Digest) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func contents(_ path: String, bytesMax: Int) throws(Problem) -> [UInt8] {
        var all: [UInt8] = []
        try read(path, bytesMax: bytesMax) { all.append(contentsOf: $0) }
        return all
    }

    /// Writes a file that nobody else may read, and sees it onto the disk.
    static func write(_ bytes: [UInt8], to path: String) throws(Problem) {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Problem(text: "\(path) cannot be made: \(reason())") }
        defer { close(descriptor) }
        var start = 0
        while start < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(descriptor, buffer.baseAddress! + start, buffer.count - start)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Problem(text: "\(path) cannot be written: \(reason())") }
            start += count
        }
        guard fsync(descriptor) == 0 else { throw Problem(text: "\(path) cannot be written: \(reason())") }
    }

    static func rename(_ from: String, to: String) throws(Problem) {
        guard unsafe Glibc.rename(from, to) == 0 else { throw Problem(text: "\(from) cannot be renamed: \(reason())") }
    }

    static func remove(_ path: String) { _ = unsafe unlink(path) }

    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    static func syncDirectory(_ path: String) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// Makes the directory, with those above it, so that only this user can look into it. Refuses one that others can
    /// write to.
    static func makePrivateDirectory(_ path: String) throws(Problem) {
        var built = path.hasPrefix("/") ? "" : "."
        let parts = path.split(separator: "/")
        for (index, part) in parts.enumerated() {
            built += "/" + part
            if unsafe mkdir(built, index == parts.count - 1 ? 0o700 : 0o755) != 0, errno != EEXIST {
                throw Problem(text: "\(built) cannot be made: \(reason())")
            }
        }
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw Problem(text: "\(path): \(reason())") }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() else {
            throw Problem(text: "\(path) is not a directory of the gateway's own user")
        }
        guard unsafe status.st_mode & 0o077 == 0 || chmod(path, 0o700) == 0 else {
            throw Problem(text: "\(path) is open to other users and that cannot be changed: \(reason())")
        }
    }

    /// Names in a directory with the time of their last change, seconds.
    static func list(_ path: String) -> [(name: String, changed: Int)] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(directory) }
        var found: [(name: String, changed: Int)] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { place in
                unsafe place.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            var status = stat()
            guard unsafe lstat("\(path)/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            found.append((name, status.st_mtim.tv_sec))
        }
        return found
    }
}
