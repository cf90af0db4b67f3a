// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Resilience
import Testing

@testable import Gateway

/// What operators order about limits, tools and draining: in force when the order returns, and kept.
@Suite("Orders about traffic") struct TrafficOrdersTests {
    private static let anna = OrderTerms(by: "anna")

    private func bench(
        store: MemoryStore = MemoryStore(), _ owner: GatedOwner = GatedOwner(), isCompact: Bool = false,
        _ change: (inout PipelineSettings) -> Void = { _ in }
    ) throws -> TrafficBench {
        try TrafficBench([.of(owner.backend("server", ["do", "other"]))], store: store, isCompact: isCompact, change)
    }

    // MARK: Limits

    @Test("A limit by order holds instead of the file's, over reload and restart, until it is undone")
    func limit() async throws {
        let store = MemoryStore()
        let file = RateLimit(perSecond: 100, burst: 100)
        let order = RateLimit(perSecond: 0.001, burst: 2)
        let bench = try bench(store: store) { $0.rate = file }
        #expect(bench.pipeline.traffic.rateLimit().now == file)
        #expect(await bench.pipeline.traffic.setRateLimit(order, Self.anna))
        #expect(bench.pipeline.traffic.rateLimit().now == order)
        #expect(bench.pipeline.traffic.rateLimit().file == file)
        for isTaken in [true, true, false] { #expect(try await bench.call().isDone == isTaken) }
        // The file says something else by now.
        let other = RateLimit(perSecond: 50, burst: 50)
        bench.pipeline.change(to: TrafficBench.settings { $0.rate = other })
        #expect(bench.pipeline.traffic.rateLimit().now == order)
        #expect(bench.pipeline.traffic.rateLimit().file == other)
        #expect(try await !bench.call().isDone)
        let again = try self.bench(store: store)
        #expect(again.pipeline.traffic.rateLimit().now == order)
        #expect(again.pipeline.traffic.overrides().map(\.by) == ["anna"])
        let (undone, isKept) = await again.pipeline.traffic.undo(
            Override.Key(kind: .rateLimit, subject: ""), by: "ben")
        #expect(undone.map(\.value) == [order.words])
        #expect(isKept)
        #expect(again.pipeline.traffic.rateLimit().now == nil)
        #expect(store.overrides() == [])
    }

    static let limits: [RateLimit] = [
        RateLimit(perSecond: 0.001, burst: 1), RateLimit(perSecond: 1_000_000, burst: 1_000_000),
        RateLimit(perSecond: 0.1 + 0.2, burst: 7), RateLimit(perSecond: 999.5, burst: 1_000),
        RateLimit(perSecond: 1 / 3, burst: 2),
    ]

    @Test("Every limit is the same after it was written down", arguments: limits)
    func limitWords(_ limit: RateLimit) async throws {
        let store = MemoryStore()
        #expect(await (try bench(store: store)).pipeline.traffic.setRateLimit(limit, Self.anna))
        #expect(try bench(store: store).pipeline.traffic.rateLimit().now == limit)
    }

    @Test(
        "What cannot be read in the archive is no limit at all, and the file's holds",
        arguments: ["", "10/s", "x/s, burst 2", "0/s, burst 2", "10/s, burst 0", "nan/s, burst 2"])
    func unreadable(_ value: String) async throws {
        let store = MemoryStore()
        _ = await store.keep([Override(kind: .rateLimit, value: value, since: 0, by: "anna")])
        let file = RateLimit(perSecond: 5, burst: 5)
        #expect(try bench(store: store) { $0.rate = file }.pipeline.traffic.rateLimit().now == file)
    }

    @Test("An order that ends by itself does so at its time, and is out of the archive then")
    func overdue() async throws {
        let bench = try bench()
        let traffic = bench.pipeline.traffic
        let terms = OrderTerms(by: "anna", lasts: .seconds(60))
        #expect(await traffic.setRateLimit(RateLimit(perSecond: 1, burst: 1), terms))
        #expect(try await traffic.setTool("up__do", isEnabled: false, terms))
        await traffic.setDraining(true, terms)
        bench.time.advance(by: .seconds(59))
        await traffic.undoOverdue()
        #expect(traffic.overrides().count == 3)
        #expect(traffic.isDraining)
        bench.time.advance(by: .seconds(1))
        await traffic.undoOverdue()
        #expect(traffic.overrides() == [])
        #expect(bench.store.overrides() == [])
        #expect(traffic.rateLimit().now == nil)
        #expect(!traffic.isDraining)
        #expect(try await bench.tools == ["up__do", "up__other"])
        #expect(try await bench.call().isDone)
    }

    @Test("Whether an order could be written down is said, and it is in force all the same")
    func notKept() async throws {
        let bench = try bench()
        bench.store.refuse(.unwritable(detail: "the disk is full"))
        let traffic = bench.pipeline.traffic
        #expect(await !traffic.setRateLimit(RateLimit(perSecond: 1, burst: 1), Self.anna))
        #expect(try await !traffic.setTool("up__do", isEnabled: false, Self.anna))
        #expect(traffic.rateLimit().now == RateLimit(perSecond: 1, burst: 1))
        #expect(!bench.catalogue.has("up__do"))
        #expect(await !traffic.undo(nil, by: "anna").isKept)
        #expect(bench.catalogue.has("up__do"))
    }

    // MARK: Tools

    @Test(
        "A tool that is taken out is neither listed nor called, says why, and comes back",
        arguments: Revision.allCases)
    func tool(_ revision: Revision) async throws {
        let owner = GatedOwner()
        let bench = try bench(owner)
        let session = ScriptedSession()
        bench.pipeline.began(session)
        let traffic = bench.pipeline.traffic
        #expect(try await traffic.setTool("up__do", isEnabled: false, Self.anna))
        #expect(try await bench.tools == ["up__other"])
        let refused = try await bench.call("up__do", revision)
        #expect(refused.json?.code == -32602)
        #expect(refused.refusal == "This tool is taken out of service by an operator; try again later")
        #expect(try await bench.call("up__other", revision).isDone)
        #expect(traffic.tools().map(\.isEnabled) == [false, true])
        #expect(traffic.tools().map(\.name) == ["up__do", "up__other"])
        #expect(traffic.owners().map(\.tools) == [1])
        #expect(session.delivered.count == 1)
        #expect(try await traffic.setTool("up__do", isEnabled: true, Self.anna))
        #expect(try await bench.call("up__do", revision).isDone)
        #expect(session.delivered.count == 2)
        #expect(session.delivered.allSatisfy { $0.contains("notifications/tools/list_changed") })
        #expect(owner.calls == ["other", "do"])
        #expect(traffic.overrides() == [])
    }

    @Test("Asking for the same again does nothing more, and what is not there is said to be missing")
    func toolTwice() async throws {
        let bench = try bench()
        let traffic = bench.pipeline.traffic
        for _ in 0..<2 { #expect(try await traffic.setTool("up__do", isEnabled: false, Self.anna)) }
        #expect(traffic.overrides().count == 1)
        for _ in 0..<2 { #expect(try await traffic.setTool("up__other", isEnabled: true, Self.anna)) }
        for isEnabled in [true, false] {
            await #expect(throws: OrderRefusal.self) {
                _ = try await traffic.setTool("up__none", isEnabled: isEnabled, Self.anna)
            }
        }
        do {
            _ = try await traffic.setTool("up__none", isEnabled: false, Self.anna)
        } catch {
            #expect(error.isMissing)
            #expect(error.words.contains("GET /admin/tools"))
        }
    }

    @Test("A tool stays out over a restart, whenever its owner comes, and can be taken in while its owner is away")
    func toolOverRestart() async throws {
        let store = MemoryStore()
        #expect(try await bench(store: store).pipeline.traffic.setTool("up__do", isEnabled: false, Self.anna))
        let owner = GatedOwner()
        let backend = owner.backend("server", [])
        let bench = try TrafficBench([.of(backend)], store: store)
        #expect(bench.pipeline.traffic.tools().isEmpty)
        backend.list([.plain("do"), .plain("other")])
        bench.pipeline.offersChanged()
        #expect(try await bench.tools == ["up__other"])
        backend.list([])
        bench.pipeline.offersChanged()
        #expect(try await bench.pipeline.traffic.setTool("up__do", isEnabled: true, Self.anna))
        backend.list([.plain("do")])
        bench.pipeline.offersChanged()
        #expect(try await bench.tools == ["up__do"])
    }

    @Test("A tool that is taken out is not found in compact mode either")
    func compact() async throws {
        let bench = try bench(isCompact: true)
        #expect(try await bench.pipeline.traffic.setTool("up__do", isEnabled: false, Self.anna))
        func call(_ name: String) async throws -> Reply {
            try await bench.ask("tools/call", #""name":"call_tool","arguments":{"name":"\#(name)","arguments":{}}"#)
        }
        #expect(try await call("up__do").isToolError)
        #expect(try await call("up__other").isDone)
        let found = try await bench.ask("tools/call", #""name":"search_tools","arguments":{"query":"do"}"#)
        #expect(found.text?.contains("up__do") == false)
    }

    // MARK: Many orders

    /// The bound is one on tools and upstreams, which there may be many of.
    @Test("However much is changed by hand, a limit and a drain can be ordered, or are said not to be")
    func full() async throws {
        let store = MemoryStore()
        _ = await store.keep(
            (0..<OverrideBook.overridesMax).map {
                Override(kind: .tool, subject: "t\($0)", value: "disabled", since: 0, by: "anna")
            })
        let bench = try bench(store: store)
        await #expect(throws: OrderRefusal.self) {
            _ = try await bench.pipeline.traffic.setTool("up__do", isEnabled: false, Self.anna)
        }
        let limit = RateLimit(perSecond: 1, burst: 1)
        if await bench.pipeline.traffic.setRateLimit(limit, Self.anna) {
            #expect(bench.pipeline.traffic.rateLimit().now == limit)
        }
        await bench.pipeline.traffic.setDraining(true, Self.anna)
        #expect(bench.pipeline.traffic.isDraining)
    }

    @Test("All orders can be undone at once")
    func undoAll() async throws {
        let bench = try bench()
        let traffic = bench.pipeline.traffic
        _ = await traffic.setRateLimit(RateLimit(perSecond: 1, burst: 1), Self.anna)
        _ = try await traffic.setTool("up__do", isEnabled: false, Self.anna)
        await traffic.setDraining(true, Self.anna)
        let (undone, isKept) = await traffic.undo(nil, by: "ben")
        #expect(Set(undone.map(\.kind)) == [.rateLimit, .tool, .drain])
        #expect(isKept)
        #expect(traffic.overrides() == [] && bench.store.overrides() == [])
        #expect(traffic.rateLimit().now == nil && !traffic.isDraining && bench.catalogue.has("up__do"))
        #expect(await traffic.undo(nil, by: "ben").undone == [])
    }
}
