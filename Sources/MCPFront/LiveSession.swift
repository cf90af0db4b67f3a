// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// A legacy session with somebody at its other end, over HTTP: what is only worth keeping while that is so. The session
/// itself is in its id, and outlives this.
final class LiveSession: ClientSession {
    let session: Session
    let questions = QuestionBook()
    let requests = RequestBook()
    /// The stream that answers no request.
    let standalone = EventTrail(number: 0)

    private struct State {
        var level: LogLevel?
        var trails: [EventTrail] = []
        var trailCount = 0
        var lastUsed: Moment
    }

    private let state: Mutex<State>
    private static let trailsMax = 16

    init(_ session: Session, at now: Moment) {
        self.session = session
        state = Mutex(State(lastUsed: now))
    }

    var key: SessionKey { session.key }
    var revision: Revision { session.revision }
    var logLevel: LogLevel? { state.withLock { $0.level } }
    func setLogLevel(_ level: LogLevel) { state.withLock { $0.level = level } }
    func deliver(_ notification: ByteBuffer) { standalone.append(notification) }

    /// Whether clients of this revision understand events without data; older parsers choke on them.
    var marksStreams: Bool { revision >= .v2025_11_25 }

    func touch(at now: Moment) { state.withLock { $0.lastUsed = now } }

    func isIdle(since moment: Moment) -> Bool {
        !standalone.isHeld && requests.count == 0 && state.withLock { $0.lastUsed < moment }
    }

    /// A new stream for one request. The oldest finished ones make room.
    func newTrail() -> EventTrail {
        state.withLock { state in
            state.trailCount += 1
            let trail = EventTrail(number: state.trailCount)
            while state.trails.count >= Self.trailsMax {
                let index = state.trails.firstIndex { $0.isFinished } ?? 0
                state.trails.remove(at: index)
            }
            state.trails.append(trail)
            return trail
        }
    }

    /// The stream and the place in it that an event id names; nil when it is not kept.
    func find(event id: String) -> (trail: EventTrail, sequence: UInt64)? {
        let parts = id.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int(parts[0]), let sequence = UInt64(parts[1]) else { return nil }
        if number == 0 { return (standalone, sequence) }
        return state.withLock { state in state.trails.first { $0.number == number } }.map { ($0, sequence) }
    }

    func close() {
        questions.close()
        requests.cancelAll()
        standalone.close()
        for trail in state.withLock({ $0.trails }) { trail.close() }
    }
}

/// The sessions that are in use. One that is idle for long, or too many, is forgotten; its client will not notice, but
/// for what it wanted to hear of.
final class LiveSessions: Sendable {
    private let sessions = Mutex<[SessionKey: LiveSession]>([:])
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
        let made = LiveSession(session, at: now)
        let (kept, dropped) = sessions.withLock { sessions -> (LiveSession, [LiveSession]) in
            if let known = sessions[session.key] { return (known, []) }
            sessions[session.key] = made
            return (made, sessions.count > Self.sessionsMax ? Self.makeRoom(&sessions, now, sparing: made) : [])
        }
        for one in dropped { end(one) }
        if kept === made { service.began(made) }
        return kept
    }

    private static func makeRoom(
        _ sessions: inout [SessionKey: LiveSession], _ now: Moment, sparing: LiveSession
    ) -> [LiveSession] {
        let long = Moment(nanoseconds: now.nanoseconds - min(now.nanoseconds, UInt64(idleMax.nanosecondsClamped)))
        var dropped = sessions.values.filter { $0 !== sparing && $0.isIdle(since: long) }
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
