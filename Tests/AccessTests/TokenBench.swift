// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Testing

@testable import Access

/// A storage directory of its own that goes away with the test.
final class TokenBench {
    static let now: Int64 = 1_750_000_000_000
    let directory: String

    init() {
        var name = Array("/tmp/access-test-XXXXXX".utf8CString)
        directory = name.withUnsafeMutableBufferPointer { room in
            room.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nonexistent"
        }
    }

    deinit {
        for name in ["tokens", "tokens.new", "tokens.lock", "elsewhere"] { unlink("\(folder)/\(name)") }
        for path in [path, folder, directory] { rmdir(path) }
    }

    var folder: String { directory + "/keys" }
    var path: String { folder + "/tokens" }

    func book() throws -> TokenBook { try TokenBook(directory: directory) }

    /// Puts a file there as an editor or a package would.
    func put(_ text: String, mode: mode_t = 0o600) {
        mkdir(folder, 0o700)
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer { close(file) }
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            written += count
        }
        fchmod(file, mode)
        #expect(written == bytes.count)
    }

    var text: String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 4 << 20)
        let count = read(file, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    func mode(_ path: String) -> mode_t {
        var entry = stat()
        return stat(path, &entry) == 0 ? entry.st_mode & 0o7777 : 0
    }

    func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// A line as the file has it, and the secret that belongs to it.
    static func line(
        id: String, name: String, roles: String = "call", expires: String = "-"
    ) -> (line: String, secret: String) {
        let secret = TokenSecret.make(id: id)
        var digest: [UInt8] = []
        SecretDigest(of: Array(secret.utf8)).writeHex(to: &digest)
        let hex = String(decoding: digest, as: UTF8.self)
        return ("\(id) \(name) \(roles) \(now) \(expires) \(hex)\n", secret)
    }
}

extension TokenBook {
    func visitor(_ secret: String, now: Int64 = TokenBench.now) -> Visitor? {
        visitor(bearer: Array(secret.utf8), now: now)
    }

    func add(_ name: String, expiresAt: Int64? = nil) throws(AccessError) -> (token: Token, secret: String) {
        try add(name: name, roles: [.call], expiresAt: expiresAt, now: TokenBench.now)
    }
}
