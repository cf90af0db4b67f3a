// Licensed under the Apache License 2.0; see LICENSE.

/// The name a tool has for clients: `prefix__tool`, at most 64 characters of `A-Z a-z 0-9 _ -`.
///
/// The same tool has the same name for ever: it depends on prefix and original name alone. A name that has to be
/// changed gets eight hexadecimal digits of a hash of the original, so that two originals never become one name.
enum ExposedName {
    static let lengthMax = 64

    static func make(prefix: String, tool: String) -> String {
        let wanted = prefix.isEmpty ? tool : "\(prefix)__\(tool)"
        let isLegal = wanted.utf8.count <= lengthMax && !wanted.isEmpty && wanted.utf8.allSatisfy(isPlain)
        guard !isLegal else { return wanted }
        let plain = wanted.utf8.map { isPlain($0) ? $0 : UInt8(ascii: "_") }
        let kept = plain.prefix(lengthMax - 9)
        return String(decoding: kept, as: UTF8.self) + "_" + digest(wanted)
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// FNV-1a folded to 32 bits. It separates names; it guards nothing.
    static func digest(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        let folded = UInt32(truncatingIfNeeded: hash ^ (hash >> 32))
        let digits = String(folded, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
