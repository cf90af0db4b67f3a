// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Sealing
import Telemetry
import Testing

@testable import Gateway

/// One message through the pipeline: what is answered and what is written down.
@Suite("Pipeline") struct PipelineTests {
    private struct Bench {
        let pipeline: Pipeline
        let catalogue: Catalogue
        let journal = RecordingJournal()
        let metrics = MetricsRegistry()

        init(_ backends: [(prefix: String, backend: ScriptedBackend)]) throws {
            let time = ManualTime()
            let identity = ServerIdentity(version: "1", instructions: "i")
            let logs = try silentLogs(time)
            catalogue = Catalogue(
                entries: backends.map { CatalogueEntry(backend: $0.backend, prefix: $0.prefix) }, identity: identity,
                time: time, metrics: metrics, logs: logs)
            let store = MemoryStore()
            pipeline = Pipeline(
                settings: PipelineSettings(inFlightMax: 4, timeout: .seconds(5), slowCall: .seconds(1)),
                catalogue: catalogue, identity: identity, keys: .forTests, calls: store, cache: store, journal: journal,
                archive: store,
                time: time, metrics: metrics, logs: logs)
        }

        func ask(_ json: String, _ revision: Revision = .v2025_11_25) async throws -> Reply {
            await pipeline.handle(try .of(json, revision))
        }
    }

    private func bench(
        _ answer: @escaping ScriptedBackend.Answer = { _ async throws(CallFailure) -> CallAnswer in throw .cancelled }
    ) throws -> Bench {
        try Bench([("up", ScriptedBackend(name: "server", tools: [.plain("do")], answer: answer))])
    }

    static let call = #"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"up__do","arguments":{}}}"#

    struct Failure: Sendable, CustomTestStringConvertible {
        let failure: CallFailure
        let words: [String]
        var code: Int?
        let type: String?
        /// From this revision on it is a result that says so.
        var isResultFrom: Revision?
        var testDescription: String { "\(failure)" }
    }

    static let failures: [Failure] = [
        Failure(
            failure: .unavailable(detail: "because"),
            words: ["up__do was not called", "\"server\"", "(because)", "Nothing was sent"],
            type: "upstream_unavailable"),
        Failure(
            failure: .timedOut(after: .seconds(2), sent: true),
            words: ["no answer within 2 s", "may still have been carried out", "check before calling it again"],
            type: "call_timeout"),
        Failure(
            failure: .timedOut(after: .milliseconds(250), sent: false),
            words: ["no answer within 0.25 s", "It was not sent", "calling again is safe"], type: "call_timeout"),
        Failure(
            failure: .outcomeUnknown(detail: "because"),
            words: ["was lost after up__do was sent", "(because)", "unknown", "check before calling it again"],
            type: "outcome_unknown"),
        Failure(
            failure: .garbage(detail: "because"),
            words: ["\"server\"", "no answer (because)", "a fault of that server"],
            type: "bad_answer"),
        Failure(failure: .stopped(detail: "because"), words: ["up__do was stopped: because"], type: "tool_stopped"),
        Failure(
            failure: .overloaded(detail: "because", retryAfter: 1),
            words: ["up__do was not called: because", "Try again in 1 s"],
            type: "overloaded"),
        Failure(
            failure: .unknownTool, words: ["no tool named up__do", "list the tools again"], code: -32602, type: nil),
        Failure(
            failure: .badArguments(detail: "because"), words: ["arguments of up__do", "because"], code: -32602,
            type: nil, isResultFrom: .v2025_11_25),
        Failure(
            failure: .needsInput(detail: "because"), words: ["up__do needs input that it did not get: because"],
            type: nil),
        Failure(failure: .cancelled, words: ["cancelled"], code: -32603, type: nil),
    ]

