// Licensed under the Apache License 2.0; see LICENSE.

/// The token in an `Authorization` header (RFC 6750, 2.1).
package enum Bearer {
    /// Bytes of a header value. A longer one holds no token.
    private static let bytesMax = 8_192
    private static let scheme = Array("bearer".utf8)

    /// The bytes behind the scheme `Bearer`, in whatever case that is written; nil for every other scheme and for
    /// what is not exactly one token68 (RFC 9110, 11.2).
    ///
    /// A request with two such headers has none that counts; that is for the caller to see.
    package static func token(in value: String) -> [UInt8]? {
        let bytes = value.utf8
        guard bytes.count <= bytesMax else { return nil }
        guard bytes.prefix(scheme.count).elementsEqual(scheme, by: { $0 | 0x20 == $1 }) else { return nil }
        let behind = bytes.dropFirst(scheme.count)
        let token = behind.drop { $0 == UInt8(ascii: " ") }
        guard token.startIndex != behind.startIndex else { return nil }
        let padding = token.drop(while: isTokenByte)
        guard padding.startIndex != token.startIndex, padding.allSatisfy({ $0 == UInt8(ascii: "=") }) else {
            return nil
        }
        return Array(token)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        case UInt8(ascii: "+"), UInt8(ascii: "/"): true
        default: false
        }
    }
}
