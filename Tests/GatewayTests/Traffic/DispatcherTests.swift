// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import NIOCore
import Resilience
import Testing

@testable import Gateway

/// Calls on their last way: once more where that does no harm, and never where it might.
@Suite("Dispatcher") struct DispatcherTests {
    /// One owner with one tool, and a dispatcher before it.
    struct Bench {
        let owner = GatedOwner()
        let bench: TrafficBench
        let dispatcher: Dispatcher

        init(
            policy: ToolPolicy = .plain, attempts: Int = 3, backoff: Duration = .milliseconds(1),
            _ change: (inout TrafficSettings) -> Void = { _ in }
        ) throws {
            bench = try TrafficBench([
                .of(owner.backend(), policies: ["do": policy]) { traffic in
                    traffic.attemptsMax = attempts
                    traffic.backoff = backoff
                    change(&traffic)
                }
            ])
            dispatcher = Dispatcher(time: bench.time, tracer: .silent(bench.time))
        }

        var destination: Destination {
            get throws { try #require(bench.catalogue.current.routes.tool("up__do")) }
        }

        func call(deadline: Deadline = Deadline(Moment(nanoseconds: .max))) throws -> RoutedCall {
            var call = try RoutedCall.of(#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, tool: "do")
            call.deadline = deadline
            return call
        }

        func send(_ call: RoutedCall? = nil) async throws -> CallFailure? {
            let (dispatcher, call, destination) = (dispatcher, try call ?? self.call(), try destination)
            let result = try await soon { await dispatcher.send(call, to: destination) }
            if case .failure(let failure) = result { return failure }
            return nil
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let failure: CallFailure
        /// Tried again whatever the tool is.
        var isAlways = false
        /// Tried again when the tool may be called twice.
        var isWhenRepeatable = false
        var testDescription: String { "\(failure)" }
    }

    static let cases: [Case] = [
        Case(failure: .unavailable(detail: "x"), isAlways: true),
        Case(failure: .timedOut(after: .seconds(1), sent: false), isAlways: true),
        Case(failure: .timedOut(after: .seconds(1), sent: true), isWhenRepeatable: true),
        Case(failure: .outcomeUnknown(detail: "x"), isWhenRepeatable: true),
        Case(failure: .garbage(detail: "x"), isWhenRepeatable: true),
        Case(failure: .overloaded(detail: "x", retryAfter: 1)), Case(failure: .stopped(detail: "x")),
        Case(failure: .unknownTool), Case(failure: .badArguments(detail: "x")),
        Case(failure: .needsInput(detail: "x")), Case(failure: .cancelled),
    ]

    private static let repeatable: [ToolPolicy] = [
        .with { $0.isIdempotent = true }, .with { $0.cache = .seconds(60) }, .with { $0.offline = .stale },
    ]

    @Test(
        "What was not sent is tried again; what may have been carried out only where that does no harm",
        arguments: cases)
    func whichFailures(_ one: Case) async throws {
        let plain = try Bench()
        plain.owner.fail(one.failure)
        #expect(try await plain.send() == one.failure)
        #expect(plain.owner.count == (one.isAlways ? 3 : 1))
        for policy in Self.repeatable {
            let bench = try Bench(policy: policy)
            bench.owner.fail(one.failure)
            #expect(try await bench.send() == one.failure)
            #expect(bench.owner.count == (one.isAlways || one.isWhenRepeatable ? 3 : 1))
        }
    }

    @Test("The first try that goes well is the answer")
    func secondTry() async throws {
        let bench = try Bench()
        bench.owner.failNext([.unavailable(detail: "a"), .timedOut(after: .seconds(1), sent: false)])
        #expect(try await bench.send() == nil)
        #expect(bench.owner.count == 3)
        bench.owner.failNext([.unavailable(detail: "a"), .outcomeUnknown(detail: "b")])
        #expect(try await bench.send() == .outcomeUnknown(detail: "b"))
        #expect(bench.owner.count == 5)
    }

    /// The client is told to check before it calls again; "nothing was sent" would be wrong.
    @Test("A try that was never sent does not hide that one before it may have been carried out")
    func hidden() async throws {
        for sent in [CallFailure.outcomeUnknown(detail: "a"), .timedOut(after: .seconds(1), sent: true)] {
            let bench = try Bench(policy: Self.repeatable[0])
            bench.owner.failNext([sent, .unavailable(detail: "b"), .timedOut(after: .seconds(1), sent: false)])
            #expect(try await bench.send() == sent)
            #expect(bench.owner.count == 3)
        }
    }

    @Test("Without a word about it in the file nothing is tried again")
    func once() async throws {
        for attempts in [1, 2] {
            let bench = try Bench(policy: Self.repeatable[0], attempts: attempts)
            bench.owner.fail(.unavailable(detail: "x"))
            _ = try await bench.send()
            #expect(bench.owner.count == attempts)
        }
    }

    @Test("What can be stored is not tried again: it waits on disk")
    func stored() async throws {
        let bench = try Bench(policy: .with { $0.offline = .queue })
        bench.owner.fail(.unavailable(detail: "x"))
        _ = try await bench.send()
        #expect(bench.owner.count == 1)
    }

    @Test("Nothing is tried again that its breaker holds back, the owner's or the tool's own")
    func heldBack() async throws {
        let settings: [(ToolPolicy, (inout TrafficSettings) -> Void)] = [
            (.plain, { $0.breaker = .touchy }), (.with { $0.breaker = .touchy }, { _ in }),
        ]
        for (policy, change) in settings {
            let bench = try Bench(policy: policy, change)
            bench.owner.fail(.unavailable(detail: "x"))
            #expect(try await bench.send() == .unavailable(detail: "x"))
            #expect(bench.owner.count == 1)
            guard case .unavailable(let words)? = try await bench.send() else {
                Issue.record("the breaker lets calls pass")
                continue
            }
            #expect(words.hasPrefix("its breaker is open after too many failed calls, the next try is in "))
            #expect(bench.owner.count == 1)
        }
    }

    @Test("A breaker is not told of what the client did, nor of what the gateway refused itself")
    func ignored() async throws {
        let bench = try Bench(attempts: 1) { $0.breaker = .touchy }
        for failure in Self.cases.map(\.failure) {
            switch failure {
            case .unavailable, .timedOut, .outcomeUnknown, .garbage: continue
            case .overloaded, .stopped, .unknownTool, .badArguments, .needsInput, .cancelled: break
            }
            bench.owner.fail(failure)
            _ = try await bench.send()
        }
        #expect(bench.owner.count == 6)
        #expect(try bench.destination.owner.breaker?.status.counts.calls == 0)
    }

    @Test("A server that fails gets five tries more in half a minute, however many calls want them")
    func budget() async throws {
        let bench = try Bench(attempts: 10)
        bench.owner.fail(.unavailable(detail: "x"))
        _ = try await bench.send()
        #expect(bench.owner.count == 6)
        for _ in 0..<4 { _ = try await bench.send() }
        #expect(bench.owner.count == 10)
        bench.bench.time.advance(by: .seconds(31))
        _ = try await bench.send()
        #expect(bench.owner.count == 16)
    }

    @Test("A tenth of all calls may be tried again besides")
    func share() async throws {
        let bench = try Bench(attempts: 10)
        for _ in 0..<40 { #expect(try await bench.send() == nil) }
        bench.owner.fail(.unavailable(detail: "x"))
        _ = try await bench.send()
        // Ten tries are the most, and nine of them are more than the first.
        #expect(bench.owner.count == 40 + 10)
        _ = try await bench.send()
        #expect(bench.owner.count == 40 + 10 + 1)
    }

    @Test("Nothing is tried again that would come after the deadline")
    func deadline() async throws {
        let bench = try Bench(backoff: .milliseconds(100))
        bench.owner.fail(.unavailable(detail: "x"))
        let soon = Deadline(bench.bench.time.now() + .milliseconds(49))
        #expect(try await bench.send(try bench.call(deadline: soon)) == .unavailable(detail: "x"))
        #expect(bench.owner.count == 1)
    }

    @Test("Nothing is tried again after its client has left")
    func clientLeft() async throws {
        let bench = try Bench(backoff: .seconds(50))
        bench.owner.fail(.unavailable(detail: "x"))
        let (dispatcher, call, destination) = (bench.dispatcher, try bench.call(), try bench.destination)
        let sending = Task { await dispatcher.send(call, to: destination) }
        try await wait(for: "the first try") { bench.owner.count == 1 }
        sending.cancel()
        // Before the pause is over, which is twenty-five seconds at least.
        let result = try await sending.soon("the end of the call", within: .seconds(20))
        guard case .failure = result else {
            Issue.record("a call that failed is answered")
            return
        }
        #expect(bench.owner.count == 1)
    }
}
