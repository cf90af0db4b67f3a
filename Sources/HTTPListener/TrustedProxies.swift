// Licensed under the Apache License 2.0; see LICENSE.

/// The proxies that are believed when they say for whom they ask.
///
/// A request that comes from one of them comes from the last address of its `X-Forwarded-For` that is not a proxy of
/// ours, counted from the near end: what stands farther away was written by somebody we do not know. Without that
/// header the same goes for `Forwarded` (RFC 7239). What cannot be read there means the proxy itself, so that nobody
/// can hide behind nonsense. From everybody else these headers mean nothing.
package struct TrustedProxies: Sendable, Equatable {
    /// Proxies one behind the other; a longer chain cannot be read.
    static let hopsMax = 64

    private let ranges: [AddressRange]

    package init(_ ranges: [AddressRange] = []) { self.ranges = ranges }

    /// Whether the other end of a connection is one of them.
    func include(_ peer: HTTPPeer) -> Bool {
        guard !ranges.isEmpty, case .network(let peer) = peer else { return false }
        return NetworkAddress(peer.address).map(include) ?? false
    }

    private func include(_ address: NetworkAddress) -> Bool { ranges.contains { $0.contains(address) } }

    /// Where a request comes from whose connection is one of theirs.
    ///
    /// - Parameter lines: the values of a header, in their order.
    func sender(by lines: (_ header: String) -> [String]) -> HTTPSender {
        let addresses = lines("x-forwarded-for")
        if !addresses.isEmpty { return sender(addresses.reversed().lazy.flatMap { Self.items($0) }) }
        let elements = lines("forwarded")
        guard !elements.isEmpty else { return .peer }
        return sender(elements.reversed().lazy.flatMap { ForwardedText.hops($0).reversed() }.map { $0[...] })
    }

    /// - Parameter hops: the nearest one first.
    private func sender(_ hops: some Sequence<Substring>) -> HTTPSender {
        var farthest: NetworkAddress?
        var count = 0
        for hop in hops {
            count += 1
            guard count <= Self.hopsMax, let address = Self.address(of: hop) else { return .unclear }
            farthest = address
            if !include(address) { break }
        }
        // Where all of them are proxies of ours, the farthest one asks for itself.
        return farthest.map { .forwarded($0.text) } ?? .unclear
    }

    /// What stands between the commas of a line, from right to left, without spaces and without what is empty. Looks at
    /// no more of the line than is asked for, since a stranger can make it long.
    private static func items(_ line: String) -> some Sequence<Substring> {
        sequence(state: Optional(line[...])) { rest -> Substring? in
            while let line = rest {
                var item = line
                if let comma = line.utf8.lastIndex(of: UInt8(ascii: ",")) {
                    rest = line[..<comma]
                    item = line[line.utf8.index(after: comma)...]
                } else {
                    rest = nil
                }
                item = item.trimmed
                if !item.isEmpty { return item }
            }
            return nil
        }
    }

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
    private static func address(of hop: Substring) -> NetworkAddress? {
        let bytes = hop.utf8
        if bytes.first == UInt8(ascii: "[") {
            guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            let inner = hop[bytes.index(after: bytes.startIndex)..<end]
            let rest = hop[bytes.index(after: end)...]
            guard rest.isEmpty || isPort(rest), inner.utf8.contains(UInt8(ascii: ":")) else { return nil }
            return NetworkAddress(inner)
        }
        if let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon == bytes.lastIndex(of: UInt8(ascii: ":")) {
            return isPort(hop[colon...]) ? NetworkAddress(hop[..<colon]) : nil
        }
        return NetworkAddress(hop)
    }

    private static func isPort(_ text: Substring) -> Bool {
        let digits = text.utf8.dropFirst()
        return text.utf8.first == UInt8(ascii: ":") && (1...5).contains(digits.count)
            && digits.allSatisfy { (0x30...0x39).contains($0) }
    }
}

/// Where a request comes from.
enum HTTPSender: Sendable, Equatable {
    /// From the other end of the connection.
    case peer
    /// From this address, as a trusted proxy says.
    case forwarded(String)
    /// From somebody behind a trusted proxy, which does not say it in a way that can be read.
    case unclear
}

extension Substring {
    /// Without spaces and tabs at its ends.
    fileprivate var trimmed: Substring {
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        var text = utf8.drop(while: isSpace)
        while let last = text.last, isSpace(last) { text.removeLast() }
        return Substring(text)
    }
}
