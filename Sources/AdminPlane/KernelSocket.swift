// Licensed under the Apache License 2.0; see LICENSE.

internal import CHost
internal import Glibc

/// What the kernel says when it is asked for one socket.
enum SocketAnswer: Sendable, Equatable {
    case socket(KernelSocket)
    /// There is none with these ends.
    case noSocket
    /// It does not say: it has no such questions, somebody forbids them, or it takes too long.
    case noAnswer
}

/// A TCP socket of this machine, as the kernel describes it.
struct KernelSocket: Sendable, Equatable {
    let uid: UInt32
    /// Zero when its program has closed it.
    let inode: UInt64
    /// A number of the kernel's: 1 is established, 10 a listener.
    let state: UInt32

    /// States in which both ends are connected and the peer's has a program: established, and half closed by either
    /// (fin-wait-1, fin-wait-2, close-wait).
    private static let connected: Set<UInt32> = [0x01, 0x04, 0x05, 0x08]

    /// The user of the program that holds it; nil when none does.
    ///
    /// A socket that its program has closed stays for the rest of the conversation, without an inode and in some
    /// kernels as root's: whoever asks and leaves at once must not pass for root. And a connection that is only being
    /// asked for may have the ports of one that its program has left.
    var owner: UInt32? { Self.connected.contains(state) && inode != 0 ? uid : nil }

    /// Asks for the socket whose own end is `theirs`. One that is tied to a device is not found, since another
    /// program's may have the same ends. Costs about ten microseconds; waits at most a tenth of a second, and on a
    /// healthy machine not at all.
    static func find(_ theirs: SocketAddress, connectedTo ours: SocketAddress) -> SocketAnswer {
        var found = csystem_socket_owner()
        let problem = unsafe csystem_tcp_socket_owner(theirs.bytes, theirs.port, ours.bytes, ours.port, &found)
        return switch problem {
        case 0: .socket(KernelSocket(uid: found.user, inode: UInt64(found.inode), state: found.state))
        case ENOENT: .noSocket
        default: .noAnswer
        }
    }
}
