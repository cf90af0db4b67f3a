// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Resilience
import Testing

@testable import Gateway

/// What operators order about breakers, of all upstreams or of one, and of tools with one of their own.
@Suite("Orders about breakers") struct BreakerOrdersTests {
    private static let anna = OrderTerms(by: "anna")

    /// Two upstreams; `erp__own` has a breaker besides its owner's.
    private struct Bench {
        let erp = GatedOwner()
        let crm = GatedOwner()
        let erpBackend: ScriptedBackend
        let bench: TrafficBench
        var traffic: TrafficControl { bench.pipeline.traffic }

        init(store: MemoryStore = MemoryStore(), tools: [String] = ["do", "own"]) throws {
            erpBackend = erp.backend("erp", tools)
            bench = try TrafficBench([Self.entry(erpBackend), Self.entry(crm.backend("crm"), "crm")], store: store)
        }

        static func entry(
            _ backend: any Backend, _ prefix: String = "erp", policy: ToolPolicy = .with { $0.breaker = .init() }
        ) -> CatalogueEntry {
            .of(backend, prefix: prefix, policies: ["own": policy]) { $0.breaker = Breaker.Settings() }
        }

        /// `closed`, `open`, `half-open`, with `!` where somebody has ordered it so and `-` where it is not armed.
        var states: [String: String] {
            traffic.breakers().reduce(into: [:]) { states, one in
                states[one.tool ?? one.upstream] = one.state + (one.isForced ? "!" : "") + (one.isArmed ? "" : "-")
            }
        }

        /// Failing calls.
        func fail(_ tool: String, _ count: Int = 1) async throws {
            for owner in [erp, crm] { owner.fail(.unavailable(detail: "no cable")) }
            for _ in 0..<count { _ = try await bench.call(tool) }
            for owner in [erp, crm] { owner.fail(nil) }
        }
    }

    private static let allClosed = ["erp": "closed", "crm": "closed", "erp__own": "closed"]

    @Test("Arming opens at once what is over its threshold, however few calls are in the window")
    func arm() async throws {
        let bench = try Bench()
        #expect(bench.states == Self.allClosed)
        try await bench.fail("erp__own")
        #expect(bench.states == Self.allClosed)
        let (opened, isKept) = try await bench.traffic.armBreakers(upstream: nil, force: false, Self.anna)
        #expect(opened == ["erp", "erp__own"])
        #expect(isKept)
        #expect(bench.states == ["erp": "open", "crm": "closed", "erp__own": "open"])
        #expect(bench.traffic.overrides() == [])
        #expect(try await bench.bench.call("erp__do").refusal?.contains("its breaker is open") == true)
        #expect(try await bench.bench.call("crm__do").isDone)
        // A second time nothing more happens.
        #expect(try await bench.traffic.armBreakers(upstream: nil, force: false, Self.anna).opened == [])
    }

    @Test("Arming one leaves the others as they are")
    func armOne() async throws {
        let bench = try Bench()
        for tool in ["erp__do", "crm__do"] { try await bench.fail(tool) }
        #expect(try await bench.traffic.armBreakers(upstream: "crm", force: false, Self.anna).opened == ["crm"])
        #expect(bench.states == ["erp": "closed", "crm": "open", "erp__own": "closed"])
    }

    @Test("By force healthy ones are opened too, and stay so until somebody undoes it")
    func force() async throws {
        let bench = try Bench()
        let opened = try await bench.traffic.armBreakers(upstream: "erp", force: true, Self.anna).opened
        #expect(opened == ["erp", "erp__own"])
        #expect(bench.states == ["erp": "open!", "crm": "closed", "erp__own": "open!"])
        #expect(bench.bench.store.overrides().map(\.value) == ["forced-open"])
        bench.bench.time.advance(by: .seconds(3_600))
        bench.bench.pipeline.ownerReturned("erp")
        let refused = try await bench.bench.call("erp__do")
        #expect(refused.refusal?.contains("its breaker is held open by an operator") == true)
        #expect(bench.erp.count == 0)
        // Who arms the others opens nothing that is held open.
        #expect(try await bench.traffic.armBreakers(upstream: nil, force: false, Self.anna).opened == [])
        #expect(bench.states["erp"] == "open!")
        let undone = await bench.traffic.undo(Override.Key(kind: .breaker, subject: "erp"), by: "ben").undone
        #expect(undone.count == 1)
        // None of its calls had failed: there is nothing for a first call to find out.
        #expect(bench.states == Self.allClosed)
        #expect(try await bench.bench.call("erp__own").isDone)
        #expect(bench.bench.store.overrides() == [])
    }

    @Test("Disarmed ones let everything pass, and are armed again when that is undone")
    func disarm() async throws {
        let bench = try Bench()
        try await bench.fail("erp__own", 10)
        #expect(bench.states == ["erp": "open", "crm": "closed", "erp__own": "open"])
        #expect(try await bench.traffic.disarmBreakers(upstream: "erp", Self.anna))
        #expect(bench.states == ["erp": "closed-", "crm": "closed", "erp__own": "closed-"])
        try await bench.fail("erp__own", 20)
        #expect(bench.erp.count == 30)
        #expect(bench.states["erp"] == "closed-")
        _ = await bench.traffic.undo(nil, by: "ben")
        #expect(bench.states == Self.allClosed)
        try await bench.fail("erp__own")
        #expect(bench.states["erp"] == "open")
    }

