// Licensed under the Apache License 2.0; see LICENSE.

/// Header values that may hold any text: plain, or `=?base64?…?=` around standard padded base64 of the UTF-8 bytes.
public enum HeaderText {
    private static let opening = "=?base64?"
    private static let closing = "?="

    /// The text of a header value; nil when it claims to be base64 and is not. What merely resembles the form is taken
    /// as is.
    public static func decode(_ value: String) -> String? {
        guard value.hasPrefix(opening), value.hasSuffix(closing), value.utf8.count >= opening.utf8.count + 2 else {
            return value
        }
        let inner = Array(value.utf8.dropFirst(opening.utf8.count).dropLast(closing.utf8.count))
        guard let bytes = decodeBase64(inner) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    /// The value without the white space around it, which means nothing (RFC 9110, 5.5).
    public static func trimmed(_ value: String) -> String {
        guard let first = value.utf8.first, let last = value.utf8.last else { return value }
        guard first == 0x20 || first == 0x09 || last == 0x20 || last == 0x09 else { return value }
        let tail = value.drop { $0 == " " || $0 == "\t" }
        let end = tail.lastIndex { $0 != " " && $0 != "\t" }
        return end.map { String(tail[...$0]) } ?? ""
    }

    /// `text` as a header value: as it is where that is unambiguous, else in the base64 form.
    public static func encode(_ text: String) -> String {
        let isPlain =
            text.utf8.allSatisfy { (0x20...0x7e).contains($0) || $0 == 0x09 } && !text.isEmpty
            && text.utf8.first != 0x20 && text.utf8.first != 0x09 && text.utf8.last != 0x20 && text.utf8.last != 0x09
        if isPlain, !(text.hasPrefix(opening) && text.hasSuffix(closing)) { return text }
        return opening + encodeBase64(Array(text.utf8)) + closing
    }

    private static func encodeBase64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let left = min(3, bytes.count - index)
            var group = UInt32(bytes[index]) << 16
            if left > 1 { group |= UInt32(bytes[index + 1]) << 8 }
            if left > 2 { group |= UInt32(bytes[index + 2]) }
            for position in 0..<4 {
                let digit = alphabet[Int(group >> UInt32(18 - 6 * position) & 63)]
                out.append(position <= left ? digit : UInt8(ascii: "="))
            }
            index += 3
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Strict: whole groups of four, padding where it belongs, unused bits zero. A lenient decoder would let two
    /// spellings of a name pass for one.
    private static func decodeBase64(_ text: [UInt8]) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        var out: [UInt8] = []
        var index = 0
        while index < text.count {
            let isLast = index + 4 == text.count
            var group: UInt32 = 0
            var padding = 0
            for offset in 0..<4 {
                let byte = text[index + offset]
                if byte == UInt8(ascii: "="), isLast, offset >= 2 {
                    padding += 1
                    group <<= 6
                } else {
                    guard padding == 0, let digit = digit(byte) else { return nil }
                    group = group << 6 | UInt32(digit)
                }
            }
            let bytes = [UInt8(group >> 16 & 255), UInt8(group >> 8 & 255), UInt8(group & 255)]
            guard bytes.suffix(padding).allSatisfy({ $0 == 0 }) else { return nil }
            out.append(contentsOf: bytes.prefix(3 - padding))
            index += 4
        }
        return out
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