    @Test("A failure is told in words that say what happened and what to do", arguments: failures, Revision.allCases)
    func failureWords(_ one: Failure, _ revision: Revision) async throws {
        let failure = one.failure
        let bench = try bench { _ async throws(CallFailure) -> CallAnswer in throw failure }
        let reply = try await bench.ask(Self.call, revision)
        let json = try #require(reply.json)
        #expect(json["id"]?.text == "5")
        let text: String?
        var status = ReplyStatus.ok
        if case .overloaded(_, let seconds) = failure, revision.isModern { status = .overloaded(retryAfter: seconds) }
        #expect(reply.status == status)
        if status != .ok {
            // Refused for load, as at our own door.
            #expect(json["error"]?["code"]?.intValue == -32603)
            text = json["error"]?["message"]?.stringValue
        } else if let code = one.code, one.isResultFrom.map({ revision < $0 }) ?? true {
            #expect(json["error"]?["code"]?.intValue == code)
            text = json["error"]?["message"]?.stringValue
        } else {
            #expect(json["result"]?["isError"]?.boolValue == true)
            #expect((json["result"]?["resultType"]?.stringValue == "complete") == revision.isModern)
            text = json["result"]?["content"]?.arrayValue?.first?["text"]?.stringValue
        }
        for words in one.words {
            #expect(text?.contains(words) == true, "\(words) is missing in: \(text ?? "nothing")")
        }

        let row = try #require(bench.journal.calls.first)
        #expect(row.status == (one.type == nil ? "refused" : "failed"))
        #expect(row.tool == "up__do")
        #expect(row.upstream == "server")
        #expect(bench.journal.errors.map(\.errorType) == (one.type.map { [$0] } ?? []))
        #expect(bench.journal.errors.allSatisfy { $0.requestID == row.requestID })
    }

