// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

/// `keys/tokens` in the storage directory. Reading takes no lock, since the file is only ever replaced as a whole.
/// Changing holds `keys/tokens.lock`, so that a gateway and a verb beside it do not lose what the other has changed.
struct TokenFile: Sendable {
    /// By which a changed file is known without reading it.
    enum Mark: Sendable, Equatable {
        case missing
        case unreachable(reason: Int32)
        case file(device: UInt64, inode: UInt64, bytes: Int64, modified: [Int], changed: [Int])

        fileprivate init(_ entry: stat) {
            self = .file(
                device: UInt64(entry.st_dev), inode: UInt64(entry.st_ino), bytes: Int64(entry.st_size),
                modified: [entry.st_mtim.tv_sec, entry.st_mtim.tv_nsec],
                changed: [entry.st_ctim.tv_sec, entry.st_ctim.tv_nsec])
        }
    }

    struct Contents: Sendable {
        var list: TokenList
        var mark: Mark
        /// What an operator should mend although the file is taken.
        var warning: String?
    }

    private static let mode: mode_t = 0o600
    private static let stepMilliseconds: Int32 = 20

    let path: String
    private let folder: String
    private let lockTries: Int

    /// - Parameter lockTries: how often the lock is tried, 20 milliseconds apart.
    init(directory: String, lockTries: Int = 100) {
        folder = "\(directory)/keys"
        path = "\(folder)/tokens"
        self.lockTries = lockTries
    }

    /// What the file looks like from outside. One system call.
    func mark() -> Mark {
        var entry = stat()
        if unsafe lstat(path, &entry) == 0 { return Mark(entry) }
        return errno == ENOENT || errno == ENOTDIR ? .missing : .unreachable(reason: errno)
    }

    /// No file is a list without tokens; a damaged one is none at all.
    func read() throws(AccessError) -> Contents {
        // Whatever stands there, opening it must not wait.
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return Contents(list: TokenList(), mark: .missing) }
            throw .unusable(
                what: path, detail: errno == ELOOP ? "it is a symbolic link; put the file itself there" : Self.reason())
        }
        defer { close(file) }
        var entry = stat()
        guard unsafe fstat(file, &entry) == 0 else { throw .unusable(what: path, detail: Self.reason()) }
        guard entry.st_mode & S_IFMT == S_IFREG else { throw .unusable(what: path, detail: "it is no file") }
        guard entry.st_mode & 0o002 == 0 else {
            throw .unusable(
                what: path,
                detail: "every user of this machine may write to it, so anybody may have put a token there; look at "
                    + "its lines, then run `chmod 600` on it")
        }
        let bytes = try bytes(of: file)
        let list: TokenList
        do { list = try TokenList(bytes: bytes) } catch {
            throw .damaged(file: path, line: error.line, detail: error.detail)
        }
        return Contents(list: list, mark: Mark(entry), warning: warning(entry.st_mode & 0o7777))
    }

    /// Reads, changes and replaces the file, alone. The lock is still held when `install` is told what is in it now.
    ///
    /// Blocks for as long as the disk takes, and up to two seconds for the lock. When it throws, nothing was changed,
    /// except that a failing disk may have left the new file.
    func change<Result>(
        _ body: (inout TokenList) throws(AccessError) -> Result, install: (Contents) -> Void
    ) throws(AccessError) -> Result {
        if unsafe mkdir(folder, 0o700) != 0, errno != EEXIST { throw .unusable(what: folder, detail: Self.reason()) }
        let lock = try lock()
        defer { close(lock) }
        var list = try read().list
        let result = try body(&list)
        install(Contents(list: list, mark: try replace(list.bytes)))
        return result
    }

    private func warning(_ mode: mode_t) -> String? {
        guard mode & ~Self.mode != 0 else { return nil }
        return "\(path) has the mode \(String(mode, radix: 8)), so that others than its owner see or decide who has "
            + "access; run `chmod 600` on it"
    }

    private func bytes(of file: Int32) throws(AccessError) -> [UInt8] {
        var bytes: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe room.withUnsafeMutableBytes { unsafe Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .unusable(what: path, detail: Self.reason()) }
            if count == 0 { return bytes }
            bytes += room.prefix(count)
            guard bytes.count <= TokenList.bytesMax else { throw tooLong }
        }
    }

    private var tooLong: AccessError {
        .unusable(what: path, detail: "a token file has at most \(TokenList.bytesMax) bytes; shorten its comments")
    }

    /// Taken until the descriptor is closed, which also the end of the process does.
    private func lock() throws(AccessError) -> Int32 {
        let name = path + ".lock"
        let file = unsafe open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, Self.mode)
        guard file >= 0 else { throw .unusable(what: name, detail: Self.reason()) }
        for attempt in 0..<lockTries {
            // A wait with a limit, of nothing but the time.
            if attempt > 0 { _ = poll(nil, 0, Self.stepMilliseconds) }
            if flock(file, LOCK_EX | LOCK_NB) == 0 { return file }
            guard errno == EWOULDBLOCK || errno == EINTR else {
                let reason = Self.reason()
                close(file)
                throw .unusable(what: name, detail: reason)
            }
        }
        close(file)
        throw .busy(file: path)
    }

    /// Written aside, synced, renamed, the rename synced: at every moment there is the former file or the new one.
    private func replace(_ bytes: [UInt8]) throws(AccessError) -> Mark {
        guard bytes.count <= TokenList.bytesMax else { throw tooLong }
        let aside = path + ".new"
        let directory = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .unusable(what: folder, detail: Self.reason()) }
        defer { close(directory) }
        // Left by one that was stopped halfway.
        _ = unsafe unlink(aside)
        let file = unsafe open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, Self.mode)
        guard file >= 0 else { throw .unusable(what: aside, detail: Self.reason()) }
        defer { close(file) }
        var entry = stat()
        guard fchmod(file, Self.mode) == 0, write(bytes, to: file), fsync(file) == 0,
            unsafe rename(aside, path) == 0
        else {
            let reason = Self.reason()
            _ = unsafe unlink(aside)
            throw .unusable(what: path, detail: "\(reason); nothing was changed")
        }
        guard fsync(directory) == 0, unsafe fstat(file, &entry) == 0 else {
            throw .unusable(what: folder, detail: "\(Self.reason()); the change may not last")
        }
        return Mark(entry)
    }

    private func write(_ bytes: [UInt8], to file: Int32) -> Bool {
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { room in
                unsafe Glibc.write(file, room.baseAddress.map { unsafe $0 + written }, bytes.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            written += count
        }
        return true
    }

    private static func reason() -> String { unsafe String(cString: strerror(errno)) }
}
