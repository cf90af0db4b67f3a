// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1

/// One client connection: collects a request, hands it to its route, writes the answer, goes on with the next.
///
/// One request at a time: what comes while one is being answered waits, and beyond one piece nothing more is read, so a
/// client that pipelines waits in its own socket buffer. `HTTPConnection+Writing.swift` has the way out.
final class HTTPConnection: ChannelDuplexHandler, @unchecked Sendable {
    // Confined to the event loop of its channel, like every channel handler; needs no lock.
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let site: HTTPSite
    let loop: LoopContext
    /// Those of the request that is coming or being answered; between two of them the latest.
    private(set) var rules: LoopRules
    let peer: HTTPPeer
    private var isBehindProxy = false
    private let isEncrypted: Bool
    /// Nothing can be said to the client yet.
    var isHandshaking: Bool
    /// Beyond the ordinary number of connections: serves operators only.
    let isReserved: Bool
    var context: ChannelHandlerContext?

    var phase: Phase = .idle
    var head: HTTPRequestHead?
    private var body = ByteBuffer()
    var pathIndex = 0
    private var waiting: [HTTPServerRequestPart] = []
    private var readIsHeld = false
    private var exchange: HTTPExchange?
    /// When to give up on a client that keeps us waiting; nil while the waiting is ours.
    var patienceEnds: Moment?
    /// The connection ends with the answer that is being made.
    var mustClose = false
    private(set) var hasServed = false
    /// The Host header that was found right last; clients rarely change it within a connection.
    var knownHost: String?

    enum Phase {
        /// Between requests.
        case idle
        /// A head has come, its body is coming.
        case receiving
        /// The request is with its route.
        case answering
        /// Refused or told to close: whatever still comes is dropped.
        case closing
    }

    /// - Parameter isEncrypted: there is a TLS handler in front.
    init(site: HTTPSite, loop: LoopContext, peer: HTTPPeer, isReserved: Bool, isEncrypted: Bool = false) {
        self.site = site
        self.loop = loop
        self.peer = peer
        self.isReserved = isReserved
        self.isEncrypted = isEncrypted
        isHandshaking = isEncrypted
        rules = loop.rules
        pathIndex = rules.otherPath
        isBehindProxy = rules.entrance.proxies.include(peer)
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        // Places kept for operators are not to be sat on.
        patienceEnds = loop.now() + (isReserved ? .seconds(2) : rules.limits.receiveTimeout)
        loop.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        loop.remove(self)
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        phase = .closing
        waiting = []
        loop.remove(self)
        exchange?.clientLeft()
        exchange = nil
        self.context = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isHandshaking { return handshakeFailed(error) }
        guard let parserError = error as? HTTPParserError, phase != .closing else {
            context.close(promise: nil)
            return
        }
        if phase == .answering {
            // What follows the request is no HTTP; the request itself is still owed its answer.
            mustClose = true
            waiting = []
            return
        }
        let isHeader = parserError == .headerOverflow
        refuse(
            isHeader ? .headersTooLarge : .badRequest, code: isHeader ? "headers_too_large" : "bad_http",
            isHeader
                ? "The request's headers are too large; send fewer or shorter ones."
                : "This is no HTTP request that can be read: \(parserError). Check the client or the proxy in front."
        )
    }

    func checkPatience(at now: Moment) {
        if phase == .answering, let exchange { exchange.tick(waited: now.since(exchange.request.arrivedAt)) }
        guard let patienceEnds, now >= patienceEnds else { return }
        self.patienceEnds = nil
        switch phase {
        case .idle where isHandshaking: handshakeTooSlow()
        case .idle where hasServed, .closing: context?.close(promise: nil)
        case .idle, .receiving:
            refuse(
                .requestTimeout, code: "request_too_slow",
                "The request did not arrive within the time a client has to send it (server.header_timeout).")
        case .answering: break
        }
    }

