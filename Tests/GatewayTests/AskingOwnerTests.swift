// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// Owners that ask while a call stays open, and clients of both eras.
@Suite("Owners that ask") struct AskingOwnerTests {
    private static let all: ClientCapabilities = [.roots, .sampling, .elicitationForm, .elicitationURL]
    private static let tools = Offers(tools: [.plain("do")])
    private static let form = Question(kind: .elicitation, params: ["message": "Sure?"])
    private static let model = Question(kind: .sampling, params: ["messages": []])

    private static func told(_ outcomes: [QuestionOutcome]) throws(CallFailure) -> CallAnswer {
        let words = outcomes.map { outcome in
            switch outcome {
            case .answer(let answer): answer.text
            case .refused(let code, _): String(code)
            }
        }
        return try .of(#"{"content":[{"type":"text","text":\#(JSONText.quoted(words.joined(separator: " ")))}]}"#)
    }

    /// Asks its questions one after the other and tells what was answered.
    private func asking(_ questions: [Question], _ seen: Collected<RoutedCall> = Collected()) -> AskingBackend {
        AskingBackend(name: "server", offers: Self.tools) { call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            var outcomes: [QuestionOutcome] = []
            for question in questions {
                outcomes.append(await call.conversation?.ask(question) ?? .refused(code: 0, message: "nobody listens"))
            }
            return try Self.told(outcomes)
        }
    }

    @Test("A client with a session is asked on its stream and the call never knows")
    func legacyClient() async throws {
        let bench = try PipelineBench(asking([Self.form, Self.model]))
        let stream = ScriptedStream { $0.kind == .sampling ? .answer(["model": "m"]) : .refused(code: -7, message: "") }
        let reply = try await bench.call(.legacy(.v2025_06_18, Self.all, stream))
        #expect(reply?.words == #"-7 {"model":"m"}"#)
        #expect(stream.questions.map(\.kind) == [.elicitation, .sampling])
        #expect(bench.parked.hasSuffix(" 0"))
    }

    @Test("A stateless client comes back with answers as often as it is asked, to one and the same call")
    func modernClient() async throws {
        let seen = Collected<RoutedCall>()
        let bench = try PipelineBench(asking([Self.form, Self.model], seen))
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.call(client, arguments: #"{"a":1}"#)
        #expect(first?.type == "input_required")
        #expect(
            first?["result"]?["inputRequests"]?.text
                == #"{"elicitation-1":{"method":"elicitation/create","params":{"message":"[up] Sure?"}}}"#)
        #expect(bench.parked.hasSuffix(" 1"))
        let second = try await bench.retry(
            client, first, #"{"elicitation-1":{"action":"decline"}}"#, arguments: #"{ "a":1}"#)
        #expect(second?["result"]?["inputRequests"]?.objectValue?.map(\.key) == ["sampling-2"])
        let last = try await bench.retry(
            client, second, #"{"sampling-2":{"role":"assistant","content":{}}}"#, arguments: #"{"a":1}"#)
        #expect(last?.type == "complete")
        #expect(last?.words == #"{"action":"decline"} {"role":"assistant","content":{}}"#)
        #expect(seen.count == 1)
        #expect(bench.journal.calls.map(\.status) == ["input_required", "input_required", "ok"])
    }

    static let again: [(String, String?)] = [
        ("no answers", nil), ("an empty object", "{}"), ("no object", "5"),
        ("a strange key", #"{"x":{"action":"cancel"}}"#),
        ("no answer", #"{"elicitation-1":{"action":"accept"}}"#), ("a list", #"[{"action":"cancel"}]"#),
    ]

    @Test("Whoever brings no answer is asked the same again", arguments: again)
    func askedAgain(_ name: String, _ responses: String?) async throws {
        let bench = try PipelineBench(asking([Self.form]))
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.call(client)
        let second = try await bench.retry(client, first, responses)
        #expect(second?["result"]?["inputRequests"] == first?["result"]?["inputRequests"])
        // Either state is good for the answer.
        let last = try await bench.retry(client, first, #"{"elicitation-1":{"action":"cancel"}}"#)
        #expect(last?.words == #"{"action":"cancel"}"#)
    }

    @Test("The same retry twice comes to the same end, at once or later, and nothing is done twice")
    func duplicates() async throws {
        let seen = Collected<RoutedCall>()
        let bench = try PipelineBench(asking([Self.form], seen))
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.call(client)
        let answers = #"{"elicitation-1":{"action":"decline"}}"#
        async let one = bench.retry(client, first, answers)
        async let two = bench.retry(client, first, answers)
        let later = #"{"elicitation-1":{"action":"cancel"}}"#
        let replies = try await [one, two, bench.retry(client, first, later)]
        #expect(replies.compactMap { $0?.words } == Array(repeating: #"{"action":"decline"}"#, count: 3))
        #expect(seen.count == 1)
    }

    struct Forgery: Sendable, CustomTestStringConvertible {
        let name: String
        let words: String
        /// Makes the retry's parameters of the state that was given.
        let params: @Sendable (String) -> String
        var caller = Caller.anonymous
        var age = Duration.zero
        var testDescription: String { name }
    }

    static let forgeries: [Forgery] = [
        Forgery(name: "nonsense", words: "not one of ours") { _ in #""name":"up__do","requestState":"nonsense""# },
        Forgery(name: "no text", words: "not one of ours") { _ in #""name":"up__do","requestState":5"# },
        Forgery(name: "a cut state", words: "not one of ours") {
            #""name":"up__do","requestState":"\#($0.dropFirst().dropLast(2))""#
        },
        Forgery(name: "other arguments", words: "not one of ours") {
            #""name":"up__do","arguments":{"a":1},"requestState":\#($0)"#
        },
        Forgery(
            name: "somebody else", words: "not one of ours", params: { #""name":"up__do","requestState":\#($0)"# },
            caller: Caller(name: "mallory")),
        Forgery(
            name: "too late", words: "not one of ours", params: { #""name":"up__do","requestState":\#($0)"# },
            age: .seconds(601)),
    ]

    @Test("A state that is not ours for this very call is refused, and the call waits on", arguments: forgeries)
    func forgery(_ one: Forgery) async throws {
        let seen = Collected<RoutedCall>()
        let bench = try PipelineBench(asking([Self.form], seen))
        var client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.ask("tools/call", #""name":"up__do""#, client)
        let state = try #require(first?["result"]?["requestState"]).text
        client.caller = one.caller
        bench.time.advance(by: one.age)
        let reply = try await bench.ask("tools/call", one.params(state), client)
        #expect(reply?.code == -32602)
        #expect(reply?["error"]?["message"]?.stringValue?.contains(one.words) == true)
        #expect(seen.count == 1)
        #expect(bench.parked.hasSuffix(" 1"))
    }

    @Test("A state of another gateway, whose call is not here, is told so: nothing is done again unasked")
    func elsewhere() async throws {
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await PipelineBench(asking([Self.form])).call(client)
        let seen = Collected<RoutedCall>()
        let other = try PipelineBench(asking([Self.form], seen))
        let reply = try await other.retry(client, first, #"{"elicitation-1":{"action":"cancel"}}"#)
        #expect(reply?.code == -32602)
        #expect(reply?["error"]?["message"]?.stringValue?.contains("not waiting any more") == true)
        #expect(seen.count == 0)
    }

    @Test("A retry without its state is a new call")
    func withoutState() async throws {
        let seen = Collected<RoutedCall>()
        let bench = try PipelineBench(asking([Self.form], seen))
        let client = PipelineBench.Client.modern(Self.all)
        _ = try await bench.call(client)
        let more = #","inputResponses":{"elicitation-1":{"action":"cancel"}}"#
        #expect(try await bench.call(client, more: more)?.type == "input_required")
        #expect(try await bench.call(client, more: more + #","requestState":null"#)?.type == "input_required")
        #expect(seen.count == 3)
    }

    @Test("A client that leaves while its call runs ends it; between two rounds there is nothing to leave")
    func leaving() async throws {
        let ended = Gate()
        let begun = Gate()
        let backend = AskingBackend(name: "server", offers: Self.tools) {
            call async throws(CallFailure) -> CallAnswer in
            _ = await call.conversation?.ask(Self.form)
            begun.open()
            await Latch().wait()
            ended.open()
            throw .cancelled
        }
        let bench = try PipelineBench(backend)
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.call(client)
        #expect(bench.parked.hasSuffix(" 1"))
        let retry = Task { try await bench.retry(client, first, #"{"elicitation-1":{"action":"cancel"}}"#) }
        try await begun.passed()
        retry.cancel()
        try await ended.passed()
        #expect(try await retry.soon() == nil)
        #expect(bench.parked.hasSuffix(" 0"))
        #expect(bench.journal.calls.last?.status == "refused")
    }

    @Test("When the gateway stops, open questions are answered for the client and the calls are over")
    func drain() async throws {
        let heard = Collected<QuestionOutcome>()
        let ended = Gate()
        let backend = AskingBackend(name: "server", offers: Self.tools) {
            call async throws(CallFailure) -> CallAnswer in
            if let conversation = call.conversation { heard.add(await conversation.ask(Self.form)) }
            ended.open()
            throw .cancelled
        }
        let bench = try PipelineBench(backend)
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.call(client)
        bench.pipeline.drain()
        try await ended.passed()
        #expect(heard.all == [.answer(["action": "cancel"])])
        let reply = try await bench.retry(client, first, #"{"elicitation-1":{"action":"decline"}}"#)
        #expect(reply?["error"]?["message"]?.stringValue?.contains("not waiting any more") == true)
    }

    @Test(
        "A call is only kept for a client that can be asked anything",
        arguments: [[], .tasks, .samplingTools] as [ClientCapabilities])
    func nothingToAsk(_ capabilities: ClientCapabilities) async throws {
        let seen = Collected<RoutedCall>()
        let bench = try PipelineBench(asking([Self.form], seen))
        #expect(try await bench.call(.modern(capabilities))?.words == "0")
        #expect(seen.all.map { $0.conversation == nil } == [true])
        #expect(seen.all.map(\.wishes.capabilities) == [capabilities])
    }

    @Test("Words of the owner reach the request that listens at the moment, under its token")
    func progress() async throws {
        let backend = AskingBackend(name: "server", offers: Self.tools) {
            call async throws(CallFailure) -> CallAnswer in
            for number in 1...2 {
                if let payload = try? Payload.of(#"{"progressToken":0,"progress":\#(number)}"#) {
                    call.conversation?.progressed(payload)
                }
                _ = await call.conversation?.ask(Self.form)
            }
            return try Self.told([])
        }
        let bench = try PipelineBench(backend)
        let (early, late) = (ScriptedStream(), ScriptedStream())
        let meta = #","_meta":{"progressToken":"t1"}"#
        let first = try await bench.call(.modern(Self.all, early), more: meta)
        #expect(early.messages.map { $0["params"]?.text } == [#"{"progressToken":"t1","progress":1}"#])
        let state = try #require(first?["result"]?["requestState"]).text
        _ = try await bench.call(
            .modern(Self.all, late),
            more: #","requestState":\#(state),"inputResponses":{"elicitation-1":{"action":"cancel"}},"#
                + #""_meta":{"progressToken":5}"#)
        #expect(early.sent.count == 1)
        #expect(late.messages.map { $0["params"]?.text } == [#"{"progressToken":5,"progress":2}"#])
    }

    // MARK: Pages to be visited, as an error

    private static let pages =
        #"{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a/","#
        + #""message":"Go"},{"url":"https://b/"}]}}"#

    /// Asks for visits until it has been called `rounds` times.
    private func visiting(_ rounds: Int, _ seen: Collected<RoutedCall>) -> AskingBackend {
        AskingBackend(name: "server", offers: Self.tools) { call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            return seen.count <= rounds ? try .error(Self.pages) : try Self.told([])
        }
    }

    @Test("Pages that an owner wants visited are questions to a stateless client, after which the call is made anew")
    func pagesForModern() async throws {
        let seen = Collected<RoutedCall>()
        let bench = try PipelineBench(visiting(1, seen))
        let client = PipelineBench.Client.modern(.elicitationURL)
        let first = try await bench.call(client)
        #expect(
            first?["result"]?["inputRequests"]?.objectValue?.map(\.value.text) == [
                #"{"method":"elicitation/create","params":{"mode":"url","url":"https://a/","message":"Go"}}"#,
                #"{"method":"elicitation/create","params":{"url":"https://b/","mode":"url"}}"#,
            ])
        let keys = first?["result"]?["inputRequests"]?.objectValue?.map(\.key) ?? []
        #expect(Set(keys).count == 2)
        let answers = keys.map { #""\#($0)":{"action":"accept"}"# }.joined(separator: ",")
        #expect(try await bench.retry(client, first, "{\(answers)}")?.type == "complete")
        #expect(seen.count == 2)
    }

    @Test(
        "A client of 2025-11-25 is given that error as it is, older ones an error of their time",
        arguments: [
            (Revision.v2025_11_25, -32042), (.v2025_06_18, -32603), (.v2024_11_05, -32603),
        ])
    func pagesForLegacy(_ revision: Revision, _ code: Int) async throws {
        let bench = try PipelineBench(visiting(1, Collected()))
        let reply = try await bench.call(.legacy(revision, Self.all, ScriptedStream()))
        #expect(reply?.code == code)
        #expect(reply?["error"]?["data"]?["elicitations"]?.arrayValue?.count == 2)
    }

    static let noPages: [String] = [
        #"{"code":-32042,"message":"m"}"#, #"{"code":-32042,"message":"m","data":{"elicitations":[]}}"#,
        #"{"code":-32042,"message":"m","data":{"elicitations":{}}}"#,
        #"{"code":-32041,"message":"m","data":{"elicitations":[{}]}}"#,
    ]

    @Test("An error that names no pages stays an error", arguments: noPages)
    func stayAnError(_ error: String) async throws {
        let backend = AskingBackend(name: "server", offers: Self.tools) { _ async throws(CallFailure) -> CallAnswer in
            try .error(error)
        }
        let reply = try await PipelineBench(backend).call(.modern(Self.all))
        #expect(reply?.code == -32603)
        #expect(reply?["error"]?["message"] == "m")
    }
}
