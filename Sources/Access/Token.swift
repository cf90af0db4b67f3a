// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// What a token may be used for.
package enum Role: String, CaseIterable, Sendable {
    /// MCP: list and call tools.
    case call
    /// The full health, the metrics, the operator's page.
    case observe
    /// Everything below `/admin`, and what `observe` may see.
    case admin
}

/// Who has shown a token that is good.
package struct Visitor: Sendable, Equatable {
    /// The name of the token: the caller's name in logs, rows and the queue.
    package let name: String
    package let roles: Set<Role>
    package let tokenID: String

    /// `admin` includes `observe`, but not `call`.
    package func may(_ role: Role) -> Bool { roles.contains(role) || role == .observe && roles.contains(.admin) }
}

/// What is kept of a token: everything but its secret, of which only a digest is known.
package struct Token: Sendable, Equatable {
    /// 8 lower-case hexadecimal digits.
    package let id: String
    /// Unique in one book.
    package let name: String
    /// At least one.
    package let roles: Set<Role>
    let digest: SecretDigest
    /// Wall clock, milliseconds since 1970 UTC, like the next.
    package let createdAt: Int64
    /// From here on it opens nothing; nil for never.
    package let expiresAt: Int64?

    /// How every secret begins, so that one is recognised where none belongs.
    package static let secretPrefix = TokenSecret.prefix

    package func hasExpired(at now: Int64) -> Bool { expiresAt.map { now >= $0 } ?? false }
}

/// The rules for what a token is called.
enum TokenName {
    /// Characters of a name.
    static let lengths = 1...64
    static let idDigits = 8

    /// Why this is no name for a token; nil when it is one.
    static func objection(to name: String) -> String? {
        guard lengths.contains(name.utf8.count), name.utf8.allSatisfy(isAllowed) else {
            return "a name has 1 to 64 of the characters A-Z, a-z, 0-9, `.`, `_`, `@` and `-`"
        }
        if isID(name.utf8) { return "a name of 8 hexadecimal digits would be taken for an id; choose another" }
        if name.hasPrefix(TokenSecret.prefix) {
            return "a name that begins with \(TokenSecret.prefix) may be a secret; choose another"
        }
        // Its calls would mix with those of callers that have shown no token.
        if name == Caller.anonymous.name { return "this is the name of callers without a token; choose another" }
        return nil
    }

    static func isID(_ text: some Sequence<UInt8>) -> Bool {
        var count = 0
        for byte in text {
            count += 1
            guard count <= idDigits, isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte) else {
                return false
            }
        }
        return count == idDigits
    }

    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "@"), UInt8(ascii: "-"): true
        default: isDigit(byte)
        }
    }
}
