// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import NIOHTTP1
internal import NIOTLS

/// Lets finished request bytes past NIO's response decoder.
///
/// The decoder has to see a request head to know which response follows, but encoding one for every call costs a tenth
/// of the rate. So the heads written through the pipeline end here, and the bytes are written from here.
final class RequestBytes: ChannelOutboundHandler {
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = ByteBuffer

    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) { promise?.succeed() }

    func send(_ bytes: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }
}

/// One connection to an upstream: one request at a time, its answer as JSON or as an event stream.
final class HTTPUpstreamConnection: ChannelInboundHandler, @unchecked Sendable {
    // Confined to the event loop of its channel, like every channel handler; needs no lock.
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private static let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/")

    var wire: RequestBytes?
    /// Kept when the connection is secured: until then nothing can be sent.
    var secured: EventLoopPromise<Void>?
    private let pool: HTTPConnectionPool
    private let limits: WireLimits
    private let time: any TimeSource
    private var context: ChannelHandlerContext?
    private var isOpen = false
    private var idleSince: Moment
    private var pending: Pending?
    /// Counts the requests, so that a cancellation that comes late cannot hit the next one.
    private var serial: UInt64 = 0
    /// The answer has come as an event, the end of its stream has not: until when that is waited for.
    private var lingerEnds: Moment?
    private var lingerKeepsAlive = false

    /// How one exchange ended.
    enum End: Sendable {
        case answer(WireAnswer)
        /// The event stream is over without the answer; the last event's id says where to go on.
        case brokenOff(lastEvent: String?, retry: Duration?)
    }

    private struct Pending {
        let serial: UInt64
        let continuation: UnsafeContinuation<Result<End, CallFailure>, Never>
        let id: UInt64?
        let began: Moment
        let deadline: Deadline
        let hearing: Hearing?
        var response: HTTPResponseHead?
        var body = ByteBuffer()
        var events: EventStreamParser?
    }

    init(pool: HTTPConnectionPool, limits: WireLimits, time: any TimeSource) {
        self.pool = pool
        self.limits = limits
        self.time = time
        idleSince = time.now()
    }

    var isUsable: Bool { isOpen && pending == nil && lingerEnds == nil }

    // MARK: Sending

    /// Sends one request and waits for its answer; without a number any answer, or the end of the stream.
    func exchange(
        _ bytes: ByteBuffer, id: UInt64?, deadline: Deadline, hearing: Hearing? = nil
    ) async throws(CallFailure) -> End {
        let loop = context?.eventLoop
        serial &+= 1
        let mine = serial
        let result = await withTaskCancellationHandler {
            // Resumed exactly once, by `end`.
            await withUnsafeContinuation { continuation in
                let began = self.time.now()
                self.begin(
                    Pending(
                        serial: mine, continuation: continuation, id: id, began: began, deadline: deadline,
                        hearing: hearing),
                    bytes)
            }
        } onCancel: {
            loop?.execute {
                if self.pending?.serial == mine { self.fail(.cancelled) }
            }
        }
        return try result.get()
    }

    private func begin(_ request: Pending, _ bytes: ByteBuffer) {
        guard let context, isUsable else {
            request.continuation.resume(returning: .failure(.unavailable(detail: "the connection was closed")))
            return
        }
        pending = request
        context.write(wrapOutboundOut(.head(Self.head)), promise: nil)
        wire?.send(bytes)
        context.write(wrapOutboundOut(.end(nil)), promise: nil)
    }

    /// Ends the waiting with a failure. The connection is of no use after that: an answer may still be on its way.
    private func fail(_ failure: CallFailure) {
        guard let request = pending else { return }
        pending = nil
        close()
        request.continuation.resume(returning: .failure(failure))
    }

    func close() {
        isOpen = false
        context?.close(promise: nil)
    }

    func tick(at now: Moment, idleMax: Duration) {
        if let pending {
            if pending.deadline.hasPassed(at: now) {
                if let hearing = pending.hearing, now < pending.deadline.moment + hearing.extraTime(now) { return }
                fail(.timedOut(after: now.since(pending.began), sent: true))
            }
        } else if now >= lingerEnds ?? (idleSince + idleMax) {
            close()
        }
    }

    // MARK: Receiving

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelActive(context: ChannelHandlerContext) {
        isOpen = true
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, case .handshakeCompleted = event { secured?.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        isOpen = false
        secured?.fail(ChannelError.eof)
        if !breakOff() {
            fail(.outcomeUnknown(detail: "the server closed the connection before its answer was complete"))
        }
        self.context = nil
        pool.forget(self)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        secured?.fail(error)
        let isEnd = (error as? HTTPParserError) == .invalidEOFState
        if !isEnd, error is HTTPParserError || error is NIOHTTPDecoderError {
            fail(.garbage(detail: "it does not answer in HTTP (\(error))"))
        } else if !breakOff() {
            // A stream that is reset is broken off like one that is closed, and may be gone on with.
            let closed = "the server closed the connection before its answer was complete"
            fail(.outcomeUnknown(detail: isEnd ? closed : ConnectWords.of(error)))
        }
        close()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            pending?.response = head
            if let type = head.headers.first(name: "content-type"), type.hasPrefix("text/event-stream") {
                pending?.events = EventStreamParser(eventBytesMax: limits.bytesMax)
                pending?.hearing?.opened()
            }
        case .body(var more): take(&more)
        case .end: finish()
        }
    }

