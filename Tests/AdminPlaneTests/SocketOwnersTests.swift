// Licensed under the Apache License 2.0; see LICENSE.

import GatewayTestKit
import Glibc
import HTTPListener
import Synchronization
import Testing

@testable import AdminPlane

/// Whose program is at the other end, by the kernel's answer or by its list.
@Suite("Socket owners") struct SocketOwnersTests {
    private static let head =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

    /// A line as the kernel prints it. Ports: 50000 is C350, 8080 is 1F90.
    private static func line(
        _ local: String, _ remote: String, state: String = "01", uid: Int = 1_000, inode: Int = 4_711
    ) -> String {
        "   7: \(local) \(remote) \(state) 00000000:00000000 00:00000000 00000000  \(uid)        0 \(inode) 1 0000\n"
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var peer = "127.0.0.1"
        var own = "127.0.0.1"
        var tcp = ""
        var tcp6 = ""
        var uid: UInt32?

        var testDescription: String { name }
    }

    private static let v4 = ("0100007F:C350", "0100007F:1F90")
    private static let v6 = ("00000000000000000000000001000000:C350", "00000000000000000000000001000000:1F90")
    private static let mapped = ("0000000000000000FFFF00000100007F:C350", "0000000000000000FFFF00000100007F:1F90")

    static let cases = [
        Case(name: "its own end", tcp: line(v4.0, v4.1), uid: 1_000),
        Case(name: "among others", tcp: line("0100007F:C351", v4.1, uid: 5) + line(v4.0, v4.1, uid: 0), uid: 0),
        Case(name: "our end is not theirs", tcp: line(v4.1, v4.0, uid: 0)),
        Case(name: "another port of ours", tcp: line(v4.0, "0100007F:1F91", uid: 0)),
        Case(name: "another address of theirs", tcp: line("0200007F:C350", v4.1, uid: 0)),
        Case(name: "127.0.0.2", peer: "127.0.0.2", tcp: line("0200007F:C350", v4.1, uid: 7), uid: 7),
        Case(
            name: "a mapped peer that speaks IPv4", peer: "::ffff:127.0.0.1", own: "::ffff:127.0.0.1",
            tcp: line(v4.0, v4.1, uid: 8), uid: 8),
        Case(
            name: "a mapped peer that speaks IPv6", peer: "::ffff:127.0.0.1", own: "::ffff:127.0.0.1",
            tcp6: line(mapped.0, mapped.1, uid: 9), uid: 9),
        Case(name: "IPv6", peer: "::1", own: "::1", tcp6: line(v6.0, v6.1, uid: 10), uid: 10),
        Case(name: "IPv6 is not IPv4", peer: "::1", own: "::1", tcp: line(v4.0, v4.1, uid: 0)),
        Case(name: "has said everything and listens", tcp: line(v4.0, v4.1, state: "05"), uid: 1_000),
        Case(name: "was told everything", tcp: line(v4.0, v4.1, state: "08"), uid: 1_000),
        Case(
            name: "closed by its program, listed as root's",
            tcp: line(v4.0, v4.1, state: "05", uid: 0, inode: 0)),
        Case(name: "closed and waiting", tcp: line(v4.0, v4.1, state: "06", uid: 0, inode: 0)),
        Case(name: "a new connection of root from the same port", tcp: line(v4.0, v4.1, state: "02", uid: 0)),
        Case(name: "a listener", tcp: line(v4.0, "00000000:0000", state: "0A", uid: 0)),
        Case(name: "a line that is cut off", tcp: "   7: \(v4.0) \(v4.1) 01 00000000:00000000 00:0000"),
        Case(name: "no list"),
        Case(name: "no address", peer: "nowhere", tcp: line(v4.0, v4.1, uid: 0)),
    ]

    @Test("The list names the user of the peer's end only", arguments: cases)
    func table(_ one: Case) throws {
        try #require(UInt16(littleEndian: 1) == 1, "the lines are those of a little-endian machine")
        let list = SocketList { path in
            let lines = path.hasSuffix("tcp6") ? one.tcp6 : one.tcp
            return lines.isEmpty ? [] : Array((Self.head + lines).utf8)
        }
        let owners = SocketOwners(time: ManualTime(), ask: { _, _ in .noAnswer }, list: list)
        let peer = NetworkPeer(address: one.peer, port: 50_000, ownAddress: one.own, ownPort: 8_080)
        #expect(owners.owner(of: peer) == one.uid)
    }

    @Test("A port that is none is nobody's, and nobody is asked", arguments: [0, -1, 65_536])
    func noPort(_ port: Int) {
        let kernel = ScriptedKernel(
            .socket(KernelSocket(uid: 0, inode: 1, state: 1)), Self.line("0100007F:0000", "0100007F:1F90", uid: 0))
        let peer = NetworkPeer(address: "127.0.0.1", port: port, ownAddress: "127.0.0.1", ownPort: 8_080)
        #expect(kernel.owners(ManualTime()).owner(of: peer) == nil)
        #expect(kernel.counts == [0, 0])
    }

