// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import NIOCore
import Resilience
import Synchronization
import Testing

@testable import Gateway

/// A second call beside a slow first one.
@Suite("Hedge") struct HedgeTests {
    /// An owner whose first, second … calls do as a test says. A call whose task is cancelled ends at once.
    private final class Owner: Sendable {
        typealias Play = @Sendable (Int) async -> Result<String, CallFailure>
        private let state = Mutex((count: 0, cancelled: 0))
        private let play: Play

        init(_ play: @escaping Play) { self.play = play }

        var count: Int { state.withLock { $0.count } }
        var cancelled: Int { state.withLock { $0.cancelled } }

        func backend() -> ScriptedBackend {
            ScriptedBackend(name: "server", tools: [.plain("do")]) { _ async throws(CallFailure) -> CallAnswer in
                let number = self.state.withLock { state in
                    state.count += 1
                    return state.count
                }
                let result = await self.play(number)
                if Task.isCancelled {
                    self.state.withLock { $0.cancelled += 1 }
                    throw .cancelled
                }
                return try .of(#"{"content":[{"type":"text","text":"\#(try result.get())"}]}"#)
            }
        }
    }

    private struct Bench {
        let owner: Owner
        let bench: TrafficBench

        init(
            hedge: Duration = .milliseconds(5), isIdempotent: Bool = true,
            _ change: (inout TrafficSettings) -> Void = { _ in }, play: @escaping Owner.Play
        ) throws {
            owner = Owner(play)
            let policy = ToolPolicy.with { policy in
                policy.hedge = hedge
                policy.isIdempotent = isIdempotent
            }
            bench = try TrafficBench([
                .of(owner.backend(), policies: ["do": policy]) { traffic in
                    traffic.breaker = Breaker.Settings()
                    change(&traffic)
                }
            ])
        }

        func begin(
            _ change: (inout RoutedCall) -> Void = { _ in }
        ) throws -> Task<Result<CallAnswer, CallFailure>, Never> {
            var call = try RoutedCall.of(#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, tool: "do")
            change(&call)
            let destination = try #require(bench.catalogue.current.routes.tool("up__do"))
            let (dispatcher, made) = (Dispatcher(time: bench.time, tracer: .silent(bench.time)), call)
            return Task { await dispatcher.send(made, to: destination) }
        }

        /// The words of the answer, or of the failure.
        func send(_ change: (inout RoutedCall) -> Void = { _ in }) async throws -> String {
            switch try await begin(change).soon() {
            case .success(.result(let payload)): String(buffer: payload.bytes)
            case .success: "something else"
            case .failure(let failure): "\(failure)"
            }
        }

        var breaker: Breaker.Counts? { bench.catalogue.owner("server")?.breaker?.status.counts }
    }

    @Test("When the first has no answer in time, the second one's answer counts, and the first is given up")
    func second() async throws {
        let bench = try Bench { number in
            if number == 1 { await Latch().wait() }
            return .success("call \(number)")
        }
        #expect(try await bench.send().contains("call 2"))
        #expect(bench.owner.count == 2)
        #expect(bench.owner.cancelled == 1)
        // What was given up says nothing about the server.
        #expect(bench.breaker?.calls == 1)
        #expect(bench.breaker?.bad == 0)
    }

    @Test("The better one counts: the first may still be quicker")
    func first() async throws {
        let begun = Latch()
        let bench = try Bench { number in
            if number == 1 {
                await begun.wait()
            } else {
                begun.open()
                await Latch().wait()
            }
            return .success("call \(number)")
        }
        #expect(try await bench.send().contains("call 1"))
        #expect(bench.owner.count == 2)
        #expect(bench.owner.cancelled == 1)
    }

    @Test("A first one that answers in time stays the only one")
    func quick() async throws {
        let bench = try Bench(hedge: .seconds(60)) { .success("call \($0)") }
        #expect(try await bench.send().contains("call 1"))
        #expect(bench.owner.count == 1)
    }

    @Test("A first one that fails in time is the answer, and nobody waits for a second")
    func quickFailure() async throws {
        let bench = try Bench(hedge: .seconds(60)) { _ in .failure(.outcomeUnknown(detail: "x")) }
        #expect(try await bench.send() == "\(CallFailure.outcomeUnknown(detail: "x"))")
        #expect(bench.owner.count == 1)
    }

