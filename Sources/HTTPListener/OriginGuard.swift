// Licensed under the Apache License 2.0; see LICENSE.

/// Keeps web pages of elsewhere from talking to a gateway on somebody's own machine (DNS rebinding): the `Host` must be
/// a name of ours and an `Origin`, when there is one, a page of ours.
package struct OriginGuard: Sendable {
    private let hosts: Set<String>
    private let origins: Set<String>
    /// Accepts any address literal as `Host`: a rebinding page always comes by a name. Set when listening beyond
    /// loopback.
    private let acceptsAddresses: Bool

    /// - Parameters:
    ///   - hosts: names accepted besides the loopback names, without port.
    ///   - origins: origins accepted besides loopback ones, as `https://name[:port]`.
    package init(listenHost: String, hosts: [String], origins: [String]) {
        var names: Set<String> = ["localhost", "127.0.0.1", "[::1]"]
        if !listenHost.isEmpty { names.insert(listenHost.lowercased()) }
        for host in hosts { names.insert(host.lowercased()) }
        self.hosts = names
        self.origins = Set(origins.map { $0.lowercased() })
        acceptsAddresses = !Self.isLoopback(listenHost)
    }

    package enum Verdict: Sendable, Equatable {
        case allowed, badHost, badOrigin
    }

    package func judge(host: String?, origin: String?) -> Verdict {
        guard let host, accepts(host: host) else { return .badHost }
        guard let origin else { return .allowed }
        return accepts(origin: origin) ? .allowed : .badOrigin
    }

    private func accepts(host: String) -> Bool {
        let name = Self.withoutPort(host).lowercased()
        if hosts.contains(name) { return true }
        return acceptsAddresses && Self.isAddress(name)
    }

    private func accepts(origin: String) -> Bool {
        let text = origin.lowercased()
        if origins.contains(text) { return true }
        for scheme in ["http://", "https://"] where text.hasPrefix(scheme) {
            return Self.isLoopback(Self.withoutPort(String(text.dropFirst(scheme.count))))
        }
        return false
    }

    /// The host without its port. What is no port stays, and then matches no name.
    package static func withoutPort(_ host: String) -> String {
        let end = host.hasPrefix("[") ? host.firstIndex(of: "]").map(host.index(after:)) : host.firstIndex(of: ":")
        guard let end, end < host.endIndex else { return host }
        let port = host[end...]
        let isPort = port.first == ":" && port.dropFirst().utf8.allSatisfy { (0x30...0x39).contains($0) }
        return isPort ? String(host[..<end]) : host
    }

    /// An address or name of this machine alone. A name that only begins like such an address is somebody else's.
    package static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "[::1]" || host == "::1" { return true }
        return host.hasPrefix("127.") && isAddress(host)
    }

    private static func isAddress(_ host: String) -> Bool {
        if host.hasPrefix("["), host.hasSuffix("]") { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
