// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc
internal import NIOCore

/// Who is behind a Unix socket, as the kernel says (SO_PEERCRED); a process cannot lie about it.
struct PeerCredentials: Sendable {
    let uid: UInt32
    let pid: Int32

    /// The layout of the kernel's `struct ucred`.
    private struct Answer: Sendable {
        var pid: Int32 = 0
        var uid: UInt32 = 0
        var gid: UInt32 = 0
    }

    static func of(_ channel: any Channel) -> EventLoopFuture<PeerCredentials> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        let credentials: EventLoopFuture<Answer> = provider.unsafeGetSocketOption(
            level: .init(SOL_SOCKET), name: .init(SO_PEERCRED))
        return credentials.map { PeerCredentials(uid: $0.uid, pid: $0.pid) }
    }
}
