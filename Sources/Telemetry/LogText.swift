// Licensed under the Apache License 2.0; see LICENSE.

/// Makes text from outside harmless to print: no forged lines, no terminal codes, no invisible reordering. What is
/// readable stays readable, in every script.
package enum LogText {
    /// The text on one line, at most `bytesMax` bytes of UTF-8; what is cut off is replaced by `…`.
    package static func escaped(_ text: String, bytesMax: Int = 1_024) -> String {
        if text.utf8.count <= bytesMax, text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != 0x5C }) { return text }
        var line = BoundedLine(bytesMax: max(bytesMax, 8))
        line.appendEscaped(text, quotes: false)
        line.markCut("…")
        return String(decoding: line.bytes, as: UTF8.self)
    }

    /// Whether a scalar may not be printed as it is.
    static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0: true
        case 0x2028, 0x2029: true
        case 0x061C, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true  // reorder what follows
        case 0xFEFF, 0xFFF9...0xFFFB: true
        default: false
        }
    }
}

/// One line that is being put together and never grows beyond its bound.
struct BoundedLine {
    private(set) var bytes: [UInt8] = []
    /// Whether something did not fit.
    private(set) var wasCut = false
    var bytesMax: Int
    /// What is kept free for the mark of a cut and whatever closes the line.
    private static let reserve = 4

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
        bytes.reserveCapacity(min(bytesMax, 256))
    }

    /// Text of ours, known to be short and harmless; always fits.
    mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Text from outside. Stops at the last whole character that fits.
    mutating func appendEscaped(_ text: String, quotes: Bool) {
        guard !wasCut else { return }
        for scalar in text.unicodeScalars {
            let before = bytes.count
            append(scalar, quotes: quotes)
            if bytes.count > bytesMax - Self.reserve {
                bytes.removeLast(bytes.count - before)
                wasCut = true
                return
            }
        }
    }

    /// Shows the reader where something is missing, if something is.
    mutating func markCut(_ mark: String) {
        if wasCut { append(mark) }
    }

    private mutating func append(_ scalar: Unicode.Scalar, quotes: Bool) {
        switch scalar {
        case "\n": append("\\n")
        case "\r": append("\\r")
        case "\t": append("\\t")
        case "\\": append("\\\\")
        case "\"" where quotes: append("\\\"")
        case _ where LogText.isHarmful(scalar):
            let digits = String(scalar.value, radix: 16)
            append("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
        default: bytes.append(contentsOf: UTF8.encode(scalar) ?? Unicode.UTF8.encodedReplacementCharacter)
        }
    }
}
