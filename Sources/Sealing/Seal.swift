// Licensed under the Apache License 2.0; see LICENSE.

internal import Crypto
internal import MCPWire

/// The keys that seal; the first one seals, all of them open.
package struct SealKeys: Sendable {
    package struct Key: Sendable {
        let id: UInt8
        let secret: SymmetricKey

        /// - Parameter secret: 32 random bytes.
        package init(id: UInt8, secret: [UInt8]) {
            self.id = id
            self.secret = SymmetricKey(data: secret)
        }

        /// A key for one purpose, from which the others cannot be told (HKDF, RFC 5869).
        fileprivate func derived(for purpose: String) -> Key {
            Key(
                id: id,
                derived: HKDF<SHA256>.deriveKey(
                    inputKeyMaterial: secret, info: Array(purpose.utf8), outputByteCount: 32))
        }

        private init(id: UInt8, derived: SymmetricKey) {
            self.id = id
            secret = derived
        }
    }

    let current: Key
    let all: [Key]

    package init(current: Key, older: [Key] = []) {
        self.current = current
        all = [current] + older
    }

    /// The same keys for another purpose: what was sealed for one does not open for the other.
    package func derived(for purpose: String) -> SealKeys {
        SealKeys(current: current.derived(for: purpose), older: all.dropFirst().map { $0.derived(for: purpose) })
    }
}

/// Makes texts of bytes that nobody else can read or make: what the gateway hands out to be shown to it again.
///
/// Form, before base64url: version byte, key id, nonce (12), AES-GCM ciphertext, tag (16). Version and key id are
/// authenticated with it.
package struct Seal: Sendable {
    private static let version: UInt8 = 1
    private let keys: SealKeys

    package init(keys: SealKeys) { self.keys = keys }

    package func seal(_ plain: [UInt8]) -> String {
        let header: [UInt8] = [Self.version, keys.current.id]
        // Fails only for a key of the wrong length, which is a mistake of ours.
        guard let box = try? AES.GCM.seal(plain, using: keys.current.secret, authenticating: header),
            let combined = box.combined
        else { preconditionFailure("the key cannot seal") }
        return Base64URL.encode(header + Array(combined))
    }

    /// nil for whatever was not sealed by us.
    package func open(_ text: String, charactersMax: Int) -> [UInt8]? {
        guard text.utf8.count < charactersMax, let bytes = Base64URL.decode(text), bytes.count > 30,
            bytes[0] == Self.version, let key = keys.all.first(where: { $0.id == bytes[1] })
        else { return nil }
        // A seal that does not open is an answer, not an incident: the text is simply not ours.
        guard let box = try? AES.GCM.SealedBox(combined: bytes[2...]),
            let plain = try? AES.GCM.open(box, using: key.secret, authenticating: bytes[..<2])
        else { return nil }
        return Array(plain)
    }

    /// SHA-256.
    package static func digest(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes)) }
}
