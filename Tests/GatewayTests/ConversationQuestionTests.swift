// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// What an owner asks while its call runs, as the client is asked it.
@Suite("Questions in a conversation") struct ConversationQuestionTests {
    private let time = ManualTime()

    private func conversation(
        _ revision: Revision, _ capabilities: ClientCapabilities, stream: ScriptedStream?, prefix: String = "up",
        respondent: CallConversation.Respondent = .client
    ) throws -> CallConversation {
        var inbound = try InboundMessage.of(#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, revision)
        inbound.stream = stream
        inbound.capabilities = capabilities
        let backend = ScriptedBackend(name: "server", tools: []) { _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        return CallConversation(
            inbound, owner: Owner(backend: backend, prefix: prefix), respondent: respondent, time: time)
    }

    struct Asking: Sendable, CustomTestStringConvertible {
        let name: String
        let kind: Question.Kind
        let params: String
        /// As a client of 2025-11-25 is asked it.
        let newest: String
        /// As one of 2025-06-18 is.
        let older: String
        var prefix = "up"
        var testDescription: String { name }
    }

    static let askings: [Asking] = [
        Asking(
            name: "a form", kind: .elicitation, params: #"{"message":"Sure?","requestedSchema":{"x":1.0}}"#,
            newest: #"{"message":"[up] Sure?","requestedSchema":{"x":1.0}}"#,
            older: #"{"message":"[up] Sure?","requestedSchema":{"x":1.0}}"#),
        Asking(
            name: "a form that says so", kind: .elicitation, params: #"{"mode":"form","message":"Sure?"}"#,
            newest: #"{"mode":"form","message":"[up] Sure?"}"#, older: #"{"message":"[up] Sure?"}"#),
        Asking(
            name: "of an owner without a prefix", kind: .elicitation, params: #"{"message":"Sure?"}"#,
            newest: #"{"message":"Sure?"}"#, older: #"{"message":"Sure?"}"#, prefix: ""),
        Asking(
            name: "without words", kind: .elicitation, params: #"{"requestedSchema":{}}"#,
            newest: #"{"requestedSchema":{}}"#, older: #"{"requestedSchema":{}}"#),
        Asking(
            name: "a model", kind: .sampling, params: #"{"messages":[],"message":"m","mode":"x"}"#,
            newest: #"{"messages":[],"message":"m","mode":"x"}"#, older: #"{"messages":[],"message":"m","mode":"x"}"#),
        Asking(name: "folders", kind: .roots, params: "{}", newest: "{}", older: "{}"),
    ]

    @Test("A question says who asks, and is one that its reader's revision knows", arguments: askings)
    func shown(_ one: Asking) async throws {
        for (revision, expected) in [(Revision.v2025_11_25, one.newest), (.v2025_06_18, one.older)] {
            let stream = ScriptedStream { _ in .answer(["ok": true]) }
            let conversation = try conversation(
                revision, [.roots, .sampling, .elicitationForm], stream: stream, prefix: one.prefix)
            let outcome = await conversation.ask(Question(kind: one.kind, params: try JSONValue.parse(one.params)))
            #expect(outcome == .answer(["ok": true]))
            #expect(stream.questions.map(\.kind) == [one.kind])
            #expect(stream.questions.map(\.params.text) == [expected])
            #expect(stream.deadlines == [Deadline(time.now() + .seconds(600))])
        }
    }

    @Test(
        "A visit of a page needs a number in 2025-11-25: the server's own, or one that is made",
        arguments: [
            nil, "theirs",
        ])
    func pageNumbers(_ number: String?) async throws {
        let stream = ScriptedStream { _ in .answer(["action": "accept"]) }
        let conversation = try conversation(.v2025_11_25, .elicitationURL, stream: stream)
        var params: JSONValue = ["mode": "url", "message": "Go", "url": "https://a.example/"]
        if let number { params = params.with("elicitationId", .string(number)) }
        _ = await conversation.ask(Question(kind: .elicitation, params: params))
        _ = await conversation.ask(Question(kind: .elicitation, params: params))
        let numbers = stream.questions.map { $0.params["elicitationId"]?.stringValue }
        if let number { #expect(numbers == [number, number]) } else { #expect(Set(numbers).count == 2) }
        #expect(numbers.allSatisfy { $0?.isEmpty == false })
        #expect(stream.questions.allSatisfy { $0.params["mode"] == "url" })
    }

    static let refused: [(String, ClientCapabilities, Question.Kind, JSONValue)] = [
        ("nothing was declared", [], .elicitation, [:]), ("another kind", [.roots, .sampling], .elicitation, [:]),
        ("a page, forms only", .elicitationForm, .elicitation, ["mode": "url"]),
        ("a form, pages only", .elicitationURL, .elicitation, [:]),
        ("tools for the model", .sampling, .sampling, ["tools": []]), ("folders", .elicitationForm, .roots, [:]),
    ]

    @Test("What the client did not declare it is never asked", arguments: refused)
    func undeclared(_ name: String, _ capabilities: ClientCapabilities, _ kind: Question.Kind, _ params: JSONValue)
        async throws
    {
        let stream = ScriptedStream { _ in .answer([:]) }
        let conversation = try conversation(.v2025_11_25, capabilities, stream: stream)
        guard case .refused(code: -32601, let words) = await conversation.ask(Question(kind: kind, params: params))
        else {
            Issue.record("it was asked")
            return
        }
        #expect(words.contains("did not offer"))
        #expect(stream.questions.isEmpty)
        #expect(conversation.timeAsking(at: time.now()) == .zero)
    }

    @Test("A client that cannot be asked now is not asked")
    func cannotBeAsked() async throws {
        let deaf = ScriptedStream(canAsk: false) { _ in .answer([:]) }
        let question = Question(kind: .roots, params: [:])
        for stream in [deaf, nil] {
            let conversation = try conversation(.v2025_11_25, .roots, stream: stream)
            guard case .refused(code: -32601, _) = await conversation.ask(question) else {
                Issue.record("it was asked")
                continue
            }
        }
        let detached = try conversation(.v2025_11_25, .roots, stream: ScriptedStream { _ in .answer([:]) })
        detached.detach(1)
        guard case .refused(code: -32601, _) = await detached.ask(question) else {
            Issue.record("nobody was there and it was asked")
            return
        }
        #expect(deaf.questions.isEmpty)
    }

    @Test("A client's refusal goes back as it is")
    func refusal() async throws {
        let stream = ScriptedStream { _ in .refused(code: -1, message: "no") }
        let conversation = try conversation(.v2025_11_25, .sampling, stream: stream)
        #expect(
            await conversation.ask(Question(kind: .sampling, params: [:])) == .refused(code: -1, message: "no"))
    }

    @Test("A question of a parked call waits there, labelled, for the client to come back")
    func parked() async throws {
        let call = ParkedCall(ticket: .random(), caller: .anonymous, loop: TestLoop.one)
        let stream = ScriptedStream { _ in .answer([:]) }
        let conversation = try conversation(.modern, .elicitationForm, stream: stream, respondent: .parked(call))
        let asked = Task.immediate {
            await conversation.ask(Question(kind: .elicitation, params: ["message": "Sure?", "mode": "form"]))
        }
        guard case .asks(let questions, let round)? = try await next(call) else {
            Issue.record("there is no question")
            return
        }
        #expect(questions.map(\.question.params.text) == [#"{"message":"[up] Sure?","mode":"form"}"#])
        call.supply(["elicitation-1": ["action": "decline"]], round: round)
        #expect(try await asked.soon() == .answer(["action": "decline"]))
        #expect(stream.questions.isEmpty)
    }

    @Test("The time of questions is counted once, however many are open, and stands still between them")
    func timeAsking() async throws {
        let (first, second, third) = (Gate(), Gate(), Gate())
        let gates = ["1": first, "2": second, "3": third]
        let stream = ScriptedStream { question in
            await gates[question.params["n"]?.text ?? ""]?.pass()
            return .answer([:])
        }
        let conversation = try conversation(.v2025_11_25, .sampling, stream: stream)
        func ask(_ number: Int) -> Task<Void, Never> {
            Task.immediate {
                _ = await conversation.ask(Question(kind: .sampling, params: ["n": .number(String(number))]))
            }
        }
        #expect(conversation.timeAsking(at: time.now()) == .zero)
        let one = ask(1)
        time.advance(by: .seconds(5))
        #expect(conversation.timeAsking(at: time.now()) == .seconds(5))
        let two = ask(2)
        time.advance(by: .seconds(2))
        first.open()
        try await one.soon()
        #expect(conversation.timeAsking(at: time.now()) == .seconds(7))
        time.advance(by: .seconds(1))
        second.open()
        try await two.soon()
        time.advance(by: .seconds(100))
        #expect(conversation.timeAsking(at: time.now()) == .seconds(8))
        let three = ask(3)
        time.advance(by: .milliseconds(1))
        #expect(conversation.timeAsking(at: time.now()) == .milliseconds(8_001))
        third.open()
        try await three.soon()
    }

    static let requests: [(Question.Kind, String, String)] = [
        (.roots, "{}", #"{"method":"roots/list"}"#),
        (.roots, #"{"_meta":{}}"#, #"{"method":"roots/list","params":{"_meta":{}}}"#),
        (.sampling, "{}", #"{"method":"sampling/createMessage","params":{}}"#),
        (
            .sampling, #"{"task":{"ttl":1},"maxTokens":5,"elicitationId":"e"}"#,
            #"{"method":"sampling/createMessage","params":{"maxTokens":5,"elicitationId":"e"}}"#
        ),
        (
            .elicitation, #"{"mode":"url","url":"https://a/","elicitationId":"e","task":{}}"#,
            #"{"method":"elicitation/create","params":{"mode":"url","url":"https://a/"}}"#
        ),
    ]

    @Test("A stateless client is asked without what belongs to sessions and tasks", arguments: requests)
    func inputRequest(_ kind: Question.Kind, _ params: String, _ expected: String) throws {
        let question = Question(kind: kind, params: try JSONValue.parse(params))
        #expect(question.inputRequest.text == expected)
    }
}
