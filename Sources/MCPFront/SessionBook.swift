// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import Sealing
internal import Synchronization

/// Legacy sessions: opens them, recognises them, ends them. Nothing is kept that the id does not say, except which ones
/// a client has ended.
package final class SessionBook: Sendable {
    private let seal: SessionSeal
    private let tombstones: any Tombstones
    private let time: any TimeSource
    /// Ids opened lately, so that each call need not decrypt again. Forgetting one costs only that.
    private let known = Mutex<[String: Session]>([:])
    private static let knownMax = 4_096

    /// - Parameter lifetime: how long a session may be used, counted from its beginning.
    package init(keys: SealKeys, tombstones: any Tombstones, time: any TimeSource, lifetime: Duration) {
        seal = SessionSeal(keys: keys, lifetime: lifetime)
        self.tombstones = tombstones
        self.time = time
    }

    /// A new session for a client that said `initialize`; the id goes back in a header.
    func begin(
        revision: Revision, capabilities: ClientCapabilities, caller: Caller
    ) -> (id: String, session: Session) {
        let key = SessionKey.random()
        let session = Session(
            revision: revision, capabilities: capabilities, caller: caller, createdAt: time.wallMilliseconds(), key: key
        )
        let id = seal.seal(session)
        remember(id, session)
        return (id, session)
    }

    /// The session behind an id; nil when it is not ours, too old, or ended.
    func find(_ id: String) -> Session? {
        if let session = known.withLock({ $0[id] }), time.wallMilliseconds() - session.createdAt < seal.lifetime {
            return tombstones.contains(session.key) ? nil : session
        }
        guard let session = seal.open(id, at: time.wallMilliseconds()), !tombstones.contains(session.key) else {
            return nil
        }
        remember(id, session)
        return session
    }

    /// Ends a session for good; nil when there is none.
    func end(_ id: String) -> Session? {
        guard let session = find(id) else { return nil }
        tombstones.add(session.key, expires: session.createdAt + seal.lifetime)
        known.withLock { $0[id] = nil }
        return session
    }

    /// Drops what can be had again by decrypting.
    package func releaseMemory() { known.withLock { $0 = [:] } }

    private func remember(_ id: String, _ session: Session) {
        known.withLock { table in
            if table.count >= Self.knownMax { table.removeAll(keepingCapacity: true) }
            table[id] = session
        }
    }
}
