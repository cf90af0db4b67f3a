// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc
internal import NIOCore
internal import Synchronization

/// A TCP socket that listens, apart from the channel that takes its connections.
///
/// The channel works on a copy of the descriptor, so the socket can be handed on while it is served: to a service
/// manager, which hands it to the next process. Whoever holds a copy holds the queue of connections; closing ours takes
/// nobody out of it. `shutdown` would, and is never called here.
final class ListeningSocket: Sendable {
    /// Connections that may wait to be taken. The system may allow fewer (`net.core.somaxconn`).
    static let waitingMax: Int32 = 1_024

    private let descriptor: Mutex<Int32?>

    /// Takes over a descriptor that is bound and listens.
    init(owning descriptor: Int32) { self.descriptor = Mutex(descriptor) }

    /// Binds and listens. Throws the `IOError` of the step that was refused.
    convenience init(host: String, port: Int) throws {
        let address = try SocketAddress.makeAddressResolvingHost(host, port: port)
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let made = socket(Int32(address.protocol.rawValue), kind, 0)
        guard made >= 0 else { throw Self.refusal("socket") }
        // The object first, which closes what is refused below.
        self.init(owning: made)
        // Connections of a gateway that has just ended must not keep the next one from the port.
        try Self.set(SOL_SOCKET, SO_REUSEADDR, 1, on: made)
        // "::" stands for both families, whatever the machine's default is.
        if address.protocol == .inet6 { try Self.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0, on: made) }
        guard address.withSockAddr({ bind(made, $0, socklen_t($1)) }) == 0 else { throw Self.refusal("bind") }
        guard listen(made, Self.waitingMax) == 0 else { throw Self.refusal("listen") }
    }

    deinit { close() }

    /// A descriptor of the same socket, which the caller closes.
    func copy() throws -> Int32 {
        try descriptor.withLock { descriptor in
            guard let descriptor else { throw IOError(errnoCode: EBADF, reason: "the address is closed already") }
            let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
            guard copy >= 0 else { throw Self.refusal("dup") }
            return copy
        }
    }

    /// Gives the queue its whole length again: whoever takes a socket over may have asked for a shorter one.
    func lengthenQueue() {
        // Refused only for what does not listen, and then there is no queue.
        descriptor.withLock { if let descriptor = $0 { _ = listen(descriptor, Self.waitingMax) } }
    }

    /// Closes our copy of the descriptor.
    func close() {
        let closing = descriptor.withLock { descriptor in
            defer { descriptor = nil }
            return descriptor
        }
        if let closing { _ = Glibc.close(closing) }
    }

    private static func set(_ level: Int32, _ option: Int32, _ value: Int32, on descriptor: Int32) throws {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, level, option, &value, size) == 0 else { throw refusal("setsockopt") }
    }

    private static func refusal(_ step: String) -> IOError { IOError(errnoCode: errno, reason: step) }
}
