// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import MCPFront

/// One client on two streams of messages.
@Suite("Duplex client") struct DuplexClientTests {
    /// A client whose lines a test writes, on a loop as in life.
    struct Bench: Sendable {
        let service: PlayedService
        let out = Collected<String>()
        let client: DuplexClient
        private let loop = TestLoop.one

        init(allowsModern: Bool = true, bytesMax: Int = 10_000, answer: @escaping PlayedService.Answer = { _ in "{}" })
        {
            service = PlayedService(answer: answer)
            client = DuplexClient(
                service: service, bodyBytesMax: bytesMax, caller: Caller(name: "ann"), allowsModern: allowsModern,
                loop: loop, time: ManualTime()
            ) { [out] in out.add(String(buffer: $0)) }
        }

        func take(_ text: String) async throws {
            try await loop.submit { client.take(ByteBuffer(string: text)) }.get()
        }

        /// Takes a message and waits until so many have gone out in all.
        func take(_ text: String, until count: Int) async throws -> String {
            try await take(text)
            try await wait(for: "\(count) messages, so far \(out.all)") { out.count >= count }
            return out.all[count - 1]
        }

        func initialize(_ revision: Revision, _ capabilities: String = "{}") async throws {
            let params = #"{"protocolVersion":"\#(revision.name)","capabilities":\#(capabilities)}"#
            _ = try await take(
                #"{"jsonrpc":"2.0","id":"i","method":"initialize","params":\#(params)}"#, until: out.count + 1)
        }
    }

    static let modernMeta =
        #""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#
        + #""io.modelcontextprotocol/clientCapabilities":{"roots":{}}}"#

    static func modern(_ id: Int, _ method: String = "tools/call", _ more: String = "") -> String {
        #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":{\#(modernMeta)\#(more)}}"#
    }

