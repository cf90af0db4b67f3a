// Licensed under the Apache License 2.0; see LICENSE.

/// Who makes a call. Without authentication everybody is the one anonymous caller, and what must not mix is kept apart
/// by the session or by an unguessable handle.
public struct Caller: Sendable, Hashable {
    /// Stable name for logs and rows; never a secret.
    public let name: String

    public init(name: String) { self.name = name }

    public static let anonymous = Caller(name: "anonymous")
}

/// The name of one request in every log line, row and answer. 32 hexadecimal digits of randomness.
public struct RequestID: Sendable, Hashable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The 32 digits of another one's description; nil for anything else.
    public init?(_ text: String) {
        guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16),
            let low = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    public static func random() -> RequestID {
        RequestID(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
    }

    /// Sixteen digits each, the first one first.
    public var words: (first: UInt64, second: UInt64) { (high, low) }

    public var description: String {
        var out: [UInt8] = []
        write(to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// Appends the 32 digits.
    public func write(to out: inout [UInt8]) {
        out.reserveCapacity(out.count + 32)
        for word in [high, low] {
            var shift = 60
            while shift >= 0 {
                let digit = UInt8(word >> UInt64(shift) & 15)
                out.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
                shift -= 4
            }
        }
    }
}
