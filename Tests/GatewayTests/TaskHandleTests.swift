// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// Tasks that an upstream carries out: clients know them by handles of ours.
@Suite("Task handles") struct TaskHandleTests {
    private static let begun = #"{"resultType":"task","taskId":"their id","status":"working","ttlMs":null}"#

    private let seen = Collected<RoutedCall>()

    private func backend(_ name: String, _ answers: [Operation: String] = [:]) -> AskingBackend {
        AskingBackend(name: name, asks: false, offers: Offers(tools: [.plain("do")])) {
            [seen] call async throws(CallFailure) -> CallAnswer in
            seen.add(call)
            return try .of(answers[call.operation] ?? (call.operation == .tool ? Self.begun : "{}"))
        }
    }

    private func begin(_ bench: PipelineBench) async throws -> String {
        let reply = try await bench.call(.modern(.tasks))
        #expect(reply?.type == "task")
        #expect(reply?["result"]?["status"] == "working")
        return try #require(reply?["result"]?["taskId"]?.stringValue)
    }

    @Test("A task is begun, asked for and ended under a handle that does not show the owner's id")
    func whole() async throws {
        let status =
            #"{"resultType":"complete","taskId":"their id","status":"completed","result":{"content":[]},"x":1.0}"#
        let bench = try PipelineBench(backend("server", [.taskGet: status]))
        let handle = try await begin(bench)
        #expect(!handle.contains("their id"))
        let client = PipelineBench.Client.modern(.tasks)
        let got = try await bench.ask("tasks/get", #""taskId":"\#(handle)""#, client)
        #expect(got?.type == "complete")
        #expect(got?["result"]?["taskId"]?.stringValue == handle)
        #expect(got?["result"]?["x"]?.text == "1.0")
        for method in ["tasks/update", "tasks/cancel"] {
            let reply = try await bench.ask(method, #""taskId":"\#(handle)","inputResponses":{}"#, client)
            #expect(reply?.type == "complete", "\(method)")
        }
        #expect(seen.all.map(\.operation) == [.tool, .taskGet, .taskUpdate, .taskCancel])
        #expect(seen.all.dropFirst().allSatisfy { $0.target == "their id" })
    }

    @Test("URIs in the result of a task are shown as in any other")
    func uris() async throws {
        let link = #"{"type":"resource_link","uri":"file:///a","name":"n"}"#
        let status = #"{"taskId":"t","status":"completed","result":{"content":[\#(link)]}}"#
        let bench = try PipelineBench(backend("server", [.taskGet: status]))
        let handle = try await begin(bench)
        let got = try await bench.ask("tasks/get", #""taskId":"\#(handle)""#, .modern(.tasks))
        #expect(got?["result"]?["result"]?["content"]?.arrayValue?.first?["uri"] == "up+file:///a")
    }

    @Test("A handle leads to the owner it was made for, and to nobody when that is gone or another asks")
    func owners() async throws {
        let (one, two) = (backend("one"), backend("two"))
        let bench = try PipelineBench([
            CatalogueEntry(backend: one, prefix: "other"), CatalogueEntry(backend: two, prefix: "up"),
        ])
        let handle = try await begin(bench)
        let params = #""taskId":"\#(handle)""#
        #expect(try await bench.ask("tasks/get", params, .modern(.tasks))?["error"] == nil)
        var mallory = PipelineBench.Client.modern(.tasks)
        mallory.caller = Caller(name: "mallory")
        #expect(try await bench.ask("tasks/get", params, mallory)?.code == -32602)
        let without = try PipelineBench([CatalogueEntry(backend: one, prefix: "up")])
        #expect(try await without.ask("tasks/get", params, .modern(.tasks))?.code == -32602)
    }

    @Test(
        "What is no handle of ours is no task",
        arguments: [
            #""taskId":"their id""#, #""taskId":"""#, #""taskId":5"#, "",
            #""taskId":"server\u0000anonymous\u0000their id""#,
        ])
    func strange(_ params: String) async throws {
        let bench = try PipelineBench(backend("server"))
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            #expect(try await bench.ask(method, params, .modern(.tasks))?.code == -32602)
        }
        #expect(seen.count == 0)
    }

    @Test("A client that does not declare tasks is told what it misses, and none is begun for it")
    func undeclared() async throws {
        let bench = try PipelineBench(backend("server"))
        let handle = try await begin(bench)
        let message = try bench.message("tasks/get", #""taskId":"\#(handle)""#, .modern())
        let reply = await bench.pipeline.handle(message)
        #expect(reply.status == .badEnvelope)
        #expect(reply.json?.code == -32021)
        #expect(
            reply.json?["error"]?["data"]?.text
                == #"{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#)
        for client in [PipelineBench.Client.modern(), .legacy()] {
            let called = try await bench.call(client)
            #expect(called?["result"]?["isError"] == true)
            #expect(called?["result"]?["taskId"] == nil)
        }
        #expect(try await bench.ask("tasks/get", #""taskId":"\#(handle)""#, .legacy())?.code == -32601)
    }

    @Test("A task without an id is no answer")
    func withoutID() async throws {
        for text in [#"{"resultType":"task","status":"working"}"#, #"{"resultType":"task","taskId":5}"#] {
            let reply = try await PipelineBench(backend("server", [.tool: text])).call(.modern(.tasks))
            #expect(reply?.code == -32603)
        }
    }
}
