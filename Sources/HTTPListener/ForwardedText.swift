// Licensed under the Apache License 2.0; see LICENSE.

/// Reads lines of the header `Forwarded` (RFC 7239, 4), such as `for=192.0.2.1;proto=https, for="[2001:db8::1]:80"`.
enum ForwardedText {
    /// The value of `for` in each element of one line, from left to right; empty where an element has none, or more
    /// than one. A line that is not of this form is one such element: a quote that somebody has left open may have
    /// swallowed what a proxy has added behind it.
    static func hops(_ line: String) -> [String] {
        var reader = Reader(line)
        return reader.hops() ?? [""]
    }

    private struct Reader {
        private let bytes: [UInt8]
        private var position = 0

        init(_ line: String) { bytes = Array(line.utf8) }

        private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

        /// nil when the line is not of the form.
        mutating func hops() -> [String]? {
            var hops: [String] = []
            while true {
                skipSpaces()
                // Elements that are empty count for nothing (RFC 9110, 5.6.1).
                if current != nil, current != UInt8(ascii: ",") {
                    guard let hop = element() else { return nil }
                    hops.append(hop)
                }
                guard let byte = current else { return hops }
                guard byte == UInt8(ascii: ",") else { return nil }
                position += 1
            }
        }

        /// Pairs with semicolons between.
        private mutating func element() -> String? {
            var found: [String] = []
            while true {
                skipSpaces()
                if current != UInt8(ascii: ";") {
                    let name = token()
                    guard !name.isEmpty, current == UInt8(ascii: "=") else { return nil }
                    position += 1
                    guard let value = value() else { return nil }
                    if name.lowercased() == "for" { found.append(value) }
                    skipSpaces()
                }
                guard current == UInt8(ascii: ";") else { break }
                position += 1
                skipSpaces()
                if current == nil || current == UInt8(ascii: ",") { break }
            }
            return found.count == 1 ? found[0] : ""
        }

        private mutating func value() -> String? {
            guard current == UInt8(ascii: "\"") else {
                let value = token()
                return value.isEmpty ? nil : value
            }
            position += 1
            var text: [UInt8] = []
            while let byte = current {
                position += 1
                switch byte {
                case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escaped = current else { return nil }
                    text.append(escaped)
                    position += 1
                default: text.append(byte)
                }
            }
            return nil
        }

        /// Also with the characters of an address and its port, which many proxies do not quote.
        private mutating func token() -> String {
            let start = position
            while let byte = current, Self.isTokenByte(byte) { position += 1 }
            return String(decoding: bytes[start..<position], as: UTF8.self)
        }

        private static func isTokenByte(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "!#$%&'*+-.^_`|~:[]".utf8.contains(byte)
            }
        }

        private mutating func skipSpaces() {
            while let byte = current, byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { position += 1 }
        }
    }
}
