// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Sealing

/// What a legacy session is: everything the gateway has to remember of it, carried by the client in the id itself.
struct Session: Sendable, Equatable {
    var revision: Revision
    var capabilities: ClientCapabilities
    var caller: Caller
    /// Wall milliseconds.
    var createdAt: Int64
    var key: SessionKey
}

/// Session ids that describe themselves, so that a session is good after a restart: real clients end their conversation
/// at the first 404.
///
/// Inside the seal: revision, capabilities (2), creation time (8), 16 random bytes, the caller's name. About 100
/// characters.
struct SessionSeal: Sendable {
    private let box: Seal
    /// An id older than this is not taken any more, in milliseconds.
    let lifetime: Int64

    init(keys: SealKeys, lifetime: Duration) {
        box = Seal(keys: keys)
        self.lifetime = Int64(lifetime.milliseconds)
    }

    func seal(_ session: Session) -> String {
        var plain: [UInt8] = [session.revision.rawValue]
        plain.append(contentsOf: Self.bytes(UInt64(session.capabilities.rawValue), 2))
        plain.append(contentsOf: Self.bytes(UInt64(bitPattern: session.createdAt), 8))
        plain.append(contentsOf: session.key.bytes)
        plain.append(contentsOf: session.caller.name.utf8)
        return box.seal(plain)
    }

    /// nil for whatever was not sealed by us, or too long ago.
    func open(_ id: String, at wall: Int64) -> Session? {
        guard let plain = box.open(id, charactersMax: 512), plain.count >= 27,
            let revision = Revision(rawValue: plain[0]), !revision.isModern
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
