// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Upstreams

/// Connections to an upstream are kept and given up at the right time.
@Suite("Connection reuse") struct ConnectionReuseTests {
    private struct Bench: Sendable {
        let upstream: ScriptedUpstream
        let transport: HTTPTransport
        let time: ManualTime
        let loop: any EventLoop
        let writer = CallWriter(identity: ["name": "gw", "version": "1"])
        let numbers = NumberSource()

        init(_ personality: Personality = .modern) async throws {
            upstream = try await ScriptedUpstream.start(personality)
            time = ManualTime(runs: true)
            loop = TestLoop.one
            transport = try HTTPTransport(
                url: upstream.url, headers: [], answerBytesMax: 1 << 20, loops: [loop], time: time)
        }

        /// One call on the bench's loop.
        func call(within patience: Duration = .seconds(30)) async -> Result<WireAnswer, CallFailure> {
            let request = writer.request("tools/call", id: numbers.next(), members: #""name":"echo""#, era: .modern)
            let deadline = Deadline(time.now() + patience)
            return await Task(executorPreference: LoopExecutor(loop)) { () -> Result<WireAnswer, CallFailure> in
                do throws(CallFailure) {
                    return .success(try await transport.exchange(request, on: loop, deadline: deadline, hearing: nil))
                } catch {
                    return .failure(error)
                }
            }.value
        }

        func close() async {
            await transport.close()
            await upstream.goAway()
        }
    }

    @Test("Calls one after the other use one connection, calls at once use one each")
    func reuse() async throws {
        let bench = try await Bench()
        for _ in 0..<20 { _ = try await bench.call().get() }
        #expect(bench.upstream.connectionCount == 1)
        let gate = Gate()
        bench.upstream.answer { .after(gate, .result(#""content":[]"#, to: $0)) }
        async let first = bench.call()
        async let second = bench.call()
        async let third = bench.call()
        try await wait(for: "three calls at once") { bench.upstream.calls.count == 23 }
        gate.open()
        for result in [await first, await second, await third] { #expect(throws: Never.self) { try result.get() } }
        #expect(bench.upstream.connectionCount == 3)
        await bench.close()
    }

    @Test("A connection that the server wants closed is not used again")
    func serverCloses() async throws {
        let bench = try await Bench()
        bench.upstream.answer { request in
            .json(
                status: 200, headers: [("connection", "close")], #"{"jsonrpc":"2.0","id":\#(request.id),"result":{}}"#)
        }
        for _ in 0..<3 { _ = try await bench.call().get() }
        #expect(bench.upstream.connectionCount == 3)
        await bench.close()
    }

    @Test("A connection whose event stream ends soon after the answer is used again")
    func afterEvents() async throws {
        let bench = try await Bench()
        bench.upstream.answer { .events(["data: {\"jsonrpc\":\"2.0\",\"id\":\($0.id),\"result\":{}}\n\n"], ends: true) }
        _ = try await bench.call().get()
        try await wait(for: "a call on a connection that was there") {
            let before = bench.upstream.connectionCount
            _ = try await bench.call().get()
            return bench.upstream.connectionCount == before
        }
        bench.upstream.answer {
            .events(["data: {\"jsonrpc\":\"2.0\",\"id\":\($0.id),\"result\":{}}\n\n"], ends: false)
        }
        // Each of these streams keeps its connection, so one call more than there are connections needs another one.
        let before = bench.upstream.connectionCount
        for _ in 0...before { _ = try await bench.call().get() }
        #expect(bench.upstream.connectionCount > before)
        await bench.close()
    }

    @Test("A silent connection is given up before a common server would give it up")
    func idle() async throws {
        let bench = try await Bench()
        _ = try await bench.call().get()
        bench.time.advance(by: .seconds(5))
        try await wait(for: "the end of the connection") { bench.upstream.openConnections == 0 }
        _ = try await bench.call().get()
        #expect(bench.upstream.connectionCount == 2)
        await bench.close()
    }

    @Test("A call that ends early takes its connection with it, so that a late answer meets nobody")
    func lateAnswers() async throws {
        let bench = try await Bench()
        let gate = Gate()
        let time = bench.time
        bench.upstream.answer { request in
            time.advance(by: .seconds(31))
            return .after(gate, .result(#""late":true"#, to: request))
        }
        let result = await bench.call()
        guard case .failure(.timedOut(let after, sent: true)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(after >= .seconds(30))
        bench.upstream.answer { .result(#""fresh":true"#, to: $0) }
        gate.open()
        let answer = try await bench.call().get()
        #expect(String(buffer: answer.bytes).contains("fresh"))
        #expect(bench.upstream.connectionCount == 2)
        await bench.close()
    }

    @Test("A server that nobody answers for is named with its address and the reason")
    func refused() async throws {
        let bench = try await Bench()
        await bench.upstream.goAway()
        guard case .failure(.unavailable(let detail)) = await bench.call() else {
            Issue.record("there was an answer")
            return
        }
        #expect(detail == "cannot connect to 127.0.0.1:\(bench.upstream.port): connection refused")
        await bench.close()
    }

    @Test("A cancelled call ends at once and closes its connection")
    func cancelled() async throws {
        let bench = try await Bench()
        bench.upstream.answer { _ in .silence }
        let loop = bench.loop
        let task = Task(executorPreference: LoopExecutor(loop)) { () -> CallFailure? in
            let request = bench.writer.request("tools/call", id: 1, era: .modern)
            do throws(CallFailure) {
                _ = try await bench.transport.exchange(
                    request, on: loop, deadline: Deadline(bench.time.now() + .seconds(30)), hearing: nil)
                return nil
            } catch {
                return error
            }
        }
        try await wait(for: "the call") { bench.upstream.calls.count == 1 }
        task.cancel()
        #expect(await task.value == .cancelled)
        try await wait(for: "the end of its connection") { bench.upstream.leftWaiting == 1 }
        await bench.close()
    }

    @Test(
        "An answer is ours by its number as a number",
        arguments: [
            ("7", true), ("07", false), ("8", false), (#""7""#, false), ("-7", false), ("77", false),
            ("18446744073709551623", false),
        ])
    func numbers(_ id: String, _ isOurs: Bool) throws {
        let text = #"{"jsonrpc":"2.0","id":\#(id),"result":{}}"#
        let bytes = ByteBuffer(string: text)
        guard let message = try? MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits()) else {
            #expect(id == "07", "only this is no JSON")
            return
        }
        #expect(HTTPUpstreamConnection.isAnswer(message, bytes, to: 7) == isOurs)
    }
}
