// Licensed under the Apache License 2.0; see LICENSE.

internal import Crypto
internal import GatewayCore

/// What a legacy session is: everything the gateway has to remember of it, carried by the client in the id itself.
struct Session: Sendable, Equatable {
    var revision: Revision
    var capabilities: ClientCapabilities
    var caller: Caller
    /// Wall milliseconds.
    var createdAt: Int64
    var key: SessionKey
}

/// What a legacy client can do, as it said in `initialize`.
struct ClientCapabilities: OptionSet, Sendable {
    let rawValue: UInt16
    static let roots = ClientCapabilities(rawValue: 1)
    static let sampling = ClientCapabilities(rawValue: 2)
    static let samplingTools = ClientCapabilities(rawValue: 4)
    static let elicitationForm = ClientCapabilities(rawValue: 8)
    static let elicitationURL = ClientCapabilities(rawValue: 16)
}

/// The keys that seal session ids; the first one seals, all of them open.
package struct SessionKeys: Sendable {
    package struct Key: Sendable {
        let id: UInt8
        let secret: SymmetricKey

        /// - Parameter secret: 32 random bytes.
        package init(id: UInt8, secret: [UInt8]) {
            self.id = id
            self.secret = SymmetricKey(data: secret)
        }
    }

    let current: Key
    let all: [Key]

    package init(current: Key, older: [Key] = []) {
        self.current = current
        all = [current] + older
    }
}

/// Session ids that describe themselves, so that a session is good after a restart: real clients end their conversation
/// at the first 404.
///
/// Form, before base64url: version byte, key id, nonce (12), AES-GCM ciphertext, tag (16). Inside: revision,
/// capabilities (2), creation time (8), 16 random bytes, the caller's name. About 100 characters.
struct SessionSeal: Sendable {
    private static let version: UInt8 = 1
    private let keys: SessionKeys
    /// An id older than this is not taken any more, in milliseconds.
    let lifetime: Int64

    init(keys: SessionKeys, lifetime: Duration) {
        self.keys = keys
        self.lifetime = Int64(lifetime.milliseconds)
    }

    func seal(_ session: Session) -> String {
        var plain: [UInt8] = [session.revision.rawValue]
        plain.append(contentsOf: Self.bytes(UInt64(session.capabilities.rawValue), 2))
        plain.append(contentsOf: Self.bytes(UInt64(bitPattern: session.createdAt), 8))
        plain.append(contentsOf: session.key.bytes)
        plain.append(contentsOf: session.caller.name.utf8)
        let header: [UInt8] = [Self.version, keys.current.id]
        // Fails only for a key of the wrong length, which is a mistake of ours.
        guard let box = try? AES.GCM.seal(plain, using: keys.current.secret, authenticating: header),
            let combined = box.combined
        else { preconditionFailure("the session key cannot seal") }
        return Base64URL.encode(header + Array(combined))
    }

    /// nil for whatever was not sealed by us, or too long ago.
    func open(_ id: String, at wall: Int64) -> Session? {
        guard id.utf8.count < 512, let bytes = Base64URL.decode(id), bytes.count > 30, bytes[0] == Self.version,
            let key = keys.all.first(where: { $0.id == bytes[1] })
        else { return nil }
        // A seal that does not open is an answer, not an incident: the id is simply not ours.
        guard let box = try? AES.GCM.SealedBox(combined: bytes[2...]),
            let plain = try? Array(AES.GCM.open(box, using: key.secret, authenticating: bytes[..<2])),
            plain.count >= 27, let revision = Revision(rawValue: plain[0]), !revision.isModern
        else { return nil }
        let createdAt = Int64(bitPattern: Self.number(plain[3..<11]))
        guard wall - createdAt < lifetime else { return nil }
        return Session(
            revision: revision, capabilities: ClientCapabilities(rawValue: UInt16(Self.number(plain[1..<3]))),
            caller: Caller(name: String(decoding: plain[27...], as: UTF8.self)), createdAt: createdAt,
            key: SessionKey(Array(plain[11..<27])))
    }

    private static func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Base64 with the alphabet that is safe in headers and addresses, without padding (RFC 4648, 5).
enum Base64URL {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count * 4 / 3 + 3)
        var accumulator: UInt32 = 0
        var bits = 0
        for byte in bytes {
            accumulator = accumulator << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                out.append(alphabet[Int(accumulator >> UInt32(bits) & 63)])
            }
        }
        if bits > 0 { out.append(alphabet[Int(accumulator << UInt32(6 - bits) & 63)]) }
        return String(decoding: out, as: UTF8.self)
    }

    /// Takes exactly what `encode` writes: one text for each value, no left-over bits.
    static func decode(_ text: String) -> [UInt8]? {
        guard text.utf8.count % 4 != 1 else { return nil }
        var out: [UInt8] = []
        var accumulator: UInt32 = 0
        var bits = 0
        for character in text.utf8 {
            let value: UInt8
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
            case UInt8(ascii: "-"): value = 62
            case UInt8(ascii: "_"): value = 63
            default: return nil
            }
            accumulator = accumulator << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                out.append(UInt8(truncatingIfNeeded: accumulator >> UInt32(bits)))
            }
        }
        guard accumulator & (1 << UInt32(bits) - 1) == 0 else { return nil }
        return out
    }
}
