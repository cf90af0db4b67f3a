// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Synchronization
import Telemetry
import Testing

@testable import Gateway

/// Calls that are sent twice are carried out once.
@Suite("Call keys") struct CallKeyTests {
    /// An owner that answers when its gate is open, and counts.
    private final class Slow: Sendable {
        let gate = Gate()
        let arrived = Gate()
        let count = Atomic(0)
        let outcome = Mutex<CallFailure?>(nil)
        private let next = Mutex<Gate?>(nil)

        /// Calls from here on wait for another gate.
        func hold(until gate: Gate) { next.withLock { $0 = gate } }

        func bench(_ policy: ToolPolicy = ToolPolicy(), isCompact: Bool = false) throws -> PipelineBench {
            let backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
                call async throws(CallFailure) -> CallAnswer in
                let number = self.count.add(1, ordering: .relaxed).newValue
                self.arrived.open()
                await (self.next.withLock { $0 } ?? self.gate).pass()
                if Task.isCancelled { throw .cancelled }
                if let failure = self.outcome.withLock({ $0 }) { throw failure }
                return try .of(#"{"content":[{"type":"text","text":"\#(number)"}]}"#)
            }
            if isCompact { return try PipelineBench(backend, isCompact: true) }
            return try PipelineBench(backend, policy: policy)
        }

        var calls: Int { count.load(ordering: .relaxed) }
    }

