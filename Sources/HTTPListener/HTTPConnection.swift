// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1

/// One client connection: collects a request, hands it to its route, writes the answer, goes on with the next.
///
/// One request at a time: while one is being answered nothing more is read, so a client that pipelines waits in its own socket
/// buffer. Answers are written as one buffer, head and body together; NIO's response encoder would cost a tenth of the rate.
final class HTTPConnection: ChannelDuplexHandler, @unchecked Sendable {
    // Confined to the event loop of its channel, like every channel handler; needs no lock.
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let site: HTTPSite
    private let loop: LoopContext
    private let peer: HTTPPeer
    /// Beyond the ordinary number of connections: serves operators only.
    private let isReserved: Bool
    private var context: ChannelHandlerContext?

    private var phase: Phase = .idle
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()
    private var expectedBytes = 0
    private var pathIndex = 0
    private var waiting: [HTTPServerRequestPart] = []
    private var readIsHeld = false
    private var exchange: HTTPExchange?
    private var task: Task<Void, Never>?
    private(set) var isGone = false
    /// When to give up on a client that keeps us waiting; nil while the waiting is ours.
    private var patienceEnds: Moment?

    private enum Phase {
        /// Between requests.
        case idle
        /// A head has come, its body is coming.
        case receiving
        /// The request is with its route.
        case answering
        /// Refused or told to close: whatever still comes is dropped.
        case closing
    }

    init(site: HTTPSite, loop: LoopContext, peer: HTTPPeer, isReserved: Bool) {
        self.site = site
        self.loop = loop
        self.peer = peer
        self.isReserved = isReserved
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        patienceEnds = loop.now() + site.limits.receiveTimeout
        loop.add(self)
    }

    func channelInactive(context: ChannelHandlerContext) {
        isGone = true
        phase = .closing
        waiting = []
        loop.remove(self)
        site.connectionEnded()
        if let exchange, exchange.endsWithClient { task?.cancel() }
        exchange = nil
        self.context = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard phase == .idle || phase == .receiving, let parserError = error as? HTTPParserError else {
            context.close(promise: nil)
            return
        }
        let isHeader = parserError == .headerOverflow
        refuse(
            isHeader ? .headersTooLarge : .badRequest, code: isHeader ? "headers_too_large" : "bad_http",
            isHeader
                ? "The request's headers are too large; send fewer or shorter ones."
                : "This is not an HTTP request that can be read: \(parserError). Check the client or the proxy in front.")
    }

    func checkPatience(at now: Moment) {
        if phase == .answering, let exchange { exchange.tick(waited: now.since(exchange.request.arrivedAt)) }
        guard let patienceEnds, now >= patienceEnds else { return }
        self.patienceEnds = nil
        switch phase {
        case .receiving:
            refuse(
                .requestTimeout, code: "request_too_slow",
                "The request did not arrive within the time a client has to send it.")
        case .idle, .closing: context?.close(promise: nil)
        case .answering: break
        }
    }

    /// Ends the connection once it is between requests.
    func drain() {
        if phase == .idle { context?.close(promise: nil) }
    }

    func cutOff() { context?.close(promise: nil) }

    // MARK: Reading

