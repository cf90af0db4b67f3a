// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HostLoad
import MCPWire
import Testing

@testable import Gateway

/// Requests that are turned away because too much is going on: in which form, and which requests never are.
@Suite("Refused for load") struct LoadRefusalTests {
    private static let limit = RateLimit(perSecond: 0.1, burst: 1)
    static let legacy = Revision.allCases.filter { !$0.isModern }

    private func bench(
        _ owner: GatedOwner = GatedOwner(), _ change: (inout PipelineSettings) -> Void = { _ in }
    ) throws -> TrafficBench {
        try TrafficBench([.of(owner.backend())], change)
    }

    // MARK: Too often

    @Test("A modern client gets 429, the seconds to wait, and an error with the id of its request")
    func modernLimited() async throws {
        let bench = try bench { $0.rate = Self.limit }
        #expect(try await bench.call().isDone)
        for (method, params) in [
            ("tools/call", #""name":"up__do","arguments":{}"#), ("tools/list", ""), ("prompts/get", #""name":"x""#),
            ("resources/read", #""uri":"x:y""#), ("server/discover", ""),
        ] {
            let reply = try await bench.ask(try bench.message(method, params, id: #""seven""#))
            #expect(reply.status == .limited(retryAfter: 10), "\(method)")
            #expect(reply.json?["id"] == "seven")
            #expect(reply.json?.code == -32603)
            #expect(
                reply.refusal
                    == "Too many calls: This gateway takes 0.1/s, burst 1. Nothing was done. Try again in 10 s.")
        }
        bench.time.advance(by: .seconds(10))
        #expect(try await bench.call().isDone)
    }

    @Test(
        "A legacy client would end its session at any status but 200: its calls are answered in words",
        arguments: legacy)
    func legacyLimited(_ revision: Revision) async throws {
        let bench = try bench { $0.rate = Self.limit }
        #expect(try await bench.call("up__do", revision).isDone)
        let call = try await bench.call("up__do", revision)
        #expect(call.status == .ok)
        #expect(call.isToolError)
        #expect(call.refusal?.hasSuffix("Nothing was done. Try again in 10 s.") == true)
        let other = try await bench.ask("tools/list", "", revision)
        #expect(other.status == .ok)
        #expect(other.json?.code == -32603)
        #expect(other.refusal?.hasSuffix("Nothing was done. Try again in 10 s.") == true)
    }

    @Test("What was refused so is written down as limited, which is no failure")
    func journal() async throws {
        let bench = try bench { $0.rate = Self.limit }
        for _ in 0..<3 { _ = try await bench.call() }
        #expect(bench.statuses == ["ok", "limited", "limited"])
        #expect(bench.journal.calls.allSatisfy { !$0.isError })
        #expect(bench.journal.errors.isEmpty)
        #expect(bench.metric(#"mcp_rate_limited_total{scope="global"}"#) == "2")
        #expect(bench.metric(#"mcp_rate_limited_total{scope="caller"}"#) == "0")
        let pulse = bench.pipeline.traffic.pulse()
        #expect((pulse.calls, pulse.failed, pulse.limited) == (1, 0, 2))
    }

    @Test("Who has a name is counted by it, and everybody else by the address", arguments: Revision.allCases)
    func perCaller(_ revision: Revision) async throws {
        let bench = try bench { $0.ratePerCaller = Self.limit }
        func isTaken(_ caller: String?, _ address: String) async throws -> Bool {
            let inbound = try bench.message(
                "tools/call", #""name":"up__do","arguments":{}"#, revision, caller: caller, address: address)
            return try await bench.ask(inbound).isDone
        }
        #expect(try await isTaken("anna", "192.0.2.1"))
        #expect(try await !isTaken("anna", "192.0.2.2"))
        #expect(try await isTaken("ben", "192.0.2.1"))
        #expect(try await isTaken(nil, "192.0.2.1"))
        #expect(try await !isTaken(nil, "192.0.2.1"))
        #expect(try await isTaken(nil, "192.0.2.2"))
        // Nobody takes the bucket of an address by a name that looks like one.
        #expect(try await isTaken("address 192.0.2.3", "192.0.2.1"))
        #expect(try await isTaken(nil, "192.0.2.3"))
        #expect(bench.metric(#"mcp_rate_limited_total{scope="caller"}"#) == "2")
    }

    static let free: [(String, String, Revision)] = [
        (
            "initialize",
            #""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}"#, .v2025_11_25
        ), ("ping", "", .v2025_11_25), ("ping", "", .v2024_11_05),
        ("tasks/get", #""taskId":"none""#, .modern),
    ]

    @Test("A greeting, a ping and a look at a task count against no limit, and are answered over it", arguments: free)
    func uncounted(_ method: String, _ params: String, _ revision: Revision) async throws {
        let bench = try bench { $0.rate = Self.limit }
        for _ in 0..<3 {
            var inbound = try bench.message(method, params, revision)
            if revision.isModern { inbound.capabilities = [.tasks] }
            let reply = try await bench.ask(inbound)
            #expect(reply.status == .ok)
            #expect(reply.json?.code != -32603)
        }
        // Notifications are taken note of, and nothing more.
        #expect(try await bench.ask(try bench.message("notifications/initialized", "", revision, id: nil)).text == nil)
        #expect(try await bench.call("up__do", revision).isDone)
        #expect(bench.metric(#"mcp_rate_limited_total{scope="global"}"#) == "0")
    }

    /// What a client says of a former round is its own word; only a state that the gateway has sealed is more.
    @Test("Nobody gets past a limit by calling his request a further round")
    func pretended() async throws {
        let bench = try bench { $0.rate = Self.limit }
        #expect(try await bench.ask("tools/list").status == .ok)
        for more in [#""requestState":"made up""#, #""inputResponses":{}"#] {
            #expect(try await bench.ask("tools/list", more).status == .limited(retryAfter: 10), "\(more)")
        }
    }

    // MARK: Too many

    @Test("Without room in the house a modern call gets 503, a legacy one words, and both are failures")
    func busy() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        let bench = try bench(owner) { $0.inFlightMax = 1 }
        let holder = try bench.begin()
        try await wait(for: "the call") { owner.running == 1 }
        let modern = try await bench.call()
        #expect(modern.status == .overloaded(retryAfter: 1))
        #expect(modern.json?.code == -32603)
        #expect(modern.refusal?.hasPrefix("This gateway already runs 1 calls at once (limits.max_in_flight)") == true)
        for revision in Self.legacy {
            let legacy = try await bench.call("up__do", revision)
            #expect(legacy.status == .ok)
            #expect(legacy.isToolError)
            #expect(legacy.refusal?.hasSuffix("Try again in 1 s.") == true)
            let other = try await bench.ask("prompts/get", #""name":"x""#, revision)
            #expect(other.status == .ok)
            #expect(other.json?.code == -32603)
        }
        #expect(owner.count == 1)
        // Lists and looks at tasks need no room.
        #expect(try await bench.tools == ["up__do"])
        var poll = try bench.message("tasks/get", #""taskId":"none""#)
        poll.capabilities = [.tasks]
        #expect(try await bench.ask(poll).json?.code == -32602)
        gate.open()
        #expect(try await holder.soon().isDone)
        #expect(try await bench.call().isDone)
        #expect(bench.pipeline.callsInFlight == 0)
        #expect(bench.journal.errors.count == 1 + 2 * Self.legacy.count)
        #expect(bench.journal.errors.allSatisfy { $0.errorType == "overloaded" })
        #expect(bench.pipeline.traffic.pulse().failed == 1 + 2 * Self.legacy.count)
    }

    @Test("A call waits for its turn, where there is a line")
    func line() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        let bench = try bench(owner) { settings in
            (settings.inFlightMax, settings.waitingMax, settings.waitMax) = (1, 1, .seconds(600))
        }
        let first = try bench.begin()
        try await wait(for: "the first") { owner.running == 1 }
        let second = try bench.begin()
        try await wait(for: "the second") { bench.waiting == "1" }
        #expect(try await bench.call().status == .overloaded(retryAfter: 1))
        gate.open()
        #expect(try await first.soon().isDone)
        #expect(try await second.soon().isDone)
        #expect(owner.runningMost == 1)
        #expect(bench.waiting == "0")
    }

    @Test("More room by a reload lets in whoever waits; less lets those who are in end")
    func reload() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        func room(_ count: Int) -> PipelineSettings {
            TrafficBench.settings { settings in
                (settings.inFlightMax, settings.waitingMax, settings.waitMax) = (count, 9, .seconds(600))
            }
        }
        let bench = try bench(owner) { $0 = room(1) }
        let calls = [try bench.begin(), try bench.begin(), try bench.begin()]
        try await wait(for: "the line") { owner.running == 1 && bench.waiting == "2" }
        bench.pipeline.change(to: room(3))
        try await wait(for: "all three") { owner.running == 3 }
        bench.pipeline.change(to: room(1))
        #expect(bench.pipeline.callsInFlight == 3)
        gate.open()
        for call in calls { #expect(try await call.soon().isDone) }
        #expect(bench.pipeline.callsInFlight == 0)
    }

    @Test("A client that leaves the line is answered nothing, and its place is free")
    func left() async throws {
        let (owner, gate) = (GatedOwner(), Gate())
        owner.hold(gate)
        let bench = try bench(owner) { settings in
            (settings.inFlightMax, settings.waitingMax, settings.waitMax) = (1, 1, .seconds(600))
        }
        let first = try bench.begin()
        try await wait(for: "the first") { owner.running == 1 }
        let second = try bench.begin()
        try await wait(for: "the second") { bench.waiting == "1" }
        second.cancel()
        #expect(try await second.soon().text == nil)
        #expect(bench.waiting == "0")
        gate.open()
        #expect(try await first.soon().isDone)
        #expect(owner.count == 1)
    }

    // MARK: Short of memory

    @Test("Out of memory nothing new is taken; what is no call goes on")
    func memory() async throws {
        let bench = try bench()
        bench.memory.become(.critical)
        let modern = try await bench.call()
        #expect(modern.status == .overloaded(retryAfter: 5))
        #expect(modern.refusal?.contains("short of memory") == true)
        #expect(try await bench.call("up__do", .v2025_06_18).isToolError)
        #expect(try await bench.tools == ["up__do"])
        for pressure in [Pressure.severe, .high, .none] {
            bench.memory.become(pressure)
            #expect(try await bench.call().isDone, "\(pressure)")
        }
    }

    @Test("Nearly out of memory what can wait is stored, and the rest is carried out")
    func storedForMemory() async throws {
        let owner = GatedOwner()
        let bench = try TrafficBench([
            .of(owner.backend("server", ["now", "later"]), policies: ["later": .with { $0.offline = .queue }])
        ])
        bench.memory.become(.severe)
        #expect(try await bench.call("up__now").isDone)
        #expect(try await bench.call("up__later").json?.words?.hasPrefix("NOT DONE YET") == true)
        #expect(owner.calls == ["now"])
        #expect(bench.store.accepted.count == 1)
    }
}
