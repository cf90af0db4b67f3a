// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Sealing
import Telemetry
import Testing

@testable import MCPFront

/// Streams of legacy sessions over a real listener: breaks, and going on after them.
@Suite("Going on after a break") struct ResumeTests {
    private static func note(_ number: Int) -> String { #"{"jsonrpc":"2.0","method":"n","params":{"n":\#(number)}}"# }
    private static func answer(_ id: String) -> String { #"{"jsonrpc":"2.0","id":\#(id),"result":{"ok":true}}"# }

    /// Says one thing, waits for the gate, says another, and answers.
    private static func talking(_ gate: Gate) -> PlayedService {
        PlayedService { inbound in
            guard inbound.message.method == .toolsCall else { return "{}" }
            inbound.stream?.send(note(1))
            await gate.pass()
            inbound.stream?.send(note(2))
            return #"{"ok":true}"#
        }
    }

    private func use(_ service: PlayedService, _ body: (TestSite) async throws -> Void) async throws {
        let time = ManualTime(runs: true)
        let sessions = SessionBook(
            keys: .forTests, tombstones: MemoryTombstones(), time: time, lifetime: .seconds(3_600))
        let logs = try silentLogs(time)
        let door = CallerDoor(mode: .open, desk: nil, log: logs, metrics: MetricsRegistry(), time: time)
        let endpoint = MCPEndpoint(
            service: service, sessions: sessions, door: door, bodyBytesMax: 10_000, time: time, logs: logs)
        try await TestSite.start([("/mcp", endpoint, false)], time: time).use { site in
            try await body(site)
            endpoint.drain()
        }
    }

    private func open(_ site: TestSite, _ revision: Revision = .v2025_11_25) async throws -> String {
        try await site.client { try await $0.openSession(revision) }
    }

    private func get(_ session: String?, after event: String? = nil) -> String {
        var headers = [("accept", "text/event-stream")]
        if let session { headers.append(("mcp-session-id", session)) }
        if let event { headers.append(("last-event-id", event)) }
        return RequestText.http("GET", headers: headers)
    }

    private func call(_ session: String, id: String = "1") -> String {
        RequestText.legacy("tools/call", id: id, session: session)
    }

    @Test(
        "A call whose connection breaks goes on, and who comes back gets exactly what it missed",
        arguments: Revision.allCases.filter { !$0.isModern })
    func broken(_ revision: Revision) async throws {
        let gate = Gate()
        let service = Self.talking(gate)
        try await use(service) { site in
            let session = try await open(site, revision)
            let first = try await site.client { client async throws in
                try await client.send(call(session, id: #""c""#))
                return try await client.events(revision >= .v2025_11_25 ? 2 : 1)
            }
            let last = try #require(first.last)
            #expect(last.data == Self.note(1))
            gate.open()
            let rest = try await site.client { try await $0.ask(get(session, after: last.id)) }
            #expect(rest.events.map(\.data) == [Self.note(2), Self.answer(#""c""#)])
            // Once more, from the middle and from the end.
            let again = try await site.client { try await $0.ask(get(session, after: rest.events.first?.id)) }
            #expect(again.events == [rest.events[1]])
            let nothing = try await site.client { try await $0.ask(get(session, after: rest.events.last?.id)) }
            #expect(nothing.status == 200)
            #expect(nothing.events.isEmpty)
        }
        #expect(service.methods.count { $0 == "tools/call" } == 1)
    }

    @Test("Who has only the priming event gets everything")
    func fromTheBeginning() async throws {
        let gate = Gate()
        try await use(Self.talking(gate)) { site in
            let session = try await open(site)
            let first = try await site.client { client async throws in
                try await client.send(call(session))
                return try await client.events(1)[0]
            }
            #expect(first.data == "")
            gate.open()
            let rest = try await site.client { try await $0.ask(get(session, after: first.id)) }
            #expect(rest.events.map(\.data) == [Self.note(1), Self.note(2), Self.answer("1")])
        }
    }

    @Test(
        "A priming event, which older parsers choke on, is sent from 2025-11-25 on, on every stream",
        arguments: Revision.allCases.filter { !$0.isModern })
    func priming(_ revision: Revision) async throws {
        let gate = Gate()
        gate.open()
        let service = Self.talking(gate)
        try await use(service) { site in
            let session = try await open(site, revision)
            let posted = try await site.client { try await $0.ask(call(session)) }
            #expect(posted.isStream)
            let isPrimed = revision >= .v2025_11_25
            #expect(posted.events.first?.data == (isPrimed ? "" : Self.note(1)))
            #expect(posted.events.count == (isPrimed ? 4 : 3))
            #expect(posted.events.allSatisfy { $0.id != nil })
            try await site.client { client async throws in
                try await client.send(get(session))
                let owner = try #require(service.seen.all.last?.session)
                // Kept until somebody comes for it.
                owner.deliver(ByteBuffer(string: Self.note(9)))
                let seen = try await client.events(isPrimed ? 2 : 1)
                #expect(seen.map(\.data) == (isPrimed ? ["", Self.note(9)] : [Self.note(9)]))
            }
        }
    }

    @Test("An answer that comes at once is no stream, and cannot be asked for again")
    func noStream() async throws {
        try await use(PlayedService()) { site in
            let session = try await open(site)
            #expect(try await site.client { try await $0.ask(call(session)).isStream } == false)
            #expect(try await site.client { try await $0.ask(get(session, after: "a.1-0")).status } == 400)
        }
    }

    @Test(
        "A place that is not kept is refused in words",
        arguments: [
            "", "x", "1", "7-0", "a.7-0", "a.1-", "a.-1-0", "a.1-x", "a.0-0-0", "a.1-0 ", "a.01-99999999999999999999",
            "-", ".", "a.b.0-1",
        ])
    func unknown(_ event: String) async throws {
        try await use(PlayedService()) { site in
            let session = try await open(site)
            let answer = try await site.client { try await $0.ask(get(session, after: event)) }
            #expect(answer.status == 400)
            #expect(answer.refusal?.code == "event_unknown")
        }
    }

    @Test("A stream belongs to its session: another one cannot go on with it")
    func otherSession() async throws {
        let gate = Gate()
        gate.open()
        try await use(Self.talking(gate)) { site in
            let (mine, theirs) = (try await open(site), try await open(site))
            let posted = try await site.client { try await $0.ask(call(mine)) }
            let place = try #require(posted.events.first?.id)
            #expect(try await site.client { try await $0.ask(get(theirs, after: place)).status } == 400)
            for (session, status) in [("nonsense", 404), (nil, 405)] {
                #expect(try await site.client { try await $0.ask(get(session, after: place)).status } == status)
            }
            let deleted = RequestText.http("DELETE", headers: [("mcp-session-id", mine)])
            #expect(try await site.client { try await $0.ask(deleted).status } == 200)
            #expect(try await site.client { try await $0.ask(get(mine, after: place)).status } == 404)
        }
    }

    @Test("A second GET takes the session's own stream over; each message goes to one of them")
    func secondStream() async throws {
        let service = PlayedService()
        try await use(service) { site in
            let session = try await open(site)
            _ = try await site.client { try await $0.ask(RequestText.legacy("ping", session: session)) }
            let owner = try #require(service.seen.all.last?.session)
            let places = Collected<String>()
            try await site.client { first async throws in
                try await first.send(get(session))
                _ = try await first.events(1)
                owner.deliver(ByteBuffer(string: Self.note(1)))
                let seen = try await first.events(2)
                places.add(try #require(seen[1].id))
                try await site.client { second async throws in
                    try await second.send(get(session))
                    #expect(try await second.events(1).map(\.id) == [seen[1].id])
                    #expect(try await first.answer().events == seen)
                    owner.deliver(ByteBuffer(string: Self.note(2)))
                    #expect(try await second.events(2).map(\.data) == ["", Self.note(2)])
                }
            }
            // While nobody listens it is kept, and asked for by its place.
            owner.deliver(ByteBuffer(string: Self.note(3)))
            try await site.client { client async throws in
                try await client.send(get(session, after: places.all[0]))
                #expect(try await client.events(2).map(\.data) == [Self.note(2), Self.note(3)])
            }
        }
    }

    @Test(
        "A pause hangs up on those who know how to come back, and the answer is kept for them",
        arguments: [
            Revision.v2025_06_18, .v2025_11_25,
        ])
    func pause(_ revision: Revision) async throws {
        let gate = Gate()
        let service = PlayedService { inbound in
            guard inbound.message.method == .toolsCall else { return "{}" }
            inbound.stream?.pause(resumeAfter: .milliseconds(250))
            await gate.pass()
            return #"{"ok":true}"#
        }
        try await use(service) { site in
            let session = try await open(site, revision)
            try await site.client { client async throws in
                try await client.send(call(session))
                guard revision >= .v2025_11_25 else {
                    try await wait(for: "the call") { service.methods.last == "tools/call" }
                    gate.open()
                    #expect(try await client.answer().text == Self.answer("1"))
                    return
                }
                let events = try await client.answer().events
                #expect(events.map(\.retry) == [nil, "250"])
                gate.open()
                let rest = try await client.ask(get(session, after: events.last?.id))
                #expect(rest.events.map(\.data) == [Self.answer("1")])
            }
        }
    }

    @Test("A call that is taken back ends its stream without an answer, also for who comes back")
    func takenBack() async throws {
        let service = PlayedService { inbound in
            guard inbound.message.method == .toolsCall else { return "{}" }
            inbound.stream?.send(Self.note(1))
            await Latch().wait()
            return #"{"ok":true}"#
        }
        try await use(service) { site in
            let session = try await open(site)
            try await site.client { client async throws in
                try await client.send(call(session))
                let seen = try await client.events(2)
                let back = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#
                let headers = [RequestText.json, RequestText.both, ("mcp-session-id", session)]
                let noted = try await site.client { try await $0.ask(RequestText.http(headers: headers, body: back)) }
                #expect(noted.status == 202)
                #expect(try await client.answer().events == seen)
                let late = try await site.client { try await $0.ask(get(session, after: seen.last?.id)) }
                #expect(late.events.isEmpty)
            }
        }
    }

    @Test("A question on a broken stream waits for the client to come back, and is answered from elsewhere")
    func question() async throws {
        let service = PlayedService { inbound in
            guard inbound.message.method == .toolsCall, let stream = inbound.stream else { return "{}" }
            inbound.stream?.send(Self.note(1))
            let question = Question(kind: .roots, params: [:])
            guard case .answer(let answer) = await stream.ask(question, deadline: Deadline(Moment(nanoseconds: .max)))
            else { return "{}" }
            return answer.text
        }
        try await use(service) { site in
            let session = try await open(site)
            let place = try await site.client { client async throws in
                try await client.send(call(session))
                return try await client.events(1)[0].id
            }
            try await site.client { client async throws in
                try await client.send(get(session, after: place))
                let seen = try await client.events(2)
                #expect(seen[1].data == #"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#)
                let response = RequestText.http(
                    headers: [RequestText.json, RequestText.both, ("mcp-session-id", session)],
                    body: #"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#)
                #expect(try await site.client { try await $0.ask(response).status } == 202)
                #expect(
                    try await client.answer().events.last?.data == #"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#)
            }
        }
    }
}