    func read(context: ChannelHandlerContext) {
        if phase == .answering { readIsHeld = true } else { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if phase == .answering { waiting.append(part) } else { take(part) }
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head): begin(head)
        case .body(var more):
            guard phase == .receiving else { return }
            guard body.readableBytes + more.readableBytes <= site.limits.bodyBytesMax else { return refuseLargeBody() }
            if body.readableBytes == 0, body.capacity < more.readableBytes {
                body = more
            } else {
                body.writeBuffer(&more)
            }
        case .end:
            guard phase == .receiving else { return }
            dispatch()
        }
    }

    private func begin(_ head: HTTPRequestHead) {
        guard phase == .idle else { return }
        phase = .receiving
        self.head = head
        body = ByteBuffer()
        pathIndex = site.router.find(head.uri.prefix { $0 != "?" }) ?? site.router.entries.count
        patienceEnds = loop.now() + site.limits.receiveTimeout
        if let text = head.headers.first(name: "content-length"), let length = Int(text) {
            guard length <= site.limits.bodyBytesMax else { return refuseLargeBody() }
            // The client's word is only a hint: reserve no more than a little ahead of what has really come.
            if length > 4_096 { body.reserveCapacity(min(length, 1 << 20)) }
        }
        if let expect = head.headers.first(name: "expect"), expect.lowercased() == "100-continue" {
            context?.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
        }
    }

    private func refuseLargeBody() {
        refuse(
            .contentTooLarge, code: "body_too_large",
            "The request's body is larger than the \(site.limits.bodyBytesMax) bytes this gateway takes (server.max_body).")
    }

    // MARK: Answering

    private func dispatch() {
        guard let head, let context else { return }
        phase = .answering
        patienceEnds = nil
        let request = HTTPRequest(
            head: head, verb: Self.verb(head.method), body: body, arrivedAt: loop.now(), id: loop.nextRequestID(), peer: peer,
            loop: context.eventLoop)
        body = ByteBuffer()
        let exchange = HTTPExchange(connection: self, request: request)
        self.exchange = exchange
        if let refusal = site.refusal(of: request, path: pathIndex, isReserved: isReserved) {
            exchange.refuse(refusal.status, code: refusal.code, refusal.message, headers: refusal.headers)
            return
        }
        let route = site.router.entries[pathIndex].route
        // The one place where work for a client begins; it ends with its answer, and the connection holds it.
        task = Task(executorPreference: loop.executor) {
            await route.respond(to: request, exchange)
        }
    }

    private func refuse(_ status: HTTPStatus, code: String, _ message: String) {
        guard let context else { return }
        phase = .closing
        let id = loop.nextRequestID()
        let text = HTTPRefusal.body(code: code, message: message, request: id)
        var out = startHead(status, id: id, extra: 256 + text.readableBytes)
        out.writeStaticString("connection: close\r\ncontent-type: application/json\r\ncontent-length: ")
        out.writeString("\(text.readableBytes)\r\n\r\n")
        out.writeImmutableBuffer(text)
        loop.count(verb: head.map { Self.verb($0.method) } ?? .other, path: pathIndex, status: status, seconds: 0)
        writeAndClose(context, out)
    }

    /// The answer must reach a client that is still sending: closing at once would reset the connection under it. So our side
    /// is closed for writing first, and the rest is dropped until the client ends or its time is over.
    private func writeAndClose(_ context: ChannelHandlerContext, _ out: ByteBuffer) {
        patienceEnds = loop.now() + .seconds(2)
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
        context.close(mode: .output, promise: nil)
        context.read()
    }

    private func startHead(_ status: HTTPStatus, id: RequestID, extra: Int) -> ByteBuffer {
        var out = context?.channel.allocator.buffer(capacity: 160 + extra) ?? ByteBuffer()
        out.writeStaticString("HTTP/1.1 ")
        out.writeStaticString(status.reason)
        out.writeStaticString("\r\ndate: ")
        out.writeString(loop.dateLine)
        out.writeStaticString("\r\nx-request-id: ")
        out.writeString(id.description)
        out.writeStaticString("\r\n")
        return out
    }

    private func writeHeaders(_ headers: [(String, String)], to out: inout ByteBuffer) {
        for (name, value) in headers {
            out.writeString(name)
            out.writeStaticString(": ")
            // A value with a line end in it would be two headers.
            out.writeBytes(value.utf8.lazy.filter { $0 >= 0x20 && $0 != 0x7f })
            out.writeStaticString("\r\n")
        }
    }

    private var keepsAlive: Bool { (head?.isKeepAlive ?? false) && !site.isDraining }

    func writeAnswer(
        _ status: HTTPStatus, _ content: HTTPContent, _ body: ByteBuffer, headers: [(String, String)],
        to request: HTTPRequest
    ) {
        guard phase == .answering, let context else { return }
        let staysOpen = keepsAlive
        var out = startHead(status, id: request.id, extra: 96 + body.readableBytes)
        if let type = content.type {
            out.writeStaticString("content-type: ")
            out.writeStaticString(type)
            out.writeStaticString("\r\n")
        }
        if !headers.isEmpty { writeHeaders(headers, to: &out) }
        if !staysOpen { out.writeStaticString("connection: close\r\n") }
        if status != .accepted || body.readableBytes > 0, status != .noContent {
            out.writeStaticString("content-length: ")
            out.writeString(String(body.readableBytes))
            out.writeStaticString("\r\n")
        } else if status == .accepted {
            out.writeStaticString("content-length: 0\r\n")
        }
        out.writeStaticString("\r\n")
        let isLarge = body.readableBytes > 16_384
        if request.verb != .head, !isLarge { out.writeImmutableBuffer(body) }
        count(request, status)
        if staysOpen {
            if isLarge, request.verb != .head {
                // Not worth copying behind its head.
                context.write(wrapOutboundOut(out), promise: nil)
                out = body
            }
            context.writeAndFlush(wrapOutboundOut(out), promise: nil)
            finish()
        } else {
            if isLarge, request.verb != .head { out.writeImmutableBuffer(body) }
            phase = .closing
            writeAndClose(context, out)
        }
    }

    private func count(_ request: HTTPRequest, _ status: HTTPStatus) {
        let seconds = loop.now().since(request.arrivedAt).milliseconds / 1_000
        loop.count(verb: request.verb, path: pathIndex, status: status, seconds: seconds)
    }

    /// Back to waiting for a request, which may have come already.
    private func finish() {
        exchange = nil
        task = nil
        head = nil
        phase = .idle
        patienceEnds = loop.now() + site.limits.idleTimeout
        if !waiting.isEmpty {
            let parts = waiting
            waiting = []
            for (index, part) in parts.enumerated() {
                guard phase != .answering else {
                    waiting.append(contentsOf: parts[index...])
                    return
                }
                take(part)
            }
        }
        if readIsHeld, phase != .answering {
            readIsHeld = false
            context?.read()
        }
    }

    // MARK: Event streams

    func writeStreamHead(headers: [(String, String)], to request: HTTPRequest) {
        guard phase == .answering, let context else { return }
        var out = startHead(.ok, id: request.id, extra: 256)
        out.writeStaticString("content-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n")
        out.writeStaticString("x-accel-buffering: no\r\n")
        writeHeaders(headers, to: &out)
        out.writeStaticString(isChunked ? "transfer-encoding: chunked\r\n" : "connection: close\r\n")
        out.writeStaticString("\r\n")
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
    }

    /// HTTP/1.0 has no chunks: there the end of the connection is the end of the stream.
    private var isChunked: Bool { head?.version == .http1_1 }

    func writeEvent(_ json: ByteBuffer) {
        var event = ByteBuffer()
        event.reserveCapacity(json.readableBytes + 32)
        event.writeStaticString("event: message\r\ndata: ")
        event.writeImmutableBuffer(json)
        event.writeStaticString("\r\n\r\n")
        writeChunk(event)
    }

    func writeKeepAlive() { writeChunk(ByteBuffer(string: ":\r\n\r\n")) }

    private func writeChunk(_ bytes: ByteBuffer) {
        guard phase == .answering, let context else { return }
        guard isChunked else {
            context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
            return
        }
        var out = ByteBuffer()
        out.writeString(String(bytes.readableBytes, radix: 16))
        out.writeStaticString("\r\n")
        out.writeImmutableBuffer(bytes)
        out.writeStaticString("\r\n")
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
    }

    func finishStream(of request: HTTPRequest) {
        guard phase == .answering, let context else { return }
        count(request, .ok)
        if isChunked {
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "0\r\n\r\n")), promise: nil)
        }
        if isChunked, keepsAlive {
            finish()
        } else {
            phase = .closing
            context.close(mode: .output, promise: nil)
            patienceEnds = loop.now() + .seconds(2)
        }
    }

    private static func verb(_ method: HTTPMethod) -> HTTPVerb {
        switch method {
        case .GET: .get
        case .HEAD: .head
        case .POST: .post
        case .DELETE: .delete
        case .OPTIONS: .options
        case .PUT: .put
        default: .other
        }
    }
}
