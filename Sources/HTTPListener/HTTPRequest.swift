// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import NIOCore
internal import NIOHTTP1

/// The HTTP methods that mean something here; the rest is `other`.
package enum HTTPVerb: Int, Sendable, CaseIterable {
    case get, head, post, delete, options, put, other

    package var label: String {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .put: "PUT"
        case .other: "other"
        }
    }
}

/// One complete request: head read, body collected within its limit.
package struct HTTPRequest: Sendable {
    let head: HTTPRequestHead
    package let verb: HTTPVerb
    package let body: ByteBuffer
    /// When its last byte had arrived.
    package let arrivedAt: Moment
    package let id: RequestID
    /// The other end of the connection, which may be a proxy.
    package let peer: HTTPPeer
    let sender: HTTPSender
    /// Whether the connection speaks TLS. What a proxy in front of us speaks is not asked.
    package let isEncrypted: Bool
    package let loop: any EventLoop

    /// Where it comes from, as text: an address, or `local`. Behind a trusted proxy that is its client's.
    package var peerAddress: String {
        if case .forwarded(let address) = sender { return address }
        return switch peer {
        case .network(let peer): peer.address
        case .local: "local"
        }
    }

    /// Whether a program of this machine has sent it, and did not pass it on for somebody.
    package var isFromThisMachine: Bool {
        guard sender == .peer else { return false }
        return switch peer {
        case .network(let peer): peer.isLoopback
        case .local: true
        }
    }

    /// The path without the query.
    package var path: Substring { Self.path(of: head.uri) }

    /// Also of the absolute form, in which a proxy may send it (RFC 9112, 3.2.2).
    static func path(of uri: String) -> Substring {
        var rest = uri[...]
        if !rest.hasPrefix("/"), rest.hasPrefix("http://") || rest.hasPrefix("https://") {
            let afterScheme = rest.dropFirst(rest.hasPrefix("https") ? 8 : 7)
            rest = afterScheme.drop { $0 != "/" && $0 != "?" }
        }
        return rest.prefix { $0 != "?" }
    }

    /// The value of a parameter of the query, as it is written there.
    package func query(_ name: String) -> Substring? {
        let text = head.uri.drop { $0 != "?" }.dropFirst()
        for part in text.split(separator: "&") where part.hasPrefix(name + "=") {
            return part.dropFirst(name.count + 1)
        }
        return nil
    }

    /// Every parameter of the query, as it is written there, in its order.
    package var queryItems: [(name: Substring, value: Substring)] {
        head.uri.drop { $0 != "?" }.dropFirst().split(separator: "&").map { part in
            let name = part.prefix { $0 != "=" }
            return (name, part.dropFirst(name.count + 1))
        }
    }

    /// Every header whose name begins so, names in lower case; `prefix` in lower case.
    package func headers(beginningWith prefix: String) -> [(name: String, value: String)] {
        head.headers.compactMap { header in
            let name = header.name.lowercased()
            return name.hasPrefix(prefix) ? (name, header.value) : nil
        }
    }

    /// The value of a header that may stand once; the first where it stands more often. Names compare without case.
    package func header(_ name: String) -> String? { head.headers.first(name: name) }

    /// Where the request belongs in a trace, by its headers `traceparent` and `tracestate`.
    package var trace: TraceContext? {
        guard let parent = header("traceparent") else { return nil }
        return TraceContext(parent: parent.utf8, state: headers("tracestate").joined(separator: ","))
    }

    /// Whether there is a header whose name begins so; `prefix` in lower case.
    package func hasHeader(beginningWith prefix: String) -> Bool {
        head.headers.contains { $0.name.lowercased().hasPrefix(prefix) }
    }

    /// Every value of a header, one for each line.
    package func headers(_ name: String) -> [String] { head.headers[name] }
}

/// Who is at the other end of the connection.
package enum HTTPPeer: Sendable, Equatable {
    case network(NetworkPeer)
    /// A process on the control socket, as the kernel names it.
    case local(uid: UInt32, pid: Int32)
}

/// Both ends of a TCP connection, as the kernel names them.
package struct NetworkPeer: Sendable, Equatable {
    /// Addresses without brackets; an IPv4 peer of an IPv6 listener is `::ffff:…`.
    package let address: String
    package let port: Int
    package let ownAddress: String
    package let ownPort: Int

    package init(address: String, port: Int, ownAddress: String, ownPort: Int) {
        self.address = address
        self.port = port
        self.ownAddress = ownAddress
        self.ownPort = ownPort
    }

    /// Whether the peer is on this machine.
    package var isLoopback: Bool {
        address.hasPrefix("127.") || address == "::1" || address.hasPrefix("::ffff:127.")
    }
}
