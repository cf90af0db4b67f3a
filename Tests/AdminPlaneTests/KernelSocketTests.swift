// Licensed under the Apache License 2.0; see LICENSE.

import GatewayTestKit
import Glibc
import HTTPListener
import Testing

@testable import AdminPlane

/// Real connections: what the kernel answers when it is asked for one socket, and what its list says.
@Suite("Sockets of this machine") struct KernelSocketTests {
    /// A way to the owner that is asked by itself, without the other one behind it.
    enum Way: String, Sendable, CaseIterable {
        case question
        case list

        fileprivate func owners() -> SocketOwners {
            switch self {
            case .question:
                SocketOwners(
                    time: ManualTime(), ask: { KernelSocket.find($0, connectedTo: $1) }, list: SocketList { _ in [] })
            case .list: SocketOwners(time: ManualTime(), ask: { _, _ in .noAnswer }, list: SocketList())
            }
        }
    }

    struct Pair: Sendable, CustomTestStringConvertible {
        let from: LoopbackConnection.Spelling
        let to: LoopbackConnection.Spelling
        var device: String?

        var testDescription: String { "\(from.rawValue) to \(to.rawValue)" }

        fileprivate func connect() throws -> LoopbackConnection {
            try LoopbackConnection(from: from, to: to, device: device)
        }
    }

    /// Those of IPv6 where there is any.
    private static let pairs = [
        Pair(from: .short, to: .short), Pair(from: .long, to: .long), Pair(from: .short, to: .mapped),
        Pair(from: .mapped, to: .mapped), Pair(from: .mapped, to: .short),
    ].filter { ($0.from == .short && $0.to == .short) || LoopbackConnection.isPossible($0.from, $0.to) }

    /// Both, or the list alone where the kernel answers no questions.
    private static let ways = Way.allCases.filter { $0 == .list || answersQuestions }

    private static let answersQuestions: Bool = {
        guard let first = SocketAddress("127.0.0.1", port: 1), let second = SocketAddress("127.0.0.1", port: 2)
        else { return false }
        return KernelSocket.find(first, connectedTo: second) != .noAnswer
    }()

    private static func ask(_ peer: NetworkPeer) throws -> SocketAnswer {
        let theirs = try #require(SocketAddress(peer.address, port: peer.port))
        let ours = try #require(SocketAddress(peer.ownAddress, port: peer.ownPort))
        return KernelSocket.find(theirs, connectedTo: ours)
    }

    @Test("A program that is connected is found, and also when either side has said everything", arguments: pairs, ways)
    func connected(_ pair: Pair, _ way: Way) throws {
        let owners = way.owners()
        let one = try pair.connect()
        #expect(owners.owner(of: one.peer) == geteuid())
        try one.shutClient()
        #expect(owners.owner(of: one.peer) == geteuid())
        let other = try pair.connect()
        try other.shutServer()
        #expect(owners.owner(of: other.peer) == geteuid())
    }

    @Test("A socket that its program has closed is nobody's", arguments: pairs, ways)
    func left(_ pair: Pair, _ way: Way) throws {
        let owners = way.owners()
        let closed = try pair.connect()
        closed.closeClient()
        #expect(owners.owner(of: closed.peer) == nil)
        let reset = try pair.connect()
        try reset.resetClient()
        #expect(owners.owner(of: reset.peer) == nil)
        let over = try pair.connect()
        over.closeClient()
        over.closeServer()
        #expect(owners.owner(of: over.peer) == nil)
    }

    @Test("Neither a listener nor another connection stands for one that is not there", arguments: pairs, ways)
    func others(_ pair: Pair, _ way: Way) throws {
        let owners = way.owners()
        let one = try pair.connect()
        let peer = one.peer
        #expect(owners.owner(of: one.listenerAsPeer) == nil)
        #expect(
            owners.owner(
                of: NetworkPeer(address: peer.address, port: peer.port, ownAddress: peer.ownAddress, ownPort: 1))
                == nil)
    }

    @Test(
        "The answer is about the client's socket and no other", .enabled(if: answersQuestions, "needs netlink"),
        arguments: pairs)
    func exact(_ pair: Pair) throws {
        let one = try pair.connect()
        let inode = one.clientInode
        try #require(inode != 0)
        let second = try pair.connect()
        #expect(try Self.ask(one.peer) == .socket(KernelSocket(uid: geteuid(), inode: inode, state: 1)))
        #expect(
            try Self.ask(second.peer)
                == .socket(KernelSocket(uid: geteuid(), inode: second.clientInode, state: 1)))
        #expect(try Self.ask(one.listenerAsPeer) == .noSocket)
        try one.resetClient()
        #expect(try Self.ask(one.peer) == .noSocket)
    }

    /// Linux lets a second program take the same ends when the first is tied to a device and the second is not; the
    /// first then stays in the tables, connected to nobody. It must not pass for the second.
    @Test(
        "A socket that is tied to a device is nobody's",
        .enabled(
            if: answersQuestions && LoopbackConnection.isPossible(.short, .short, device: "lo"),
            "needs netlink and the right to tie a socket to a device"))
    func tied() throws {
        let one = try Pair(from: .short, to: .short, device: "lo").connect()
        #expect(Way.question.owners().owner(of: one.peer) == nil)
        #expect(try Self.ask(one.peer) == .noSocket)
    }

    @Test("What the gateway uses finds a real program, whichever way this machine has")
    func machine() throws {
        let owners = SocketOwners(time: ManualTime())
        let one = try Pair(from: .short, to: .short).connect()
        #expect(owners.owner(of: one.peer) == geteuid())
        one.closeClient()
        #expect(owners.owner(of: one.peer) == nil)
    }
}
