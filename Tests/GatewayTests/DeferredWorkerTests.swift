// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Synchronization
import Testing

@testable import Gateway

/// Stored calls are sent when their owner is there.
@Suite("Deferred worker") struct DeferredWorkerTests {
    private static let done = #"{"content":[{"type":"text","text":"done"}]}"#

    private struct Bench {
        let bench: PipelineBench
        let backend: ScriptedBackend
        let seen = Collected<RoutedCall>()
        let failure: Flipping

        final class Flipping: Sendable {
            private let held: Mutex<CallFailure?>
            init(_ failure: CallFailure?) { held = Mutex(failure) }
            var now: CallFailure? { held.withLock { $0 } }
            func become(_ failure: CallFailure?) { held.withLock { $0 = failure } }
        }

        init(isIdempotent: Bool = false) throws {
            let (seen, failure) = (seen, Flipping(.unavailable(detail: "no cable")))
            self.failure = failure
            backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
                call async throws(CallFailure) -> CallAnswer in
                seen.add(call)
                if let failure = failure.now { throw failure }
                return try .of(DeferredWorkerTests.done)
            }
            var policy = ToolPolicy()
            policy.offline = .queue
            policy.isIdempotent = isIdempotent
            bench = try PipelineBench(backend, policy: policy)
        }

        func store(_ count: Int = 1, caller: String = "anonymous") async throws {
            for number in 0..<count {
                var client = PipelineBench.Client.modern(.tasks)
                client.caller = Caller(name: caller)
                let reply = try await bench.call(client, arguments: #"{"n":\#(number)}"#)
                #expect(reply?.type == "task")
            }
        }

        /// Runs the worker until this is so.
        func work(until condition: @escaping @Sendable () -> Bool) async throws {
            let pipeline = bench.pipeline
            let worker = Task { await pipeline.sendStoredCalls(on: [TestLoop.one]) }
            defer { worker.cancel() }
            pipeline.ringForStoredCalls()
            try await wait(for: "the stored calls", within: .seconds(10), until: condition)
        }

        var statuses: [StoredStatus] { bench.store.all.map(\.status) }
    }

    @Test("What waits is sent in its order, with its key, and its answer is kept")
    func order() async throws {
        let bench = try Bench()
        try await bench.store(5)
        bench.failure.become(nil)
        let before = bench.seen.count
        try await bench.work { bench.statuses.allSatisfy { $0 == .completed } }
        let sent = bench.seen.all.dropFirst(before)
        #expect(sent.map { $0.arguments.map { String(buffer: $0) } } == (0..<5).map { #"{"n":\#($0)}"# })
        let first = try #require(sent.first)
        let key = first.message.metaMember(CallKey.metaMember, in: first.bytes.readableBytesUInt8Span)
        #expect(key != nil)
        let found = await bench.bench.store.find(id: 1)
        #expect(found?.answer == .result(Array(Self.done.utf8)))
        #expect(found?.call.attempts == 1)
    }

    @Test("A server that goes away in the middle costs no attempt, and the rest follows when it is back")
    func away() async throws {
        let bench = try Bench()
        try await bench.store(2)
        let sent = bench.seen.count
        try await bench.work { bench.seen.count > sent }
        try await wait(for: "the call to wait again") { bench.statuses == [.queued, .queued] }
        #expect(bench.bench.store.all.map(\.attempts) == [0, 0])
        bench.failure.become(nil)
        bench.bench.time.advance(by: .seconds(400))
        try await bench.work { bench.statuses == [.completed, .completed] }
    }

