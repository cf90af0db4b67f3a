// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Outbound
internal import Telemetry

/// MCP over the standard input and output of a process of ours. One process serves many calls; answers find theirs by
/// number.
final class StdioTransport: Transport, @unchecked Sendable {
    // Everything mutable is confined to `loop`; needs no lock.
    let kind = "stdio"
    private let name: String
    private let command: ChildCommand
    private let settings: ChildSettings
    private let limits: WireLimits
    private let loop: any EventLoop
    private let log: Logger
    /// Given to the process, and not to be read in what it writes.
    private let secrets: KnownSecrets
    private let answers: PendingAnswers

    private var child: ChildProcess?
    /// Tells the events of a process from those of its predecessor.
    private var life = 0
    private var exitText: String?
    private var hears: (@Sendable (Incoming) -> Void)?
    private var lost: (@Sendable (String) -> Void)?

    init(
        name: String, command: ChildCommand, settings: ChildSettings, answerBytesMax: Int, loop: any EventLoop,
        time: any TimeSource, log: Logger
    ) {
        self.name = name
        self.command = command
        self.settings = settings
        limits = WireLimits(bytesMax: answerBytesMax)
        self.loop = loop
        self.log = log
        secrets = KnownSecrets(of: command)
        answers = PendingAnswers(loop: loop, time: time)
    }

    // MARK: Life of the process

    func open(
        hears: @escaping @Sendable (Incoming) -> Void, lost: @escaping @Sendable (String) -> Void
    ) async throws(TransportError) {
        await close()
        let life = await onLoop {
            self.life += 1
            self.exitText = nil
            self.hears = hears
            self.lost = lost
            return self.life
        }
        do throws(ChildError) {
            let child = try await ChildProcess.start(command, settings: settings, on: loop) { [self] event in
                take(event, life: life)
            }
            await onLoop { if self.life == life, self.exitText == nil { self.child = child } }
        } catch {
            throw TransportError(words: error.text, kind: .ended)
        }
    }

    func close() async {
        let child = await onLoop {
            defer { self.child = nil }
            self.hears = nil
            self.lost = nil
            return self.child
        }
        guard let child else { return }
        child.stop()
        await child.waitUntilGone()
        // Its last word may come after a new life has begun, and then ends nothing.
        await onLoop { self.answers.failAll(.outcomeUnknown(detail: "its process was stopped")) }
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
            log.debug(
                "said on standard error",
                metadata: [
                    LogKey.upstream: "\(name)", LogKey.detail: "\(secrets.hidden(in: text, bytesMax: 2_048))",
                ])
        case .ended(let exit):
            child = nil
            exitText = exit.text
            lost?(exit.text)
            answers.failAll(.outcomeUnknown(detail: "its process is gone: \(exit.text)"))
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
        case .result, .error: answers.take(line, message)
        case .request, .notification: hears?(Incoming(bytes: line, message: message, during: nil))
        }
    }

    // MARK: Requests

    func exchange(
        _ request: WireRequest, on caller: any EventLoop, deadline: Deadline, hearing: Hearing?
    ) async throws(CallFailure) -> WireAnswer {
        guard let id = request.id else { throw .garbage(detail: "a request needs a number") }
        return try await answers.exchange(id, deadline: deadline, hearing: hearing) { () throws(CallFailure) in
            guard let child = self.child else {
                let words = self.exitText.map { "its process is gone: \($0)" } ?? "its process is not running"
                throw .unavailable(detail: words)
            }
            do throws(ChildError) { try child.send(line: request.body) } catch {
                // A process that is only busy is not gone.
                throw error.isBacklog
                    ? .overloaded(detail: error.text, retryAfter: 1) : .unavailable(detail: error.text)
            }
        } giveUp: { _ in
            self.tellCancelled(request, id)
        }
    }

    /// Tells the server that nobody waits; but not for what begins a conversation, which an old server may not have
    /// understood and which cannot be cancelled.
    private func tellCancelled(_ request: WireRequest, _ id: UInt64) {
        guard request.era != nil, request.method != "server/discover" else { return }
        let text = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":\#(id)}}"#
        // A child that does not read will not read this either.
        try? child?.send(line: ByteBuffer(string: text))
    }

    func notify(_ request: WireRequest, on caller: any EventLoop, deadline: Deadline) async {
        await onLoop {
            // Nobody learns whether a notification arrived.
            try? self.child?.send(line: request.body)
        }
    }
}

extension ChildError {
    /// The child is there and does not keep up.
    fileprivate var isBacklog: Bool {
        if case .tooMuchUnsent = self { return true }
        return false
    }
}
