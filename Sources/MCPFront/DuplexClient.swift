// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import MCPWire
package import NIOCore
internal import Synchronization

/// A client at the other end of two streams of messages, one each way: stdio, a local socket, the old HTTP+SSE.
/// Requests run side by side; everything that goes to the client goes the same way.
package final class DuplexClient: ClientSession, @unchecked Sendable {
    // Messages are taken on `loop` only; what other threads may touch is in mutexes.
    package let key: SessionKey
    private let service: any MCPService
    private let limits: WireLimits
    private let time: any TimeSource
    private let loop: any EventLoop
    let caller: Caller
    private let address: String
    private let out: @Sendable (ByteBuffer) -> Void
    private let questions = QuestionBook()
    private let requests = RequestBook()
    /// These end only when somebody ends them.
    private let listens = RequestBook()
    private let state = Mutex(State())
    /// Revisions without sessions may be spoken here too.
    private let allowsModern: Bool

    private struct State {
        /// What `initialize` agreed on.
        var revision: Revision?
        var capabilities: ClientCapabilities = []
        var level: LogLevel?
        var isClosed = false
        /// The gateway is stopping: what runs is finished, nothing new is begun.
        var isStopping = false
        /// Called once, when nothing is being worked on any more.
        var idle: (@Sendable () -> Void)?
    }

    /// Requests of one client at a time; more are refused.
    private static let requestsMax = 256

    /// - Parameter send: takes one message for the client; may be called from any thread, and keeps the order.
    package init(
        service: any MCPService, bodyBytesMax: Int, caller: Caller, address: String = "local", allowsModern: Bool,
        loop: any EventLoop, time: any TimeSource, send: @escaping @Sendable (ByteBuffer) -> Void
    ) {
        key = .random()
        self.service = service
        limits = WireLimits(bytesMax: bodyBytesMax)
        self.caller = caller
        self.address = address
        self.allowsModern = allowsModern
        self.loop = loop
        self.time = time
        out = send
    }

    package var revision: Revision { state.withLock { $0.revision } ?? .newestLegacy }
    package var logLevel: LogLevel? { state.withLock { $0.level } }
    package func setLogLevel(_ level: LogLevel) { state.withLock { $0.level = level } }
    package func deliver(_ notification: ByteBuffer) { out(notification) }

    /// The client is gone: what it asked for is given up.
    package func close() {
        let wasOpen = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard wasOpen else { return }
        questions.close()
        requests.cancelAll()
        listens.cancelAll()
        service.ended(key)
    }

    /// The client says no more, and may still be waiting for answers.
    ///
    /// - Parameter idle: called when it has them all; perhaps at once.
    package func saysNoMore(idle: @escaping @Sendable () -> Void) {
        questions.close()
        listens.cancelAll()
        finish(then: idle)
    }

    /// The gateway is stopping: what the client has asked for is finished, what it asks from here on is refused.
    ///
    /// - Parameters:
    ///   - canAnswer: whether its answers to questions still get here.
    ///   - idle: called when nothing is being worked on any more; perhaps at once.
    package func stop(canAnswer: Bool, idle: @escaping @Sendable () -> Void) {
        if !canAnswer { questions.close() }
        state.withLock { $0.isStopping = true }
        finish(then: idle)
    }

    /// The gateway waits no longer: what is being worked on is ended, and its answers say so.
    package func endWork() { requests.endAll() }

    private func finish(then idle: @escaping @Sendable () -> Void) {
        state.withLock { $0.idle = idle }
        tellWhenIdle()
    }

    private func tellWhenIdle() {
        guard requests.count == 0, listens.count == 0 else { return }
        state.withLock { state in
            defer { state.idle = nil }
            return state.idle
        }?()
    }

    // MARK: Taking messages, on the loop

    /// One message, or in a session of 2025-03-26 an array of them.
    package func take(_ bytes: ByteBuffer) {
        guard !state.withLock({ $0.isClosed }) else { return }
        if state.withLock({ $0.revision }) == .v2025_03_26,
            bytes.readableBytesView.first(where: { !" \t\r".utf8.contains($0) }) == UInt8(ascii: "[")
        {
            return takeBatch(bytes)
        }
        do throws(WireError) {
            take(try MessageParser.parse(bytes.readableBytesUInt8Span, limits: limits), bytes)
        } catch {
            refuse(error.kind == .notJSON ? -32700 : -32600, error.text, error.idText)
        }
    }

    /// A line that is longer than a message may be.
    package func refuseLong() {
        refuse(-32600, "A message is longer than the \(limits.bytesMax) bytes this gateway takes.", nil)
    }

    private func takeBatch(_ bytes: ByteBuffer) {
        do throws(WireError) {
            for range in try MessageParser.batch(bytes.readableBytesUInt8Span, limits: limits) {
                guard let one = bytes.getSlice(at: bytes.readerIndex + range.lowerBound, length: range.count) else {
                    continue
                }
                takeElement(one)
            }
        } catch {
            refuse(error.kind == .notJSON ? -32700 : -32600, error.text, error.idText)
        }
    }

    /// A bad element is refused for itself; the others are served.
    private func takeElement(_ bytes: ByteBuffer) {
        do throws(WireError) {
            let message = try MessageParser.parse(bytes.readableBytesUInt8Span, limits: limits)
            guard message.method != .initialize || message.kind != .request else {
                let id = message.id.map { Array(bytes.readableBytesUInt8Span, $0) }
                return refuse(-32600, "initialize must not be part of a batch.", id)
            }
            take(message, bytes)
        } catch {
            refuse(-32600, error.text, error.idText)
        }
    }

    private func take(_ message: Message, _ bytes: ByteBuffer) {
        switch message.kind {
        case .result, .error: questions.take(bytes, message)
        case .notification: cancelled(message, bytes)
        case .request: request(message, bytes)
        }
    }

    private func cancelled(_ message: Message, _ bytes: ByteBuffer) {
        guard message.method == .cancelled else { return }
        requests.cancel(bytes, message)
        listens.cancel(bytes, message)
    }

    private func request(_ message: Message, _ bytes: ByteBuffer) {
        let span = bytes.readableBytesUInt8Span
        let id = message.id.map { Array(span, $0) } ?? []
        guard !state.withLock({ $0.isStopping }) else {
            return refuse(-32603, "This gateway is stopping. Try again when it is back.", id)
        }
        guard requests.count < Self.requestsMax else {
            return refuse(-32603, "\(Self.requestsMax) requests of this client run already. Try again later.", id)
        }
        if message.metaMember("io.modelcontextprotocol/protocolVersion", in: span) != nil, allowsModern {
            if let refusal = EnvelopeCheck.refusal(of: message, bytes) { return write(service.refuse(refusal)) }
            return run(message, bytes, id, .modern, message.declared(in: bytes), session: nil)
        }
        if message.method == .initialize {
            guard let greeting = Greeting(message, bytes, limits: limits) else {
                return write(service.refuse(Greeting.refusal(message, bytes)))
            }
            state.withLock { state in
                state.revision = greeting.revision
                state.capabilities = greeting.capabilities
            }
            service.began(self)
            return run(message, bytes, id, greeting.revision, [], session: nil)
        }
        let (revision, capabilities) = state.withLock { ($0.revision, $0.capabilities) }
        guard let revision else {
            return refuse(
                -32600, "Begin with initialize, or send requests of 2026-07-28, which say their version in _meta.", id)
        }
        run(message, bytes, id, revision, capabilities, session: self)
    }

    private func run(
        _ message: Message, _ bytes: ByteBuffer, _ id: [UInt8], _ revision: Revision,
        _ capabilities: ClientCapabilities, session: (any ClientSession)?
    ) {
        let stream = DuplexStream(client: self, canAsk: !revision.isModern)
        var made = InboundMessage(
            bytes: bytes, message: message, revision: revision, caller: caller, requestID: .random(),
            arrivedAt: time.now(), loop: loop, capabilities: capabilities, stream: stream, session: session)
        made.address = address
        let inbound = made
        // Ends with its answer, or when the client takes it back or leaves.
        let book = message.method == .listen ? listens : requests
        let entry = book.begin(id)
        let task = Task(executorPreference: LoopExecutor(loop)) {
            let reply = await self.service.handle(inbound)
            if book.end(entry) { self.write(reply) }
            self.tellWhenIdle()
        }
        book.set(entry) { task.cancel() }
    }

    // MARK: Writing

    private func refuse(_ code: Int, _ words: String, _ id: [UInt8]?) {
        write(service.refuse(ProtocolRefusal(code: code, message: words, idText: id)))
    }

    private func write(_ reply: Reply) {
        guard case .response(let json, _) = reply, !state.withLock({ $0.isClosed }) else { return }
        out(json)
    }

    fileprivate func send(_ message: ByteBuffer) { out(message) }

    fileprivate var now: Moment { time.now() }

    fileprivate func ask(_ question: Question, deadline: Deadline) async -> QuestionOutcome {
        await questions.ask(question, deadline: deadline, loop: loop, time: time) { out($0) }
    }
}

/// Where messages about one request go: the same way as all others.
private final class DuplexStream: ClientStream {
    private let client: DuplexClient
    let canAsk: Bool
    private let asking = AskingClock()

    init(client: DuplexClient, canAsk: Bool) {
        self.client = client
        self.canAsk = canAsk
    }

    func send(_ notification: ByteBuffer, isVital: Bool) { client.send(notification) }

    func ask(_ question: Question, deadline: Deadline) async -> QuestionOutcome {
        guard canAsk else { return .refused(code: -32601, message: "In this revision clients answer no requests.") }
        asking.begin(at: client.now)
        defer { asking.end(at: client.now) }
        return await client.ask(question, deadline: deadline)
    }

    func timeAsking(at now: Moment) -> Duration { asking.total(at: now) }

    func pause(resumeAfter: Duration) {}
}

extension SessionKey {
    static func random() -> SessionKey {
        var random = SystemRandomNumberGenerator()
        return SessionKey((0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) })
    }
}
