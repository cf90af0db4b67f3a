// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import HTTPListener
import Testing

/// A real connection of this process with itself. A client that leaves may do so before the server.
final class LoopbackConnection {
    /// How an end writes its address.
    enum Spelling: String, Sendable {
        case short = "127.0.0.1"
        case long = "::1"
        /// A socket of IPv6 that speaks IPv4.
        case mapped = "::ffff:127.0.0.1"

        fileprivate var family: Int32 { self == .short ? AF_INET : AF_INET6 }
    }

    private(set) var client: Int32
    private(set) var server: Int32
    private let listener: Int32
    /// The client as the server sees it.
    let peer: NetworkPeer
    /// The address that was listened on, as if it were a client of a port that nobody comes from.
    let listenerAsPeer: NetworkPeer

    /// - Parameter device: the client's socket is tied to it.
    init(from: Spelling, to: Spelling, device: String? = nil) throws {
        listener = socket(to.family, Int32(SOCK_STREAM.rawValue), 0)
        client = socket(from.family, Int32(SOCK_STREAM.rawValue), 0)
        server = -1
        peer = try Self.connect(client, listener, from, to, device: device, accepted: &server)
        listenerAsPeer = NetworkPeer(
            address: peer.ownAddress, port: peer.ownPort, ownAddress: peer.ownAddress, ownPort: 1)
    }

    deinit { for descriptor in [client, server, listener] where descriptor >= 0 { close(descriptor) } }

    private static func connect(
        _ client: Int32, _ listener: Int32, _ from: Spelling, _ to: Spelling, device: String?,
        accepted server: inout Int32
    ) throws -> NetworkPeer {
        if to == .mapped {
            var off: Int32 = 0
            try check(setsockopt(listener, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, socklen_t(MemoryLayout<Int32>.size)))
        }
        if let device {
            try check(setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, device, socklen_t(device.utf8.count)))
        }
        try check(withAddress(to, port: 0) { bind(listener, $0, $1) })
        try check(listen(listener, 8))
        let port = try end(listener, getsockname).port
        try check(withAddress(from, port: UInt16(port)) { Glibc.connect(client, $0, $1) })
        server = accept(listener, nil, nil)
        try check(server)
        let theirs = try end(server, getpeername)
        let ours = try end(server, getsockname)
        return NetworkPeer(address: theirs.address, port: theirs.port, ownAddress: ours.address, ownPort: ours.port)
    }

    /// The inode of the client's socket, which no other has.
    var clientInode: UInt64 {
        var facts = stat()
        return fstat(client, &facts) == 0 ? UInt64(facts.st_ino) : 0
    }

    /// The client has said everything and goes on listening.
    func shutClient() throws { try Self.check(shutdown(client, Int32(SHUT_WR))) }

    /// The server has said everything and goes on listening.
    func shutServer() throws { try Self.check(shutdown(server, Int32(SHUT_WR))) }

    /// The client's program leaves; its socket stays until the server closes too.
    func closeClient() {
        close(client)
        client = -1
    }

    func closeServer() {
        close(server)
        server = -1
    }

    /// The client's program leaves and its socket with it.
    func resetClient() throws {
        var now = linger(l_onoff: 1, l_linger: 0)
        try Self.check(setsockopt(client, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size)))
        closeClient()
    }

    /// Whether this machine has such addresses.
    static func isPossible(_ from: Spelling, _ to: Spelling, device: String? = nil) -> Bool {
        // Only whether it works is asked here.
        (try? LoopbackConnection(from: from, to: to, device: device)) != nil
    }

    struct Refused: Error { let number: Int32 }

    private static func check(_ result: Int32) throws { if result < 0 { throw Refused(number: errno) } }

    private static func withAddress(
        _ spelling: Spelling, port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var storage = sockaddr_storage()
        return withUnsafeMutableBytes(of: &storage) { raw in
            let address = raw.baseAddress!
            let size: Int
            if spelling.family == AF_INET {
                let short = address.assumingMemoryBound(to: sockaddr_in.self)
                short.pointee.sin_family = sa_family_t(AF_INET)
                short.pointee.sin_port = port.bigEndian
                inet_pton(AF_INET, spelling.rawValue, &short.pointee.sin_addr)
                size = MemoryLayout<sockaddr_in>.size
            } else {
                let long = address.assumingMemoryBound(to: sockaddr_in6.self)
                long.pointee.sin6_family = sa_family_t(AF_INET6)
                long.pointee.sin6_port = port.bigEndian
                inet_pton(AF_INET6, spelling.rawValue, &long.pointee.sin6_addr)
                size = MemoryLayout<sockaddr_in6>.size
            }
            return body(UnsafePointer(address.assumingMemoryBound(to: sockaddr.self)), socklen_t(size))
        }
    }

    private static func end(
        _ descriptor: Int32, _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) throws -> (address: String, port: Int) {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return try withUnsafeMutableBytes(of: &storage) { raw in
            let address = raw.baseAddress!
            try check(ask(descriptor, address.assumingMemoryBound(to: sockaddr.self), &size))
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            let family = Int32(address.assumingMemoryBound(to: sockaddr.self).pointee.sa_family)
            // The port is at the same place in both.
            let short = address.assumingMemoryBound(to: sockaddr_in.self)
            let long = address.assumingMemoryBound(to: sockaddr_in6.self)
            if family == AF_INET {
                inet_ntop(family, &short.pointee.sin_addr, &text, socklen_t(text.count))
            } else {
                inet_ntop(family, &long.pointee.sin6_addr, &text, socklen_t(text.count))
            }
            let letters = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            return (String(decoding: letters, as: UTF8.self), Int(UInt16(bigEndian: short.pointee.sin_port)))
        }
    }
}
