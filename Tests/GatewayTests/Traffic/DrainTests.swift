// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// A gateway that is about to be taken out of service.
@Suite("Draining") struct DrainTests {
    private static let anna = OrderTerms(by: "anna")

    @Test("A drained gateway takes no new calls and no new sessions, and lets those that run end")
    func drain() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        let bench = try TrafficBench([.of(owner.backend())])
        let running = try bench.begin()
        try await wait(for: "the call") { owner.running == 1 }
        await bench.pipeline.traffic.setDraining(true, Self.anna)
        #expect(bench.pipeline.traffic.isDraining)
        #expect(bench.pipeline.traffic.callsInFlight == 1)
        #expect(bench.pipeline.traffic.overrides().map(\.kind) == [.drain])
        #expect(bench.store.overrides() == [])
        let modern = try await bench.call()
        #expect(modern.status == .overloaded(retryAfter: 5))
        #expect(modern.refusal == Admission.drainingWords)
        let legacy = try await bench.call("up__do", .v2025_06_18)
        #expect(legacy.status == .ok && legacy.isToolError)
        let greeting = try await bench.ask("initialize", "", .v2025_06_18)
        #expect(greeting.status == .ok)
        #expect(greeting.json?.code == -32603)
        for method in ["ping", "tools/list"] {
            #expect(try await bench.ask(method, "", .v2025_06_18).json?["result"] != nil, "\(method)")
        }
        gate.open()
        #expect(try await running.soon().isDone)
        #expect(bench.pipeline.traffic.callsInFlight == 0)
        await bench.pipeline.traffic.setDraining(false, Self.anna)
        #expect(try await bench.call().isDone)
        #expect(try await bench.ask("initialize", "", .v2025_06_18).json?["result"] != nil)
    }

    /// What a client says of a former round is its own word; only a state that the gateway has sealed is more.
    @Test("A drained gateway takes no call that only says it is a further round")
    func pretended() async throws {
        let owner = GatedOwner()
        let bench = try TrafficBench([.of(owner.backend())])
        await bench.pipeline.traffic.setDraining(true, Self.anna)
        for more in [#""requestState":"made up""#, #""inputResponses":{}"#] {
            let reply = try await bench.ask("tools/call", #""name":"up__do","arguments":{},\#(more)"#)
            #expect(reply.status == .overloaded(retryAfter: 5), "\(more)")
        }
        #expect(owner.count == 0)
    }

    @Test("Who asks what became of a stored call is answered while the gateway drains")
    func polls() async throws {
        let owner = GatedOwner()
        owner.fail(.unavailable(detail: "no cable"))
        let bench = try TrafficBench([.of(owner.backend(), policies: ["do": .with { $0.offline = .queue }])])
        #expect(try await bench.call().json?.words?.hasPrefix("NOT DONE YET") == true)
        let handle = try #require(bench.store.accepted.first?.handle)
        await bench.pipeline.traffic.setDraining(true, Self.anna)
        #expect(try await bench.call().status == .overloaded(retryAfter: 5))
        for tool in ["gateway__queue_status", "gateway__queue_result"] {
            let reply = try await bench.ask("tools/call", #""name":"\#(tool)","arguments":{"handle":"\#(handle)"}"#)
            #expect(reply.status == .ok, "\(tool)")
            #expect(reply.json?.words?.contains(handle) == true, "\(tool)")
        }
        var poll = try bench.message("tasks/get", #""taskId":"\#(handle)""#)
        poll.capabilities = [.tasks]
        #expect(try await bench.ask(poll).json?["result"]?["status"] == "working")
    }

    @Test("A drain is no order that outlives the process")
    func restart() async throws {
        let store = MemoryStore()
        let bench = try TrafficBench([.of(GatedOwner().backend())], store: store)
        await bench.pipeline.traffic.setDraining(true, Self.anna)
        let again = try TrafficBench([.of(GatedOwner().backend())], store: store)
        #expect(!again.pipeline.traffic.isDraining)
        #expect(try await again.call().isDone)
    }
}