    @Test(
        "A lost answer makes it unknown, or sends it again where that does no harm",
        arguments: [
            (CallFailure.outcomeUnknown(detail: "x"), false), (.timedOut(after: .seconds(1), sent: true), false),
            (.garbage(detail: "x"), false), (.outcomeUnknown(detail: "x"), true),
        ])
    func lost(_ failure: CallFailure, _ isIdempotent: Bool) async throws {
        let bench = try Bench(isIdempotent: isIdempotent)
        try await bench.store()
        bench.failure.become(failure)
        let before = bench.seen.count
        try await bench.work { bench.seen.count > before }
        let expected: StoredStatus = isIdempotent ? .queued : .unknown
        try await wait(for: "its state") { bench.statuses == [expected] }
        #expect(bench.bench.store.all[0].attempts == 1)
        guard isIdempotent else { return }
        bench.failure.become(nil)
        bench.bench.time.advance(by: .seconds(400))
        try await bench.work { bench.statuses == [.completed] }
        #expect(bench.bench.store.all[0].attempts == 2)
    }

    @Test("A tool that is gone, or takes something else by now, is not called")
    func changed() async throws {
        for (tools, words) in [
            ([OfferedItem](), "no such tool"),
            (
                [
                    OfferedItem(
                        name: "do",
                        definition: Array(#"{"name":"do","inputSchema":{"type":"object","required":["x"]}}"#.utf8))
                ],
                "other arguments"
            ),
        ] {
            let bench = try Bench()
            try await bench.store()
            bench.failure.become(nil)
            bench.backend.list(tools)
            bench.bench.pipeline.offersChanged()
            let before = bench.seen.count
            if tools.isEmpty {
                // A server that has just come up may not have told everything yet.
                try await bench.work { bench.bench.store.all[0].lastError?.contains(words) == true }
                #expect(bench.statuses == [.queued])
                bench.bench.time.advance(by: .seconds(61))
            }
            try await bench.work { bench.statuses == [.failed] }
            #expect(bench.seen.count == before)
            #expect(bench.bench.store.all[0].lastError?.contains(words) == true)
        }
    }

    @Test("Callers do not wait for each other")
    func lanes() async throws {
        let bench = try Bench()
        try await bench.store(3, caller: "ann")
        try await bench.store(3, caller: "bob")
        bench.failure.become(nil)
        try await bench.work { bench.statuses.allSatisfy { $0 == .completed } }
        #expect(bench.bench.store.all.count == 6)
    }

    @Test("One caller's call that takes long holds up no other caller's")
    func longCall() async throws {
        let gate = Gate()
        let seen = Collected<String>()
        let isAway = Mutex(true)
        let backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
            call async throws(CallFailure) -> CallAnswer in
            if isAway.withLock({ $0 }) { throw .unavailable(detail: "no cable") }
            seen.add(call.caller.name)
            if call.caller.name == "ann" { await gate.pass() }
            return try .of(Self.done)
        }
        var policy = ToolPolicy()
        policy.offline = .queue
        let bench = try PipelineBench(backend, policy: policy)
        for (caller, count) in [("ann", 1), ("bob", 5)] {
            for _ in 0..<count {
                var client = PipelineBench.Client.modern(.tasks)
                client.caller = Caller(name: caller)
                #expect(try await bench.call(client)?.type == "task")
            }
        }
        isAway.withLock { $0 = false }
        let worker = Task { await bench.pipeline.sendStoredCalls(on: [TestLoop.one]) }
        defer { worker.cancel() }
        bench.pipeline.ringForStoredCalls()
        try await wait(for: "all of bob's", within: .seconds(10)) { seen.all.count { $0 == "bob" } == 5 }
        #expect(seen.all.count { $0 == "ann" } == 1)
        gate.open()
        try await wait(for: "the last one") { bench.store.all.allSatisfy { $0.status == .completed } }
    }

    @Test("A clock that is set back by hours holds up nothing")
    func setBack() async throws {
        let bench = try Bench()
        bench.bench.time.advance(by: .seconds(7_200))
        try await bench.store(3)
        bench.bench.time.advance(by: .seconds(-7_200))
        bench.failure.become(nil)
        try await bench.work { bench.statuses.allSatisfy { $0 == .completed } }
    }
}
