// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Synchronization
import Telemetry

@testable import Upstreams

/// A way to a server that a test plays.
final class ScriptedTransport: Transport {
    typealias Exchange = @Sendable (WireRequest, Hearing?) async throws(CallFailure) -> WireAnswer

    let kind: String
    let requests = Collected<WireRequest>()
    let notified = Collected<WireRequest>()
    let ended = Collected<Era>()
    let closed = Flag()
    private let script: Exchange
    private let outside = Mutex<(hears: (@Sendable (Incoming) -> Void)?, lost: (@Sendable (String) -> Void)?)>(
        (nil, nil))

    /// - Parameter exchange: how requests are answered; the plain one answers nothing until its task ends.
    init(
        kind: String = "stdio",
        exchange: @escaping Exchange = { _, _ async throws(CallFailure) -> WireAnswer in
            await Latch().wait()
            throw .cancelled
        }
    ) {
        self.kind = kind
        script = exchange
    }

    func exchange(
        _ request: WireRequest, on loop: any EventLoop, deadline: Deadline, hearing: Hearing?
    ) async throws(CallFailure) -> WireAnswer {
        requests.add(request)
        return try await script(request, hearing)
    }

    func notify(_ request: WireRequest, on loop: any EventLoop, deadline: Deadline) async { notified.add(request) }

    func open(
        hears: @escaping @Sendable (Incoming) -> Void, lost: @escaping @Sendable (String) -> Void
    ) async throws(TransportError) {
        outside.withLock { $0 = (hears, lost) }
    }

    func close() async { closed.raise() }
    func end(_ era: Era, on loop: any EventLoop) async { ended.add(era) }

    /// The process is gone.
    func lose() { outside.withLock { $0.lost }?("it ended") }

    /// The server says something outside of any request.
    func say(_ json: String) throws { outside.withLock { $0.hears }?(try .of(json)) }

    /// What was said back, as JSON text.
    var said: [String] { notified.all.map { String(buffer: $0.body) } }
}

extension Incoming {
    static func of(_ json: String, during: UInt64? = nil) throws(WireError) -> Incoming {
        let bytes = ByteBuffer(string: json)
        return Incoming(
            bytes: bytes, message: try MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits()),
            during: during)
    }
}

extension WireAnswer {
    static func result(_ json: String = "{}", to request: WireRequest) -> WireAnswer {
        let bytes = ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(request.id ?? 0),"result":\#(json)}"#)
        let message = try? MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits())
        return WireAnswer(status: 200, bytes: bytes, message: message)
    }
}

extension WireRequest {
    static func numbered(_ id: UInt64, method: String = "tools/call") -> WireRequest {
        WireRequest(id: id, method: method, body: ByteBuffer(string: "{}"), era: .modern)
    }
}

/// Keeps what an owner says, and answers its questions by script.
final class RecordingConversation: Conversation {
    typealias Answer = @Sendable (Question) async -> QuestionOutcome

    let progress = Collected<String>()
    let logs = Collected<String>()
    let questions = Collected<Question>()
    let pauses = Collected<Duration>()
    private let answer: Answer
    private let asking: Duration

    init(asking: Duration = .zero, answer: @escaping Answer = { _ in .answer(["ok": true]) }) {
        self.asking = asking
        self.answer = answer
    }

    private func text(_ payload: Payload) -> String {
        payload.bytes.getString(at: payload.bytes.readerIndex + payload.range.lowerBound, length: payload.range.count)
            ?? ""
    }

    func progressed(_ notification: Payload) { progress.add(text(notification)) }
    func logged(_ notification: Payload) { logs.add(text(notification)) }
    func ask(_ question: Question) async -> QuestionOutcome {
        questions.add(question)
        return await answer(question)
    }
    func timeAsking(at now: Moment) -> Duration { asking }
    func paused(resumeAfter: Duration) { pauses.add(resumeAfter) }
}

extension ServerLink {
    static func scripted(
        _ transport: ScriptedTransport, isExclusive: Bool = false, time: ManualTime = ManualTime(),
        notice: @escaping @Sendable (Notice) -> Void = { _ in }
    ) throws -> ServerLink {
        ServerLink(
            name: "up", transport: transport, isExclusive: isExclusive, numbers: NumberSource(), loop: TestLoop.one,
            time: time, log: try silentLogs(time).logger(component: "test"), notice: notice)
    }

    /// Begins a call that stays open until its task ends; when this returns it is under way.
    func begin(
        _ id: UInt64, for conversation: RecordingConversation?, wantsLog: Bool = false
    ) -> Task<WireAnswer?, Never> {
        Task.immediate {
            // How it ends is what the test asks for elsewhere.
            try? await self.exchange(
                .numbered(id), for: conversation, wantsLog: wantsLog, on: TestLoop.one,
                deadline: Deadline(Moment(nanoseconds: .max)))
        }
    }
}
