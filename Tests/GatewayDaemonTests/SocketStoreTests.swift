// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Testing

@testable import GatewayDaemon

/// What listens where the service manager wants to be told.
private final class Manager: Sendable {
    let name = "@mcpgw-store-\(getpid())-\(UInt32.random(in: .min ... .max))"
    private let socket: Int32

    init() {
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = [0] + Array(name.utf8.dropFirst())
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) == 0 }
        }
        #expect(isBound)
    }

    deinit { close(socket) }

    /// The next message and the descriptor that came with it; nil when there is none.
    func next() -> (text: String, descriptor: Int32?)? {
        var text = [UInt8](repeating: 0, count: 256)
        // A header of sixteen bytes, the descriptor, and room to see a second one.
        var rights = [Int32](repeating: -1, count: 8)
        var (count, size) = (0, 0)
        text.withUnsafeMutableBytes { text in
            rights.withUnsafeMutableBytes { rights in
                var piece = iovec(iov_base: text.baseAddress, iov_len: text.count)
                withUnsafeMutablePointer(to: &piece) { piece in
                    var message = msghdr()
                    message.msg_iov = piece
                    message.msg_iovlen = 1
                    message.msg_control = rights.baseAddress
                    message.msg_controllen = rights.count
                    count = recvmsg(socket, &message, Int32(MSG_DONTWAIT) | Int32(MSG_CMSG_CLOEXEC))
                    size = Int(message.msg_controllen)
                }
            }
        }
        guard count >= 0 else { return nil }
        return (String(decoding: text.prefix(count), as: UTF8.self), size > 16 ? rights[4] : nil)
    }
}

/// A descriptor as the service manager would hand it over, and our own copy to look at it.
private struct Handed {
    let own: Int32
    let descriptor: Int32
    let port: Int

