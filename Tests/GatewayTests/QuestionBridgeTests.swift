// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

/// Questions between clients and owners of the two eras, all four ways.
@Suite("Question bridge") struct QuestionBridgeTests {
    private static let all: ClientCapabilities = [.roots, .sampling, .elicitationForm, .elicitationURL]
    private static let tools = Offers(tools: [.plain("do")])
    private static let done = #"{"content":[{"type":"text","text":"done"}]}"#

    private static let form = #"{"method":"elicitation/create","params":{"message":"Sure?","n":1.0}}"#
    private static let model = #"{"method":"sampling/createMessage","params":{"messages":[]}}"#

    /// Answers each question with what it was.
    private func willing() -> ScriptedStream {
        ScriptedStream { .answer(["method": .string($0.kind.rawValue), "was": $0.params]) }
    }

    // MARK: Owners of the stateless era

    /// Asks in two rounds, with one state each, then is done.
    private func stateless(_ seen: Collected<RoutedCall>, first: String, second: String) -> AskingBackend {
        AskingBackend(name: "server", asks: false, offers: Self.tools) { call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            switch seen.count {
            case 1: return try .of(#"{"resultType":"input_required",\#(first)}"#)
            case 2: return try .of(#"{"resultType":"input_required",\#(second)}"#)
            default: return try .of(Self.done)
            }
        }
    }

    @Test("A client with a session is asked on its stream, one question after the other, and the owner told in one go")
    func legacyClientStatelessOwner() async throws {
        let seen = Collected<RoutedCall>()
        let backend = stateless(
            seen, first: #""inputRequests":{"k 1":\#(Self.form),"k2":\#(Self.model)},"requestState":"s\u0041 ""#,
            second: #""inputRequests":{"roots":{"method":"roots/list"}}"#)
        let bench = try PipelineBench(backend)
        let stream = willing()
        let reply = try await bench.call(.legacy(.v2025_11_25, Self.all, stream), arguments: #"{"a":1.50}"#)
        #expect(reply?.words == "done")
        #expect(reply?["id"]?.text == "1")
        #expect(stream.questions.map(\.kind) == [.elicitation, .sampling, .roots])
        #expect(stream.questions.first?.params.text == #"{"message":"[up] Sure?","n":1.0}"#)
        let resumptions = seen.all.map(\.resumption)
        #expect(resumptions.count == 3)
        #expect(resumptions[0] == nil)
        #expect(
            resumptions[1]?.responses.map { String(decoding: $0, as: UTF8.self) }
                == #"{"k 1":{"method":"elicitation/create","was":{"message":"[up] Sure?","n":1.0}},"#
                + #""k2":{"method":"sampling/createMessage","was":{"messages":[]}}}"#
        )
        #expect(resumptions[1]?.state.map { String(decoding: $0, as: UTF8.self) } == #""s\u0041 ""#)
        #expect(
            resumptions[2]?.responses.map { String(decoding: $0, as: UTF8.self) }
                == #"{"roots":{"method":"roots/list","was":{}}}"#)
        #expect(resumptions[2]?.state == nil)
        #expect(seen.all.allSatisfy { $0.target == "do" && $0.arguments.map { String(buffer: $0) } == #"{"a":1.50}"# })
        #expect(bench.journal.calls.map(\.status) == ["ok"])
    }

    @Test("Each round has the whole time of a call, however long a person took")
    func deadlines() async throws {
        let seen = Collected<RoutedCall>()
        let backend = stateless(
            seen, first: #""inputRequests":{"k":\#(Self.form)}"#, second: #""inputRequests":{"k":\#(Self.form)}"#)
        let bench = try PipelineBench(backend)
        let stream = ScriptedStream { [time = bench.time] _ in
            time.advance(by: .seconds(100))
            return .answer(["action": "decline"])
        }
        #expect(try await bench.call(.legacy(.v2025_11_25, Self.all, stream))?.words == "done")
        let start = Moment(nanoseconds: 1_000_000_000)
        #expect(
            seen.all.map(\.deadline) == [
                Deadline(start + .seconds(5)), Deadline(start + .seconds(105)), Deadline(start + .seconds(205)),
            ])
    }

    @Test("A stateless client gets the questions as they stand, and brings answers and state back to the owner")
    func modernClientStatelessOwner() async throws {
        let seen = Collected<RoutedCall>()
        let backend = stateless(
            seen, first: #""inputRequests":{"k 1": \#(Self.form) },"requestState":"s\u0041 ""#,
            second: #""inputRequests":{"k2":\#(Self.model)}"#)
        let bench = try PipelineBench(backend)
        let client = PipelineBench.Client.modern(Self.all)
        let first = try await bench.call(client)
        #expect(first?.type == "input_required")
        #expect(first?["result"]?["inputRequests"]?["k 1"]?.text == Self.form)
        #expect(first?["result"]?.objectValue?.map(\.key) == ["resultType", "inputRequests", "requestState"])
        let second = try await bench.retry(client, first, #"{"k 1":{"action":"accept","content":{"b":1.0}}}"#)
        #expect(second?["result"]?["inputRequests"]?["k2"]?.text == Self.model)
        let last = try await bench.retry(client, second, #"{"k2":{}}"#)
        #expect(last?.words == "done")
        #expect(last?.type == "complete")
        let resumptions = seen.all.map(\.resumption)
        #expect(resumptions[0] == nil)
        #expect(
            resumptions[1]?.responses.map { String(decoding: $0, as: UTF8.self) }
                == #"{"k 1":{"action":"accept","content":{"b":1.0}}}"#)
        #expect(resumptions[1]?.state.map { String(decoding: $0, as: UTF8.self) } == #""s\u0041 ""#)
        #expect(resumptions[2] == Resumption(responses: Array(#"{"k2":{}}"#.utf8), state: nil))
        #expect(bench.journal.calls.map(\.status) == ["input_required", "input_required", "ok"])
        #expect(first?["result"]?["requestState"] != second?["result"]?["requestState"])
    }

    @Test("Only a state: a client with a session comes again by itself, a stateless one is told to")
    func stateOnly() async throws {
        for isModern in [true, false] {
            let seen = Collected<RoutedCall>()
            let backend = AskingBackend(name: "server", asks: false, offers: Self.tools) {
                call async throws(CallFailure) -> CallAnswer in
                seen.add(call)
                return try .of(seen.count == 1 ? #"{"resultType":"input_required","requestState":"later"}"# : Self.done)
            }
            let bench = try PipelineBench(backend)
            let stream = willing()
            var reply = try await bench.call(isModern ? .modern() : .legacy(.v2025_06_18, [], stream))
            if isModern {
                #expect(reply?["result"]?.objectValue?.map(\.key) == ["resultType", "requestState"])
                reply = try await bench.retry(.modern(), reply, nil)
            }
            #expect(reply?.words == "done")
            #expect(stream.questions.isEmpty)
            #expect(seen.all.last?.resumption == Resumption(responses: nil, state: Array(#""later""#.utf8)))
        }
    }

    @Test("An owner that asks a client with a session again and again is left after ten rounds")
    func tenRounds() async throws {
        let seen = Collected<RoutedCall>()
        let backend = AskingBackend(name: "server", asks: false, offers: Self.tools) {
            call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            return try .of(#"{"resultType":"input_required","inputRequests":{"k":\#(Self.form)}}"#)
        }
        let bench = try PipelineBench(backend)
        let stream = willing()
        let reply = try await bench.call(.legacy(.v2025_11_25, Self.all, stream))
        #expect(reply?["result"]?["isError"] == true)
        #expect(reply?.words?.contains("again and again, 10 times") == true)
        #expect(seen.count == 10)
        #expect(stream.questions.count == 10)
    }

    static let noQuestions: [(String, String)] = [
        ("nothing at all", ""), ("no requests and no state", #","inputRequests":{}"#),
        ("requests that are a list", #","inputRequests":[1]"#), ("a state that is no text", #","requestState":5"#),
        ("no state", #","requestState":null,"inputRequests":null"#),
    ]

    @Test("An owner that wants input and does not say which has given no answer", arguments: noQuestions)
    func noQuestion(_ name: String, _ members: String) async throws {
        for client in [PipelineBench.Client.modern(Self.all), .legacy(.v2025_11_25, Self.all, willing())] {
            let backend = AskingBackend(name: "server", asks: false, offers: Self.tools) {
                _ async throws(CallFailure) -> CallAnswer in
                try .of(#"{"resultType":"input_required"\#(members)}"#)
            }
            let bench = try PipelineBench(backend)
            let reply = try await bench.call(client)
            #expect(reply?["result"]?["isError"] == true)
            #expect(reply?.words?.contains("does not say which") == true, "\(reply?.text ?? "")")
            #expect(bench.journal.errors.map(\.errorType) == ["bad_answer"])
        }
    }

    static let impossible: [(String, String, ClientCapabilities)] = [
        ("not declared", form, [.sampling, .roots]), ("a method nobody knows", #"{"method":"tools/call"}"#, all),
        ("no method", "{}", all), ("no object", "5", all),
        ("a page, forms only", #"{"method":"elicitation/create","params":{"mode":"url"}}"#, .elicitationForm),
    ]

    @Test("What the client did not offer is not asked, and the call ends in words", arguments: impossible)
    func undeclared(_ name: String, _ request: String, _ capabilities: ClientCapabilities) async throws {
        let stream = willing()
        for client in [PipelineBench.Client.modern(capabilities), .legacy(.v2025_11_25, capabilities, stream)] {
            let seen = Collected<RoutedCall>()
            let backend = stateless(
                seen, first: #""inputRequests":{"k":\#(request)},"requestState":"s""#, second: "")
            let bench = try PipelineBench(backend)
            let reply = try await bench.call(client)
            #expect(reply?["result"]?["isError"] == true, "\(reply?.text ?? "")")
            #expect(reply?["result"]?["inputRequests"] == nil)
            #expect(seen.count == 1)
        }
        #expect(stream.questions.isEmpty)
    }

    @Test("A client that says no to a model's question, or has no stream, ends the call in words")
    func saysNo() async throws {
        let refusing = ScriptedStream { _ in .refused(code: -1, message: "User rejected sampling request") }
        for (stream, words) in [(refusing, "User rejected sampling request (-1)"), (nil, "cannot be asked here")] {
            let seen = Collected<RoutedCall>()
            let backend = stateless(seen, first: #""inputRequests":{"k":\#(Self.model)}"#, second: "")
            let bench = try PipelineBench(backend)
            let reply = try await bench.call(.legacy(.v2025_11_25, Self.all, stream))
            #expect(reply?["result"]?["isError"] == true)
            #expect(reply?.words?.contains(words) == true, "\(reply?.words ?? "")")
            #expect(reply?.words?.contains("needs input that it did not get") == true)
            #expect(seen.count == 1)
            #expect(bench.journal.errors.isEmpty)
        }
    }

    @Test(
        "Prompts and resources may be asked for as well",
        arguments: [
            ("prompts/get", #""name":"up__p""#), ("resources/read", #""uri":"up+x:a""#),
        ])
    func otherOperations(_ method: String, _ params: String) async throws {
        let seen = Collected<RoutedCall>()
        let item = OfferedItem(name: "p", definition: Array(#"{"name":"p"}"#.utf8))
        let backend = AskingBackend(name: "server", asks: false, offers: Offers(prompts: [item])) {
            call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            return try .of(
                seen.count == 1
                    ? #"{"resultType":"input_required","inputRequests":{"k":\#(Self.form)}}"#
                    : #"{"messages":[],"contents":[]}"#)
        }
        let bench = try PipelineBench(backend)
        let client = PipelineBench.Client.modern(Self.all)
        let asked = try await bench.ask(method, params, client)
        #expect(asked?.type == "input_required")
        let state = try #require(asked?["result"]?["requestState"]).text
        let more = #","inputResponses":{"k":{"action":"decline"}},"requestState":\#(state)"#
        #expect(try await bench.ask(method, params + more, client)?.type == "complete")
        #expect(try await bench.call(.legacy(.v2025_11_25, Self.all, willing()))?.code == -32602)
        let again = try await bench.ask(method, params, .legacy(.v2025_11_25, Self.all, willing()))
        #expect(again?["result"] != nil)
    }
}
