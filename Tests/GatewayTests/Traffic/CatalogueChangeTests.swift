// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Resilience
import Testing

@testable import Gateway

/// Other owners, or the same ones otherwise, while calls run: what a reload does to the catalogue.
@Suite("Change of owners") struct CatalogueChangeTests {
    private func change(
        _ bench: TrafficBench, to entries: [CatalogueEntry], isCompact: Bool = false
    ) {
        bench.catalogue.change(to: entries, isCompact: isCompact)
        bench.pipeline.change(to: TrafficBench.settings())
    }

    private static func full(_ traffic: inout TrafficSettings) {
        traffic.breaker = .touchy
        traffic.inFlightMax = 3
    }

    @Test("Owners come, go and change places, and the lists follow, in the order of the file")
    func owners() async throws {
        let (a, b, c) = (GatedOwner().backend("a"), GatedOwner().backend("b"), GatedOwner().backend("c"))
        let bench = try TrafficBench([.of(a, prefix: "a"), .of(b, prefix: "b")])
        let session = ScriptedSession()
        bench.pipeline.began(session)
        #expect(try await bench.tools == ["a__do", "b__do"])
        change(bench, to: [.of(c, prefix: "c"), .of(b, prefix: "b")])
        #expect(try await bench.tools == ["c__do", "b__do"])
        #expect(try await bench.call("a__do").json?.code == -32602)
        #expect(try await bench.call("c__do").isDone)
        #expect(session.delivered.count == 1)
        change(bench, to: [.of(b, prefix: "other")])
        #expect(try await bench.tools == ["other__do"])
        change(bench, to: [])
        #expect(try await bench.tools == [])
        #expect(bench.catalogue.owners.isEmpty)
    }

    @Test("A change is in force with the next snapshot, not before")
    func notBefore() throws {
        let bench = try TrafficBench([.of(GatedOwner().backend("a"), prefix: "a")])
        bench.catalogue.change(to: [.of(GatedOwner().backend("b"), prefix: "b")], isCompact: false)
        #expect(bench.catalogue.has("a__do") && !bench.catalogue.has("b__do"))
        #expect(bench.catalogue.rebuild() == [.tools])
        #expect(!bench.catalogue.has("a__do") && bench.catalogue.has("b__do"))
    }

