// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import HTTPListener
internal import Synchronization

/// Whose program is at the other end of a loopback connection, by the kernel's own word; a program cannot lie about it.
///
/// The kernel is asked for this one socket, which costs about ten microseconds however many sockets the machine has.
/// Where it does not answer (a sandbox without netlink, a security policy), its list of all sockets is read, which
/// costs milliseconds on the thread that asks.
package final class SocketOwners: Sendable {
    typealias Question = @Sendable (_ theirs: SocketAddress, _ ours: SocketAddress) -> SocketAnswer

    /// For how long the list is read without asking once more, so that a kernel which lets every question wait for its
    /// time limit does so once a minute.
    static let listTime: Duration = .seconds(60)

    private let time: any TimeSource
    private let ask: Question
    private let list: SocketList
    /// Before this the list is read.
    private let nextQuestion = Mutex(Moment(nanoseconds: 0))

    /// Asks the kernel we run on.
    package convenience init(time: any TimeSource) {
        self.init(time: time, ask: { KernelSocket.find($0, connectedTo: $1) }, list: SocketList())
    }

    init(time: any TimeSource, ask: @escaping Question, list: SocketList) {
        self.time = time
        self.ask = ask
        self.list = list
    }

    /// The user of the socket that is the peer's end of this connection; nil when no living program holds it.
    package func owner(of peer: NetworkPeer) -> UInt32? {
        guard let theirs = SocketAddress(peer.address, port: peer.port),
            let ours = SocketAddress(peer.ownAddress, port: peer.ownPort)
        else { return nil }
        let now = time.now()
        if nextQuestion.withLock({ $0 }) <= now {
            switch ask(theirs, ours) {
            case .socket(let socket): return socket.owner
            case .noSocket: return nil
            case .noAnswer: nextQuestion.withLock { $0 = now + Self.listTime }
            }
        }
        return list.owner(of: theirs, connectedTo: ours)
    }
}
