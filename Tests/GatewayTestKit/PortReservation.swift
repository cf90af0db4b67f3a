// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// A loopback port that nobody else is given while this exists, also while nobody listens on it.
///
/// The socket is bound and never listens: connections to it are refused, and a listener that may share the address can
/// come and go on it.
final class PortReservation: Sendable {
    let port: Int
    private let descriptor: Int32

    struct NoPort: Error {}

    init() throws {
        let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(file, generic, size) == 0 && getsockname(file, generic, &size) == 0
            }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        descriptor = file
        // The socket goes with this object, also when it could not be bound.
        guard isBound else { throw NoPort() }
    }

    deinit { close(descriptor) }
}
