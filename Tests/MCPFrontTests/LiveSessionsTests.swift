// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import MCPFront

/// Sessions that are in use, and what is kept of them.
@Suite("Live sessions") struct LiveSessionsTests {
    private let time = ManualTime()
    private let service = PlayedService()
    private var sessions: LiveSessions { LiveSessions(service: service, time: time) }

    private static func session(_ number: Int, _ revision: Revision = .v2025_11_25) -> Session {
        let bytes = (0..<16).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        return Session(
            revision: revision, capabilities: .roots, caller: .anonymous, createdAt: 1_000, key: SessionKey(bytes))
    }

    @Test("A session begins once, is found again as it was, and ends once")
    func life() {
        let sessions = sessions
        let (one, other) = (Self.session(1), Self.session(2))
        let live = sessions.find(one)
        live.setLogLevel(.error)
        #expect(sessions.find(one) === live)
        #expect(sessions.find(other) !== live)
        #expect(sessions.find(one).logLevel == .error)
        #expect(sessions.find(other).logLevel == nil)
        #expect(service.begun.all == [one.key, other.key])
        #expect(sessions.count == 2)
        sessions.end(one.key)
        sessions.end(one.key)
        #expect(service.gone.all == [one.key])
        #expect(sessions.find(one) !== live)
        #expect(service.begun.all == [one.key, other.key, one.key])
    }