    private static let peer = NetworkPeer(address: "127.0.0.1", port: 50_000, ownAddress: "127.0.0.1", ownPort: 8_080)

    @Test("An answer is believed, and the list is not read")
    func answers() {
        let kernel = ScriptedKernel(.noSocket, Self.line(Self.v4.0, Self.v4.1, uid: 0))
        let owners = kernel.owners(ManualTime())
        #expect(owners.owner(of: Self.peer) == nil)
        kernel.answer(.socket(KernelSocket(uid: 1_000, inode: 4_711, state: 1)))
        #expect(owners.owner(of: Self.peer) == 1_000)
        kernel.answer(.socket(KernelSocket(uid: 0, inode: 0, state: 5)))
        #expect(owners.owner(of: Self.peer) == nil)
        #expect(kernel.counts == [3, 0])
    }

    @Test("A socket without an inode is nobody's, and so is one that is not connected", arguments: UInt32(0)...13)
    func states(_ state: UInt32) {
        #expect(KernelSocket(uid: 0, inode: 0, state: state).owner == nil)
        let isConnected = [1, 4, 5, 8].contains(state)
        #expect(KernelSocket(uid: 0, inode: 1, state: state).owner == (isConnected ? 0 : nil))
    }

    @Test("When the kernel does not answer, its list is read for a minute, and then it is asked again")
    func silence() {
        let kernel = ScriptedKernel(.noAnswer, Self.line(Self.v4.0, Self.v4.1, uid: 7))
        let time = ManualTime()
        let owners = kernel.owners(time)
        for _ in 0..<3 { #expect(owners.owner(of: Self.peer) == 7) }
        #expect(kernel.counts == [1, 3])
        time.advance(by: .seconds(60) - .nanoseconds(1))
        #expect(owners.owner(of: Self.peer) == 7)
        #expect(kernel.counts == [1, 4])
        time.advance(by: .nanoseconds(1))
        #expect(owners.owner(of: Self.peer) == 7)
        #expect(kernel.counts == [2, 5])
        time.advance(by: .seconds(60))
        kernel.answer(.socket(KernelSocket(uid: 8, inode: 4_711, state: 1)))
        for _ in 0..<2 { #expect(owners.owner(of: Self.peer) == 8) }
        #expect(kernel.counts == [4, 5])
    }
}

/// Gives one answer to every question, and one list; counts who was asked.
private final class ScriptedKernel: Sendable {
    private let state: Mutex<(answer: SocketAnswer, questions: Int, readings: Int)>
    private let list: String

    init(_ answer: SocketAnswer, _ list: String) {
        state = Mutex((answer, 0, 0))
        self.list = list
    }

    func answer(_ answer: SocketAnswer) { state.withLock { $0.answer = answer } }

    /// Questions and readings of the list.
    var counts: [Int] { state.withLock { [$0.questions, $0.readings] } }

    func owners(_ time: ManualTime) -> SocketOwners {
        SocketOwners(
            time: time,
            ask: { [self] _, _ in
                state.withLock {
                    $0.questions += 1
                    return $0.answer
                }
            },
            list: SocketList { [self] _ in
                state.withLock { $0.readings += 1 }
                return Array(list.utf8)
            })
    }
}

/// Whom `admin.local` means.
@Suite("Local users") struct LocalUsersTests {
    private static let accounts = Accounts(
        user: { ["root": 0, "anna": 1_000][$0] }, members: { ["ops": [1_001, 1_002], "empty": []][$0] }, own: { 990 })

    @Test("Users, groups and the gateway's own user are found; unknown names let nobody in and are told")
    func names() {
        let users = LocalUsers(["anna", "@ops", "self", "@empty", "nobody-here", "@none", ""], accounts: Self.accounts)
        #expect([990, 1_000, 1_001, 1_002].allSatisfy { users.contains($0) })
        #expect(![0, 1, 65_534].contains { users.contains($0) })
        #expect(users.unknown == ["nobody-here", "@none", ""])
    }

    @Test("What holds by itself is root and the gateway's user")
    func standard() {
        let users = LocalUsers(LocalUsers.standard, accounts: Self.accounts)
        #expect(users == LocalUsers(["root", "self"], accounts: Self.accounts))
        #expect(users.contains(0) && users.contains(990) && !users.contains(1_000))
    }

    @Test("The machine knows root, its group by its first members too, and who we are")
    func machine() {
        #expect(LocalUsers(["root"]).contains(0))
        // Root's entry names the group; the group's own entry names nobody.
        #expect(LocalUsers(["@root"]).contains(0))
        #expect(LocalUsers(["self"]).contains(geteuid()))
        #expect(LocalUsers(["no such user", "@no such group"]).unknown.count == 2)
    }
}
