// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// A call that goes on while its client comes and goes.
@Suite("Parked call") struct ParkedCallTests {
    private let call = ParkedCall(ticket: .random(), caller: .anonymous, loop: TestLoop.one)

    private static let form = Question(kind: .elicitation, params: ["message": "Sure?"])
    private static let model = Question(kind: .sampling, params: ["messages": []])
    private static let folders = Question(kind: .roots, params: [:])
    private static let yes: JSONValue = ["action": "accept", "content": ["sure": true]]
    private static let said: JSONValue = ["role": "assistant", "content": ["type": "text", "text": "x"]]

    /// Asks at once: when this returns the question is open.
    private func ask(_ question: Question) -> Task<QuestionOutcome, Never> {
        Task.immediate { [call] in await call.ask(question) }
    }

    private func asked() async throws -> (keys: [String], round: UInt32) {
        guard case .asks(let questions, let round)? = try await next(call) else {
            throw Unexpected("there are no questions")
        }
        return (questions.map(\.key), round)
    }

    private func outcome() async throws -> Result<CallAnswer, CallFailure> {
        guard case .finished(let outcome)? = try await next(call) else { throw Unexpected("the call has not ended") }
        return outcome
    }

    @Test("One question is shown, answered, and the call goes on to its end")
    func oneQuestion() async throws {
        let heard = Collected<QuestionOutcome>()
        call.begin { [call] in
            heard.add(await call.ask(Self.form))
            return .failure(.unknownTool)
        }
        guard case .asks(let questions, let round)? = try await next(call) else {
            Issue.record("there is no question")
            return
        }
        #expect(questions.map(\.key) == ["elicitation-1"])
        #expect(questions.map(\.question) == [Self.form])
        #expect(round == 1)
        call.supply(["elicitation-1": Self.yes], round: round)
        #expect(try await outcome().failure == .unknownTool)
        #expect(heard.all == [.answer(Self.yes)])
    }

    @Test("What is asked at once is shown together, each under a key of its own that tells its kind")
    func several() async throws {
        let asked = [ask(Self.form), ask(Self.model), ask(Self.folders), ask(Self.form)]
        let (keys, round) = try await self.asked()
        #expect(keys == ["elicitation-1", "sampling-2", "roots-3", "elicitation-4"])
        #expect(round == 1)
        let roots: JSONValue = ["roots": []]
        call.supply(
            [
                "elicitation-1": Self.yes, "elicitation-4": ["action": "decline"], "roots-3": roots,
                "sampling-2": Self.said,
            ], round: 1)
        #expect(try await asked[0].soon() == .answer(Self.yes))
        #expect(try await asked[1].soon() == .answer(Self.said))
        #expect(try await asked[2].soon() == .answer(roots))
        #expect(try await asked[3].soon() == .answer(["action": "decline"]))
    }

    @Test("What is not answered is asked again under its old key, in a new round")
    func partial() async throws {
        let (first, second) = (ask(Self.form), ask(Self.model))
        #expect(try await asked().round == 1)
        call.supply(["sampling-2": Self.said], round: 1)
        #expect(try await second.soon() == .answer(Self.said))
        let again = try await asked()
        #expect(again.keys == ["elicitation-1"])
        #expect(again.round == 2)
        // A new question joins it, and gets no key that there was before.
        let third = ask(Self.model)
        #expect(try await asked().keys == ["elicitation-1", "sampling-3"])
        call.supply(["elicitation-1": Self.yes, "sampling-3": Self.said], round: 2)
        #expect(try await first.soon() == .answer(Self.yes))
        #expect(try await third.soon() == .answer(Self.said))
    }

    static let useless: [(String, JSONValue?)] = [
        ("nothing", nil), ("no object", []), ("null", .null), ("no answers", [:]),
        ("a key that nobody asked under", ["elicitation-2": yes]), ("another kind's key", ["sampling-1": yes]),
        ("a key in capital letters", ["Elicitation-1": yes]), ("an answer without action", ["elicitation-1": [:]]),
        ("an acceptance without content", ["elicitation-1": ["action": "accept"]]),
        ("an answer to something else", ["elicitation-1": said]), ("a text", ["elicitation-1": "yes"]),
    ]

    @Test("What is no answer to the question leaves it open, in the same round", arguments: useless)
    func wrong(_ name: String, _ responses: JSONValue?) async throws {
        let open = ask(Self.form)
        #expect(try await asked().round == 1)
        call.supply(responses, round: 1)
        let again = try await asked()
        #expect(again.keys == ["elicitation-1"])
        #expect(again.round == 1)
        #expect(call.isWaiting(since: 1))
        call.supply(["elicitation-1": Self.yes], round: 1)
        #expect(try await open.soon() == .answer(Self.yes))
        #expect(!call.isWaiting(since: 1))
    }

    @Test("Answers of another round are passed over, whatever they say")
    func otherRounds() async throws {
        let first = ask(Self.form)
        #expect(try await asked().round == 1)
        for round: UInt32 in [0, 2, .max] { call.supply(["elicitation-1": ["action": "cancel"]], round: round) }
        call.supply(["elicitation-1": Self.yes], round: 1)
        #expect(try await first.soon() == .answer(Self.yes))
        // The same retry once more, and one that guesses the next key.
        let second = ask(Self.form)
        #expect(try await asked() == (["elicitation-2"], 2))
        call.supply(["elicitation-1": ["action": "cancel"], "elicitation-2": ["action": "cancel"]], round: 1)
        #expect(try await asked() == (["elicitation-2"], 2))
        call.supply(["elicitation-2": Self.yes], round: 2)
        #expect(try await second.soon() == .answer(Self.yes))
    }

