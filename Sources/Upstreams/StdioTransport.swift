// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Outbound
internal import Telemetry

/// MCP over the standard input and output of a process of ours. One process serves all calls; answers find theirs by
/// number.
final class StdioTransport: Transport, @unchecked Sendable {
    // Everything mutable is confined to `loop`; needs no lock.
    let kind = "stdio"
    private let name: String
    private let command: ChildCommand
    private let settings: ChildSettings
    private let limits: WireLimits
    private let loop: any EventLoop
    private let time: any TimeSource
    private let log: Logger

    private var child: ChildProcess?
    /// Tells the events of a process from those of its predecessor.
    private var life = 0
    private var exitText: String?
    private var waiting: [UInt64: Waiter] = [:]

    private struct Waiter {
        let continuation: UnsafeContinuation<Result<WireAnswer, CallFailure>, Never>
        let timer: Scheduled<Void>
    }

    private static let waitingMax = 1_024

    init(
        name: String, command: ChildCommand, settings: ChildSettings, answerBytesMax: Int, loop: any EventLoop,
        time: any TimeSource, log: Logger
    ) {
        self.name = name
        self.command = command
        self.settings = settings
        limits = WireLimits(bytesMax: answerBytesMax)
        self.loop = loop
        self.time = time
        self.log = log
    }

    // MARK: Life of the process

    func open() async throws(TransportError) {
        await close()
        let life = await onLoop {
            self.life += 1
            self.exitText = nil
            return self.life
        }
        do throws(ChildError) {
            let child = try await ChildProcess.start(command, settings: settings, on: loop) { [self] event in
                take(event, life: life)
            }
            await onLoop { if self.life == life, self.exitText == nil { self.child = child } }
        } catch {
            throw TransportError(words: error.text)
        }
    }

    func close() async {
        let child = await onLoop {
            defer { self.child = nil }
            return self.child
        }
        guard let child else { return }
        child.stop()
        await child.waitUntilGone()
    }

    private func onLoop<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
        if loop.inEventLoop { return body() }
        return await withCheckedContinuation { continuation in
            loop.execute { continuation.resume(returning: body()) }
        }
    }

    private func take(_ event: ChildEvent, life: Int) {
        guard life == self.life else { return }
        switch event {
        case .line(let line): take(line)
        case .stderr(let text):
            log.debug("said on standard error", metadata: [LogKey.upstream: "\(name)", LogKey.detail: "\(text)"])
        case .ended(let exit):
            child = nil
            exitText = exit.text
            let all = waiting
            waiting = [:]
            for waiter in all.values {
                waiter.timer.cancel()
                waiter.continuation.resume(
                    returning: .failure(.outcomeUnknown(detail: "its process is gone: \(exit.text)")))
            }
        }
    }

    private func take(_ line: ByteBuffer) {
        let message: Message
        do throws(WireError) {
            message = try MessageParser.parse(line.readableBytesUInt8Span, limits: limits)
        } catch {
            log.debug(
                "wrote a line that is no message",
                metadata: [LogKey.upstream: "\(name)", LogKey.detail: "\(error.text)"])
            return
        }
        switch message.kind {
        case .result, .error: finish(line, message)
        case .request: answer(line, message)
        case .notification: break
        }
    }

    private func finish(_ line: ByteBuffer, _ message: Message) {
        guard let range = message.id,
            let id = UInt64(JSONText.string(line.readableBytesUInt8Span, inside: range)),
            let waiter = waiting.removeValue(forKey: id)
        else { return }
        waiter.timer.cancel()
        waiter.continuation.resume(
            returning: .success(WireAnswer(status: 200, bytes: line, message: message, session: nil)))
    }

    /// What a server asks of us: it may ask whether we are there; everything else was not offered.
    private func answer(_ line: ByteBuffer, _ message: Message) {
        guard let id = message.id, let text = line.getSlice(at: line.readerIndex + id.lowerBound, length: id.count)
        else {
            return
        }
        var out = ByteBuffer(string: #"{"jsonrpc":"2.0","id":"#)
        out.writeImmutableBuffer(text)
        out.writeString(
            message.method == .ping
                ? #","result":{}}"#
                : #","error":{"code":-32601,"message":"This client did not offer that."}}"#)
        // A child that has ended in the meantime needs no answer.
        try? child?.send(line: out)
    }

    // MARK: Requests

    func exchange(
        _ request: WireRequest, on caller: any EventLoop, deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer {
        guard let id = request.id else { throw .garbage(detail: "a request needs a number") }
        if Task.isCancelled { throw .cancelled }
        let result: Result<WireAnswer, CallFailure> = await withTaskCancellationHandler {
            // Resumed exactly once: by whoever takes it out of `waiting`.
            await withUnsafeContinuation { continuation in
                if loop.inEventLoop {
                    begin(request, id, deadline, continuation)
                } else {
                    loop.execute { self.begin(request, id, deadline, continuation) }
                }
            }
        } onCancel: {
            loop.execute { self.giveUp(id, .cancelled, request) }
        }
        return try result.get()
    }

    private func begin(
        _ request: WireRequest, _ id: UInt64, _ deadline: Deadline,
        _ continuation: UnsafeContinuation<Result<WireAnswer, CallFailure>, Never>
    ) {
        guard let child else {
            let words = exitText.map { "its process is gone: \($0)" } ?? "its process is not running"
            continuation.resume(returning: .failure(.unavailable(detail: words)))
            return
        }
        guard waiting.count < Self.waitingMax else {
            let words = "\(Self.waitingMax) calls wait for its server already"
            continuation.resume(returning: .failure(.overloaded(detail: words)))
            return
        }
        do throws(ChildError) {
            try child.send(line: request.body)
        } catch {
            continuation.resume(returning: .failure(.unavailable(detail: error.text)))
            return
        }
        let patience = deadline.remaining(at: time.now())
        let timer = loop.scheduleTask(in: .nanoseconds(patience.nanosecondsClamped)) {
            self.giveUp(id, .timedOut(after: patience, sent: true), request)
        }
        waiting[id] = Waiter(continuation: continuation, timer: timer)
    }

    /// Stops waiting and tells the server so; but not for what begins a conversation, which an old server may not have
    /// understood and which cannot be cancelled.
    private func giveUp(_ id: UInt64, _ failure: CallFailure, _ request: WireRequest) {
        guard let waiter = waiting.removeValue(forKey: id) else { return }
        waiter.timer.cancel()
        if request.era != nil, request.method != "server/discover" {
            let text = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":\#(id)}}"#
            // A child that does not read will not read this either.
            try? child?.send(line: ByteBuffer(string: text))
        }
        waiter.continuation.resume(returning: .failure(failure))
    }

    func notify(_ request: WireRequest, on caller: any EventLoop, deadline: Deadline) async {
        await onLoop {
            // Nobody learns whether a notification arrived.
            try? self.child?.send(line: request.body)
        }
    }
}
