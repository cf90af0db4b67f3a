// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc
package import HTTPListener

/// Whose program is at the other end of a loopback connection, by the kernel's own list of sockets; a program cannot
/// lie about it.
package struct SocketOwners: Sendable {
    /// The text of a file of the kernel; empty when it cannot be read.
    private let read: @Sendable (_ path: String) -> [UInt8]

    init(read: @escaping @Sendable (_ path: String) -> [UInt8]) { self.read = read }

    /// The kernel's list. Reading it costs some ten microseconds, and about one more for each socket of the
    /// machine.
    package static let machine = SocketOwners(read: Self.file)

    /// The user of the socket that is the peer's end of this connection; nil when no living program holds it.
    package func owner(of peer: NetworkPeer) -> UInt32? {
        guard let theirs = SocketAddress(peer.address, port: peer.port),
            let ours = SocketAddress(peer.ownAddress, port: peer.ownPort)
        else { return nil }
        // The list may change while it is read, and then lack a line: once more is enough.
        return look(theirs, ours) ?? look(theirs, ours)
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

    /// States in which both ends are connected and the peer's has a program: established, and half closed by either.
    private static let connected: Set<String> = ["01", "04", "05", "08"]

    /// Reads lines such as `3: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 1000 0 4711 …`.
    ///
    /// A socket that its program has closed is listed as root's, without an inode, while the rest of the conversation
    /// goes on: whoever asks and leaves at once must not pass for root. And a connection that is only being asked for
    /// may have the ports of one that its program has left.
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
                    uid = unsafe owner(of: String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self))
                }
            }
        }
        return uid
    }

    /// - Parameter facts: of a line, what follows the addresses.
    private static func owner(of facts: String) -> UInt32? {
        let fields = facts.split(separator: " ")
        guard fields.count >= 7, connected.contains(String(fields[0])), let inode = UInt64(fields[6]), inode != 0
        else { return nil }
        return UInt32(fields[4])
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

/// An address and a port as the kernel's list writes them: words of 32 bits in the machine's own byte order.
struct SocketAddress: Equatable {
    /// Sixteen bytes in network order; IPv4 as `::ffff:…`.
    private let bytes: [UInt8]
    private let port: Int

    init?(_ address: String, port: Int) {
        guard (1...65_535).contains(port) else { return nil }
        self.port = port
        var raw = [UInt8](repeating: 0, count: 16)
        if unsafe inet_pton(AF_INET, address, &raw) == 1 {
            bytes = Self.mapped + raw[..<4]
        } else if unsafe inet_pton(AF_INET6, address, &raw) == 1 {
            bytes = raw
        } else {
            return nil
        }
    }

    private static let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]

    /// In the list of IPv6 sockets.
    var text: String { hex(bytes[...]) + ending }
    /// In the list of IPv4 sockets; nil when it is no such address.
    var shortText: String? { bytes.starts(with: Self.mapped) ? hex(bytes[12...]) + ending : nil }

    private var ending: String { ":" + Self.padded(UInt32(port), 4) }

    private func hex(_ part: ArraySlice<UInt8>) -> String {
        stride(from: part.startIndex, to: part.endIndex, by: 4).map { start in
            let word = part[start..<(start + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            // In network order here; the kernel prints the word as this machine loads it.
            return Self.padded(UInt32(bigEndian: word), 8)
        }.joined()
    }

    private static func padded(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: width - digits.count) + digits
    }
}
