// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// JSON as people keep it in editors: with comments, commas after the last item, and perhaps a byte order mark.
enum RelaxedJSON {
    /// Some clients keep their whole history in the file that names the servers.
    static let bytesMax = 16 << 20

    static func parse(_ bytes: [UInt8]) throws(WireError) -> JSONValue {
        let plain = plain(bytes)
        return try JSONValue.parse(plain.span, limits: WireLimits(bytesMax: bytesMax))
    }

    /// The same text with spaces in the place of all that JSON does not allow, so that each byte that stays keeps its
    /// offset, and a complaint its line. What else is wrong is left to the parser.
    static func plain(_ bytes: [UInt8]) -> [UInt8] {
        var out = bytes
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { blank(&out, 0..<3) }
        var index = 0
        /// The comma that has had nothing but spaces and comments after it.
        var lastComma: Int?
        while index < bytes.count {
            let start = index
            switch bytes[index] {
            case UInt8(ascii: "\""):
                index = endOfString(bytes, index)
                lastComma = nil
                continue
            case UInt8(ascii: "/") where index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "/"):
                index = bytes[index...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
                blank(&out, start..<index)
                continue
            case UInt8(ascii: "/") where index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "*"):
                index = endOfBlock(bytes, index)
                blank(&out, start..<index)
                continue
            case UInt8(ascii: ","): lastComma = index
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if let comma = lastComma { blank(&out, comma..<(comma + 1)) }
                lastComma = nil
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"): break
            default: lastComma = nil
            }
            index += 1
        }
        return out
    }

    /// Counted from 1.
    static func line(of offset: Int, in bytes: [UInt8]) -> Int {
        bytes.prefix(max(0, offset)).count { $0 == UInt8(ascii: "\n") } + 1
    }

    private static func endOfString(_ bytes: [UInt8], _ start: Int) -> Int {
        var index = start + 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(index + 1, bytes.count)
    }

    private static func endOfBlock(_ bytes: [UInt8], _ start: Int) -> Int {
        var index = start + 2
        while index + 1 < bytes.count {
            if bytes[index] == UInt8(ascii: "*"), bytes[index + 1] == UInt8(ascii: "/") { return index + 2 }
            index += 1
        }
        return bytes.count
    }

    /// Line ends stay, for the count of lines.
    private static func blank(_ bytes: inout [UInt8], _ range: Range<Int>) {
        for index in range where bytes[index] != UInt8(ascii: "\n") { bytes[index] = UInt8(ascii: " ") }
    }
}

extension JSONValue {
    /// What it is, for a complaint.
    var words: String {
        switch self {
        case .null: "null"
        case .bool: "true or false"
        case .number: "a number"
        case .string: "a text"
        case .array: "a list"
        case .object: "an object"
        }
    }

    /// The text that a client hands on for it: many people write ports without quotes.
    var plainText: String? {
        switch self {
        case .string(let text), .number(let text): text
        case .bool(let flag): flag ? "true" : "false"
        case .null, .array, .object: nil
        }
    }
}
