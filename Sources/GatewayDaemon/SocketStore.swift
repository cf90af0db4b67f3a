// Licensed under the Apache License 2.0; see LICENSE.

internal import CHost
internal import Glibc

/// What the service manager holds for us while we are not there: the descriptor store of the unit
/// (`FileDescriptorStoreMax=` of systemd).
///
/// A socket in it outlives a restart and a crash together with the connections that wait to be taken, and is gone after
/// `systemctl stop`. Without a manager there is nothing to take, and keeping does nothing.
struct SocketStore: Sendable {
    /// What the socket of `server.listen` is called there.
    static let listener = "listener"
    /// Descriptors that are looked at; more than this no unit of ours has.
    private static let receivedMax = 256

    /// Where the manager listens to us; nil without one.
    private let manager: String?
    private var received: [(name: String, descriptor: Int32)] = []

    /// Takes in what the manager has handed over, so that no child inherits it. Call it once and early: it is the one
    /// place that may touch these descriptors. What has a name that nobody asks for stays open.
    ///
    /// - Parameter firstDescriptor: 3 by the manager's protocol; tests have others.
    init(environment: [String: String], firstDescriptor: Int32 = 3) {
        manager = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
        // Variables for another process have come down to us by inheritance, without the descriptors.
        guard environment["LISTEN_PID"].flatMap(Int32.init) == getpid() else { return }
        let count = min(max(environment["LISTEN_FDS"].flatMap(Int.init) ?? 0, 0), Self.receivedMax)
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
        for index in 0..<count {
            let descriptor = firstDescriptor + Int32(index)
            // Refused for what is not open, which is none of ours then.
            guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0, index < names.count else { continue }
            received.append((String(names[index]), descriptor))
        }
    }

    /// The socket of that name, if it is one that takes connections at just that address; it is the caller's then.
    ///
    /// Others of the name are taken out of the store and stop listening at once, so that their port is free: the file
    /// says where to listen. Port 0 means a port of the system's choice, so nothing that was kept fits it.
    mutating func take(name: String, address: ListenAddress) -> Int32? {
        var taken: Int32?
        var hadOthers = false
        for one in received where one.name == name {
            if Self.listens(one.descriptor, at: address) {
                if taken == nil { taken = one.descriptor } else { close(one.descriptor) }
            } else {
                // The manager still has a copy of its own until it has read our word. Shutting the socket down needs
                // no copy to be closed; on what does not listen it has no meaning here.
                if Self.takesConnections(one.descriptor) { shutdown(one.descriptor, Int32(SHUT_RDWR)) }
                close(one.descriptor)
                hadOthers = true
            }
        }
        received.removeAll { $0.name == name }
        if hadOthers { _ = tell("FDSTOREREMOVE=1\nFDNAME=\(name)") }
        return taken
    }

    /// Has the manager hold a copy of the socket from now on; one it holds already is held once.
    ///
    /// Returns whether it was told. It gives no answer: with a unit that has no store it drops the copy.
    func keep(_ descriptor: Int32, name: String) -> Bool { tell("FDSTORE=1\nFDNAME=\(name)", handing: descriptor) }

    private func tell(_ state: String, handing descriptor: Int32? = nil) -> Bool {
        guard let manager else { return false }
        if let descriptor { return unsafe csystem_sd_notify_descriptor(manager, state, descriptor) == 0 }
        return unsafe csystem_sd_notify(manager, state) == 0
    }

    // MARK: What a descriptor is

    private static func listens(_ descriptor: Int32, at address: ListenAddress) -> Bool {
        guard address.port != 0, takesConnections(descriptor), let bound = place(of: descriptor) else { return false }
        return bound.port == address.port && hosts(address.host).contains(bound.host)
    }

    private static func takesConnections(_ descriptor: Int32) -> Bool {
        option(SO_TYPE, of: descriptor) == Int32(SOCK_STREAM.rawValue) && option(SO_ACCEPTCONN, of: descriptor) == 1
    }

    private static func option(_ name: Int32, of descriptor: Int32) -> Int32? {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return unsafe getsockopt(descriptor, SOL_SOCKET, name, &value, &size) == 0 ? value : nil
    }

    /// Where a socket is bound: the four or sixteen bytes of its address, and the port. nil when it is not of the
    /// internet.
    private static func place(of descriptor: Int32) -> (host: [UInt8], port: Int)? {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let isKnown = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe getsockname(descriptor, generic, &size) == 0
            }
        }
        guard isKnown else { return nil }
        // Both kinds have the port in network order behind the family; sockaddr_in6 has a flow label before its host.
        let bytes = unsafe withUnsafeBytes(of: address) { unsafe Array($0) }
        let port = Int(bytes[2]) << 8 | Int(bytes[3])
        switch Int32(address.ss_family) {
        case AF_INET: return (Array(bytes[4..<8]), port)
        case AF_INET6: return (Array(bytes[8..<24]), port)
        default: return nil
        }
    }

    /// The addresses that a host of the configuration can stand for, each four or sixteen bytes.
    private static func hosts(_ host: String) -> [[UInt8]] {
        if host == "localhost" { return hosts("127.0.0.1") + hosts("::1") }
        for (family, size) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: size)
            if unsafe inet_pton(family, host, &bytes) == 1 { return [bytes] }
        }
        return []
    }
}
