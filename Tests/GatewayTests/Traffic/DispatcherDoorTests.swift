// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Resilience
import Testing

@testable import Gateway

/// The doors before an owner and a tool: in which order they are asked, and that each place is given back.
@Suite("Doors of a call") struct DispatcherDoorTests {
    private typealias Bench = DispatcherTests.Bench

    @Test("Room before the owner, then before the tool: in the order of the line, and no place is lost")
    func doors() async throws {
        let policy = ToolPolicy.with { $0.inFlightMax = 2 }
        let bench = try Bench(policy: policy, attempts: 1) { traffic in
            traffic.inFlightMax = 3
            traffic.waitingMax = 1
            traffic.waitMax = .seconds(600)
        }
        let gate = Gate()
        bench.owner.hold(gate)
        let (dispatcher, call, destination) = (bench.dispatcher, try bench.call(), try bench.destination)
        let running = (0..<2).map { _ in Task { await dispatcher.send(call, to: destination) } }
        try await wait(for: "two calls") { bench.owner.running == 2 }
        // The tool is full, and has no line.
        guard case .overloaded(let words, _)? = try await bench.send() else {
            Issue.record("a third call of the tool runs")
            return
        }
        #expect(words.contains("(max_in_flight)"))
        #expect(destination.owner.traffic?.turnstile?.running == 2)
        gate.open()
        for task in running { _ = try await task.soon() }
        #expect(destination.owner.traffic?.turnstile?.running == 0)
        #expect(destination.gate?.turnstile?.running == 0)
        #expect(try await bench.send() == nil)
        #expect(bench.owner.runningMost == 2)
    }

    @Test("Whoever waited before a door asks the breaker behind it")
    func breakerBehindTheLine() async throws {
        let bench = try Bench(attempts: 1) { traffic in
            traffic.inFlightMax = 1
            traffic.waitingMax = 5
            traffic.waitMax = .seconds(600)
            traffic.breaker = .touchy
        }
        let gate = Gate()
        bench.owner.hold(gate)
        bench.owner.fail(.outcomeUnknown(detail: "x"))
        let (dispatcher, call, destination) = (bench.dispatcher, try bench.call(), try bench.destination)
        let first = Task { await dispatcher.send(call, to: destination) }
        try await wait(for: "the first call") { bench.owner.running == 1 }
        let waiting = (0..<3).map { _ in Task { await dispatcher.send(call, to: destination) } }
        try await wait(for: "the line") { destination.owner.traffic?.turnstile?.waiting == 3 }
        gate.open()
        _ = try await first.soon()
        for task in waiting {
            guard case .failure(.unavailable(let words)) = try await task.soon() else {
                Issue.record("a call was sent to a server that had just failed")
                continue
            }
            #expect(words.hasPrefix("its breaker is open"))
        }
        #expect(bench.owner.count == 1)
        #expect(destination.owner.traffic?.turnstile?.running == 0)
    }
}