    @Test("When the first fails while the second runs, the second may still save the call")
    func saved() async throws {
        let (begun, failed) = (Latch(), Latch())
        let time = Mutex<ManualTime?>(nil)
        let bench = try Bench(hedge: .milliseconds(5)) { number in
            if number == 1 {
                await begun.wait()
                failed.open()
                return .failure(.outcomeUnknown(detail: "x"))
            }
            time.withLock { $0 }?.advance(by: .milliseconds(5))
            begun.open()
            await failed.wait()
            return .success("call \(number)")
        }
        time.withLock { $0 = bench.bench.time }
        #expect(try await bench.send().contains("call 2"))
        #expect(bench.owner.count == 2)
    }

    @Test(
        "Nobody is called twice who may not be, nor where a client hears or says something meanwhile",
        arguments: ["not idempotent", "progress", "log", "questions"])
    func never(_ reason: String) async throws {
        let bench = try Bench(hedge: .milliseconds(1), isIdempotent: reason != "not idempotent") { number in
            // Many times longer than the first is given.
            await Pause.wait(.milliseconds(30), on: TestLoop.one)
            return .success("call \(number)")
        }
        let answer = try await bench.send { call in
            switch reason {
            case "progress": call.wishes.progress = true
            case "log": call.wishes.logLevel = .info
            case "questions": call.wishes.capabilities = .elicitationForm
            default: break
            }
        }
        #expect(answer.contains("call 1"))
        #expect(bench.owner.count == 1)
    }

    @Test("Second calls are taken out of what may be tried again, and end with it")
    func budget() async throws {
        let bench = try Bench(hedge: .milliseconds(1)) { number in
            // The first of each call has no answer; the last one has one, when nothing comes beside it.
            if number == 11 {
                await Pause.wait(.milliseconds(50), on: TestLoop.one)
            } else if number % 2 == 1 {
                await Latch().wait()
            }
            return .success("call \(number)")
        }
        for call in 1...5 { #expect(try await bench.send().contains("call \(call * 2)")) }
        #expect(try await bench.send().contains("call 11"))
        #expect(bench.owner.count == 11)
    }

    @Test("The second takes a place of its own before its owner, and gives it back")
    func places() async throws {
        let bench = try Bench { traffic in
            traffic.inFlightMax = 2
        } play: { number in
            if number == 1 { await Latch().wait() }
            return .success("call \(number)")
        }
        #expect(try await bench.send().contains("call 2"))
        let turnstile = bench.bench.catalogue.owner("server")?.traffic?.turnstile
        #expect(turnstile?.running == 0)
    }

    @Test("Both are given up when the client leaves")
    func left() async throws {
        let bench = try Bench { _ in
            await Latch().wait()
            return .success("never")
        }
        let sending = try bench.begin()
        try await wait(for: "both calls") { bench.owner.count == 2 }
        sending.cancel()
        guard case .failure(.cancelled) = try await sending.soon() else {
            Issue.record("a call that nobody waits for is answered")
            return
        }
        #expect(bench.owner.cancelled == 2)
        #expect(bench.owner.count == 2)
    }

    /// The second waits in the line until the first has failed, and is then held back by the breaker that this opened.
    @Test("A second that was never sent does not hide that the first may have been carried out")
    func hidden() async throws {
        let fails = Latch()
        let bench = try Bench { traffic in
            traffic.breaker = .touchy
            traffic.inFlightMax = 1
            traffic.waitingMax = 1
            traffic.waitMax = .seconds(600)
        } play: { _ in
            await fails.wait()
            return .failure(.outcomeUnknown(detail: "x"))
        }
        let sending = try bench.begin()
        let turnstile = bench.bench.catalogue.owner("server")?.traffic?.turnstile
        try await wait(for: "the second in the line") { turnstile?.waiting == 1 }
        bench.bench.time.advance(by: .seconds(1))
        fails.open()
        guard case .failure(let failure) = try await sending.soon() else {
            Issue.record("nobody answered")
            return
        }
        #expect(failure == .outcomeUnknown(detail: "x"))
        #expect(bench.owner.count == 1)
    }
}