    @Test("Two who wait for the next word both get it, and so does who comes later")
    func manyWatchers() async throws {
        let early = (0..<3).map { _ in Task.immediate { [call] in await call.next() } }
        let open = ask(Self.form)
        for watcher in early {
            guard case .asks(let questions, round: 1)? = try await watcher.soon() else {
                Issue.record("a watcher was told something else")
                continue
            }
            #expect(questions.count == 1)
        }
        call.supply(["elicitation-1": Self.yes], round: 1)
        _ = try await open.soon()
        let late = (0..<3).map { _ in Task.immediate { [call] in await call.next() } }
        call.begin { .failure(.unknownTool) }
        for watcher in late {
            guard case .finished(.failure(.unknownTool))? = try await watcher.soon() else {
                Issue.record("a watcher did not see the end")
                continue
            }
        }
        #expect(try await outcome().failure == .unknownTool)
    }

    @Test("A call that ends while nobody waits keeps its end for whoever asks, as often as he likes")
    func endsAlone() async throws {
        let done = Gate()
        call.begin {
            defer { done.open() }
            return .failure(.garbage(detail: "x"))
        }
        try await done.passed()
        for _ in 0..<3 { #expect(try await outcome().failure == .garbage(detail: "x")) }
        // Questions after the end are shown to nobody.
        #expect(!call.isWaiting(since: 0))
    }

    @Test("A client that leaves gets nothing, and the call goes on without it")
    func leaving() async throws {
        let watcher = Task.immediate { [call] in await call.next() }
        watcher.cancel()
        #expect(try await watcher.soon() == nil)
        let gone = Task { [call] in
            withUnsafeCurrentTask { $0?.cancel() }
            return await call.next()
        }
        #expect(try await gone.soon() == nil)
        let open = ask(Self.form)
        #expect(try await asked().keys == ["elicitation-1"])
        call.supply(["elicitation-1": Self.yes], round: 1)
        #expect(try await open.soon() == .answer(Self.yes))
    }

    @Test("A call that is given up answers for the client: a person has cancelled, a model and folders are refused")
    func abandonment() async throws {
        let ended = Collected<Bool>()
        let begun = Gate()
        call.begin {
            begun.open()
            await Latch().wait()
            ended.add(Task.isCancelled)
            return .failure(.cancelled)
        }
        try await begun.passed()
        let open = [ask(Self.form), ask(Self.model), ask(Self.folders)]
        call.abandon()
        #expect(try await open[0].soon() == .answer(["action": "cancel"]))
        for refused in open[1...] {
            guard case .refused(code: -1, _) = try await refused.soon() else {
                Issue.record("it was not refused")
                continue
            }
        }
        #expect(try await outcome().failure == .cancelled)
        #expect(ended.all == [true])
        // Whoever asks now is answered at once.
        #expect(try await ask(Self.form).soon() == .answer(["action": "cancel"]))
        call.abandon()
    }

    @Test("More questions at once than anybody can answer are refused")
    func bound() async throws {
        let open = (0..<32).map { _ in ask(Self.model) }
        guard case .refused(code: -1, _) = try await ask(Self.model).soon() else {
            Issue.record("the 33rd was asked")
            return
        }
        #expect(try await ask(Self.form).soon() == .answer(["action": "cancel"]))
        let shown = try await asked().keys
        #expect(shown.count == 32)
        #expect(Set(shown).count == 32)
        call.abandon()
        for one in open { _ = try await one.soon() }
    }
}

/// All calls that wait, for the clients they belong to.
@Suite("Parked calls") struct ParkedCallsTests {
    private let calls = ParkedCalls()

    @Test("A call is found by its ticket and for its caller only")
    func find() throws {
        let ann = try #require(calls.open(caller: Caller(name: "ann"), loop: TestLoop.one))
        let bob = try #require(calls.open(caller: Caller(name: "bob"), loop: TestLoop.one))
        #expect(ann.call.ticket != bob.call.ticket)
        #expect(calls.find(ann.call.ticket, caller: Caller(name: "ann")) === ann)
        #expect(calls.find(ann.call.ticket, caller: Caller(name: "bob")) == nil)
        #expect(calls.find(.random(), caller: Caller(name: "ann")) == nil)
        #expect(calls.count == 2)
    }

    @Test("A call that is given up is forgotten, and so are all at the end")
    func abandon() async throws {
        let entries = try (0..<5).map { _ in try #require(calls.open(caller: .anonymous, loop: TestLoop.one)) }
        let question = Question(kind: .elicitation, params: [:])
        let open = entries.map { entry in Task.immediate { await entry.call.ask(question) } }
        calls.abandon(entries[0])
        #expect(calls.count == 4)
        #expect(calls.find(entries[0].call.ticket, caller: .anonymous) == nil)
        calls.abandonAll()
        #expect(calls.count == 0)
        for one in open { #expect(try await one.soon() == .answer(["action": "cancel"])) }
    }

    @Test("Only so many wait at a time, and room is made by those that end")
    func bound() throws {
        let entries = try (0..<1_024).map { _ in try #require(calls.open(caller: .anonymous, loop: TestLoop.one)) }
        #expect(calls.open(caller: .anonymous, loop: TestLoop.one) == nil)
        calls.abandon(entries[7])
        #expect(calls.open(caller: .anonymous, loop: TestLoop.one) != nil)
    }
}

extension Result {
    var failure: Failure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}

/// What a client of the call has to know next.
func next(_ call: ParkedCall) async throws -> ParkedCall.Event? {
    try await Task { await call.next() }.soon("the call's next word")
}
