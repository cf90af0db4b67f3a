// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Synchronization

/// The sessions that are in use. One that is idle for long, or too many, is forgotten; its client will not notice, but
/// for what it wanted to hear of.
final class LiveSessions: Sendable {
    private let sessions = Mutex<[SessionKey: LiveSession]>([:])
    private let budget = EventTrail.Budget()
    private let service: any MCPService
    private let time: any TimeSource
    private static let sessionsMax = 4_096
    private static let idleMax = Duration.seconds(1_800)

    init(service: any MCPService, time: any TimeSource) {
        self.service = service
        self.time = time
    }

    func find(_ session: Session) -> LiveSession {
        let now = time.now()
        if let known = sessions.withLock({ $0[session.key] }) {
            known.touch(at: now)
            return known
        }
        let made = LiveSession(session, at: now, budget: budget)
        let (kept, dropped) = sessions.withLock { sessions -> (LiveSession, [LiveSession]) in
            if let known = sessions[session.key] { return (known, []) }
            sessions[session.key] = made
            return (made, sessions.count > Self.sessionsMax ? Self.makeRoom(&sessions, now, sparing: made) : [])
        }
        for one in dropped { end(one) }
        if kept === made { service.began(made) }
        return kept
    }

    /// Forgets who was idle for long, and streams that ended long ago. To be called twice a minute or so.
    ///
    /// - Parameter isUrgent: memory is wanted back: every stream that has ended goes.
    func sweep(isUrgent: Bool) {
        let now = time.now()
        let dropped = sessions.withLock { sessions in
            let dropped = sessions.values.filter { $0.isIdle(since: Self.long(before: now)) }
            for one in dropped { sessions[one.key] = nil }
            return dropped
        }
        for one in dropped { end(one) }
        for one in sessions.withLock({ Array($0.values) }) {
            one.sweep(sweepsMax: isUrgent ? 0 : Self.sweepsMax)
        }
    }

    /// Some five minutes.
    private static let sweepsMax = 10

    private static func long(before now: Moment) -> Moment {
        Moment(nanoseconds: now.nanoseconds - min(now.nanoseconds, UInt64(idleMax.nanosecondsClamped)))
    }

    private static func makeRoom(
        _ sessions: inout [SessionKey: LiveSession], _ now: Moment, sparing: LiveSession
    ) -> [LiveSession] {
        var dropped = sessions.values.filter { $0 !== sparing && $0.isIdle(since: long(before: now)) }
        if dropped.isEmpty {
            // All are in use lately: those go that nobody holds open right now.
            dropped = Array(sessions.values.filter { $0 !== sparing && $0.isIdle(since: now) }.prefix(sessionsMax / 8))
        }
        for one in dropped { sessions[one.key] = nil }
        return dropped
    }

    func end(_ key: SessionKey) {
        if let session = sessions.withLock({ $0.removeValue(forKey: key) }) { end(session) }
    }

    private func end(_ session: LiveSession) {
        session.close()
        service.ended(session.key)
    }

    /// Ends what is held open for callers who are none any more.
    func endCallers(but callers: Set<String>) {
        let ended = sessions.withLock { sessions in
            let ended = sessions.values.filter {
                $0.session.caller != .anonymous && !callers.contains($0.session.caller.name)
            }
            for one in ended { sessions[one.key] = nil }
            return ended
        }
        for one in ended { end(one) }
    }

    /// Ends the streams that have no end of their own.
    func drain() {
        for session in sessions.withLock({ Array($0.values) }) {
            session.standalone.close()
            // Their answers would be turned away now.
            session.questions.close()
        }
    }

    var count: Int { sessions.withLock { $0.count } }
}
