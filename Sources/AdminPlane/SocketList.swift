// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

/// The kernel's list of all TCP sockets, for machines on which it does not answer for a single one.
///
/// There are two, of IPv4 and of IPv6 sockets, and the kernel goes through its whole table for each. With a handful of
/// sockets that takes some four milliseconds of CPU, with 3,400 about nine for the first. Both are read twice before a
/// socket counts as nobody's.
struct SocketList: Sendable {
    /// The text of a file of the kernel; empty when it cannot be read.
    private let read: @Sendable (_ path: String) -> [UInt8]

    init(read: @escaping @Sendable (_ path: String) -> [UInt8] = Self.file) { self.read = read }

    /// The user of the socket whose own end is `theirs`; nil when no living program holds it.
    func owner(of theirs: SocketAddress, connectedTo ours: SocketAddress) -> UInt32? {
        // The list may change while it is read, and then lack a line: once more is enough.
        look(theirs, ours) ?? look(theirs, ours)
    }

    /// An IPv4 address has two spellings, and the program at the other end chose by which it connects.
    private func look(_ theirs: SocketAddress, _ ours: SocketAddress) -> UInt32? {
        if let key = theirs.shortText.flatMap({ theirs in ours.shortText.map { "\(theirs) \($0)" } }),
            let uid = Self.owner(in: read("/proc/self/net/tcp"), key: key)
        {
            return uid
        }
        return Self.owner(in: read("/proc/self/net/tcp6"), key: "\(theirs.text) \(ours.text)")
    }

    /// Reads lines such as `3: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 1000 0 4711 …`.
    private static func owner(in list: [UInt8], key: String) -> UInt32? {
        var uid: UInt32?
        let text = list + [0]
        // By the C library, since the list may be megabytes long.
        unsafe text.withUnsafeBufferPointer { text in
            unsafe text.withMemoryRebound(to: CChar.self) { text in
                var rest = text.baseAddress
                while uid == nil, let start = unsafe rest, let found = unsafe strstr(start, ": \(key) ") {
                    let entry = unsafe found + key.utf8.count + 3
                    unsafe rest = UnsafePointer(entry)
                    let line = unsafe UnsafeBufferPointer(start: entry, count: strcspn(entry, "\n"))
                    uid = unsafe socket(String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self))?.owner
                }
            }
        }
        return uid
    }

    /// - Parameter facts: of a line, what follows the addresses.
    private static func socket(_ facts: String) -> KernelSocket? {
        let fields = facts.split(separator: " ")
        guard fields.count >= 7, let state = UInt32(fields[0], radix: 16), let uid = UInt32(fields[4]),
            let inode = UInt64(fields[6])
        else { return nil }
        return KernelSocket(uid: uid, inode: inode, state: state)
    }

    /// More than this is not read: thirty thousand sockets. What is not found stays outside.
    private static let bytesMax = 5 << 20

    private static func file(_ path: String) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while text.count < bytesMax {
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            text += piece[..<count]
        }
        return text
    }
}
