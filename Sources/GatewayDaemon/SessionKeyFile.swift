// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc
internal import Sealing

/// The key that seals session ids, in a file of its own in the state directory, so that sessions outlive the process.
enum SessionKeyFile {
    private static let secretBytes = 32
    private static let magic: [UInt8] = Array("mcpgw-session-key-1\n".utf8)

    /// Reads the key, or makes one: written aside, synced, linked, readable by the owner alone.
    static func load(directory: String) throws(StartError) -> SealKeys {
        let folder = "\(directory)/keys"
        if unsafe mkdir(folder, 0o700) != 0, errno != EEXIST {
            throw StartError("cannot make \(folder): \(SystemText.of(errno))")
        }
        let path = "\(folder)/session.key"
        if let bytes = try read(path) {
            guard bytes.count == magic.count + 1 + secretBytes, bytes.starts(with: magic) else {
                throw StartError(
                    "\(path) is not a session key; move it away, and a new one is made (open sessions end)")
            }
            return keys(Array(bytes[magic.count...]))
        }
        var random = SystemRandomNumberGenerator()
        let body = [UInt8(1)] + (0..<secretBytes).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        guard try write(magic + body, to: path) else {
            // Another gateway on the same storage was quicker: its key is the one.
            guard unsafe access(path, F_OK) == 0 else {
                throw StartError("\(path) comes and goes; look who removes it")
            }
            return try load(directory: directory)
        }
        return keys(body)
    }

    private static func keys(_ body: [UInt8]) -> SealKeys {
        SealKeys(current: SealKeys.Key(id: body[0], secret: Array(body[1...])))
    }

    private static func read(_ path: String) throws(StartError) -> [UInt8]? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw StartError("cannot read \(path): \(SystemText.of(errno))")
        }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(file, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw StartError("cannot read \(path): \(SystemText.of(errno))") }
        return Array(bytes.prefix(count))
    }

    /// False when there is one by now.
    private static func write(_ bytes: [UInt8], to path: String) throws(StartError) -> Bool {
        let aside = "\(path).\(UInt32.random(in: 0 ... .max)).new"
        defer { unsafe unlink(aside) }
        let file = unsafe open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw StartError("cannot write \(aside): \(SystemText.of(errno))") }
        let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
        let reason = count < 0 ? errno : ENOSPC
        let isSynced = fsync(file) == 0
        close(file)
        guard count == bytes.count, isSynced else {
            throw StartError("cannot write \(aside): \(SystemText.of(reason))")
        }
        // A link is never put in the place of another file, as a rename would.
        guard unsafe link(aside, path) == 0 else {
            if errno == EEXIST { return false }
            throw StartError("cannot write \(path): \(SystemText.of(errno))")
        }
        // Without its name on the disk a power cut would take it, and all sessions with it.
        let folder = unsafe open(
            String(path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex)), O_RDONLY | O_CLOEXEC)
        guard folder >= 0 else { throw StartError("cannot open the folder of \(path): \(SystemText.of(errno))") }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw StartError("cannot sync the folder of \(path): \(SystemText.of(errno))") }
        return true
    }
}

/// Why the gateway does not start, in words.
package struct StartError: Error, Sendable {
    package let words: String
    package init(_ words: String) { self.words = words }
}

enum SystemText {
    static func of(_ code: Int32) -> String {
        guard let text = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }
}
