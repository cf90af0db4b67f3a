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
    let standalone: EventTrail
    private let budget: EventTrail.Budget
    /// Numbers of streams begin anew with each life: what was seen in another one must not be taken for this one's.
    let life: String

    private struct State {
        var level: LogLevel?
        var trails: [(trail: EventTrail, sweepsSinceEnd: Int)] = []
        var trailCount = 0
        var lastUsed: Moment
    }

    private let state: Mutex<State>
    private static let trailsMax = 16

    init(_ session: Session, at now: Moment, budget: EventTrail.Budget = EventTrail.Budget()) {
        self.session = session
        self.budget = budget
        life = String(UInt32.random(in: .min ... .max), radix: 36) + "."
        standalone = EventTrail(number: 0, life: life, budget: budget)
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
            let trail = EventTrail(number: state.trailCount, life: life, budget: budget)
            while state.trails.count >= Self.trailsMax {
                let index = state.trails.firstIndex { $0.trail.isFinished } ?? 0
                state.trails.remove(at: index)
            }
            state.trails.append((trail, 0))
            return trail
        }
    }

    /// Forgets streams that ended long ago: nobody has come for the rest.
    ///
    /// - Parameter sweepsMax: how many sweeps one is kept after its end.
    func sweep(sweepsMax: Int) {
        state.withLock { state in
            for index in state.trails.indices where state.trails[index].trail.isFinished {
                state.trails[index].sweepsSinceEnd += 1
            }
            state.trails.removeAll { $0.sweepsSinceEnd > sweepsMax }
        }
    }

    /// The stream and the place in it that an event id names; nil when it is not kept. The stream that answers no
    /// request is there in every life: who has seen an event of another one begins anew.
    func find(event id: String) -> (trail: EventTrail, sequence: UInt64?)? {
        let words = id.split(separator: ".", omittingEmptySubsequences: false)
        guard words.count == 2 else { return nil }
        let parts = words[1].split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int(parts[0]), let sequence = UInt64(parts[1]) else { return nil }
        let isOfThisLife = words[0] == life.dropLast()
        if number == 0 { return (standalone, isOfThisLife ? sequence : nil) }
        guard isOfThisLife else { return nil }
        return state.withLock { state in state.trails.first { $0.trail.number == number } }.map { ($0.trail, sequence) }
    }

    func close() {
        questions.close()
        requests.cancelAll()
        standalone.close()
        for kept in state.withLock({ $0.trails }) { kept.trail.close() }
    }
}
