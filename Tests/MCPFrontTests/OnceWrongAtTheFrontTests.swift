// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import MCPFront

@Suite("Once wrong with clients of two streams") struct OnceWrongAtTheFrontTests {
    typealias Bench = DuplexClientTests.Bench

    @Test("in a batch what comes after a bad element is served as well")
    func badElement() async throws {
        let bench = Bench()
        try await bench.initialize(.v2025_03_26)
        try await bench.take("[\(DuplexClientTests.ping("1")),{\"id\":2},\(DuplexClientTests.ping("3"))]")
        try await wait(for: "three answers", within: .seconds(2)) { bench.out.count == 4 }
    }

    @Test("two requests under one id are both answered, be it with an error")
    func sameID() async throws {
        let gate = Gate()
        let bench = Bench { _ in
            await gate.pass()
            return "{}"
        }
        try await bench.take(DuplexClientTests.modern(1))
        try await bench.take(DuplexClientTests.modern(1))
        gate.open()
        try await wait(for: "two answers", within: .seconds(2)) { bench.out.count == 2 }
    }

    @Test("initialize is no part of a batch, as over HTTP")
    func initializeInBatch() async throws {
        let bench = Bench()
        try await bench.initialize(.v2025_03_26)
        let again = #"{"jsonrpc":"2.0","id":9,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#
        #expect(try await bench.take("[\(again)]", until: 2).contains("-32600"))
        #expect(bench.client.revision == .v2025_03_26)
    }

    @Test("a question whose time is over does not wait for ever, whoever asks it")
    func timeOver() async throws {
        for _ in 0..<2_000 {
            let (book, loop, time) = (QuestionBook(), TestLoop.one, ManualTime())
            let asked = Task {
                await book.ask(
                    Question(kind: .roots, params: [:]), deadline: Deadline(time.now()), loop: loop, time: time
                ) { _ in }
            }
            _ = try await asked.soon(within: .seconds(2))
        }
    }
}
