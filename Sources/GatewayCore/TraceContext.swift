// Licensed under the Apache License 2.0; see LICENSE.

/// Where a call belongs in a trace: what `traceparent` and `tracestate` of W3C Trace Context say, in HTTP headers and
/// in MCP's `_meta` alike.
package struct TraceContext: Sendable, Equatable {
    /// Never both zero.
    package var traceID: (high: UInt64, low: UInt64)
    /// The span that whoever is asked next is a child of. Never zero.
    package var spanID: UInt64
    /// Somebody up the way records this trace, and expects others to.
    package var isSampled: Bool
    /// What vendors carry along: entries as they came; at most `stateBytesMax` of visible ASCII.
    package var state: String?

    package static let stateBytesMax = 512
    private static let stateEntriesMax = 32

    package init(traceID: (high: UInt64, low: UInt64), spanID: UInt64, isSampled: Bool, state: String? = nil) {
        self.traceID = traceID
        self.spanID = spanID
        self.isSampled = isSampled
        self.state = state
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`, lower case. A later version may have more behind it, which is left out; version
    /// `ff`, ids of zeros and anything else that is not right make no context, as the standard demands.
    package init?(parent text: some Sequence<UInt8>, state: String? = nil) {
        var reader = HexReader(Array(text.prefix(256)))
        guard let version = reader.hex(2), reader.dash(), let high = reader.hex(16), let low = reader.hex(16),
            reader.dash(), let span = reader.hex(16), reader.dash(), let flags = reader.hex(2), version != 0xFF,
            high != 0 || low != 0, span != 0, version == 0 ? reader.isAtEnd : reader.isAtEnd || reader.dash()
        else { return nil }
        self.init(
            traceID: (high, low), spanID: span, isSampled: flags & 1 == 1, state: state.flatMap(Self.checked))
    }

    /// Whole entries, from the first on, as many as there is room for: those of who spoke last come first. What could
    /// not stand in a header is left out; the trace itself goes on.
    private static func checked(_ state: String) -> String? {
        // Nobody means more than some kilobytes.
        guard state.utf8.count <= 16 << 10, state.utf8.allSatisfy({ (0x20...0x7E).contains($0) || $0 == 0x09 }) else {
            return nil
        }
        var kept = ""
        for entry in state.utf8.split(separator: UInt8(ascii: ",")).prefix(stateEntriesMax) {
            let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
            guard let first = entry.firstIndex(where: { !isBlank($0) }),
                let last = entry.lastIndex(where: { !isBlank($0) }),
                let mark = entry[first...last].firstIndex(of: UInt8(ascii: "=")), mark > first, mark < last
            else { continue }
            let size = entry.distance(from: first, to: last) + 2
            guard kept.utf8.count + size <= stateBytesMax + 1 else { break }
            if !kept.isEmpty { kept += "," }
            kept += String(decoding: entry[first...last], as: UTF8.self)
        }
        return kept.isEmpty ? nil : kept
    }

    package var parent: String {
        "00-\(traceText)-\(Self.hex(spanID))-\(isSampled ? "01" : "00")"
    }

    /// 32 lower-case hexadecimal digits.
    package var traceText: String { Self.hex(traceID.high) + Self.hex(traceID.low) }

    /// 16 of them.
    package static func hex(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.traceID == right.traceID && left.spanID == right.spanID && left.isSampled == right.isSampled
            && left.state == right.state
    }
}

/// A stretch of work that is being recorded, for those who learn something about it.
package protocol SpanNotes: AnyObject, Sendable {
    /// Names of ours only: never arguments, results or secrets.
    func note(_ key: String, _ text: String)
    /// - Parameter type: a stable word.
    func failed(_ type: String, _ words: String)
}

/// Reads fixed-width lower-case hexadecimal numbers.
private struct HexReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func hex(_ digits: Int) -> UInt64? {
        guard bytes.count - position >= digits else { return nil }
        var value: UInt64 = 0
        for byte in bytes[position..<(position + digits)] {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(byte - 0x30)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(byte - 0x57)
            default: return nil
            }
        }
        position += digits
        return value
    }

    mutating func dash() -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "-") else { return false }
        position += 1
        return true
    }
}