    private func keyed(_ key: String) -> String { #","_meta":{"mcp-gateway/idempotency-key":"\#(key)"}"# }

    private static var http: PipelineBench.Client {
        var client = PipelineBench.Client.modern()
        client.headers = []
        return client
    }

    @Test("One that comes while the first is under way waits for its answer")
    func together() async throws {
        let slow = Slow()
        let bench = try slow.bench()
        let first = Task { try await bench.call(Self.http, more: keyed("k")) }
        try await slow.arrived.passed()
        let second = Task { try await bench.call(Self.http, more: keyed("k")) }
        let other = Task { try await bench.call(Self.http, more: keyed("l")) }
        try await wait(for: "the call of the other key") { slow.calls == 2 }
        slow.gate.open()
        let (one, two) = (try await first.soon(), try await second.soon())
        #expect(one?.words == two?.words)
        #expect(try await other.soon()?.words != one?.words)
        #expect(slow.calls == 2)
    }

    @Test("A call with a key goes on when its client leaves over HTTP, and coming back finds it")
    func comesBack() async throws {
        let slow = Slow()
        let bench = try slow.bench()
        let first = Task { try await bench.call(Self.http, more: keyed("k")) }
        try await slow.arrived.passed()
        first.cancel()
        #expect(try await first.soon() == nil)
        let second = Task { try await bench.call(Self.http, more: keyed("k")) }
        slow.gate.open()
        #expect(try await second.soon()?.words == "1")
        #expect(slow.calls == 1)
    }

    @Test("After a new start what ran then is unknown, and is run again only where that does no harm")
    func lost() async throws {
        for isIdempotent in [false, true] {
            let slow = Slow()
            slow.gate.open()
            var policy = ToolPolicy()
            policy.isIdempotent = isIdempotent
            let bench = try slow.bench(policy)
            let inbound = try bench.message("tools/call", #""name":"up__do","arguments":{}"# + keyed("k"), Self.http)
            let destination = try #require(bench.catalogue.current.routes.tool("up__do"))
            guard case .key(let key) = CallKey.of(inbound, destination) else {
                Issue.record("it has no key")
                return
            }
            bench.store.note(key.bytes, digest: key.digest, .running)
            bench.store.beginNewLife()
            let reply = try await bench.call(Self.http, more: keyed("k"))
            #expect(reply?["result"]?["isError"] == (isIdempotent ? nil : true))
            #expect(slow.calls == (isIdempotent ? 1 : 0))
        }
    }

    @Test("What proves that nothing was done is forgotten; what may have been done is what the second hears")
    func failures() async throws {
        for (failure, calls) in [
            (CallFailure.unavailable(detail: "x"), 2), (.outcomeUnknown(detail: "x"), 1),
            (.timedOut(after: .seconds(1), sent: true), 1), (.timedOut(after: .seconds(1), sent: false), 2),
        ] {
            let slow = Slow()
            slow.gate.open()
            slow.outcome.withLock { $0 = failure }
            let bench = try slow.bench()
            let first = try await bench.call(Self.http, more: keyed("k"))
            let second = try await bench.call(Self.http, more: keyed("k"))
            #expect(first?["result"]?["isError"] == true)
            #expect(first?.words == second?.words)
            #expect(slow.calls == calls, "\(failure)")
        }
    }

    @Test("One whose end is just written takes nothing of the next one with it: that one is still waited for")
    func overtaken() async throws {
        let slow = Slow()
        slow.outcome.withLock { $0 = .unavailable(detail: "no cable") }
        let bench = try slow.bench()
        let (written, mayLeave, again) = (Gate(), Gate(), Gate())
        bench.store.whenEnded {
            written.open()
            await mayLeave.pass()
        }
        let first = Task { try await bench.call(Self.http, more: keyed("k")) }
        slow.gate.open()
        try await written.passed()
        slow.outcome.withLock { $0 = nil }
        slow.hold(until: again)
        let second = Task { try await bench.call(Self.http, more: keyed("k")) }
        try await wait(for: "the second call") { slow.calls == 2 }
        bench.store.whenEnded(nil)
        mayLeave.open()
        #expect(try await first.soon()?["result"]?["isError"] == true)
        #expect(bench.pipeline.delivery.keyedCount == 1)
        let third = Task { try await bench.call(Self.http, more: keyed("k")) }
        again.open()
        #expect(try await second.soon()?.words == "2")
        #expect(try await third.soon()?.words == "2")
        #expect(bench.pipeline.delivery.keyedCount == 0)
    }

    @Test("When keys cannot be written a call that relies on one is refused, and others go on")
    func unwritable() async throws {
        let slow = Slow()
        slow.gate.open()
        var policy = ToolPolicy()
        policy.dedupe = .seconds(60)
        let bench = try slow.bench(policy)
        bench.store.refuse(.unwritable(detail: "the disk is full"))
        let refused = try await bench.call(Self.http, more: keyed("k"))
        #expect(refused?["error"]?["message"]?.stringValue?.contains("the disk is full") == true)
        #expect(slow.calls == 0)
        let session = ScriptedSession()
        #expect(try await bench.call(.legacy(session: session))?.words == "1")
    }

    @Test("Keys are bound to their caller, and a key for another call is a mistake")
    func bound() async throws {
        let slow = Slow()
        slow.gate.open()
        let bench = try slow.bench()
        var ann = Self.http
        ann.caller = Caller(name: "ann")
        #expect(try await bench.call(Self.http, more: keyed("k"))?.words == "1")
        #expect(try await bench.call(ann, more: keyed("k"))?.words == "2")
        #expect(try await bench.call(Self.http, arguments: #"{"a":1}"#, more: keyed("k"))?.code == -32602)
        #expect(try await bench.call(Self.http, more: keyed("k"))?.words == "1")
    }

    @Test(
        "A key that cannot be used is a mistake: its client relies on it",
        arguments: [#""""#, "5", "null", "{}", "\"" + String(repeating: "k", count: 257) + "\""])
    func unusable(_ key: String) async throws {
        let slow = Slow()
        slow.gate.open()
        let bench = try slow.bench()
        let reply = try await bench.call(Self.http, more: #","_meta":{"mcp-gateway/idempotency-key":\#(key)}"#)
        #expect(reply?.code == -32602)
        #expect(slow.calls == 0)
    }

    @Test("A key whose stored call is not kept any more is not sent again")
    func forgotten() async throws {
        let slow = Slow()
        slow.gate.open()
        slow.outcome.withLock { $0 = .unavailable(detail: "no cable") }
        var policy = ToolPolicy()
        policy.offline = .queue
        let bench = try slow.bench(policy)
        #expect(try await bench.call(Self.http, more: keyed("k"))?.words?.hasPrefix("NOT DONE YET") == true)
        let stored = try #require(bench.store.all.first)
        _ = await bench.store.cancel(id: stored.id, words: "x", now: 0)
        #expect(await bench.store.purge([.cancelled], before: .max) == 1)
        slow.outcome.withLock { $0 = nil }
        let calls = slow.calls
        #expect(try await bench.call(Self.http, more: keyed("k"))?["result"]?["isError"] == true)
        #expect(slow.calls == calls)
    }

    @Test("Each round of a call that asks has its answer, and the last one's is that of the whole")
    func rounds() async throws {
        let asked = #"{"resultType":"input_required","inputRequests":{"q":{"method":"roots/list"}},"requestState":"s"}"#
        let count = Atomic(0)
        let backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
            call async throws(CallFailure) -> CallAnswer in
            count.add(1, ordering: .relaxed)
            guard call.resumption?.responses != nil else { return try .of(asked) }
            return try .of(#"{"content":[{"type":"text","text":"done"}]}"#)
        }
        let bench = try PipelineBench(backend)
        var client = PipelineBench.Client.modern(.roots)
        client.headers = []
        let first = try await bench.call(client, more: keyed("k"))
        let state = try #require(first?["result"]?["requestState"]?.text)
        let more = keyed("k") + #","inputResponses":{"q":{"roots":[]}},"requestState":\#(state)"#
        for _ in 0..<2 { #expect(try await bench.call(client, more: more)?.words == "done") }
        #expect(count.load(ordering: .relaxed) == 2)
        #expect(try await bench.call(client, more: keyed("k"))?.words == "done", "the call from its start")
        #expect(count.load(ordering: .relaxed) == 2)
    }

    @Test("A call through the one tool of compact mode goes on as well when its client leaves")
    func compact() async throws {
        let slow = Slow()
        let bench = try slow.bench(isCompact: true)
        let inside = #""name":"call_tool","arguments":{"name":"up__do","arguments":{}}"# + keyed("k")
        let first = Task { try await bench.ask("tools/call", inside, Self.http) }
        try await slow.arrived.passed()
        first.cancel()
        #expect(try await first.soon() == nil)
        let second = Task { try await bench.ask("tools/call", inside, Self.http) }
        slow.gate.open()
        #expect(try await second.soon()?.words == "1")
        #expect(slow.calls == 1)
    }
}

/// Answers that are given again.
@Suite("Kept replies") struct KeptRepliesTests {
    private final class Counting: Sendable {
        let count = Atomic(0)
        let failure = Mutex<CallFailure?>(nil)
        let gate = Gate()

        func bench(_ policy: ToolPolicy) throws -> PipelineBench {
            let backend = ScriptedBackend(name: "server", tools: [.plain("do")]) {
                _ async throws(CallFailure) -> CallAnswer in
                let number = self.count.add(1, ordering: .relaxed).newValue
                await self.gate.pass()
                if let failure = self.failure.withLock({ $0 }) { throw failure }
                return try .of(#"{"content":[{"type":"text","text":"\#(number)"}],"_meta":{"x":1}}"#)
            }
            return try PipelineBench(backend, policy: policy)
        }
    }

    private func policy(cache: Duration? = nil, stale: Bool = false) -> ToolPolicy {
        var policy = ToolPolicy()
        policy.cache = cache
        if stale { policy.offline = .stale }
        return policy
    }

    @Test("A fresh answer is given again with its age, an old one is asked for anew")
    func fresh() async throws {
        let counting = Counting()
        counting.gate.open()
        let bench = try counting.bench(policy(cache: .seconds(60)))
        #expect(try await bench.call(.modern())?.words == "1")
        bench.time.advance(by: .seconds(30))
        let again = try await bench.call(.modern(), arguments: " { } ")
        #expect(again?.words == "1")
        let meta = again?["result"]?["_meta"]
        #expect(meta?["mcp-gateway/kept-answer"]?["age_seconds"]?.intValue == 30)
        #expect(meta?["x"]?.intValue == 1)
        #expect(try await bench.call(.modern(), arguments: #"{"a":1}"#)?.words == "2")
        var ann = PipelineBench.Client.modern()
        ann.caller = Caller(name: "ann")
        #expect(try await bench.call(ann)?.words == "3", "another caller's answer is another's")
        bench.time.advance(by: .seconds(30))
        #expect(try await bench.call(.modern())?.words == "4")
    }

    @Test("Equal calls that come together are asked once, and each gets the answer under its own id")
    func singleFlight() async throws {
        let counting = Counting()
        let bench = try counting.bench(policy(cache: .seconds(60)))
        let calls = (1...5).map { number in
            Task { try await bench.ask("tools/call", #""name":"up__do","arguments":{}"#, .modern(), id: "\(number)") }
        }
        try await wait(for: "the first") { counting.count.load(ordering: .relaxed) == 1 }
        counting.gate.open()
        for (number, call) in calls.enumerated() {
            let reply = try await call.soon()
            #expect(reply?.words == "1")
            #expect(reply?["id"]?.intValue == number + 1)
        }
    }

    @Test("When the first of equal calls comes to nothing the others hear the same, and the server is left alone")
    func noStampede() async throws {
        let counting = Counting()
        counting.failure.withLock { $0 = .timedOut(after: .seconds(1), sent: true) }
        let bench = try counting.bench(policy(cache: .seconds(60)))
        let calls = (1...5).map { _ in Task { try await bench.call(.modern()) } }
        try await wait(for: "the first") { counting.count.load(ordering: .relaxed) == 1 }
        counting.gate.open()
        for call in calls { #expect(try await call.soon()?["result"]?["isError"] == true) }
        #expect(counting.count.load(ordering: .relaxed) <= 5)
    }

    @Test("A key's answer is never one that was only kept")
    func keyed() async throws {
        let counting = Counting()
        counting.gate.open()
        let bench = try counting.bench(policy(stale: true))
        let more = #","_meta":{"mcp-gateway/idempotency-key":"k"}"#
        #expect(try await bench.call(.modern())?.words == "1")
        counting.failure.withLock { $0 = .unavailable(detail: "no cable") }
        #expect(try await bench.call(.modern(), more: more)?.words == "1")
        counting.failure.withLock { $0 = nil }
        #expect(try await bench.call(.modern(), more: more)?.words == "3", "it is there again, so it is asked")
    }

    @Test("A clock that goes back makes nothing fresh")
    func clock() async throws {
        let counting = Counting()
        counting.gate.open()
        let bench = try counting.bench(policy(cache: .seconds(60)))
        bench.time.advance(by: .seconds(7_200))
        #expect(try await bench.call(.modern())?.words == "1")
        bench.time.advance(by: .seconds(-7_200))
        #expect(try await bench.call(.modern())?.words == "2")
    }

    @Test("An old answer is given when there is no other, with the reason; a tool's own failure is not replaced")
    func stale() async throws {
        let counting = Counting()
        counting.gate.open()
        let bench = try counting.bench(policy(stale: true))
        #expect(try await bench.call(.modern())?.words == "1")
        #expect(try await bench.call(.modern())?.words == "2", "it is there, so it is asked")
        counting.failure.withLock { $0 = .unavailable(detail: "no cable") }
        bench.time.advance(by: .seconds(86_400))
        let old = try await bench.call(.modern())
        #expect(old?.words == "2")
        let facts = old?["result"]?["_meta"]?["mcp-gateway/kept-answer"]
        #expect(facts?["is_stale"] == true)
        #expect(facts?["age_seconds"]?.intValue == 86_400)
        #expect(facts?["reason"]?.stringValue?.contains("no cable") == true)
        #expect(try await bench.call(.modern(), arguments: #"{"never":1}"#)?["result"]?["isError"] == true)
        counting.failure.withLock { $0 = .unknownTool }
        #expect(try await bench.call(.modern())?.code == -32602)
        // Each of the five once.
        let metrics = String(decoding: bench.metrics.render(), as: UTF8.self)
        for (outcome, count) in [("fresh", 0), ("stale", 1), ("miss", 4)] {
            #expect(metrics.contains(#"mcp_cache_lookups_total{outcome="\#(outcome)"} \#(count)"#))
        }
    }
}