    /// A TCP socket on a free port of `host`.
    init(host: String, listens: Bool = true) throws {
        let isFour = !host.contains(":")
        let own = socket(isFour ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var bytes = [UInt8](repeating: 0, count: 28)
        let family = sa_family_t(isFour ? AF_INET : AF_INET6)
        withUnsafeBytes(of: family) { bytes.replaceSubrange(0..<2, with: $0) }
        let parsed = bytes.withUnsafeMutableBytes { bytes in
            inet_pton(Int32(family), host, bytes.baseAddress.map { $0 + (isFour ? 4 : 8) })
        }
        try #require(parsed == 1)
        var size = socklen_t(isFour ? 16 : 28)
        let isBound = bytes.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { address in
                bind(own, address.baseAddress, size) == 0 && getsockname(own, address.baseAddress, &size) == 0
            }
        }
        try #require(isBound)
        if listens { try #require(listen(own, 16) == 0) }
        self.own = own
        port = Int(bytes[2]) << 8 | Int(bytes[3])
        // Far above what the process opens meanwhile, and without close-on-exec, as the manager leaves it.
        descriptor = fcntl(own, F_DUPFD, 700)
    }

    /// Anything else.
    init(_ other: Int32) {
        own = other
        port = 1
        descriptor = fcntl(own, F_DUPFD, 700)
    }

    func end() { close(own) }

    func environment(names: String = "listener", pid: Int32 = getpid(), manager: Manager? = nil) -> [String: String] {
        var all = ["LISTEN_PID": String(pid), "LISTEN_FDS": "1", "LISTEN_FDNAMES": names]
        if let manager { all["NOTIFY_SOCKET"] = manager.name }
        return all
    }

    func store(manager: Manager? = nil) -> SocketStore {
        SocketStore(environment: environment(manager: manager), firstDescriptor: descriptor)
    }

    /// Whether the handed descriptor still is the socket that was made.
    var isOpen: Bool {
        var (mine, theirs) = (stat(), stat())
        return fstat(own, &mine) == 0 && fstat(descriptor, &theirs) == 0 && mine.st_ino == theirs.st_ino
    }

    var isClosedOnExec: Bool { fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0 }

    var listens: Bool {
        var (value, size) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        return getsockopt(own, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value == 1
    }
}

@Suite("The socket that the service manager keeps")
struct SocketStoreTests {
    @Test(
        "A socket is taken when it listens where the file says",
        arguments: [
            ("127.0.0.1", "127.0.0.1", true), ("127.0.0.1", "localhost", true), ("127.0.0.1", "0.0.0.0", false),
            ("0.0.0.0", "0.0.0.0", true), ("0.0.0.0", "127.0.0.1", false), ("0.0.0.0", "::", false),
            ("127.0.0.2", "localhost", false),
        ])
    func hosts(_ bound: String, _ wanted: String, _ fits: Bool) throws { try check(bound, wanted, fits) }

    @Test(
        "The same with addresses of the sixth version", .enabled(if: Self.hasSix),
        arguments: [
            ("::1", "localhost", true), ("::1", "::1", true), ("::1", "0:0:0:0:0:0:0:1", true), ("::", "::", true),
            ("::", "0.0.0.0", false), ("::1", "127.0.0.1", false), ("::", "::1", false),
        ])
    func sixHosts(_ bound: String, _ wanted: String, _ fits: Bool) throws { try check(bound, wanted, fits) }

    private static var hasSix: Bool {
        let probe = try? Handed(host: "::1")
        if let probe { for descriptor in [probe.own, probe.descriptor] { close(descriptor) } }
        return probe != nil
    }

    private func check(_ bound: String, _ wanted: String, _ fits: Bool) throws {
        let handed = try Handed(host: bound)
        defer { handed.end() }
        var store = handed.store()
        let taken = store.take(name: "listener", address: ListenAddress(host: wanted, port: handed.port))
        #expect(taken == (fits ? handed.descriptor : nil))
        #expect(handed.isOpen == fits)
        #expect(handed.listens == fits, "what does not fit must free its port at once")
        #expect(store.take(name: "listener", address: ListenAddress(host: wanted, port: handed.port)) == nil)
        if let taken { close(taken) }
    }

    @Test("A socket of another port is given up, here and in the store", arguments: [0, 1])
    func otherPort(_ port: Int) throws {
        let manager = Manager()
        let handed = try Handed(host: "127.0.0.1")
        defer { handed.end() }
        var store = handed.store(manager: manager)
        #expect(store.take(name: "listener", address: ListenAddress(host: "127.0.0.1", port: port)) == nil)
        #expect(!handed.isOpen)
        #expect(!handed.listens)
        let told = try #require(manager.next())
        #expect(told.text == "FDSTOREREMOVE=1\nFDNAME=listener")
        #expect(told.descriptor == nil)
        #expect(manager.next() == nil)
    }

    @Test("What does not listen is given up", arguments: ["bound", "datagrams", "file"])
    func noListener(_ kind: String) throws {
        let handed =
            switch kind {
            case "bound": try Handed(host: "127.0.0.1", listens: false)
            case "datagrams": Handed(socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
            default: Handed(open("/dev/null", O_RDWR | O_CLOEXEC))
            }
        defer { handed.end() }
        var store = handed.store()
        #expect(store.take(name: "listener", address: ListenAddress(host: "127.0.0.1", port: handed.port)) == nil)
        #expect(!handed.isOpen)
    }

    @Test("Descriptors of another process are not touched")
    func otherProcess() throws {
        let manager = Manager()
        let handed = try Handed(host: "127.0.0.1")
        defer { for one in [handed.own, handed.descriptor] { close(one) } }
        let environment = handed.environment(pid: getpid() + 1, manager: manager)
        var store = SocketStore(environment: environment, firstDescriptor: handed.descriptor)
        #expect(store.take(name: "listener", address: ListenAddress(host: "127.0.0.1", port: handed.port)) == nil)
        #expect(handed.isOpen && handed.listens && !handed.isClosedOnExec)
        #expect(manager.next() == nil)
    }

    @Test("What nobody asks for stays open, but no child inherits it", arguments: ["stored", "", "listener2"])
    func otherNames(_ name: String) throws {
        let manager = Manager()
        let handed = try Handed(host: "127.0.0.1")
        defer { for one in [handed.own, handed.descriptor] { close(one) } }
        #expect(!handed.isClosedOnExec)
        let environment = handed.environment(names: name, manager: manager)
        var store = SocketStore(environment: environment, firstDescriptor: handed.descriptor)
        #expect(handed.isClosedOnExec)
        #expect(store.take(name: "listener", address: ListenAddress(host: "127.0.0.1", port: handed.port)) == nil)
        #expect(handed.isOpen && handed.listens)
        #expect(manager.next() == nil)
    }

    @Test("Variables that are no numbers hand nothing over", arguments: ["", "-1", "many", "99999999999999999999"])
    func badCounts(_ count: String) throws {
        let handed = try Handed(host: "127.0.0.1")
        defer { for one in [handed.own, handed.descriptor] { close(one) } }
        var environment = handed.environment()
        environment["LISTEN_FDS"] = count
        var store = SocketStore(environment: environment, firstDescriptor: handed.descriptor)
        #expect(store.take(name: "listener", address: ListenAddress(host: "127.0.0.1", port: handed.port)) == nil)
        #expect(handed.isOpen && handed.listens)
    }

    @Test("Keeping hands the manager a copy under the name")
    func keep() throws {
        let manager = Manager()
        let handed = try Handed(host: "127.0.0.1")
        defer { for one in [handed.own, handed.descriptor] { close(one) } }
        #expect(SocketStore(environment: ["NOTIFY_SOCKET": manager.name]).keep(handed.own, name: "listener"))
        let told = try #require(manager.next())
        #expect(told.text == "FDSTORE=1\nFDNAME=listener")
        let kept = try #require(told.descriptor)
        defer { close(kept) }
        var (mine, theirs) = (stat(), stat())
        #expect(fstat(handed.own, &mine) == 0 && fstat(kept, &theirs) == 0 && mine.st_ino == theirs.st_ino)
        #expect(manager.next() == nil)
    }

    @Test("Without a manager nothing is kept", arguments: [nil, "", "@nobody-listens-here", "relative"])
    func noManager(_ name: String?) throws {
        let handed = try Handed(host: "127.0.0.1")
        defer { for one in [handed.own, handed.descriptor] { close(one) } }
        let environment = name.map { ["NOTIFY_SOCKET": $0] } ?? [:]
        #expect(!SocketStore(environment: environment).keep(handed.own, name: "listener"))
    }
}