    @Test(
        "What a tool answered is written down as what it was",
        arguments: [
            (#"{"content":[]}"#, "ok"), (#"{"content":[],"isError":true}"#, "tool_error"),
            (#"{"content":[],"isError":false}"#, "ok"), (#"{"content":[],"isError":"true"}"#, "ok"),
        ])
    func outcomes(_ result: String, _ status: String) async throws {
        let bench = try bench { _ async throws(CallFailure) -> CallAnswer in
            try .result(parsed(result))
        }
        _ = try await bench.ask(Self.call)
        #expect(bench.journal.calls.map(\.status) == [status])
        #expect(bench.journal.errors.isEmpty)
        let metrics = String(decoding: bench.metrics.render(), as: UTF8.self)
        #expect(metrics.contains(#"mcp_tool_calls_total{tool="up__do",route="upstream",outcome="\#(status)"} 1"#))
    }

    @Test(
        "An owner's error keeps message and data; without a message it gets one",
        arguments: [
            (#"{"code":-32002,"message":"m","data":[1.0]}"#, #"{"code":-32002,"message":"m","data":[1.0]}"#),
            (#"{"message":"m","code":5,"other":1}"#, #"{"code":5,"message":"m"}"#),
            (#"{"code":1.5,"message":"m"}"#, #"{"code":-32603,"message":"m"}"#),
            (#"{}"#, #"{"code":-32603,"message":"The upstream answered with an error without a message."}"#),
        ])
    func ownersErrors(_ error: String, _ expected: String) async throws {
        let bench = try bench { _ async throws(CallFailure) -> CallAnswer in
            try .protocolError(parsed(error))
        }
        let reply = try await bench.ask(Self.call)
        #expect(reply.text == #"{"jsonrpc":"2.0","id":5,"error":\#(expected)}"#)
    }

    @Test("The backend is given its own name of the tool, the client's bytes and a deadline")
    func whatTheBackendSees() async throws {
        let bench = try bench { call async throws(CallFailure) -> CallAnswer in
            #expect(call.target == "do")
            #expect(call.arguments.map { String(buffer: $0) } == #"{ "n":1.0}"#)
            #expect(call.deadline.moment == Moment(nanoseconds: 6_000_000_000))
            throw .unknownTool
        }
        _ = try await bench.ask(
            #"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"up__d\u006f","arguments":{ "n":1.0}}}"#)
        #expect(bench.journal.calls.count == 1)
    }

    static let refusals: [(String, Revision, Int, ReplyStatus)] = [
        (#"{"jsonrpc":"2.0","id":5,"method":"resources/make"}"#, .v2025_11_25, -32601, .ok),
        (#"{"jsonrpc":"2.0","id":5,"method":"resources/make"}"#, .modern, -32601, .noSuchMethod),
        (#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#, .modern, -32601, .noSuchMethod),
        (#"{"jsonrpc":"2.0","id":5,"method":"server/discover"}"#, .v2024_11_05, -32601, .ok),
        (#"{"jsonrpc":"2.0","id":5,"method":"tools/call"}"#, .v2025_11_25, -32602, .ok),
        (#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":7}}"#, .modern, -32602, .ok),
        (#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"do"}}"#, .modern, -32602, .ok),
        (
            #"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"up__do","arguments":null}}"#, .modern,
            -32602, .ok
        ),
        (#"{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"cursor":"2"}}"#, .v2025_06_18, -32602, .ok),
    ]

    @Test("A request that cannot be is refused with its id", arguments: refusals)
    func refused(_ json: String, _ revision: Revision, _ code: Int, _ status: ReplyStatus) async throws {
        let bench = try bench()
        let reply = try await bench.ask(json, revision)
        #expect(reply.status == status)
        #expect(reply.json?["error"]?["code"]?.intValue == code)
        #expect(reply.json?["id"]?.text == "5")
        #expect(bench.journal.calls.map(\.status) == ["refused"])
        #expect(bench.journal.calls.allSatisfy { $0.tool == nil })
    }

    @Test("Notifications are taken note of, known or not")
    func notifications() async throws {
        let bench = try bench()
        for method in ["notifications/initialized", "notifications/cancelled", "tools/call", "whatever"] {
            let reply = try await bench.ask(#"{"jsonrpc":"2.0","method":"\#(method)"}"#)
            #expect(reply.text == nil)
        }
    }

    @Test("A method that a client made up is not written down by its name")
    func madeUp() async throws {
        let bench = try bench()
        _ = try await bench.ask(#"{"jsonrpc":"2.0","id":1,"method":"made/up"}"#)
        #expect(bench.journal.calls.map(\.method) == ["other"])
    }

    @Test("A refusal carries the id it has, or null", arguments: [nil, "7", #""a""#])
    func refusal(_ id: String?) throws {
        let reply = try bench().pipeline.refuse(
            ProtocolRefusal(code: -32700, message: "not \"JSON\"", data: "{}", idText: id.map { Array($0.utf8) }))
        let error = #"{"code":-32700,"message":"not \"JSON\"","data":{}}"#
        #expect(reply.text == #"{"jsonrpc":"2.0","id":\#(id ?? "null"),"error":\#(error)}"#)
        #expect(reply.status == .badEnvelope)
    }
}

private func parsed(_ json: String) throws(CallFailure) -> Payload {
    do throws(WireError) { return try .of(json) } catch { throw .garbage(detail: error.text) }
}

/// Many lists become one.
@Suite("Catalogue") struct CatalogueTests {
    private func catalogue(_ backends: [(String, ScriptedBackend)]) throws -> Catalogue {
        Catalogue(
            entries: backends.map { CatalogueEntry(backend: $0.1, prefix: $0.0) },
            identity: ServerIdentity(version: "1", instructions: ""), time: ManualTime(), metrics: MetricsRegistry(),
            logs: try silentLogs()
        )
    }

    private func backend(_ name: String, _ tools: [String]) -> ScriptedBackend {
        ScriptedBackend(name: name, tools: tools.map { .plain($0) }) { _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
    }

    private func names(_ catalogue: Catalogue) throws -> [String] {
        let list = try JSONValue.parse(String(decoding: catalogue.current.list(.tools).result(.modern), as: UTF8.self))
        return list["tools"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
    }

    @Test("The order is the configuration's, then each owner's own, whoever was first to answer")
    func order() throws {
        let first = backend("z", [])
        let second = backend("a", ["two", "one"])
        let catalogue = try catalogue([("z", first), ("a", second)])
        #expect(try names(catalogue) == ["a__two", "a__one"])
        first.list([.plain("late")])
        #expect(try names(catalogue) == ["a__two", "a__one"])
        #expect(catalogue.rebuild() == [.tools])
        #expect(try names(catalogue) == ["z__late", "a__two", "a__one"])
        #expect(catalogue.toolCount == 3)
    }

    @Test("Of two tools with one name the first is kept")
    func duplicates() throws {
        let one = backend("one", ["b__c", "x", "x"])
        let two = backend("two", ["c", "d"])
        let catalogue = try catalogue([("a", one), ("a__b", two)])
        #expect(try names(catalogue) == ["a__b__c", "a__x", "a__b__d"])
        #expect(catalogue.current.routes.tool("a__b__c")?.backend.name == "one")
        #expect(catalogue.current.routes.tool("a__b__d")?.backend.name == "two")
    }

    @Test("A name is its bytes: what only looks the same is another")
    func spelling() throws {
        let catalogue = try catalogue([("", backend("one", ["K"]))])
        #expect(catalogue.has("K"))
        #expect(!catalogue.has("\u{212a}"))
        #expect(!catalogue.has("k"))
        #expect(!catalogue.has("K\u{0}"))
    }
}
