// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import NIOCore
import Testing

@testable import MCPFront

/// One event stream over all connections that carry it.
@Suite("Event trail") struct EventTrailTests {
    /// `GET /trail?after=3&marks=1` attaches the connection to the trail.
    private struct Route: HTTPRoute {
        let trail: EventTrail

        func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
            exchange.endsWithClient = true
            exchange.startEvents()
            let outlet = EventOutlet(exchange)
            trail.attach(
                outlet, after: request.query("after").flatMap { UInt64($0) }, marks: request.query("marks") != nil)
            await outlet.closed.wait()
            trail.detach(outlet)
        }
    }

    private let trail = EventTrail(number: 7)

    private func append(_ numbers: ClosedRange<Int>, last: Int? = nil) {
        for number in numbers { trail.append(ByteBuffer(string: "{\(number)}"), isLast: number == last) }
    }

    private func get(_ query: String) -> String { RequestText.http("GET", "/trail" + query) }

    private func use(_ body: (TestSite) async throws -> Void) async throws {
        try await TestSite.start([("/trail", Route(trail: trail), false)]).use(body)
    }

    private func event(_ number: Int) -> SeenEvent { SeenEvent(id: "7-\(number)", data: "{\(number)}") }
    private func events(_ numbers: ClosedRange<Int>) -> [SeenEvent] { numbers.map(event) }

    static let places: [(String, Int)] = [
        ("?after=0", 1), ("?after=1", 2), ("?after=4", 5), ("?after=5", 6), ("?after=900", 6), ("", 1),
    ]

    @Test("Who names the last event it has gets exactly those that it lacks, and then what comes", arguments: places)
    func missing(_ query: String, _ first: Int) async throws {
        append(1...5)
        try await use { site in
            try await site.client { client async throws in
                try await client.send(get(query))
                try await wait(for: "the connection") { trail.isHeld }
                append(6...7, last: 7)
                #expect(try await client.answer().events == events(first...7))
            }
        }
    }

    @Test("What one connection was given is not given to the next that names no event")
    func handed() async throws {
        try await use { site in
            try await site.client { client async throws in
                try await client.send(get(""))
                try await wait(for: "the connection") { trail.isHeld }
                append(1...2)
                #expect(try await client.events(2) == events(1...2))
            }
            try await wait(for: "it to be gone") { !trail.isHeld }
            append(3...4)
            try await site.client { client async throws in
                try await client.send(get(""))
                #expect(try await client.events(2) == events(3...4))
            }
        }
    }

    @Test(
        "A newcomer who understands it is told where it is; who comes back is not",
        arguments: [
            ("?marks=1", true), ("", false), ("?marks=1&after=2", false),
        ])
    func marks(_ query: String, _ isMarked: Bool) async throws {
        try await use { site in
            try await site.client { client async throws in
                try await client.send(get(query))
                try await wait(for: "the connection") { trail.isHeld }
                append(1...3, last: 3)
                let seen = try await client.answer().events
                #expect(seen == (isMarked ? [SeenEvent(id: "7-0", data: "")] : []) + events(1...3))
            }
            let late = try await site.client { try await $0.ask(get("?marks=1")).events }
            #expect(late == [SeenEvent(id: "7-3", data: "")])
        }
    }

    @Test("A stream that is finished ends for whoever comes late, after what it lacks; and nothing is added")
    func finished() async throws {
        append(1...3, last: 3)
        append(4...5)
        #expect(trail.isFinished)
        try await use { site in
            for (query, expected) in [("?after=1", events(2...3)), ("?after=3", []), ("?after=0", events(1...3))] {
                let seen = try await site.client { try await $0.ask(get(query)).events }
                #expect(seen == expected, "\(query)")
            }
            try await wait(for: "all to be gone") { !trail.isHeld }
        }
    }

    @Test("A second connection takes the stream over: the first ends, and each event goes to one of them")
    func takeOver() async throws {
        try await use { site in
            try await site.client { first async throws in
                try await first.send(get(""))
                try await wait(for: "the connection") { trail.isHeld }
                append(1...2)
                _ = try await first.events(2)
                try await site.client { second async throws in
                    try await second.send(get("?after=1"))
                    #expect(try await second.events(1) == events(2...2))
                    #expect(try await first.answer().events == events(1...2))
                    append(3...4, last: 4)
                    #expect(try await second.answer().events == events(2...4))
                }
            }
        }
    }

    @Test("A pause says how long to stay away and where to go on, and loses nothing")
    func pause() async throws {
        trail.pause(retry: .seconds(1))
        try await use { site in
            let seen = try await site.client { client async throws in
                try await client.send(get(""))
                try await wait(for: "the connection") { trail.isHeld }
                append(1...2)
                trail.pause(retry: .milliseconds(250))
                #expect(!trail.isHeld)
                return try await client.answer().events
            }
            #expect(seen == events(1...2) + [SeenEvent(id: "7-2", data: "", retry: "250")])
            append(3...4, last: 4)
            #expect(try await site.client { try await $0.ask(get("?after=2")).events } == events(3...4))
        }
    }

    @Test("Only the latest events are kept, by number and by size, and the last of them however large")
    func bounds() async throws {
        let count = EventTrail.eventsMax + 10
        append(1...count, last: nil)
        try await use { site in
            try await site.client { client async throws in
                try await client.send(get("?after=0"))
                #expect(try await client.events(EventTrail.eventsMax).map(\.id) == (11...count).map { "7-\($0)" })
            }
            try await wait(for: "it to be gone") { !trail.isHeld }
            let large = String(repeating: "x", count: 600_000)
            for _ in 0..<3 { trail.append(ByteBuffer(string: large)) }
            try await site.client { client async throws in
                try await client.send(get("?after=0"))
                #expect(try await client.events(1).map(\.id) == ["7-\(count + 3)"])
            }
        }
    }

    @Test(
        "A stream that is closed has no connection; it goes on for who comes back, unless it is over",
        arguments: [true, false])
    func close(_ isOver: Bool) async throws {
        try await use { site in
            try await site.client { client async throws in
                try await client.send(get(""))
                try await wait(for: "the connection") { trail.isHeld }
                append(1...1)
                trail.close(isOver: isOver)
                #expect(try await client.answer().events == events(1...1))
            }
            append(2...2)
            #expect(trail.isFinished == isOver)
            try await site.client { client async throws in
                try await client.send(get("?after=1"))
                if isOver {
                    #expect(try await client.answer().events == [])
                } else {
                    #expect(try await client.events(1) == events(2...2))
                }
            }
        }
    }
}