    @Test("A call of an owner that goes ends as it began")
    func running() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        let bench = try TrafficBench([.of(owner.backend("a"), prefix: "a", Self.full)])
        let call = try bench.begin("a__do")
        try await wait(for: "the call") { owner.running == 1 }
        change(bench, to: [.of(GatedOwner().backend("b"), prefix: "b")])
        #expect(try await bench.call("a__do").json?.code == -32602)
        gate.open()
        #expect(try await call.soon().isDone)
    }

    @Test("What stands before an owner that stays, stays: its breaker, its line, its full house")
    func kept() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        let backend = owner.backend()
        let bench = try TrafficBench([.of(backend, Self.full)])
        let before = try #require(bench.catalogue.owner("server")?.traffic)
        owner.hold(gate)
        let call = try bench.begin()
        try await wait(for: "the call") { owner.running == 1 }
        // The same, after another, under another prefix, with less room, and with more tries.
        change(
            bench,
            to: [
                .of(GatedOwner().backend("first"), prefix: "first"),
                .of(backend, prefix: "new") { traffic in
                    traffic.breaker = Breaker.Settings(minimumCalls: 3)
                    traffic.inFlightMax = 1
                    traffic.attemptsMax = 2
                },
            ])
        let after = try #require(bench.catalogue.owner("server")?.traffic)
        #expect(after === before)
        #expect(after.turnstile?.running == 1)
        #expect(try await bench.call("new__do").status == .overloaded(retryAfter: 1))
        gate.open()
        #expect(try await call.soon().isDone)
        #expect(after.turnstile?.running == 0)
        owner.fail(.outcomeUnknown(detail: "x"))
        // With the one that went well these are two and three.
        for state in ["closed", "open"] {
            _ = try await bench.call("new__do")
            #expect(bench.pipeline.traffic.breakers().map(\.state) == [state])
        }
    }

    @Test("An open breaker stays open over a change, and is asked by the new settings")
    func breakerStays() async throws {
        let owner = GatedOwner()
        let backend = owner.backend()
        let bench = try TrafficBench([.of(backend, Self.full)])
        owner.fail(.unavailable(detail: "no cable"))
        _ = try await bench.call()
        owner.fail(nil)
        let other = CatalogueEntry.of(backend) { traffic in
            traffic.breaker = Breaker.Settings(minimumCalls: 5)
            traffic.inFlightMax = 9
        }
        change(bench, to: [other])
        #expect(try await bench.call().refusal?.contains("its breaker is open") == true)
        #expect(bench.pipeline.breaker(of: "server")?.isOpen == true)
        #expect(bench.metric(#"mcp_circuit_breaker_state{upstream="server"}"#) == "2")
    }

    @Test("Another owner of the same name begins anew")
    func replaced() async throws {
        let owner = GatedOwner()
        let bench = try TrafficBench([.of(owner.backend(), Self.full)])
        owner.fail(.unavailable(detail: "no cable"))
        _ = try await bench.call()
        let new = GatedOwner()
        change(bench, to: [.of(new.backend(), Self.full)])
        #expect(try await bench.call().isDone)
        #expect((owner.count, new.count) == (1, 1))
        #expect(bench.metric(#"mcp_circuit_breaker_state{upstream="server"}"#) == "0")
    }

    @Test("The breaker of a tool says nothing of another owner of the same name, nor of one that comes back")
    func gatesOfAnother() async throws {
        let policy = ToolPolicy.with { $0.breaker = .touchy }
        func entry(_ owner: GatedOwner) -> CatalogueEntry { .of(owner.backend(), policies: ["do": policy]) }
        let (owner, second, third) = (GatedOwner(), GatedOwner(), GatedOwner())
        let bench = try TrafficBench([entry(owner)])
        owner.fail(.unavailable(detail: "no cable"))
        _ = try await bench.call()
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["open"])
        change(bench, to: [entry(second)])
        #expect(try await bench.call().isDone)
        second.fail(.unavailable(detail: "no cable"))
        _ = try await bench.call()
        #expect(bench.pipeline.traffic.breakers().map(\.state) == ["open"])
        change(bench, to: [])
        change(bench, to: [entry(third)])
        #expect(try await bench.call().isDone)
        #expect((owner.count, second.count, third.count) == (1, 2, 1))
    }

    @Test("Machines that were not there before are made, and those that are not wanted any more go")
    func machines() throws {
        let backend = GatedOwner().backend()
        let bench = try TrafficBench([.of(backend)])
        #expect(bench.catalogue.owner("server")?.traffic == nil)
        change(bench, to: [.of(backend, Self.full)])
        #expect(bench.catalogue.owner("server")?.breaker != nil)
        #expect(bench.catalogue.owner("server")?.traffic?.turnstile != nil)
        change(bench, to: [.of(backend) { $0.attemptsMax = 2 }])
        #expect(bench.catalogue.owner("server")?.traffic != nil)
        #expect(bench.catalogue.owner("server")?.breaker == nil)
        #expect(bench.catalogue.owner("server")?.traffic?.turnstile == nil)
        change(bench, to: [.of(backend)])
        #expect(bench.pipeline.traffic.breakers().isEmpty)
        #expect(bench.pipeline.breaker(of: "server") == nil)
    }

    @Test("A tool keeps its gate while its policy is the same, and has the new one when it is not")
    func gates() async throws {
        let backend = GatedOwner().backend()
        func entry(_ perSecond: Double) -> CatalogueEntry {
            .of(backend, policies: ["do": .with { $0.rate = RateLimit(perSecond: perSecond, burst: 1) }])
        }
        let bench = try TrafficBench([entry(0.001)])
        #expect(try await bench.call().isDone)
        change(bench, to: [entry(0.001)])
        #expect(try await bench.call().status == .limited(retryAfter: 1_000))
        change(bench, to: [entry(500)])
        #expect(bench.catalogue.current.routes.tool("up__do")?.policy.rate?.perSecond == 500)
        #expect(try await bench.call().isDone)
        change(bench, to: [.of(backend)])
        for _ in 0..<20 { #expect(try await bench.call().isDone) }
    }

    @Test("Compact mode can be switched on and off")
    func compact() async throws {
        let backend = GatedOwner().backend()
        let bench = try TrafficBench([.of(backend)])
        change(bench, to: [.of(backend)], isCompact: true)
        #expect(try await bench.tools == ["search_tools", "call_tool"])
        change(bench, to: [.of(backend)])
        #expect(try await bench.tools == ["up__do"])
    }

    @Test("Tasks are offered while some tool's calls may be stored")
    func tasks() async throws {
        let backend = GatedOwner().backend()
        let bench = try TrafficBench([.of(backend)])
        func offersTasks() async throws -> Bool {
            try await bench.ask("initialize", "", .v2025_11_25).json?["result"]?["capabilities"]?["tasks"] != nil
        }
        #expect(try await !offersTasks())
        change(bench, to: [.of(backend, policies: ["do": .with { $0.offline = .queue }])])
        #expect(try await offersTasks())
        #expect(try await bench.tools == ["up__do", "gateway__queue_result", "gateway__queue_status"])
        change(bench, to: [.of(backend)])
        #expect(try await !offersTasks())
    }

    // MARK: Tools that are taken out

    @Test("The name of a tool that is taken out is not given to another one")
    func takenOut() async throws {
        let (one, two) = (GatedOwner(), GatedOwner())
        let bench = try TrafficBench([
            .of(one.backend("one"), prefix: ""), .of(two.backend("two", ["do", "rest"]), prefix: ""),
        ])
        bench.catalogue.takeOut(["do", "unknown"])
        #expect(bench.catalogue.has("do"), "not before the next snapshot")
        #expect(bench.catalogue.rebuild() == [.tools])
        #expect(try await bench.tools == ["rest"])
        #expect(bench.catalogue.current.disabled.mapValues { $0.backend.name } == ["do": "one"])
        #expect(try await bench.call("do").json?.code == -32602)
        #expect((one.count, two.count) == (0, 0))
        bench.catalogue.takeOut([])
        #expect(bench.catalogue.rebuild() == [.tools])
        #expect(try await bench.tools == ["do", "rest"])
    }

    @Test("Taking out one tool leaves prompts, resources and the rest of the lists as they are")
    func onlyTools() throws {
        var offers = Offers(tools: [.plain("do"), .plain("other")], prompts: [.plain("do")])
        offers.resources = [OfferedItem(name: "x:do", definition: Array("{}".utf8))]
        let backend = ScriptedBackend(name: "a", tools: []) { _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        backend.offer(offers)
        let bench = try TrafficBench([.of(backend, prefix: "a")])
        bench.catalogue.takeOut(["a__do"])
        #expect(bench.catalogue.rebuild() == [.tools])
        #expect(bench.catalogue.current.routes.prompt("a__do") != nil)
        #expect(bench.catalogue.current.list(.resources).items.count == 1)
        #expect(bench.catalogue.toolCount == 1)
    }
}
