// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Sealing
import Testing

/// Texts that the gateway hands out and that nobody else can read or make.
@Suite("Seal") struct SealTests {
    private static func key(_ id: UInt8, _ filling: UInt8) -> SealKeys.Key {
        .init(id: id, secret: Array(repeating: filling, count: 32))
    }

    private static let keys = SealKeys(current: key(1, 7))

    @Test("What was sealed comes back, of every length, and looks different each time")
    func roundTrip() {
        let seal = Seal(keys: Self.keys)
        for length in [0, 1, 2, 15, 16, 17, 100, 1_000, 70_000] {
            let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let (one, other) = (seal.seal(plain), seal.seal(plain))
            #expect(one != other)
            #expect(one.utf8.allSatisfy { (0x21...0x7e).contains($0) })
            // Nothing at all is refused as well: nobody has a use for it.
            #expect(seal.open(one, charactersMax: 1 << 20) == (length == 0 ? nil : plain), "\(length)")
        }
    }

    @Test("A text of any length is refused at its limit, before it is looked at")
    func lengths() {
        let seal = Seal(keys: Self.keys)
        let text = seal.seal(Array("plain".utf8))
        #expect(seal.open(text, charactersMax: text.utf8.count) == nil)
        #expect(seal.open(text, charactersMax: text.utf8.count + 1) == Array("plain".utf8))
        #expect(seal.open(String(repeating: "A", count: 2_000_000), charactersMax: 1 << 20) == nil)
    }

    @Test("A change of any one bit, a cut or an addition makes it a stranger's")
    func tampering() throws {
        let seal = Seal(keys: Self.keys)
        let bytes = try #require(Base64URL.decode(seal.seal([1, 2, 3])))
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                #expect(seal.open(Base64URL.encode(changed), charactersMax: 500) == nil, "byte \(index), bit \(bit)")
            }
            #expect(seal.open(Base64URL.encode(Array(bytes[..<index])), charactersMax: 500) == nil)
        }
        #expect(seal.open(Base64URL.encode(bytes + [0]), charactersMax: 500) == nil)
        for text in ["", "A", "nonsense", "{}", "\u{e9}", " " + Base64URL.encode(bytes)] {
            #expect(seal.open(text, charactersMax: 500) == nil, "\(text)")
        }
    }

    @Test("Keys of different purposes do not open each other's, nor does the key they come from")
    func purposes() {
        let purposes = ["request state", "task handle", "request state ", "Request state", ""]
        var seals = purposes.map { ($0, Seal(keys: Self.keys.derived(for: $0))) }
        seals.append(("none", Seal(keys: Self.keys)))
        seals.append(("twice", Seal(keys: Self.keys.derived(for: "request state").derived(for: "request state"))))
        for (name, one) in seals {
            let text = one.seal([1, 2, 3])
            for (other, seal) in seals {
                #expect((seal.open(text, charactersMax: 500) != nil) == (name == other), "\(name), \(other)")
            }
        }
    }

    @Test("The same secret gives the same key for the same purpose, also after a restart")
    func restart() {
        let text = Seal(keys: Self.keys.derived(for: "p")).seal([5])
        let again = SealKeys(current: Self.key(1, 7))
        #expect(Seal(keys: again.derived(for: "p")).open(text, charactersMax: 500) == [5])
    }

    @Test("After a rotation old texts open, new ones are sealed with the new key", arguments: ["", "purpose"])
    func rotation(_ purpose: String) {
        func seal(_ keys: SealKeys) -> Seal { Seal(keys: purpose.isEmpty ? keys : keys.derived(for: purpose)) }
        let old = seal(SealKeys(current: Self.key(1, 7)))
        let both = seal(SealKeys(current: Self.key(2, 8), older: [Self.key(1, 7)]))
        let new = seal(SealKeys(current: Self.key(2, 8)))
        let (first, second) = (old.seal([1]), both.seal([2]))
        #expect(both.open(first, charactersMax: 500) == [1])
        #expect(both.open(second, charactersMax: 500) == [2])
        #expect(new.open(second, charactersMax: 500) == [2])
        #expect(new.open(first, charactersMax: 500) == nil)
        #expect(old.open(second, charactersMax: 500) == nil)
    }

    @Test("A key counts with its number: neither the same secret nor the same number is enough")
    func numbers() {
        let text = Seal(keys: Self.keys).seal([1])
        #expect(Seal(keys: SealKeys(current: Self.key(2, 7))).open(text, charactersMax: 500) == nil)
        #expect(Seal(keys: SealKeys(current: Self.key(1, 8))).open(text, charactersMax: 500) == nil)
    }

    @Test("The digest is SHA-256")
    func digest() {
        let hex = Seal.digest(Array("abc".utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
        #expect(hex.joined() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}