    /// Whether an answer is being made, or has not reached the kernel yet.
    var isBusy: Bool {
        if phase == .answering { return true }
        // A channel that cannot tell has nothing to write any more.
        let unsent = try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)
        return (unsent ?? 0) > 0
    }

    /// Whether the client takes what it is sent.
    var isKeepingUp: Bool { context?.channel.isWritable ?? false }

    /// A channel that cannot tell has nothing to write any more.
    var unsentBytes: Int { (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func cutOff() { context?.close(promise: nil) }

    /// Ends the work on the request that is being answered: what there is to say of that is its answer.
    func endWork() { if phase == .answering { exchange?.endWork() } }

    // MARK: Reading

    /// Nothing is read while a request waits for the answer to the one before, nor while the client does not take the
    /// answers it has. (Holding back from the first request on would cost two system calls a request.)
    func read(context: ChannelHandlerContext) {
        if !waiting.isEmpty || !context.channel.isWritable { readIsHeld = true } else { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, phase == .idle { takeWaiting() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            // In the stateless era leaving cancels; elsewhere a client that has said everything may still be listening.
            if phase == .answering, let exchange, !exchange.endsWithClient {
                mustClose = true
            } else if phase != .closing {
                context.close(promise: nil)
            }
        }
        if isHandshaking, Self.isHandshakeDone(event) { isHandshaking = false }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if phase == .answering || !waiting.isEmpty { waiting.append(part) } else { take(part) }
    }

    private func take(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head): begin(head)
        case .body(var more):
            guard phase == .receiving else { return }
            guard body.readableBytes + more.readableBytes <= rules.limits.bodyBytesMax else { return refuseLargeBody() }
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
        mustClose = false
        pathIndex = rules.router.find(HTTPRequest.path(of: head.uri)) ?? rules.otherPath
        // NIO's decoder reads nothing more after a request that offers another protocol.
        if head.headers.contains(name: "upgrade") || head.method == .CONNECT { mustClose = true }
        var length = rules.limits.bodyBytesMax
        if let text = head.headers.first(name: "content-length") {
            length = Int(text) ?? 0
            guard length <= rules.limits.bodyBytesMax else { return refuseLargeBody() }
            // The client's word is only a hint: reserve no more than a little ahead of what has really come.
            if length > 4_096 { body.reserveCapacity(min(length, 1 << 20)) }
        }
        // A body has a slow line's time on top: 64 KiB a second.
        patienceEnds = loop.now() + rules.limits.receiveTimeout + .milliseconds(length / 64)
        if let expect = head.headers.first(name: "expect"), expect.lowercased() == "100-continue" {
            context?.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
        }
    }

    private func refuseLargeBody() {
        refuse(
            .contentTooLarge, code: "body_too_large",
            "The body is larger than the \(rules.limits.bodyBytesMax) bytes this gateway takes (server.max_body)."
        )
    }

    // MARK: Answering

    private func dispatch() {
        guard let head, let context else { return }
        phase = .answering
        patienceEnds = nil
        let request = HTTPRequest(
            head: head, verb: Self.verb(head.method), body: body, arrivedAt: loop.now(), id: loop.nextRequestID(),
            peer: peer, sender: isBehindProxy ? rules.entrance.proxies.sender { head.headers[$0] } : .peer,
            isEncrypted: isEncrypted, loop: context.eventLoop)
        body = ByteBuffer()
        hasServed = true
        let exchange = HTTPExchange(connection: self, request: request)
        self.exchange = exchange
        let refusal = site.refusal(
            of: request, by: rules, path: pathIndex, isReserved: isReserved, knownHost: &knownHost)
        if let refusal {
            exchange.refuse(refusal.status, code: refusal.code, refusal.message, headers: refusal.headers)
            return
        }
        let route = rules.router.entries[pathIndex].route
        // The one place where work for a client begins; it ends with its answer, and the connection holds it.
        exchange.work = Task(executorPreference: loop.executor) {
            await route.respond(to: request, exchange)
        }
    }

    /// Back to waiting for a request, which may have come already.
    func finish() {
        exchange = nil
        head = nil
        phase = .idle
        follow()
        pathIndex = rules.otherPath
        patienceEnds = loop.now() + rules.limits.idleTimeout
        takeWaiting()
    }

    /// Takes over the latest rules, unless a request is under way.
    func follow() {
        guard phase == .idle || phase == .closing, rules !== loop.rules else { return }
        rules = loop.rules
        pathIndex = rules.otherPath
        // Found right by the former guardian.
        knownHost = nil
        isBehindProxy = rules.entrance.proxies.include(peer)
    }

    /// Goes on with what the client has sent already, unless it first has to take what it asked for.
    private func takeWaiting() {
        guard let context, context.channel.isWritable else { return }
        while phase != .answering, !waiting.isEmpty { take(waiting.removeFirst()) }
        if readIsHeld, waiting.isEmpty {
            readIsHeld = false
            context.read()
        }
    }

    static func verb(_ method: HTTPMethod) -> HTTPVerb {
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
