// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import MCPFront

/// Questions on a duplex client, and its end.
@Suite("Duplex client: questions and ends") struct DuplexEndTests {
    typealias Bench = DuplexClientTests.Bench

    private static let form = Question(kind: .elicitation, params: ["message": "Sure?"])
    private static let call = #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#

    /// Asks the client of each call once, and answers with what it said.
    private func asking() -> Bench {
        Bench { inbound in
            guard inbound.message.method == .toolsCall, let stream = inbound.stream else { return "{}" }
            switch await stream.ask(Self.form, deadline: Deadline(Moment(nanoseconds: .max))) {
            case .answer(let answer): return #"{"said":\#(answer.text)}"#
            case .refused(let code, _): return #"{"refused":\#(code)}"#
            }
        }
    }

    @Test("A question goes the way of all messages, and its response comes the same way back")
    func question() async throws {
        let bench = asking()
        try await bench.initialize(.v2025_11_25)
        let question = try await bench.take(Self.call, until: 2)
        #expect(question == #"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Sure?"}}"#)
        let answer = try await bench.take(#"{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}"#, until: 3)
        #expect(answer == #"{"jsonrpc":"2.0","id":1,"result":{"said":{"action":"decline"}}}"#)
    }

    @Test("Questions of one client have numbers of their own; another client's answers are not looked at")
    func twoClients() async throws {
        let (one, other) = (asking(), asking())
        for bench in [one, other] {
            try await bench.initialize(.v2025_11_25)
            _ = try await bench.take(Self.call, until: 2)
        }
        _ = try await other.take(#"{"jsonrpc":"2.0","id":1,"result":{"from":"other"}}"#, until: 3)
        #expect(one.out.count == 2)
        _ = try await one.take(#"{"jsonrpc":"2.0","id":1,"result":{"from":"one"}}"#, until: 3)
        #expect(one.out.all.last?.contains(#""from":"one""#) == true)
    }

    @Test("A stateless request is never asked anything")
    func modern() async throws {
        let bench = asking()
        let answer = try await bench.take(DuplexClientTests.modern(1), until: 1)
        #expect(answer == #"{"jsonrpc":"2.0","id":1,"result":{"refused":-32601}}"#)
    }

    @Test("Notifications about a request, and those of no request, go out as they are and in their order")
    func notifications() async throws {
        let bench = Bench { inbound in
            for number in 1...3 { inbound.stream?.send(#"{"n":\#(number)}"#, isVital: number == 2) }
            inbound.stream?.pause(resumeAfter: .seconds(1))
            return "{}"
        }
        _ = try await bench.take(DuplexClientTests.modern(1), until: 4)
        bench.client.deliver(ByteBuffer(string: #"{"n":4}"#))
        #expect(bench.out.all.map { $0.hasPrefix(#"{"n""#) } == [true, true, true, false, true])
    }

    @Test("The level of log messages is the session's, and nothing before it has said so")
    func level() async throws {
        let bench = Bench()
        try await bench.initialize(.v2025_11_25)
        #expect(bench.client.logLevel == nil)
        bench.client.setLogLevel(.warning)
        _ = try await bench.take(DuplexClientTests.ping("1"), until: 2)
        #expect(bench.service.seen.all.last?.session?.logLevel == .warning)
        #expect(bench.service.seen.all.last?.session?.key == bench.client.key)
    }

    @Test("A client that is gone ends its questions and its work, and hears no more answers")
    func close() async throws {
        let (begun, ended) = (Gate(), Gate())
        let bench = Bench { inbound in
            guard inbound.message.method == .toolsCall else { return "{}" }
            begun.open()
            let outcome = await inbound.stream?.ask(Self.form, deadline: Deadline(Moment(nanoseconds: .max)))
            #expect(outcome.map { if case .refused = $0 { true } else { false } } == true)
            await Latch().wait()
            ended.open()
            return "{}"
        }
        try await bench.initialize(.v2025_11_25)
        _ = try await bench.take(Self.call, until: 2)
        try await begun.passed()
        bench.client.close()
        bench.client.close()
        try await ended.passed()
        #expect(bench.service.gone.all == [bench.client.key], "told once")
        try await bench.take(DuplexClientTests.ping("7"))
        try await bench.take("{nope")
        #expect(bench.out.count == 2)
    }

    @Test("A client that says no more gets the answers it waits for, and questions are over")
    func saysNoMore() async throws {
        let (gate, idle) = (Gate(), Flag())
        let bench = Bench { inbound in
            guard inbound.message.method == .toolsCall else { return "{}" }
            let outcome = await inbound.stream?.ask(Self.form, deadline: Deadline(Moment(nanoseconds: .max)))
            await gate.pass()
            return outcome == .refused(code: -1, message: "The client has left.") ? #"{"refused":true}"# : "{}"
        }
        try await bench.initialize(.v2025_11_25)
        _ = try await bench.take(Self.call, until: 2)
        bench.client.saysNoMore { idle.raise() }
        #expect(!idle.isRaised)
        gate.open()
        try await wait(for: "the end") { idle.isRaised }
        #expect(bench.out.all.last == #"{"jsonrpc":"2.0","id":1,"result":{"refused":true}}"#)
        #expect(bench.service.gone.count == 0)
    }

    @Test("A client that waits for nothing is done at once, though it listens for changes")
    func nothingToWaitFor() async throws {
        let listening = Gate()
        let bench = Bench { inbound in
            guard inbound.message.method == .listen else { return "{}" }
            listening.open()
            await Latch().wait()
            return "{}"
        }
        try await bench.take(DuplexClientTests.modern(1, "subscriptions/listen"))
        try await listening.passed()
        let idle = Flag()
        bench.client.saysNoMore { idle.raise() }
        #expect(idle.isRaised)
    }
}