    @Test("Two who find a session at the same time find the same one")
    func race() async {
        for number in 0..<50 {
            let sessions = sessions
            let found = await withTaskGroup(of: ObjectIdentifier.self) { group in
                for _ in 0..<8 { group.addTask { ObjectIdentifier(sessions.find(Self.session(number))) } }
                return await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(found.count == 1)
        }
        #expect(service.begun.count == 50)
    }

    @Test(
        "A session tells what it is, and which revisions understand events without data",
        arguments: Revision.allCases.filter { !$0.isModern })
    func facts(_ revision: Revision) {
        let live = LiveSession(Self.session(5, revision), at: time.now())
        #expect(live.key == Self.session(5).key)
        #expect(live.revision == revision)
        #expect(live.marksStreams == (revision == .v2025_11_25))
        for level in LogLevel.allCases {
            live.setLogLevel(level)
            #expect(live.logLevel == level)
        }
    }

    @Test("The end of a session ends its questions and its requests")
    func close() async throws {
        let sessions = sessions
        let live = sessions.find(Self.session(1))
        let question = Task.immediate { [time] in
            await live.questions.ask(
                Question(kind: .roots, params: [:]), deadline: Deadline(time.now() + .seconds(3_600)),
                loop: TestLoop.one,
                time: time
            ) { _ in }
        }
        let cancelled = Flag()
        let request = live.requests.begin([0x31]) { cancelled.raise() }
        sessions.end(live.key)
        #expect(try await question.soon() == .refused(code: -1, message: "The client has left."))
        #expect(cancelled.isRaised)
        #expect(!live.requests.end(request))
    }

    @Test("When there are too many, those that were long idle go first, and nobody that works or is new")
    func tooMany() {
        let sessions = sessions
        let busy = sessions.find(Self.session(0))
        _ = busy.requests.begin([0x31])
        for number in 1..<4_000 { _ = sessions.find(Self.session(number)) }
        time.advance(by: .seconds(1_801))
        let used = sessions.find(Self.session(1))
        for number in 4_000..<4_096 { _ = sessions.find(Self.session(number)) }
        #expect(sessions.count == 4_096)
        #expect(service.gone.count == 0)
        let last = sessions.find(Self.session(4_096))
        let gone = Set(service.gone.all)
        #expect(gone == Set((2..<4_000).map { Self.session($0).key }))
        for kept in [busy, used, last] { #expect(sessions.find(kept.session) === kept) }
        #expect(sessions.count == 4_097 - 3_998)
    }

    @Test("When all were used lately an eighth of those goes that nobody holds open")
    func allInUse() {
        let sessions = sessions
        for number in 0..<4_096 {
            time.advance(by: .milliseconds(1))
            _ = sessions.find(Self.session(number))
        }
        time.advance(by: .milliseconds(1))
        let last = sessions.find(Self.session(4_096))
        #expect(service.gone.count == 512)
        #expect(Set(service.gone.all).count == 512)
        #expect(sessions.count == 4_097 - 512)
        #expect(sessions.find(last.session) === last)
    }

    @Test("A session without anything open is idle from its last use on")
    func idle() {
        let live = LiveSession(Self.session(1), at: time.now())
        #expect(!live.isIdle(since: time.now()))
        time.advance(by: .seconds(1))
        #expect(live.isIdle(since: time.now()))
        live.touch(at: time.now())
        #expect(!live.isIdle(since: time.now()))
        time.advance(by: .seconds(1))
        let request = live.requests.begin([0x31])
        #expect(!live.isIdle(since: time.now()))
        _ = live.requests.end(request)
        #expect(live.isIdle(since: time.now()))
    }

    // MARK: Streams

    @Test("Each stream has a number of its own, under which its events are found")
    func trails() {
        let live = LiveSession(Self.session(1), at: time.now())
        let (one, two) = (live.newTrail(), live.newTrail())
        #expect([live.standalone.number, one.number, two.number] == [0, 1, 2])
        func find(_ place: String) -> (trail: EventTrail, sequence: UInt64?)? { live.find(event: live.life + place) }
        #expect(find("0-5")?.trail === live.standalone)
        #expect(find("1-0")?.trail === one)
        #expect(find("2-17")?.trail === two)
        #expect(find("2-17")?.sequence == 17)
        for event in ["3-0", "", "-", "1", "1-", "-1", "1-0-0", "1--1", "x-0", "1-x", "1-1.5", "\u{661}-0"] {
            #expect(find(event) == nil, "\(event)")
            #expect(live.find(event: event) == nil, "\(event)")
        }
    }

    @Test("Events of another life are not taken for this one's; the session's own stream begins anew for who has them")
    func otherLife() throws {
        let (before, now) = (LiveSession(Self.session(1), at: time.now()), LiveSession(Self.session(1), at: time.now()))
        for live in [before, now] { _ = live.newTrail() }
        #expect(now.find(event: before.life + "1-3") == nil)
        let own = try #require(now.find(event: before.life + "0-3"))
        #expect(own.trail === now.standalone)
        #expect(own.sequence == nil)
    }

    @Test("Streams that ended are kept for a while, and for none when memory is wanted; idle sessions go in time")
    func sweeps() {
        let sessions = sessions
        let live = sessions.find(Self.session(1))
        let trail = live.newTrail()
        _ = live.newTrail()
        trail.append(ByteBuffer(string: "{}"), isLast: true)
        func isKept(_ number: Int) -> Bool { live.find(event: live.life + "\(number)-0") != nil }
        for _ in 0..<10 { sessions.sweep(isUrgent: false) }
        #expect(isKept(1))
        sessions.sweep(isUrgent: false)
        #expect(!isKept(1))
        #expect(isKept(2), "it has not ended")
        live.newTrail().append(ByteBuffer(string: "{}"), isLast: true)
        sessions.sweep(isUrgent: true)
        #expect(!isKept(3))
        time.advance(by: .seconds(1_800))
        sessions.sweep(isUrgent: false)
        #expect(sessions.count == 1)
        time.advance(by: .seconds(1))
        sessions.sweep(isUrgent: false)
        #expect(sessions.count == 0)
        #expect(service.gone.all == [live.key])
    }

    @Test("All streams together keep so much, and above that each keeps its last event")
    func budget() {
        let budget = EventTrail.Budget(bytesMax: 1_000)
        let event = ByteBuffer(string: String(repeating: "x", count: 400))
        do {
            let trails = (1...3).map { EventTrail(number: $0, budget: budget) }
            for trail in trails { for _ in 0..<3 { trail.append(event) } }
            #expect(budget.kept <= 1_000 + 3 * 400)
            for trail in trails { trail.append(event, isLast: true) }
            #expect(budget.kept == 3 * 400)
        }
        #expect(budget.kept == 0)
    }

    @Test("Only the latest streams are kept; the finished make room first, and then the oldest")
    func trailBound() {
        let live = LiveSession(Self.session(1), at: time.now())
        let trails = (0..<16).map { _ in live.newTrail() }
        trails[7].append(ByteBuffer(string: "{}"), isLast: true)
        trails[3].append(ByteBuffer(string: "{}"), isLast: true)
        for _ in 0..<3 { _ = live.newTrail() }
        let kept = (1...19).filter { live.find(event: live.life + "\($0)-0") != nil }
        #expect(kept == (1...19).filter { ![4, 8, 1].contains($0) })
    }
}
