// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import MCPFront

/// Questions that wait for a client's response.
@Suite("Question book") struct QuestionBookTests {
    private let book = QuestionBook()
    private let sent = Collected<String>()
    private let time = ManualTime()
    private static let form = Question(kind: .elicitation, params: ["message": "Sure?"])

    private func ask(_ question: Question = form) -> Task<QuestionOutcome, Never> {
        let deadline = Deadline(time.now() + .seconds(3_600))
        return Task.immediate { [book, sent, time] in
            await book.ask(question, deadline: deadline, loop: TestLoop.one, time: time) {
                sent.add(String(buffer: $0))
            }
        }
    }

    private func respond(_ json: String) throws {
        let bytes = ByteBuffer(string: json)
        book.take(bytes, try MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits()))
    }

    static let requests: [(Question, String)] = [
        (form, #"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Sure?"}}"#),
        (
            Question(kind: .sampling, params: ["maxTokens": .number("1.0"), "messages": []]),
            #"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"maxTokens":1.0,"messages":[]}}"#
        ),
        (Question(kind: .roots, params: [:]), #"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#),
        (Question(kind: .roots, params: .null), #"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#),
    ]

    @Test("A question goes out as a request of ours, and its response comes back whole", arguments: requests)
    func roundTrip(_ question: Question, _ request: String) async throws {
        let asked = ask(question)
        #expect(sent.all == [request])
        try respond(#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"n":1.0}}}"#)
        #expect(try await asked.soon() == .answer(["action": "accept", "content": ["n": .number("1.0")]]))
    }

    @Test("Each question has a number of its own, and answers find theirs in any order")
    func numbers() async throws {
        let asked = (0..<3).map { _ in ask() }
        #expect(sent.all.compactMap { try? JSONValue.parse($0)["id"]?.intValue } == [1, 2, 3])
        for id in [2, 3, 1] { try respond(#"{"jsonrpc":"2.0","id":\#(id),"result":{"was":\#(id)}}"#) }
        for (index, one) in asked.enumerated() {
            #expect(try await one.soon() == .answer(["was": .number(String(index + 1))]))
        }
    }

    static let strange: [String] = [
        #"{"jsonrpc":"2.0","id":2,"result":{}}"#, #"{"jsonrpc":"2.0","id":"1","result":{}}"#,
        #"{"jsonrpc":"2.0","id":-1,"result":{}}"#, #"{"jsonrpc":"2.0","id":18446744073709551617,"result":{}}"#,
        #"{"jsonrpc":"2.0","id":"x","result":{}}"#, #"{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#,
        #"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#, #"{"jsonrpc":"2.0","id":0,"result":{}}"#,
    ]

    @Test("A response that nobody waits for is passed over, and so is a second one", arguments: strange)
    func passedOver(_ response: String) async throws {
        let asked = ask()
        try respond(response)
        try respond(#"{"jsonrpc":"2.0","id":1,"result":{"first":true}}"#)
        try respond(#"{"jsonrpc":"2.0","id":1,"result":{"first":false}}"#)
        #expect(try await asked.soon() == .answer(["first": true]))
    }

    static let errors: [(String, Int, String)] = [
        (#"{"code":-1,"message":"no \u0041"}"#, -1, "no A"), (#"{"code":4711,"message":""}"#, 4_711, ""),
        (#"{"code":-1}"#, -1, "The client refused."), (#"{"message":"m"}"#, -1, "m"),
        (#"{"code":"5","message":7}"#, -1, "The client refused."),
        (#"{"code":1.5,"message":null}"#, -1, "The client refused."),
        (
            #"{"code":2,"message":"\#(String(repeating: "x", count: 600))"}"#, 2, String(repeating: "x", count: 500)
        ),
        ("{}", -1, "The client refused."),
    ]

    @Test("A client's error is its refusal, in words of bearable length", arguments: errors)
    func refusal(_ error: String, _ code: Int, _ words: String) async throws {
        let asked = ask()
        try respond(#"{"jsonrpc":"2.0","id":1,"error":\#(error)}"#)
        #expect(try await asked.soon() == .refused(code: code, message: words))
    }

    @Test("A result that is no object is handed on as it is", arguments: ["[]", "null", "5"])
    func oddResults(_ result: String) async throws {
        let asked = ask()
        try respond(#"{"jsonrpc":"2.0","id":1,"result":\#(result)}"#)
        #expect(try await asked.soon() == .answer(try JSONValue.parse(result)))
    }

    @Test(
        "A question waits as long as it may and no longer", arguments: [Duration.milliseconds(1), .zero, .seconds(-1)])
    func deadline(_ patience: Duration) async throws {
        // On the loop itself, as in life.
        let loop = TestLoop.one
        let asked = Task(executorPreference: LoopExecutor(loop)) { [book, time] in
            await book.ask(Self.form, deadline: Deadline(time.now() + patience), loop: loop, time: time) { _ in }
        }
        #expect(try await asked.soon() == .refused(code: -1, message: "The client did not answer."))
        try respond(#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
    }

    @Test("The end of the call ends its question, before it is asked and after", arguments: [true, false])
    func cancellation(_ isBefore: Bool) async throws {
        let gate = Gate()
        let asked = Task.immediate { [book, sent, time] in
            if isBefore { await gate.pass() }
            return await book.ask(
                Self.form, deadline: Deadline(time.now() + .seconds(3_600)), loop: TestLoop.one, time: time
            ) { sent.add(String(buffer: $0)) }
        }
        asked.cancel()
        gate.open()
        guard case .refused(code: -1, _) = try await asked.soon() else {
            Issue.record("it was answered")
            return
        }
        #expect(sent.count == (isBefore ? 0 : 1))
        try respond(#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
    }

    @Test("So many questions wait at a time and no more; a client that leaves ends all of them")
    func bounds() async throws {
        let open = (0..<64).map { _ in ask() }
        #expect(try await ask().soon() == .refused(code: -1, message: "The client cannot be asked."))
        #expect(sent.count == 64)
        try respond(#"{"jsonrpc":"2.0","id":7,"result":{}}"#)
        #expect(try await open[6].soon() == .answer([:]))
        let next = ask()
        #expect(sent.count == 65)
        book.close()
        for one in open where one != open[6] {
            #expect(try await one.soon() == .refused(code: -1, message: "The client has left."))
        }
        #expect(try await next.soon() == .refused(code: -1, message: "The client has left."))
        #expect(try await ask().soon() == .refused(code: -1, message: "The client cannot be asked."))
        #expect(sent.count == 65)
    }
}

/// Requests that their client can take back.
@Suite("Request book") struct RequestBookTests {
    private let book = RequestBook()
    private let cancelled = Collected<String>()

    @discardableResult private func begin(_ id: String) -> RequestBook.Entry {
        book.begin(Array(id.utf8)) { [cancelled] in cancelled.add(id) }
    }

    private func cancel(_ params: String) throws {
        let bytes = ByteBuffer(string: #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":\#(params)}"#)
        book.cancel(bytes, try MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits()))
    }

    @Test("A request is taken back by its id as it was written, once, and has no answer then")
    func cancel() throws {
        let entries = ["1", #""1""#, "10"].map { begin($0) }
        try cancel(#"{"requestId":"1","reason":"r"}"#)
        try cancel(#"{"requestId":"1"}"#)
        #expect(cancelled.all == [#""1""#])
        #expect(book.count == 2)
        #expect(!book.end(entries[1]))
        #expect(book.end(entries[0]))
        #expect(!book.end(entries[0]))
    }

    @Test(
        "What names nobody ends nothing",
        arguments: ["{}", #"{"requestId":2}"#, #"{"requestId":null}"#, #"{"requestId":[1]}"#, #"{"id":1}"#])
    func nobody(_ params: String) throws {
        let entry = begin("1")
        try cancel(params)
        #expect(cancelled.count == 0)
        #expect(book.end(entry))
    }

    @Test("All are taken back at once when the client leaves")
    func all() {
        let entries = ["1", "2", "3"].map { begin($0) }
        book.cancelAll()
        book.cancelAll()
        #expect(cancelled.all.sorted() == ["1", "2", "3"])
        #expect(book.count == 0)
        #expect(!book.end(entries[1]))
    }
}