    @Test("An order for all takes the place of those for single ones")
    func all() async throws {
        let bench = try Bench()
        _ = try await bench.traffic.armBreakers(upstream: "erp", force: true, Self.anna)
        #expect(try await bench.traffic.disarmBreakers(upstream: nil, Self.anna))
        #expect(bench.states == ["erp": "closed-", "crm": "closed-", "erp__own": "closed-"])
        #expect(bench.traffic.overrides().map(\.subject) == [""])
        #expect(try await bench.traffic.armBreakers(upstream: nil, force: true, Self.anna).opened.count == 3)
        #expect(bench.states == ["erp": "open!", "crm": "open!", "erp__own": "open!"])
        #expect(bench.traffic.overrides().map(\.value) == ["forced-open"])
        // One of them may be let go all the same.
        #expect(try await bench.traffic.disarmBreakers(upstream: "crm", Self.anna))
        #expect(bench.states == ["erp": "open!", "crm": "closed-", "erp__own": "open!"])
    }

    @Test("Who arms one of those that are all disarmed leaves the others disarmed")
    func exempt() async throws {
        let bench = try Bench()
        _ = try await bench.traffic.disarmBreakers(upstream: nil, Self.anna)
        _ = try await bench.traffic.armBreakers(upstream: "erp", force: false, Self.anna)
        #expect(bench.states == ["erp": "closed", "crm": "closed-", "erp__own": "closed"])
        #expect(bench.traffic.overrides().map(\.subject) == ["crm"])
    }

    @Test("The others keep who ordered it, since when, and for how long")
    func exemptTerms() async throws {
        let bench = try Bench()
        _ = try await bench.traffic.disarmBreakers(upstream: nil, Self.anna)
        let former = try #require(bench.traffic.overrides().first)
        bench.bench.time.advance(by: .seconds(10))
        let terms = OrderTerms(by: "ben", lasts: .seconds(60))
        _ = try await bench.traffic.armBreakers(upstream: "erp", force: true, terms)
        let others = try #require(bench.traffic.overrides().first { $0.subject == "crm" })
        #expect(others.by == "anna")
        #expect(others.since == former.since)
        #expect(others.until == nil)
        bench.bench.time.advance(by: .seconds(60))
        await bench.traffic.undoOverdue()
        #expect(bench.states["crm"] == "closed-")
    }

    @Test("An upstream that is not there, or has no breaker, is named as missing with those there are")
    func missing() async throws {
        let bench = try Bench()
        for upstream in ["none", "", "erp__own"] {
            do {
                _ = try await bench.traffic.disarmBreakers(upstream: upstream, Self.anna)
                Issue.record("\(upstream) was taken")
            } catch {
                #expect(error.isMissing)
                #expect(error.words.hasSuffix("there are: crm, erp"))
            }
        }
        #expect(bench.traffic.overrides() == [])
        let none = try TrafficBench([.of(GatedOwner().backend())]).pipeline.traffic
        await #expect(throws: OrderRefusal.self) {
            _ = try await none.armBreakers(upstream: "server", force: false, Self.anna)
        }
        #expect(try await none.armBreakers(upstream: nil, force: true, Self.anna).opened == [])
    }

    @Test("Orders hold over a restart, and over a reload that brings other owners of the same name")
    func restart() async throws {
        let store = MemoryStore()
        let first = try Bench(store: store)
        _ = try await first.traffic.armBreakers(upstream: "erp", force: true, Self.anna)
        _ = try await first.traffic.disarmBreakers(upstream: "crm", Self.anna)
        let bench = try Bench(store: store)
        #expect(bench.states == ["erp": "open!", "crm": "closed-", "erp__own": "open!"])
        // Owners that were made anew, as when an address changes.
        let (erp, crm) = (GatedOwner().backend("erp", ["do", "own"]), GatedOwner().backend("crm"))
        bench.bench.catalogue.change(to: [Bench.entry(erp), Bench.entry(crm, "crm")], isCompact: false)
        bench.bench.pipeline.change(to: TrafficBench.settings())
        #expect(bench.states == ["erp": "open!", "crm": "closed-", "erp__own": "open!"])
    }

    // MARK: Tools that come later

    @Test("An order holds for the breaker of a tool whose owner comes only after it")
    func laterTool() async throws {
        let store = MemoryStore()
        _ = try await (try Bench(store: store)).traffic.disarmBreakers(upstream: nil, Self.anna)
        let bench = try Bench(store: store, tools: [])
        #expect(bench.states == ["erp": "closed-", "crm": "closed-"])
        bench.erpBackend.list([.plain("do"), .plain("own")])
        bench.bench.pipeline.offersChanged()
        #expect(bench.states["erp__own"] == "closed-")
    }

    @Test("An order holds for the breaker of a tool that is taken in again")
    func takenIn() async throws {
        let bench = try Bench()
        _ = try await bench.traffic.setTool("erp__own", isEnabled: false, Self.anna)
        _ = try await bench.traffic.disarmBreakers(upstream: nil, Self.anna)
        _ = try await bench.traffic.setTool("erp__own", isEnabled: true, Self.anna)
        #expect(bench.states["erp__own"] == "closed-")
    }

    @Test("An order holds for the breaker of a tool that a reload has changed")
    func changedTool() async throws {
        let bench = try Bench()
        _ = try await bench.traffic.disarmBreakers(upstream: nil, Self.anna)
        let policy = ToolPolicy.with { $0.breaker = Breaker.Settings(minimumCalls: 3) }
        let crm = try #require(bench.bench.catalogue.sources.last?.entry)
        bench.bench.catalogue.change(to: [Bench.entry(bench.erpBackend, policy: policy), crm], isCompact: false)
        bench.bench.pipeline.change(to: TrafficBench.settings())
        #expect(bench.states["erp__own"] == "closed-")
    }
}
