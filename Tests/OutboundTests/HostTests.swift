// Licensed under the Apache License 2.0; see LICENSE.

import CHost
import Glibc
import Testing

@Suite("What the system tells us")
struct HostTests {
    @Test("signals arrive as numbers on a descriptor")
    func signals() async throws {
        let gateway = try BareProbe("signals")
        let numbers = try await gateway.lines(5).compactMap { Int32($0) }
        gateway.end(signal: SIGKILL)
        #expect(Set(numbers) == [SIGHUP, SIGUSR1, SIGTERM, SIGINT, SIGUSR2])
    }

    @Test("the other end of a Unix socket is known")
    func peer() {
        var ends: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        var (user, group, process) = (UInt32.max, UInt32.max, Int32(0))
        #expect(csystem_peer_credentials(ends[0], &user, &group, &process) == 0)
        #expect(user == getuid() && group == getgid() && process == getpid())
        #expect(csystem_peer_credentials(-1, &user, &group, &process) == EBADF)
    }

    @Test("a state reaches the service manager", arguments: [true, false])
    func notify(isAbstract: Bool) {
        let name = "mcpgw-notify-\(getpid())-\(UInt32.random(in: .min ... .max))"
        let path = isAbstract ? "@\(name)" : "\(P_tmpdir)/\(name)"
        defer { if !isAbstract { unlink(path) } }
        let manager = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(manager) }
        var address = sockaddr_un()
        address.sun_family = UInt16(AF_UNIX)
        let bytes = isAbstract ? [0] + Array(name.utf8) : Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count + (isAbstract ? 0 : 1))
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(manager, $0, size) }
        }
        #expect(bound == 0)

        #expect(csystem_sd_notify(path, "READY=1\nSTATUS=serving") == 0)
        var received = [UInt8](repeating: 0, count: 256)
        let count = recv(manager, &received, received.count, Int32(MSG_DONTWAIT))
        #expect(String(decoding: received.prefix(max(count, 0)), as: UTF8.self) == "READY=1\nSTATUS=serving")
        #expect(csystem_sd_notify("relative", "READY=1") == EINVAL)
        #expect(csystem_sd_notify("/no/such/socket", "READY=1") == ENOENT)
    }
}
