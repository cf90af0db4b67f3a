// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Access

@Suite("Digest of a secret")
struct SecretDigestTests {
    private func hex(_ digest: SecretDigest) -> String {
        var out: [UInt8] = []
        digest.writeHex(to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    @Test("is SHA-256, and the same after being written and read")
    func known() throws {
        let digest = SecretDigest(of: Array("abc".utf8))
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(hex(digest) == text)
        let read = try #require(SecretDigest(hex: text.utf8))
        #expect(read.matches(digest) && digest.matches(read))
    }

    @Test("matches itself, and nothing that differs in any one bit or half")
    func bits() throws {
        let digits = Array("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".utf8)
        let digest = try #require(SecretDigest(hex: digits))
        #expect(digest.matches(digest))
        for bit in 0..<256 {
            var other = digits
            let value = try #require(UInt8(String(decoding: [digits[bit / 4]], as: UTF8.self), radix: 16))
            other[bit / 4] = try #require(String(value ^ 1 << (bit % 4), radix: 16).utf8.first)
            let changed = try #require(SecretDigest(hex: other))
            #expect(!digest.matches(changed) && !changed.matches(digest), "bit \(bit)")
        }
        // Differences that would cancel out if they were added up.
        let swapped = try #require(SecretDigest(hex: digits.suffix(32) + digits.prefix(32)))
        #expect(!digest.matches(swapped))
        #expect(!digest.matches(.nobody))
    }

    @Test(
        "is read of exactly 64 lower-case digits",
        arguments: [
            "", "0", String(repeating: "0", count: 63), String(repeating: "0", count: 65),
            String(repeating: "A", count: 64), String(repeating: "g", count: 64),
        ])
    func refused(_ text: String) { #expect(SecretDigest(hex: text.utf8) == nil) }
}

@Suite("Authorization header")
struct BearerTests {
    @Test(
        "gives the token behind Bearer, however that is written",
        arguments: [
            ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER abc", "abc"), ("bEaReR   abc", "abc"),
            ("Bearer a-._~+/9Z", "a-._~+/9Z"), ("Bearer abc==", "abc=="), ("Bearer Bearer", "Bearer"),
        ])
    func taken(_ value: String, _ token: String) {
        #expect(Bearer.token(in: value) == Array(token.utf8))
    }

    @Test(
        "gives nothing for anything else",
        arguments: [
            "", "Bearer", "Bearer ", "Bearer  ", "Bearerabc", "Basic abc", "Bearer\tabc", " Bearer abc", "abc",
            "Bearer a b", "Bearer abc ", "Bearer abc, Basic x", "Bearer =", "Bearer a=b", "Bearer \"abc\"",
            "Bearer äbc", "Bearer a\0", "Bearer a\nb", "Digest Bearer abc", "Bea\u{0332}rer abc", "\u{02}earer abc",
        ])
    func refused(_ value: String) { #expect(Bearer.token(in: value) == nil) }

    @Test("looks at no more than 8 KiB")
    func long() {
        #expect(Bearer.token(in: "Bearer " + String(repeating: "a", count: 8_185))?.count == 8_185)
        #expect(Bearer.token(in: "Bearer " + String(repeating: "a", count: 8_186)) == nil)
    }
}
