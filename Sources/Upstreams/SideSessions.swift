// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// A session of a legacy server that one client has to itself: opened with that client's capabilities, so that the
/// server may ask it, and so that what the server says without naming a request can only be meant for it.
final class SideSession: Sendable {
    /// Whose it is. Clients of the stateless era have no session: theirs are lent out for one call after the other, and
    /// thrown away once a question was answered in them.
    struct Key: Sendable, Hashable {
        var session: SessionKey?
        var capabilities: ClientCapabilities
        /// Nothing is opened with a server of the stateless era but its process.
        var isModern = false
    }

    let key: Key
    let link: ServerLink
    let era: Era
    fileprivate let state = Mutex(State())

    struct State {
        var users = 0
        var level: LogLevel?
        /// Counts uses, so that a timer can tell whether anything happened since it was set.
        var uses = 0
        var isGone = false
    }

    init(key: Key, link: ServerLink, era: Era) {
        self.key = key
        self.link = link
        self.era = era
    }

    /// The level to ask for now; nil when it is what the session has.
    func newLevel(_ wanted: LogLevel?) -> LogLevel? {
        guard let wanted else { return nil }
        return state.withLock { state in
            guard state.level != wanted else { return nil }
            state.level = wanted
            return wanted
        }
    }
}

/// The side sessions of one server. Bounded; idle ones end after a while.
final class SideSessions: Sendable {
    typealias Opener = @Sendable (SideSession.Key) async throws(CallFailure) -> SideSession
    typealias Closer = @Sendable (SideSession) async -> Void

    private let sessions = Mutex<[SideSession]>([])
    /// Sessions that are being opened count as well.
    private let opening = Mutex<Int>(0)
    private let sessionsMax: Int
    private let idleMax: Duration
    private let loop: any EventLoop
    private let open: Opener
    private let close: Closer

    init(
        sessionsMax: Int, idleMax: Duration, loop: any EventLoop, open: @escaping Opener, close: @escaping Closer
    ) {
        self.sessionsMax = sessionsMax
        self.idleMax = idleMax
        self.loop = loop
        self.open = open
        self.close = close
    }

    var count: Int { sessions.withLock { $0.count } }

    /// A session for this client: its own, or a free one, or a new one.
    func take(_ key: SideSession.Key) async throws(CallFailure) -> SideSession {
        if let known = sessions.withLock({ $0.first { $0.key == key && Self.claim($0) } }) { return known }
        let victim = sessions.withLock { all -> SideSession? in
            guard all.count + opening.withLock({ $0 }) >= sessionsMax else { return nil }
            let index = all.firstIndex { session in
                session.state.withLock { state in
                    guard state.users == 0 else { return false }
                    state.isGone = true
                    return true
                }
            }
            return index.map { all.remove(at: $0) }
        }
        if let victim { await close(victim) }
        let isFull = opening.withLock { opening in
            guard opening + count < sessionsMax else { return true }
            opening += 1
            return false
        }
        guard !isFull else {
            throw .overloaded(detail: "its server holds \(sessionsMax) conversations with other clients already")
        }
        defer { opening.withLock { $0 -= 1 } }
        let session = try await open(key)
        session.state.withLock { state in
            state.users = 1
            state.uses = 1
        }
        sessions.withLock { $0.append(session) }
        return session
    }

    /// A client's own session serves all its calls; the others one call at a time.
    private static func claim(_ session: SideSession) -> Bool {
        session.state.withLock { state in
            guard !state.isGone, session.key.session != nil || state.users == 0 else { return false }
            state.users += 1
            state.uses += 1
            return true
        }
    }

    func giveBack(_ session: SideSession) {
        let (isFree, uses) = session.state.withLock { state in
            state.users -= 1
            return (state.users == 0, state.uses)
        }
        guard isFree else { return }
        if session.key.session == nil, session.link.hasAsked { return discard(session) }
        loop.scheduleTask(in: .nanoseconds(idleMax.nanosecondsClamped)) {
            let isIdle = session.state.withLock { $0.users == 0 && $0.uses == uses }
            if isIdle { self.discard(session) }
        }
    }

    /// The session is of no use any more.
    func discard(_ session: SideSession) {
        let wasThere = sessions.withLock { all in
            guard let index = all.firstIndex(where: { $0 === session }) else { return false }
            all.remove(at: index)
            return true
        }
        session.state.withLock { $0.isGone = true }
        let close = close
        // Ends with the process or with the server's word, which have their own limits.
        if wasThere { Task(executorPreference: LoopExecutor(loop)) { await close(session) } }
    }

    func closeAll() async {
        let all = sessions.withLock { all in
            defer { all = [] }
            return all
        }
        for session in all { await close(session) }
    }
}