    private func take(_ more: inout ByteBuffer) {
        guard pending != nil else { return }
        if pending?.events != nil { return takeEvents(more) }
        guard let held = pending?.body.readableBytes, held + more.readableBytes <= limits.bytesMax else {
            return fail(.garbage(detail: "the answer is longer than \(limits.bytesMax) bytes"))
        }
        if held == 0 {
            pending?.body = more
        } else {
            pending?.body.writeBuffer(&more)
        }
    }

    private func takeEvents(_ more: ByteBuffer) {
        do throws(WireError) {
            let events = try pending?.events?.feed(more.readableBytesUInt8Span) ?? []
            for event in events {
                guard let answer = answer(in: event) else { continue }
                return finishEvents(answer)
            }
        } catch {
            fail(.garbage(detail: error.text))
        }
    }

    /// The answer is there, and its caller need not wait for the end of the stream; the connection does, for a second,
    /// to be used again.
    private func finishEvents(_ answer: WireAnswer) {
        guard let request = pending else { return }
        pending = nil
        lingerEnds = time.now() + .seconds(1)
        lingerKeepsAlive = request.response?.isKeepAlive ?? false
        request.continuation.resume(returning: .success(.answer(answer)))
    }

    private func finish() {
        guard let request = pending else {
            guard lingerEnds != nil else { return close() }
            lingerEnds = nil
            return release(keepsAlive: lingerKeepsAlive)
        }
        if request.events != nil {
            _ = breakOff()
            return release(keepsAlive: request.response?.isKeepAlive ?? false)
        }
        pending = nil
        release(keepsAlive: request.response?.isKeepAlive ?? false)
        request.continuation.resume(returning: whole(request).map(End.answer))
    }

    /// The event stream is over, the answer has not come. False when there was no stream.
    private func breakOff() -> Bool {
        guard let request = pending, let events = request.events else { return false }
        pending = nil
        let retry = events.retryMilliseconds.map { Duration.milliseconds($0) }
        request.continuation.resume(returning: .success(.brokenOff(lastEvent: events.id, retry: retry)))
        return true
    }

    private func release(keepsAlive: Bool) {
        guard keepsAlive, isOpen else { return close() }
        idleSince = time.now()
        pool.giveBack(self)
    }

    private func whole(_ request: Pending) -> Result<WireAnswer, CallFailure> {
        let status = Int(request.response?.status.code ?? 0)
        let session = request.response?.headers.first(name: "mcp-session-id")
        var answer = WireAnswer(status: status, bytes: request.body, message: nil, session: session)
        if status == 429 || status == 503, let headers = request.response?.headers {
            answer.slowDown = SlowDown(
                status: status, retryAfter: headers.first(name: "retry-after"), date: headers.first(name: "date"),
                wall: time.wallMilliseconds())
        }
        guard let id = request.id, request.body.readableBytes > 0 else { return .success(answer) }
        do throws(WireError) {
            let message = try MessageParser.parse(request.body.readableBytesUInt8Span, limits: limits)
            // An error may come without our number: the server could not read it.
            if message.kind == .error || Self.isAnswer(message, request.body, to: id) { answer.message = message }
        } catch {
            if (200..<300).contains(status) { return .failure(.garbage(detail: error.text)) }
        }
        return .success(answer)
    }

    /// The response with our number, in an event; nil for anything else, which goes to whoever hears.
    private func answer(in event: EventStreamParser.Event) -> WireAnswer? {
        let bytes = ByteBuffer(bytes: event.data)
        guard let request = pending else { return nil }
        if event.name == "endpoint" { request.hearing?.endpoint(String(decoding: event.data, as: UTF8.self)) }
        guard event.name == "message",
            let message = try? MessageParser.parse(bytes.readableBytesUInt8Span, limits: limits)
        else { return nil }
        guard let id = request.id, Self.isAnswer(message, bytes, to: id) else {
            request.hearing?.message(Incoming(bytes: bytes, message: message, during: request.id))
            return nil
        }
        return WireAnswer(
            status: Int(request.response?.status.code ?? 0), bytes: bytes, message: message,
            session: request.response?.headers.first(name: "mcp-session-id"))
    }

    static func isAnswer(_ message: Message, _ bytes: ByteBuffer, to id: UInt64) -> Bool {
        guard message.kind == .result || message.kind == .error, let range = message.id else { return false }
        let span = bytes.readableBytesUInt8Span
        var number: UInt64 = 0
        guard range.count <= 20 else { return false }
        for index in range {
            let digit = span[index] &- UInt8(ascii: "0")
            let (tens, isTooLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = tens.addingReportingOverflow(UInt64(digit))
            guard digit < 10, !isTooLarge, !isOver else { return false }
            number = sum
        }
        return number == id
    }
}