    static func ping(_ id: String) -> String { #"{"jsonrpc":"2.0","id":\#(id),"method":"ping"}"# }

    static func cancelled(_ id: String) -> String {
        #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":\#(id)}}"#
    }

    // MARK: Eras

    @Test("Both eras may be spoken side by side; each request is read by its own")
    func mixed() async throws {
        let bench = Bench()
        #expect(try await bench.take(Self.modern(1), until: 1) == #"{"jsonrpc":"2.0","id":1,"result":{}}"#)
        try await bench.initialize(.v2025_06_18, #"{"sampling":{},"elicitation":{"url":{}}}"#)
        _ = try await bench.take(Self.ping("2"), until: 3)
        _ = try await bench.take(Self.modern(3, "server/discover"), until: 4)
        _ = try await bench.take(Self.ping(#""4""#), until: 5)
        let seen = bench.service.seen.all
        #expect(seen.map(\.idText) == ["1", #""i""#, "2", "3", #""4""#])
        #expect(seen.map(\.revision) == [.modern, .v2025_06_18, .v2025_06_18, .modern, .v2025_06_18])
        #expect(seen.map(\.capabilities) == [.roots, [], .sampling, .roots, .sampling])
        #expect(seen.map { $0.session == nil } == [true, true, false, true, false])
        #expect(seen.map { $0.stream?.canAsk } == [false, true, true, false, true])
        #expect(seen.allSatisfy { $0.caller == Caller(name: "ann") && $0.parameterHeaders == nil })
        #expect(bench.service.begun.all == [bench.client.key])
    }

    @Test(
        "A session has the revision that was asked for, or the newest that has sessions",
        arguments: [
            ("2024-11-05", Revision.v2024_11_05), ("2025-03-26", .v2025_03_26), ("2025-11-25", .v2025_11_25),
            ("2026-07-28", .v2025_11_25), ("1999-01-01", .v2025_11_25), ("", .v2025_11_25),
        ])
    func negotiation(_ wanted: String, _ given: Revision) async throws {
        let bench = Bench()
        let request = #"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"\#(wanted)"}}"#
        _ = try await bench.take(request, until: 1)
        #expect(bench.client.revision == given)
        #expect(bench.service.seen.all.map(\.revision) == [given])
    }

    static let refusals: [(String, Int, String?)] = [
        ("{nope", -32700, nil), ("", -32700, nil), ("[]", -32600, nil), ("5", -32600, nil), ("null", -32600, nil),
        (#"{"id":7,"method":"ping"}"#, -32600, "7"), (ping("7"), -32600, "7"),
        (#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#, -32600, "7"),
        (#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{}}"#, -32602, "7"),
        (#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":5}}"#, -32602, "7"),
        (modern(7).replacing("2026-07-28", with: "2031-01-01"), -32022, "7"),
        (modern(7).replacing(#"{"roots":{}}"#, with: "[]"), -32602, "7"),
        (#"{"jsonrpc":"2.0","id":7,"id":7,"method":"ping"}"#, -32700, nil),
        (#"[\#(modern(7))]"#, -32600, nil),
        (#"{"jsonrpc":"2.0","id":7,"method":"\#(String(repeating: "x", count: 20_000))"}"#, -32600, nil),
    ]

    @Test(
        "What cannot be read, or not yet, is refused with its id where it has one, and the next is served",
        arguments: refusals)
    func refused(_ text: String, _ code: Int, _ id: String?) async throws {
        let bench = Bench()
        let answer = try JSONValue.parse(try await bench.take(text, until: 1))
        #expect(answer["error"]?["code"]?.intValue == code, "\(answer.text)")
        #expect(answer["id"]?.text == id ?? "null")
        #expect(bench.service.seen.count == 0)
        #expect(try await bench.take(Self.modern(8), until: 2) == #"{"jsonrpc":"2.0","id":8,"result":{}}"#)
    }

    @Test("Where the stateless era is not spoken its requests need a session like all others")
    func legacyOnly() async throws {
        let bench = Bench(allowsModern: false)
        #expect(try await bench.take(Self.modern(1), until: 1).contains("-32600"))
        try await bench.initialize(.v2024_11_05)
        _ = try await bench.take(Self.modern(2), until: 3)
        #expect(bench.service.seen.all.last?.revision == .v2024_11_05)
    }

    @Test("Notifications and answers to nothing need no word")
    func silent() async throws {
        let bench = Bench()
        for text in [
            #"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, #"{"jsonrpc":"2.0","method":"whatever"}"#,
            #"{"jsonrpc":"2.0","id":1,"result":{}}"#, #"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
            Self.cancelled("5"), #"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#,
        ] { try await bench.take(text) }
        _ = try await bench.take(Self.modern(1), until: 1)
        #expect(bench.out.all == [#"{"jsonrpc":"2.0","id":1,"result":{}}"#])
    }

    // MARK: Batches

    @Test(
        "An array is a batch in a session of 2025-03-26 and nowhere else",
        arguments: Revision.allCases.filter { !$0.isModern })
    func batches(_ revision: Revision) async throws {
        let bench = Bench()
        try await bench.initialize(revision)
        let batch = " [\(Self.ping("1")), \(Self.cancelled("9")),\(Self.ping(#""b""#))] "
        guard revision == .v2025_03_26 else {
            #expect(try await bench.take(batch, until: 2).contains("-32600"))
            return
        }
        _ = try await bench.take(batch, until: 3)
        let ids = bench.out.all.dropFirst().compactMap { try? JSONValue.parse($0)["id"]?.text }
        #expect(Set(ids) == ["1", #""b""#])
        #expect(bench.out.count == 3)
        for bad in ["[]", "[", "[1"] { _ = try await bench.take(bad, until: bench.out.count + 1) }
        #expect(bench.out.all.suffix(3).allSatisfy { $0.contains(#""error""#) && $0.contains(#""id":null"#) })
    }

    // MARK: Taking back

    @Test("A request that is taken back ends its work and gets no answer; the others do", arguments: ["1", #""one""#])
    func cancellation(_ id: String) async throws {
        let (begun, ended) = (Gate(), Gate())
        let bench = Bench { inbound in
            guard inbound.message.method == .toolsCall else { return "{}" }
            begun.open()
            await Latch().wait()
            ended.open()
            return #"{"late":true}"#
        }
        try await bench.initialize(.v2025_11_25)
        try await bench.take(#"{"jsonrpc":"2.0","id":\#(id),"method":"tools/call","params":{}}"#)
        try await begun.passed()
        // Ids that are written differently are different, and unknown ones are nobody's.
        for other in [#""1""#, "2", "null", "[1]", "1.0"] where other != id {
            try await bench.take(Self.cancelled(other))
        }
        _ = try await bench.take(Self.ping("5"), until: 2)
        try await bench.take(Self.cancelled(id))
        try await ended.passed()
        _ = try await bench.take(Self.ping("6"), until: 3)
        try await bench.take(Self.cancelled(id))
        #expect(
            bench.out.all.dropFirst() == [
                #"{"jsonrpc":"2.0","id":5,"result":{}}"#, #"{"jsonrpc":"2.0","id":6,"result":{}}"#,
            ])
    }

    @Test("Requests run side by side, and each is answered when it is done")
    func sideBySide() async throws {
        let gate = Gate()
        let bench = Bench { inbound in
            if inbound.idText == "1" { await gate.pass() }
            return "{}"
        }
        try await bench.take(Self.modern(1))
        _ = try await bench.take(Self.modern(2), until: 1)
        gate.open()
        try await wait(for: "the first") { bench.out.count == 2 }
        #expect(bench.out.all == [#"{"jsonrpc":"2.0","id":2,"result":{}}"#, #"{"jsonrpc":"2.0","id":1,"result":{}}"#])
    }

    @Test("One client has so many requests under way and no more")
    func bound() async throws {
        let gate = Gate()
        let bench = Bench { _ in
            await gate.pass()
            return "{}"
        }
        for id in 0..<256 { try await bench.take(Self.modern(id)) }
        let refused = try JSONValue.parse(try await bench.take(Self.modern(256), until: 1))
        #expect(refused["id"] == 256)
        #expect(refused["error"]?["code"] == -32603)
        gate.open()
        try await wait(for: "all answers") { bench.out.count == 257 }
        _ = try await bench.take(Self.modern(257), until: 258)
    }
}
