// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

/// An address of the internet. One of IPv4 that is written as IPv6 (`::ffff:…`) is one of IPv4.
struct NetworkAddress: Sendable, Hashable {
    /// Four or sixteen, in network order.
    let bytes: [UInt8]

    /// nil when it is not a literal address. A zone (`fe80::1%eth0`) is none: it means something on one machine only.
    init?(_ text: some StringProtocol) {
        // The longest there is has 45 characters. A zero would end the text early for the C library.
        guard text.utf8.count <= 45, !text.utf8.contains(0) else { return nil }
        var raw = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, String(text), &raw) == 1 {
            bytes = Array(raw[..<4])
        } else if inet_pton(AF_INET6, String(text), &raw) == 1 {
            bytes = raw.starts(with: Self.mapped) ? Array(raw[12...]) : raw
        } else {
            return nil
        }
    }

    fileprivate init(bytes: [UInt8]) { self.bytes = bytes }

    private static let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]

    /// One spelling for each address.
    var text: String {
        var out = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        // Refused only when there is no room.
        _ = inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &out, socklen_t(out.count))
        return String(decoding: out.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The address with all but its first bits zero.
    fileprivate func network(bits: Int) -> NetworkAddress {
        var out = bytes
        for index in out.indices {
            let kept = min(max(bits - index * 8, 0), 8)
            out[index] &= kept == 8 ? 0xff : ~(0xff >> UInt8(kept))
        }
        return NetworkAddress(bytes: out)
    }
}

/// An address, or a network such as `10.0.0.0/8` or `fd00::/8`.
package struct AddressRange: Sendable, Equatable, CustomStringConvertible {
    /// Why a text is no range.
    package enum Fault: Error, Equatable {
        case unreadable
        /// There are bits behind the prefix; the range that may have been meant.
        case hasHostBits(meant: String)
    }

    private let network: NetworkAddress
    private let bits: Int

    package init(_ text: String) throws(Fault) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = NetworkAddress(parts[0]) else { throw .unreadable }
        let width = address.bytes.count * 8
        if parts.count == 1 {
            bits = width
        } else {
            let digits = parts[1].utf8
            guard (1...3).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(parts[1])
            else { throw .unreadable }
            // `::ffff:10.0.0.0/104` counts the bits of the long spelling.
            let counted = parts[0].contains(":") && width == 32 ? number - 96 : number
            guard (0...width).contains(counted) else { throw .unreadable }
            bits = counted
        }
        network = address.network(bits: bits)
        guard network == address else { throw .hasHostBits(meant: "\(network.text)/\(bits)") }
    }

    /// Whether it is every address of its family.
    package var isEverything: Bool { bits == 0 }

    package var description: String {
        bits == network.bytes.count * 8 ? network.text : "\(network.text)/\(bits)"
    }

    func contains(_ address: NetworkAddress) -> Bool {
        address.bytes.count == network.bytes.count && address.network(bits: bits) == network
    }
}
