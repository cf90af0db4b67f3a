// Licensed under the Apache License 2.0; see LICENSE.

internal import Crypto
internal import MCPWire

/// The text that a caller shows: `mcpgw_<id>_<32 random bytes in base64url>`. The id in it finds the token without a
/// search, so that every check costs the same however many tokens there are.
enum TokenSecret {
    static let prefix = "mcpgw_"
    private static let randomBytes = 32
    private static let randomCharacters = 43
    /// Length of every secret, in bytes. Nothing of another length is looked at.
    static let length = prefix.utf8.count + TokenName.idDigits + 1 + randomCharacters

    /// A new one, from the generator of the operating system.
    static func make(id: String) -> String {
        var random = SystemRandomNumberGenerator()
        let bytes = (0..<randomBytes).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        return prefix + id + "_" + Base64URL.encode(bytes)
    }

    static func makeID() -> String {
        var random = SystemRandomNumberGenerator()
        let digits = String(UInt32.random(in: .min ... .max, using: &random), radix: 16)
        return String(repeating: "0", count: TokenName.idDigits - digits.utf8.count) + digits
    }

    /// The id that a shown text names; nil when it is no secret of ours by its form.
    static func id(in shown: [UInt8]) -> String? {
        guard shown.count == length, shown.starts(with: prefix.utf8) else { return nil }
        let digits = shown.dropFirst(prefix.utf8.count).prefix(TokenName.idDigits)
        guard TokenName.isID(digits), shown[digits.endIndex] == UInt8(ascii: "_") else { return nil }
        return String(decoding: digits, as: UTF8.self)
    }
}

/// SHA-256 of a whole secret, as `printf %s "$TOKEN" | sha256sum` prints it. The secret has 256 bits of chance in it,
/// so a digest that is read by others opens nothing, and needs neither salt nor a slow hash.
struct SecretDigest: Sendable, CustomStringConvertible, CustomReflectable {
    private let words: SIMD4<UInt64>

    /// What is compared with when there is no such token. No secret has it.
    static let nobody = SecretDigest(words: .zero)

    private init(words: SIMD4<UInt64>) { self.words = words }

    init(of secret: [UInt8]) {
        var words = SIMD4<UInt64>.zero
        for (place, byte) in SHA256.hash(data: secret).enumerated() {
            words[place / 8] = words[place / 8] << 8 | UInt64(byte)
        }
        self.words = words
    }

    /// Of exactly 64 lower-case hexadecimal digits.
    init?(hex: some Sequence<UInt8>) {
        var words = SIMD4<UInt64>.zero
        var count = 0
        for byte in hex {
            let value: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            guard count < 64 else { return nil }
            words[count / 16] = words[count / 16] << 4 | UInt64(value)
            count += 1
        }
        guard count == 64 else { return nil }
        self.words = words
    }

    /// Whether they are equal. Looks at every bit whatever the bits are, so the time it takes tells nothing.
    func matches(_ other: SecretDigest) -> Bool {
        let differences = words ^ other.words
        return differences[0] | differences[1] | differences[2] | differences[3] == 0
    }

    /// Appends the 64 digits.
    func writeHex(to out: inout [UInt8]) {
        for place in words.indices {
            var shift = 60
            while shift >= 0 {
                let digit = UInt8(words[place] >> UInt64(shift) & 15)
                out.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
                shift -= 4
            }
        }
    }

    var description: String { "<redacted>" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

extension SecretDigest: Equatable {
    static func == (left: SecretDigest, right: SecretDigest) -> Bool { left.matches(right) }
}
