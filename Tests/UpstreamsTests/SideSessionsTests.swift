// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Synchronization
import Testing

@testable import Upstreams

/// Sessions at a server that one client has to itself.
@Suite("Side sessions") struct SideSessionsTests {
    /// The sessions of one server, whose opening and closing a test plays.
    private final class Bench: Sendable {
        let opened = Collected<SideSession.Key>()
        let closed = Collected<SideSession>()
        /// Opening waits for it, when there is one.
        let gate = Mutex<Gate?>(nil)
        let failure = Mutex<CallFailure?>(nil)
        let loop = TestLoop.one
        private let held = Mutex<SideSessions?>(nil)

        init(sessionsMax: Int = 4, idle: Duration = .seconds(3_600), own: Duration = .seconds(3_600)) {
            let (opened, closed) = (opened, closed)
            let sessions = SideSessions(sessionsMax: sessionsMax, idleMax: (idle, own), loop: loop) {
                [weak self] key in
                opened.add(key)
                await self?.gate.withLock { $0 }?.pass()
                if let failure = self?.failure.withLock({ $0 }) { return .failure(failure) }
                do {
                    let link = try ServerLink.scripted(ScriptedTransport(), isExclusive: true)
                    return .success(SideSession(key: key, link: link, era: .legacy(.v2025_11_25, session: "s")))
                } catch {
                    return .failure(.unavailable(detail: "\(error)"))
                }
            } close: {
                closed.add($0)
            }
            held.withLock { $0 = sessions }
        }

        var sessions: SideSessions {
            guard let sessions = held.withLock({ $0 }) else { preconditionFailure("made in init") }
            return sessions
        }

        func take(_ key: SideSession.Key) async throws -> SideSession {
            let sessions = sessions
            return try await Task { try await sessions.take(key) }.soon("a session")
        }

        func untilClosed(_ count: Int) async throws -> [SideSession] {
            try await wait(for: "\(count) closed, so far \(closed.count)") { closed.count >= count }
            return closed.all
        }
    }

    private static func own(_ client: UInt8, _ capabilities: ClientCapabilities = .roots) -> SideSession.Key {
        SideSession.Key(session: SessionKey([client]), capabilities: capabilities)
    }

    private static func lent(_ capabilities: ClientCapabilities = .roots) -> SideSession.Key {
        SideSession.Key(session: nil, capabilities: capabilities)
    }

    private func isOverloaded(_ bench: Bench, _ key: SideSession.Key) async throws -> Bool {
        do {
            _ = try await bench.take(key)
            return false
        } catch CallFailure.overloaded(let detail, _) {
            return detail.contains("conversations with other clients")
        }
    }

    // MARK: Keys

    @Test("A client's own session serves all its calls, also at once, and nobody else's")
    func own() async throws {
        let bench = Bench()
        let one = try await bench.take(Self.own(1))
        #expect(try await bench.take(Self.own(1)) === one)
        #expect(try await bench.take(Self.own(2)) !== one)
        #expect(try await bench.take(Self.own(1, .sampling)) !== one)
        #expect(try await bench.take(Self.lent()) !== one)
        for _ in 0..<2 { bench.sessions.giveBack(one) }
        #expect(try await bench.take(Self.own(1)) === one)
        #expect(bench.opened.all == [Self.own(1), Self.own(2), Self.own(1, .sampling), Self.lent()])
        #expect(bench.closed.count == 0)
    }

    @Test("One that is lent serves one call after the other, and only clients of the same capabilities")
    func lent() async throws {
        let bench = Bench()
        let one = try await bench.take(Self.lent())
        let two = try await bench.take(Self.lent())
        #expect(one !== two)
        bench.sessions.giveBack(one)
        #expect(try await bench.take(Self.lent(.sampling)) !== one)
        #expect(try await bench.take(Self.lent()) === one)
        #expect(bench.opened.count == 3)
        #expect(bench.sessions.count == 3)
    }

