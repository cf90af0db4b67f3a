// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import MCPFront

/// One message a line, over a real connection.
@Suite("Line client") struct LineClientTests {
    private static let bytesMax = 1_000

    private func site(_ service: PlayedService, halfCloses: Bool = true) async throws -> ChannelSite {
        try await ChannelSite.start(halfCloses: halfCloses) {
            LineClientHandler(
                service: service, bodyBytesMax: Self.bytesMax, caller: .anonymous, time: ManualTime(runs: true))
        }
    }

    /// The whole lines a client has received.
    private func lines(_ client: ScriptedClient, _ count: Int) async throws -> [String] {
        func whole() -> [String] {
            client.received.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        }
        try await wait(for: "\(count) lines; so far: \(client.received.prefix(300))") { whole().count >= count }
        return whole()
    }

    private static let meta = DuplexClientTests.modernMeta
    private static func request(_ id: Int, filling: Int = 0) -> String {
        let more = filling > 0 ? #","x":"\#(String(repeating: "y", count: filling))""# : ""
        return DuplexClientTests.modern(id, "tools/list", more)
    }
    private static func answer(_ id: Int) -> String { #"{"jsonrpc":"2.0","id":\#(id),"result":{}}"# }

    @Test("Lines come in any pieces, with any line ends, and blank ones mean nothing")
    func pieces() async throws {
        let service = PlayedService()
        try await site(service).client { client async throws in
            let text = "\n\r\n  \t\n\(Self.request(1))\r\n\n\(Self.request(2))\n"
            // One byte at a time, then everything at once.
            for byte in text.utf8 { try await client.send([byte]) }
            #expect(Set(try await lines(client, 2)) == [Self.answer(1), Self.answer(2)])
            try await client.send("\(Self.request(3))\n\(Self.request(4))\n\(Self.request(5))\n")
            #expect(Set(try await lines(client, 5).suffix(3)) == Set((3...5).map(Self.answer)))
        }
        #expect(service.seen.count == 5)
    }

    @Test("What goes out is one line, whatever line ends are in it")
    func oneLine() async throws {
        let service = PlayedService { _ in "{\n\"a\":\r\n[1,\n2]}" }
        try await site(service).client { client async throws in
            try await client.send(Self.request(1) + "\n")
            #expect(try await lines(client, 1) == [#"{"jsonrpc":"2.0","id":1,"result":{ "a":  [1, 2]}}"#])
        }
    }

    @Test("A line up to the limit is taken, and one byte more is refused", arguments: [-1, 0, 1])
    func limit(_ more: Int) async throws {
        let service = PlayedService()
        try await site(service).client { client async throws in
            let filling = Self.bytesMax - Self.request(1, filling: 1).utf8.count + 1 + more
            let text = Self.request(1, filling: filling)
            #expect(text.utf8.count == Self.bytesMax + more)
            try await client.send(text + "\n" + Self.request(2) + "\n")
            let received = try await lines(client, 2)
            #expect(received.contains(Self.answer(2)))
            #expect(received.contains(Self.answer(1)) == (more <= 0))
            #expect(received.contains { $0.contains("-32600") } == (more > 0))
        }
    }

    @Test("An endless line is refused once, passed over, and the next line is served", arguments: [1, 700, 100_000])
    func tooLong(_ piece: Int) async throws {
        let service = PlayedService()
        try await site(service).client { client async throws in
            for _ in 0..<5 {
                var rest = 20 * Self.bytesMax
                while rest > 0 {
                    let count = min(piece == 1 ? 997 : piece, rest)
                    try await client.send(Array(repeating: UInt8(ascii: "x"), count: count))
                    rest -= count
                }
                try await client.send("\n")
            }
            try await client.send(Self.request(1) + "\n")
            let received = try await lines(client, 6)
            #expect(received.dropLast().allSatisfy { $0.contains(#""id":null"#) && $0.contains("-32600") })
            #expect(received.last == Self.answer(1))
            #expect(received.count == 6)
        }
        #expect(service.seen.count == 1)
    }

    @Test(
        "What is no message is refused on a line of its own, and the next is served",
        arguments: ["{", "\u{e9}", "[]", "nonsense"])
    func nonsense(_ text: String) async throws {
        try await site(PlayedService()).client { client async throws in
            try await client.send("\(text)\n\(Self.request(1))\n")
            let received = try await lines(client, 2)
            #expect(received.first?.contains(#""error""#) == true)
            #expect(received.last == Self.answer(1))
        }
    }

    @Test("A client that closes its half still gets what it waits for, and then the other half closes")
    func halfClosed() async throws {
        let gate = Gate()
        let service = PlayedService { _ in
            await gate.pass()
            return #"{"x":"\#(String(repeating: "y", count: 300_000))"}"#
        }
        try await site(service).client { client async throws in
            try await client.send(Self.request(1) + "\n")
            try await wait(for: "the request") { service.seen.count == 1 }
            try await client.sayNoMore()
            gate.open()
            let received = try await lines(client, 1)
            #expect(received.first?.utf8.count ?? 0 > 300_000)
            try await wait(for: "the end") { client.isClosed }
        }
    }

    @Test("A client that leaves ends its work")
    func leaves() async throws {
        let (begun, ended) = (Gate(), Gate())
        let service = PlayedService { _ in
            begun.open()
            await Latch().wait()
            ended.open()
            return nil
        }
        let site = try await site(service, halfCloses: false)
        let client = try await ScriptedClient.connect(port: site.port)
        try await client.send(Self.request(1) + "\n")
        try await begun.passed()
        await client.leave()
        try await ended.passed()
        try await wait(for: "its session to end") { service.gone.count == 1 }
        // Frees the port.
        try await site.client { _ in }
    }

    @Test("Each connection is a client of its own")
    func several() async throws {
        let service = PlayedService { inbound in
            inbound.message.method == .initialize ? "{}" : #"{"r":"\#(inbound.revision.name)"}"#
        }
        let site = try await site(service)
        func initialize(_ revision: Revision) -> String {
            #"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"\#(revision.name)"}}"# + "\n"
        }
        try await site.client { one async throws in
            try await ScriptedClient.with(port: site.port) { other async throws in
                try await one.send(initialize(.v2024_11_05))
                try await other.send(initialize(.v2025_11_25))
                _ = try await (lines(one, 1), lines(other, 1))
                for client in [one, other] { try await client.send(DuplexClientTests.ping("1") + "\n") }
                #expect(try await lines(one, 2).last?.contains("2024-11-05") == true)
                #expect(try await lines(other, 2).last?.contains("2025-11-25") == true)
            }
        }
        try await wait(for: "both to be gone") { service.gone.count == 2 }
        #expect(Set(service.begun.all) == Set(service.gone.all))
    }
}
