// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Resilience
import Synchronization
import Testing

@testable import Gateway

private let noCable = CallFailure.unavailable(detail: "no cable")
private let answered = #"{"content":[{"type":"text","text":"done"}]}"#

/// An owner that is away until told otherwise, and counts what reaches it.
private final class FarServer: Sendable {
    private struct State {
        var failure: CallFailure? = noCable
        var calls: [String] = []
    }

    private let state = Mutex(State())
    let schema: String

    init(schema: String = #"{"type":"object"}"#) { self.schema = schema }

    func become(_ failure: CallFailure?) { state.withLock { $0.failure = failure } }
    var calls: [String] { state.withLock { $0.calls } }

    func backend() -> ScriptedBackend {
        let item = OfferedItem(
            name: "do",
            definition: Array(#"{"name":"do","inputSchema":\#(schema),"outputSchema":{"type":"object"}}"#.utf8))
        return ScriptedBackend(name: "server", tools: [item]) { call async throws(CallFailure) -> CallAnswer in
            let failure = self.state.withLock { state in
                state.calls.append(call.arguments.map { String(buffer: $0) } ?? "")
                return state.failure
            }
            if let failure { throw failure }
            return try .of(answered)
        }
    }
}

/// What becomes of calls of tools with a policy.
@Suite("Delivery") struct DeliveryTests {

    private static var queued: ToolPolicy {
        var policy = ToolPolicy()
        policy.offline = .queue
        return policy
    }

    // MARK: Accepting

    @Test("A call that cannot be sent is stored and answered as a task, where the client takes tasks")
    func task() async throws {
        let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
        let reply = try await bench.call(.modern(.tasks), arguments: #"{"a":1.0}"#)
        #expect(reply?.type == "task")
        let handle = try #require(reply?["result"]?["taskId"]?.stringValue)
        #expect(reply?["result"]?["status"] == "working")
        #expect(reply?["result"]?["ttlMs"]?.intValue == 2 * 86_400_000)
        let stored = try #require(bench.store.accepted.first)
        #expect(stored.handle == handle)
        #expect(stored.arguments.map { String(decoding: $0, as: UTF8.self) } == #"{"a":1.0}"#)
        #expect(stored.expiresAt == stored.createdAt + 86_400_000)
        let asked = try await bench.ask("tasks/get", #""taskId":"\#(handle)""#, .modern(.tasks))
        #expect(asked?.type == "complete")
        #expect(asked?["result"]?["status"] == "working")
    }

    @Test(
        "Others are told in words that it is not done yet, and by which tool to ask",
        arguments: [PipelineBench.Client.modern(), .legacy(), .legacy(.v2024_11_05)])
    func words(_ client: PipelineBench.Client) async throws {
        let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
        let reply = try await bench.call(client)
        let handle = try #require(bench.store.accepted.first?.handle)
        #expect(
            reply?.words?.hasPrefix("NOT DONE YET: stored as \(handle); do not call again; ask gateway__queue_result")
                == true)
        #expect(reply?["result"]?["isError"] == false)
        if client.revision >= .v2025_06_18 {
            #expect(
                reply?["result"]?["_meta"]?["mcp-gateway/stored-call"]?["handle"]?.stringValue == handle)
        }
        for tool in ["gateway__queue_result", "gateway__queue_status"] {
            let asked = try await bench.ask(
                "tools/call", #""name":"\#(tool)","arguments":{"handle":"\#(handle)"}"#, client)
            #expect(asked?.words?.contains(handle) == true, "\(asked?.text ?? "")")
        }
    }

    @Test("What proves that nothing was sent is stored; what may have been carried out is answered as before")
    func whichFailures() async throws {
        for (failure, isStored) in [
            (CallFailure.unavailable(detail: "x"), true), (.timedOut(after: .seconds(1), sent: false), true),
            (.overloaded(detail: "x", retryAfter: 1), true), (.timedOut(after: .seconds(1), sent: true), false),
            (.outcomeUnknown(detail: "x"), false), (.garbage(detail: "x"), false), (.unknownTool, false),
        ] {
            let owner = FarServer()
            owner.become(failure)
            let bench = try PipelineBench(owner.backend(), policy: Self.queued)
            _ = try await bench.call(.modern(.tasks))
            #expect(bench.store.accepted.count == (isStored ? 1 : 0), "\(failure)")
        }
    }

    @Test("A tool without that policy fails as ever, and nothing of it is stored")
    func plain() async throws {
        let bench = try PipelineBench(FarServer().backend())
        let reply = try await bench.call(.modern(.tasks))
        #expect(reply?["result"]?["isError"] == true)
        #expect(bench.store.accepted.isEmpty)
    }

    @Test("Arguments that its schema refuses are refused now, not hours later")
    func schema() async throws {
        let schema = #"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#
        let bench = try PipelineBench(FarServer(schema: schema).backend(), policy: Self.queued)
        let reply = try await bench.call(.modern(.tasks), arguments: #"{"n":"x"}"#)
        #expect(reply?["result"]?["isError"] == true)
        #expect(bench.store.accepted.isEmpty)
        #expect(try await bench.call(.modern(.tasks), arguments: #"{"n":1}"#)?.type == "task")
    }

    @Test("What cannot be stored is refused in words that say both")
    func refused() async throws {
        for refusal in [QueueRefusal.full(detail: "no more than 5"), .unwritable(detail: "the disk is full"), .closing]
        {
            let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
            bench.store.refuse(refusal)
            let reply = try await bench.call(.modern(.tasks))
            #expect(reply?["result"]?["isError"] == true)
            #expect(reply?.words?.contains("no cable") == true)
            #expect(reply?.words?.contains("could not be stored") == true)
        }
    }

    @Test("While calls of a caller wait, its next ones line up behind them, and other callers' go on")
    func line() async throws {
        let owner = FarServer()
        let bench = try PipelineBench(owner.backend(), policy: Self.queued)
        _ = try await bench.call(.modern(.tasks))
        owner.become(nil)
        #expect(try await bench.call(.modern(.tasks))?.type == "task")
        #expect(owner.calls.count == 1)
        var other = PipelineBench.Client.modern(.tasks)
        other.caller = Caller(name: "ann")
        #expect(try await bench.call(other)?.words == "done")
    }

    @Test("Tools whose calls may be stored promise output only to clients that take tasks; the two tools are listed")
    func listing() async throws {
        let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
        for (client, promises) in [(PipelineBench.Client.modern(.tasks), true), (.modern(), false), (.legacy(), false)]
        {
            let tools = try await bench.ask("tools/list", "", client)?["result"]?["tools"]?.arrayValue ?? []
            #expect(
                tools.map { $0["name"]?.stringValue } == ["up__do", "gateway__queue_result", "gateway__queue_status"])
            #expect((tools[0]["outputSchema"] != nil) == promises)
        }
        let without = try PipelineBench(FarServer().backend())
        #expect(try await without.ask("tools/list", "", .modern())?["result"]?["tools"]?.arrayValue?.count == 1)
    }

    // MARK: Asking

    @Test("A handle is good for its caller alone, and nonsense is nobody's")
    func handles() async throws {
        let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
        _ = try await bench.call(.modern(.tasks))
        let handle = try #require(bench.store.accepted.first?.handle)
        var other = PipelineBench.Client.modern(.tasks)
        other.caller = Caller(name: "ann")
        for (client, handle) in [(other, handle), (.modern(.tasks), "call-0"), (.modern(.tasks), "x")] {
            for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
                #expect(try await bench.ask(method, #""taskId":"\#(handle)""#, client)?.code == -32602)
            }
            let asked = try await bench.ask(
                "tools/call", #""name":"gateway__queue_result","arguments":{"handle":"\#(handle)"}"#, client)
            #expect(asked?["result"]?["isError"] == true)
        }
        #expect(try await bench.ask("tasks/get", #""taskId":"\#(handle)""#, .modern())?.code == -32021)
    }

    @Test("A call that waits can be taken back; its task is cancelled, and cancelling it again is no mistake")
    func cancel() async throws {
        let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
        _ = try await bench.call(.modern(.tasks))
        let handle = try #require(bench.store.accepted.first?.handle)
        for _ in 0..<2 {
            let reply = try await bench.ask("tasks/cancel", #""taskId":"\#(handle)""#, .modern(.tasks))
            #expect(reply?.type == "complete")
        }
        let asked = try await bench.ask("tasks/get", #""taskId":"\#(handle)""#, .modern(.tasks))
        #expect(asked?["result"]?["status"] == "cancelled")
        #expect(bench.store.all.map(\.status) == [.cancelled])
    }

    static let outcomes: [(Settlement, String, Bool)] = [
        (.completed(.result(Array(answered.utf8))), "completed", true),
        (.completed(.result(Array(#"{"content":[],"isError":true}"#.utf8))), "completed", true),
        (.failed(words: "w", answer: .protocolError(Array(#"{"code":-32000,"message":"m"}"#.utf8))), "failed", false),
        (.failed(words: "w"), "failed", false), (.unknown(words: "w"), "failed", false),
        (.cancelled(words: "w"), "cancelled", false), (.cancelled(words: "dropped: queue full"), "failed", false),
    ]

    @Test("Each end has its shape as a task, and in words", arguments: outcomes)
    func ends(_ settlement: Settlement, _ status: String, _ hasResult: Bool) async throws {
        let bench = try PipelineBench(FarServer().backend(), policy: Self.queued)
        _ = try await bench.call(.modern(.tasks))
        let stored = try #require(bench.store.all.first)
        #expect(await bench.store.settle(stored.id, settlement, now: bench.time.wallMilliseconds()))
        let asked = try await bench.ask("tasks/get", #""taskId":"\#(stored.handle)""#, .modern(.tasks))?["result"]
        #expect(asked?["status"]?.stringValue == status)
        #expect((asked?["result"] != nil) == hasResult)
        #expect((asked?["error"]?["code"] != nil) == (status == "failed"))
        let words = try await bench.ask(
            "tools/call", #""name":"gateway__queue_result","arguments":{"handle":"\#(stored.handle)"}"#, .legacy())
        if case .failed(_, .protocolError) = settlement {
            #expect(words?.code == -32000)
        } else if hasResult {
            #expect(words?["result"]?["content"] != nil)
        } else {
            #expect(words?["result"]?["isError"] == true)
            #expect(words?.words?.contains(stored.handle) == true)
        }
    }
}