    @Test("A client's own is opened once, however many of its calls wait for it")
    func openedOnce() async throws {
        let bench = Bench()
        let gate = Gate()
        bench.gate.withLock { $0 = gate }
        let takers = (0..<5).map { _ in Task.immediate { try await bench.take(Self.own(1)) } }
        let lent = (0..<2).map { _ in Task.immediate { try await bench.take(Self.lent()) } }
        try await wait(for: "the openings") { bench.opened.count == 3 }
        gate.open()
        var own: [SideSession] = []
        for taker in takers { own.append(try await taker.soon()) }
        #expect(Set(own.map { ObjectIdentifier($0) }).count == 1)
        #expect(try await lent[0].soon() !== lent[1].value)
        #expect(bench.opened.count == 3)
    }

    @Test("What cannot be opened is said to all who wait, and tried again for the next")
    func failure() async throws {
        let bench = Bench()
        let gate = Gate()
        bench.gate.withLock { $0 = gate }
        bench.failure.withLock { $0 = .unavailable(detail: "it is away") }
        let takers = [Self.own(1), Self.own(1), Self.lent()].map { key in
            Task.immediate { () -> CallFailure? in
                do throws(CallFailure) {
                    _ = try await bench.sessions.take(key)
                    return nil
                } catch {
                    return error
                }
            }
        }
        gate.open()
        for taker in takers { #expect(try await taker.soon() == .unavailable(detail: "it is away")) }
        #expect(bench.sessions.count == 0)
        bench.failure.withLock { $0 = nil }
        _ = try await bench.take(Self.own(1))
        #expect(bench.sessions.count == 1)
    }

    // MARK: Bounds

    @Test("When there are too many, one that nobody uses makes room, and without one the call is turned away")
    func eviction() async throws {
        let bench = Bench(sessionsMax: 2)
        let one = try await bench.take(Self.own(1))
        let two = try await bench.take(Self.own(2))
        #expect(try await isOverloaded(bench, Self.own(3)))
        #expect(try await isOverloaded(bench, Self.lent()))
        #expect(try await bench.take(Self.own(1)) === one, "its own is there all the same")
        bench.sessions.giveBack(one)
        #expect(try await isOverloaded(bench, Self.own(3)), "it is used by another call")
        bench.sessions.giveBack(one)
        let three = try await bench.take(Self.own(3))
        #expect(try await bench.untilClosed(1).first === one)
        #expect(bench.sessions.count == 2)
        bench.sessions.giveBack(two)
        bench.sessions.giveBack(three)
        #expect(try await bench.take(Self.own(1)) !== one)
        #expect(try await bench.untilClosed(2).last === two, "the oldest that nobody uses")
        #expect(bench.closed.count == 2)
    }

    @Test("Those that are being opened count, and so does one that failed no more")
    func openingCounts() async throws {
        let bench = Bench(sessionsMax: 2)
        let gate = Gate()
        bench.gate.withLock { $0 = gate }
        let takers = [1, 2].map { number in Task.immediate { try await bench.take(Self.own(number)) } }
        try await wait(for: "the openings") { bench.opened.count == 2 }
        #expect(try await isOverloaded(bench, Self.own(3)))
        bench.failure.withLock { $0 = .unavailable(detail: "x") }
        gate.open()
        for taker in takers { _ = try? await taker.soon() }
        bench.failure.withLock { $0 = nil }
        _ = try await bench.take(Self.own(3))
    }

    // MARK: Ends

    /// A client answers a question in this session.
    private func taint(_ session: SideSession) async throws {
        let conversation = RecordingConversation()
        let call = session.link.begin(5, for: conversation)
        session.link.hear(try .of(#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#))
        try await wait(for: "the question") { conversation.questions.count == 1 }
        call.cancel()
        _ = try await call.soon()
    }

    @Test("One that was lent and in which a client answered is closed, and lent to nobody else; a client's own is kept")
    func tainted() async throws {
        let bench = Bench()
        let (lent, own) = (try await bench.take(Self.lent()), try await bench.take(Self.own(1)))
        for session in [lent, own] {
            try await taint(session)
            bench.sessions.giveBack(session)
        }
        #expect(try await bench.untilClosed(1).first === lent)
        #expect(try await bench.take(Self.lent()) !== lent)
        #expect(try await bench.take(Self.own(1)) === own)
        #expect(bench.closed.count == 1)
    }

    @Test("One that nobody uses for a while ends, and the next client gets another", arguments: [true, false])
    func idle(_ isOwn: Bool) async throws {
        let bench = Bench(
            idle: isOwn ? .seconds(3_600) : .milliseconds(1), own: isOwn ? .milliseconds(1) : .seconds(3_600))
        let key = isOwn ? Self.own(1) : Self.lent()
        // A client's own may be over before it is taken, when it rests for a moment only.
        let session = try await wait(forValue: "a session") { try? await bench.take(key) }
        bench.sessions.giveBack(session)
        try await wait(for: "its end") { bench.closed.all.contains { $0 === session } }
        #expect(try await wait(forValue: "another") { try? await bench.take(key) } !== session)
    }

    @Test("A session in use does not end, however short its rest may be")
    func busy() async throws {
        let bench = Bench(idle: .zero, own: .zero)
        let session = try await bench.take(Self.lent())
        // Everything that was due on the loop has happened after this.
        for _ in 0..<3 { try await bench.loop.submit {}.get() }
        #expect(bench.closed.count == 0)
        #expect(bench.sessions.count == 1)
        bench.sessions.giveBack(session)
        #expect(try await bench.untilClosed(1).first === session)
    }

    @Test("One that is of no use any more is closed at once, or when its last user gives it back; and once only")
    func discard() async throws {
        let bench = Bench()
        let session = try await bench.take(Self.own(1))
        #expect(try await bench.take(Self.own(1)) === session)
        bench.sessions.discard(session)
        bench.sessions.discard(session)
        let next = try await bench.take(Self.own(1))
        #expect(next !== session)
        #expect(bench.closed.count == 0)
        bench.sessions.giveBack(session)
        #expect(bench.closed.count == 0)
        bench.sessions.giveBack(session)
        #expect(try await bench.untilClosed(1).first === session)
        bench.sessions.giveBack(next)
        bench.sessions.discard(next)
        bench.sessions.giveBack(next)
        #expect(try await bench.untilClosed(2).last === next)
        #expect(bench.sessions.count == 0)
        #expect(bench.closed.count == 2)
    }

    @Test("A client that is gone takes its own sessions with it, and only those")
    func forget() async throws {
        let bench = Bench(sessionsMax: 9)
        let mine = [try await bench.take(Self.own(1)), try await bench.take(Self.own(1, .sampling))]
        let (theirs, lent) = (try await bench.take(Self.own(2)), try await bench.take(Self.lent()))
        for session in mine + [theirs, lent] { bench.sessions.giveBack(session) }
        bench.sessions.forget(SessionKey([1]))
        bench.sessions.forget(SessionKey([7]))
        #expect(
            Set(try await bench.untilClosed(2).map { ObjectIdentifier($0) }) == Set(mine.map { ObjectIdentifier($0) }))
        #expect(try await bench.take(Self.own(2)) === theirs)
        #expect(try await bench.take(Self.lent()) === lent)
    }

    @Test("At the end all are closed, also one that is being opened, and none is opened after that")
    func closeAll() async throws {
        let bench = Bench()
        let session = try await bench.take(Self.own(1))
        let gate = Gate()
        bench.gate.withLock { $0 = gate }
        let late = Task.immediate { try? await bench.take(Self.lent()) }
        try await wait(for: "the opening") { bench.opened.count == 2 }
        await bench.sessions.closeAll()
        #expect(bench.closed.all.first === session)
        gate.open()
        #expect(try await late.soon() == nil)
        #expect(try await bench.untilClosed(2).count == 2)
        await #expect(throws: CallFailure.self) { try await bench.take(Self.own(2)) }
        #expect(bench.opened.count == 2)
        bench.sessions.giveBack(session)
        #expect(bench.closed.count == 2)
    }

    @Test("A level is asked for when it is another than the session has")
    func levels() async throws {
        let session = try await Bench().take(Self.own(1))
        let asked = ([nil, .info, .info, nil, .debug, .info] as [LogLevel?]).map { session.newLevel($0) }
        #expect(asked == [nil, .info, nil, nil, .debug, .info])
    }
}
