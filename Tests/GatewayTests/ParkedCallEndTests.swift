// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// What is left of a parked call when it ends by itself.
@Suite("Parked call: ends") struct ParkedCallEndTests {
    private static let form = Question(kind: .elicitation, params: ["message": "Sure?"])

    private func backend(_ answer: @escaping ScriptedBackend.Answer) -> AskingBackend {
        AskingBackend(name: "server", offers: Offers(tools: [.plain("do")]), answer: answer)
    }

    @Test("A call that ends with questions open ends them too, and answers nobody's retry with a question")
    func openQuestions() async throws {
        let heard = Collected<QuestionOutcome>()
        let over = Gate()
        let bench = try PipelineBench(
            backend { call async throws(CallFailure) -> CallAnswer in
                guard let conversation = call.conversation else { throw .unknownTool }
                // Asked aside, as servers do: the call itself goes on.
                Task.immediate { heard.add(await conversation.ask(Self.form)) }
                await over.pass()
                return try .of(#"{"content":[{"type":"text","text":"done"}]}"#)
            })
        let client = PipelineBench.Client.modern(.elicitationForm)
        let first = try await bench.call(client)
        #expect(first?.type == "input_required")
        over.open()
        try await wait(for: "the end of the question") { heard.count == 1 }
        #expect(heard.all == [.answer(["action": "cancel"])])
        let late = try await bench.retry(client, first, #"{"elicitation-1":{"action":"accept","content":{}}}"#)
        #expect(late?.words == "done")
        #expect(heard.count == 1)
        #expect(bench.parked.hasSuffix(" 0"))
    }

    @Test("A failure after questions is told like any other, once and again")
    func failure() async throws {
        let bench = try PipelineBench(
            backend { call async throws(CallFailure) -> CallAnswer in
                _ = await call.conversation?.ask(Self.form)
                throw .outcomeUnknown(detail: "it is gone")
            })
        let client = PipelineBench.Client.modern(.elicitationForm)
        let first = try await bench.call(client)
        for _ in 0..<2 {
            let reply = try await bench.retry(client, first, #"{"elicitation-1":{"action":"cancel"}}"#)
            #expect(reply?["result"]?["isError"] == true)
            #expect(reply?.words?.contains("check before calling it again") == true)
        }
    }

    @Test("A call that asks nothing leaves nothing behind")
    func nothingAsked() async throws {
        let bench = try PipelineBench(
            backend { _ async throws(CallFailure) -> CallAnswer in try .of(#"{"content":[]}"#) })
        for _ in 0..<1_100 { #expect(try await bench.call(.modern(.elicitationForm))?.type == "complete") }
    }

    @Test("More calls that wait than there is room for are turned away, and those that wait go on")
    func tooMany() async throws {
        let bench = try PipelineBench(
            backend { call async throws(CallFailure) -> CallAnswer in
                _ = await call.conversation?.ask(Self.form)
                return try .of(#"{"content":[{"type":"text","text":"done"}]}"#)
            })
        let client = PipelineBench.Client.modern(.elicitationForm)
        var first: JSONValue?
        for _ in 0..<1_024 { first = try await bench.call(client) }
        #expect(bench.parked.hasSuffix(" 1024"))
        let message = try bench.message("tools/call", #""name":"up__do""#, client)
        #expect(await bench.pipeline.handle(message).status == .overloaded(retryAfter: 1))
        #expect(try await bench.retry(client, first, #"{"elicitation-1":{"action":"cancel"}}"#)?.words == "done")
        bench.pipeline.drain()
    }
}
