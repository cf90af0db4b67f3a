// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import MCPWire
import Sealing
import Testing

@testable import MCPFront

/// Session ids that nobody else can make or change.
@Suite("Session seal") struct SessionSealTests {
    private static func key(_ id: UInt8, _ filling: UInt8) -> SealKeys.Key {
        .init(id: id, secret: Array(repeating: filling, count: 32))
    }

    private let seal = SessionSeal(keys: SealKeys(current: key(1, 7)), lifetime: .seconds(100))

    private func session(_ revision: Revision = .v2025_06_18, caller: String = "anonymous") -> Session {
        Session(
            revision: revision, capabilities: [.roots, .elicitationURL], caller: Caller(name: caller),
            createdAt: 1_000_000,
            key: SessionKey((0..<16).map { $0 }))
    }

    @Test("What was sealed comes back", arguments: ["", "anonymous", "日本語", String(repeating: "n", count: 99)])
    func roundTrip(_ caller: String) {
        for revision in Revision.allCases where !revision.isModern {
            let session = session(revision, caller: caller)
            let id = seal.seal(session)
            #expect(seal.open(id, at: 1_000_000) == session)
            #expect(id.utf8.allSatisfy { (0x21...0x7e).contains($0) })
        }
    }

    @Test("The same session is never sealed the same way twice, and the id does not show what is in it")
    func unguessable() {
        let ids = Set((0..<200).map { _ in seal.seal(session()) })
        #expect(ids.count == 200)
        for id in ids {
            let bytes = Base64URL.decode(id) ?? []
            #expect(!bytes.indices.contains { bytes[$0...].starts(with: "anonymous".utf8) })
        }
    }

    @Test("A change of any one byte or character makes it a stranger's")
    func tampering() throws {
        let id = seal.seal(session())
        let bytes = try #require(Base64URL.decode(id))
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                #expect(seal.open(Base64URL.encode(changed), at: 1_000_000) == nil, "byte \(index), bit \(bit)")
            }
        }
        let characters = Array(id.utf8)
        for index in characters.indices {
            var changed = characters
            changed[index] = changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(seal.open(String(decoding: changed, as: UTF8.self), at: 1_000_000) == nil, "character \(index)")
        }
        for length in 0..<bytes.count {
            #expect(seal.open(Base64URL.encode(Array(bytes[..<length])), at: 1_000_000) == nil)
        }
        #expect(seal.open(id + "A", at: 1_000_000) == nil)
    }

    @Test(
        "Keys are tried by their number",
        arguments: [
            ("another key under the same number", SealKeys(current: key(1, 8)), false),
            ("the same key under another number", SealKeys(current: key(2, 7)), false),
            ("the key is an older one now", SealKeys(current: key(2, 8), older: [key(1, 7)]), true),
        ])
    func keys(_ name: String, _ keys: SealKeys, _ opens: Bool) {
        let id = seal.seal(session())
        let other = SessionSeal(keys: keys, lifetime: .seconds(100))
        #expect((other.open(id, at: 1_000_000) != nil) == opens)
    }

    @Test(
        "An id is good for its lifetime and not a millisecond longer",
        arguments: [
            (0, true), (99_999, true), (100_000, false), (1_000_000_000, false),
        ] as [(Int64, Bool)])
    func expiry(_ age: Int64, _ opens: Bool) {
        #expect((seal.open(seal.seal(session()), at: 1_000_000 + age) != nil) == opens)
    }

    @Test(
        "What is no id is no session",
        arguments: ["", "A", "AQE", "not an id!", "AAAA", String(repeating: "A", count: 4_000)])
    func nonsense(_ id: String) {
        #expect(seal.open(id, at: 1_000_000) == nil)
    }

    @Test("A session of the stateless era does not exist")
    func modern() {
        #expect(seal.open(seal.seal(session(.modern)), at: 1_000_000) == nil)
    }

    @Test(
        "Base64 with the safe alphabet has the spellings of RFC 4648",
        arguments: [
            ([], ""), ([0x66], "Zg"), ([0x66, 0x6f], "Zm8"), ([0x66, 0x6f, 0x6f], "Zm9v"),
            ([0x66, 0x6f, 0x6f, 0x62], "Zm9vYg"),
            ([0xfb, 0xff], "-_8"), ([0xff, 0xff, 0xff], "____"), ([0, 0, 0, 0], "AAAAAA"),
        ] as [([UInt8], String)])
    func base64(_ bytes: [UInt8], _ text: String) {
        #expect(Base64URL.encode(bytes) == text)
        #expect(Base64URL.decode(text) == bytes)
    }

    @Test(
        "Bytes have one spelling only: whatever else is refused",
        arguments: [
            "Zh", "Zm9", "A", "AAAAA", "Zg==", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zé",
        ])
    func strictBase64(_ text: String) {
        #expect(Base64URL.decode(text) == nil)
    }

    @Test("Every length comes back")
    func lengths() {
        for length in 0...200 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ length) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
    }
}
