// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Glibc
import MCPWire
import NIOCore
import NIOPosix
import Testing

@testable import Upstreams

/// Which failure is which: whether anything was sent, whether it may have been carried out, and whether the server is
/// away at all.
@Suite("Trouble") struct TroubleTests {
    /// One exchange over a transport of its own, on its loop.
    private func exchange(_ url: String, within patience: Duration = .seconds(30)) async throws -> CallFailure? {
        let (loop, time) = (TestLoop.one, ManualTime(runs: true))
        let transport = try HTTPTransport(url: url, headers: [], answerBytesMax: 1 << 20, loops: [loop], time: time)
        let request = CallWriter(identity: ["name": "gw", "version": "1"]).request("tools/call", id: 1, era: .modern)
        let failure = try await Task(executorPreference: LoopExecutor(loop)) { () -> CallFailure? in
            do throws(CallFailure) {
                _ = try await transport.exchange(
                    request, on: loop, deadline: Deadline(time.now() + patience), hearing: nil)
                return nil
            } catch {
                return error
            }
        }.soon("the end of an exchange")
        await transport.close()
        return failure
    }

    @Test("A name that cannot be resolved: nothing was sent, and the words say why")
    func noName() async throws {
        // No label may be this long, so nobody outside is asked for it.
        let host = String(repeating: "a", count: 64) + ".invalid"
        #expect(
            try await exchange("http://\(host)/mcp")
                == .unavailable(detail: "cannot connect to \(host): the name cannot be resolved"))
    }

    @Test(
        "A connection that is reset in the middle of an answer leaves the outcome unknown",
        arguments: [
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"jsonrpc\":",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: wait\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"js",
            "HTTP/1.1 200", "",
        ])
    func reset(_ beginning: String) async throws {
        let server = try await ResettingServer.start(beginning)
        let failure = try await exchange("http://127.0.0.1:\(server.port)/mcp")
        await server.stop()
        guard case .outcomeUnknown(let detail) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(!detail.isEmpty)
    }

    @Test("A server that takes a connection and never secures it: nothing was sent, within the time of the call")
    func neverSecured() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let failure = try await exchange("https://127.0.0.1:\(upstream.port)/mcp", within: .milliseconds(500))
        guard case .unavailable(let detail) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(detail.hasPrefix("no secure connection to 127.0.0.1:\(upstream.port): "), "\(detail)")
        #expect(upstream.requests.isEmpty)
        await upstream.goAway()
    }

    @Test("A server that takes a call and never answers: the time is over, it was sent, and the server is not away")
    func neverAnswers() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let (bench, up) = try await PoolBench.up(upstream, timeout: .seconds(5))
        let time = bench.time
        upstream.answerCalls { _ in
            time.advance(by: .seconds(6))
            return .silence
        }
        guard case .timedOut(let after, sent: true) = try await up.echo() else {
            Issue.record("it did not end by its time")
            return
        }
        #expect(after >= .seconds(5))
        #expect(up.isUp && up.facts.awayReason == nil)
        #expect(bench.returned.all == ["up"])
        #expect(upstream.requests("server/discover").count == 1)
        await bench.close()
        await upstream.goAway()
    }

    @Test("A server that never answers the first question is away, in words, within the patience of a handshake")
    func neverBegins() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let time = ManualTime(runs: true)
        upstream.answer { _ in
            time.advance(by: .seconds(46))
            return .silence
        }
        let bench = try PoolBench([.scripted("up", upstream)], time: time)
        let up = bench.pool.upstreams[0]
        try await wait(for: "its word: \(up.facts)") { up.facts.awayReason == "timeout: no answer within 45 s" }
        guard case .unavailable = try await up.echo() else {
            Issue.record("something was sent to a server that is away")
            return
        }
        #expect(upstream.calls.isEmpty)
        await bench.close()
        await upstream.goAway()
    }

    @Test("A session that is gone is no server that is gone: it is opened anew, on a call or on a look")
    func deadSession() async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: true))
        let (bench, up) = try await PoolBench.up(upstream)
        upstream.forgetSessions()
        #expect(try await up.echo() == nil)
        #expect(upstream.calls.count == 2)
        #expect(upstream.requests("initialize").count == 2)
        upstream.forgetSessions()
        try await bench.look(for: "another session") { upstream.requests("initialize").count == 3 }
        #expect(try await up.echo() == nil)
        // A client's own session is opened anew for its call, and the shared one is left alone.
        #expect(try await up.echo(for: RecordingConversation(), logLevel: .info) == nil)
        let sessions = upstream.requests("initialize").count
        upstream.forgetSessions()
        #expect(try await up.echo(for: RecordingConversation(), logLevel: .info) == nil)
        #expect(upstream.requests("initialize").count > sessions)
        #expect(up.isUp)
        #expect(bench.returned.all == ["up"], "it was never away")
        await bench.close()
        await upstream.goAway()
    }

    // MARK: The old HTTP+SSE transport

    /// How a message ends that the server answers with this status, and nothing on the stream.
    private func post(_ answer: ScriptedAnswer) async throws -> Result<WireAnswer, CallFailure> {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2024_11_05, hasSessions: false))
        upstream.answer { request in
            request.verb == "GET" ? .events(["event: endpoint\ndata: /messages?s=1\n\n"], ends: false) : answer
        }
        let (loop, time) = (TestLoop.one, ManualTime(runs: true))
        let http = try HTTPTransport(
            url: upstream.url, headers: [], answerBytesMax: 1 << 20, loops: [loop], time: time)
        let transport = EventSourceTransport(http: http, loop: loop, time: time)
        let request = CallWriter(identity: ["name": "gw", "version": "1"]).request(
            "tools/call", id: 1, era: .legacy(.v2024_11_05, session: nil))
        let task = Task(executorPreference: LoopExecutor(loop)) { () -> Result<WireAnswer, CallFailure> in
            do throws(TransportError) {
                try await transport.open(hears: { _ in }, lost: { _ in })
            } catch {
                return .failure(.unavailable(detail: "it did not open: \(error.words)"))
            }
            do throws(CallFailure) {
                return .success(
                    try await transport.exchange(
                        request, on: loop, deadline: Deadline(time.now() + .seconds(30)), hearing: nil))
            } catch {
                return .failure(error)
            }
        }
        let result = try await task.soon("the end of a message")
        await transport.close()
        await http.close()
        await upstream.goAway()
        return result
    }

    @Test("What a message is refused with is its answer: a session that is gone among it", arguments: [400, 404, 502])
    func refusedMessage(_ status: Int) async throws {
        let answer = try await post(.json("", status: status)).get()
        #expect(answer.status == status)
        #expect(answer.message == nil)
        #expect(AnswerReading.isSessionLoss(answer) == (status == 404))
    }

    @Test("A stream that cannot be had because the server asks to slow down is no stream that is missing")
    func slowedStream() async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2024_11_05, hasSessions: false))
        upstream.answer { _ in .json(status: 429, headers: [("retry-after", "7")], "") }
        let (loop, time, lost) = (TestLoop.one, ManualTime(runs: true), Flag())
        let http = try HTTPTransport(
            url: upstream.url, headers: [], answerBytesMax: 1 << 20, loops: [loop], time: time)
        let transport = EventSourceTransport(http: http, loop: loop, time: time)
        for _ in 0..<2 {
            let error = await Task(executorPreference: LoopExecutor(loop)) { () -> TransportError? in
                do throws(TransportError) {
                    try await transport.open(hears: { _ in }, lost: { _ in lost.raise() })
                    return nil
                } catch {
                    return error
                }
            }.value
            #expect(error?.isSlowDown == true)
            #expect(error?.words.hasPrefix("its server asks to slow down") == true)
        }
        #expect(upstream.requests.count == 1)
        #expect(!lost.isRaised, "what was never there is not lost")
        await transport.close()
        await http.close()
        await upstream.goAway()
    }

    @Test("A server that asks to slow down says so to a message as well")
    func slowedMessage() async throws {
        let result = try await post(.json(status: 429, headers: [("retry-after", "7")], ""))
        #expect(throws: CallFailure.overloaded(detail: "its server asks to slow down", retryAfter: 7)) {
            try result.get()
        }
    }
}

/// Takes a connection, answers the beginning of an answer, and resets the connection.
private final class ResettingServer: Sendable {
    let port: Int
    private let listener: any Channel

    private init(_ listener: any Channel) {
        self.listener = listener
        port = listener.localAddress?.port ?? 0
    }

    static func start(_ beginning: String) async throws -> ResettingServer {
        let listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(beginning))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return ResettingServer(listener)
    }

    func stop() async {
        // Closing what is closed already is what we want.
        try? await listener.close()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let beginning: String

        init(_ beginning: String) { self.beginning = beginning }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let channel = context.channel
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: beginning))).whenComplete { _ in
                // With this a close is a reset.
                (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
                    .whenComplete { _ in channel.close(promise: nil) }
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
