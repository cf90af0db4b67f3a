// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

/// One end of a connection, with the spellings that the kernel's lists have for it: words of 32 bits in the machine's
/// own byte order.
struct SocketAddress: Sendable, Equatable {
    /// Sixteen bytes in network order; IPv4 as `::ffff:…`.
    let bytes: [UInt8]
    /// Never zero.
    let port: UInt16

    init?(_ address: String, port: Int) {
        guard let port = UInt16(exactly: port), port != 0 else { return nil }
        self.port = port
        var raw = [UInt8](repeating: 0, count: 16)
        if unsafe inet_pton(AF_INET, address, &raw) == 1 {
            bytes = Self.mapped + raw[..<4]
        } else if unsafe inet_pton(AF_INET6, address, &raw) == 1 {
            bytes = raw
        } else {
            return nil
        }
    }

    private static let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]

    /// In the list of IPv6 sockets.
    var text: String { hex(bytes[...]) + ending }
    /// In the list of IPv4 sockets; nil when it is no such address.
    var shortText: String? { bytes.starts(with: Self.mapped) ? hex(bytes[12...]) + ending : nil }

    private var ending: String { ":" + Self.padded(UInt32(port), 4) }

    private func hex(_ part: ArraySlice<UInt8>) -> String {
        stride(from: part.startIndex, to: part.endIndex, by: 4).map { start in
            let word = part[start..<(start + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            // In network order here; the kernel prints the word as this machine loads it.
            return Self.padded(UInt32(bigEndian: word), 8)
        }.joined()
    }

    private static func padded(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: width - digits.count) + digits
    }
}
