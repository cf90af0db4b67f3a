// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1
internal import Telemetry

/// Answers on the wire. Each is written as one buffer, head and body together.
extension HTTPConnection {
    // MARK: Refusals before there is a request

    func refuse(_ status: HTTPStatus, code: String, _ message: String) {
        guard let context else { return }
        phase = .closing
        let id = loop.nextRequestID()
        let text = HTTPRefusal.body(code: code, message: message, request: id)
        var out = startHead(status, id: id, extra: 256 + text.readableBytes)
        out.writeStaticString("connection: close\r\ncontent-type: application/json\r\ncontent-length: ")
        out.writeString("\(text.readableBytes)\r\n\r\n")
        out.writeImmutableBuffer(text)
        rules.count(verb: head.map { Self.verb($0.method) } ?? .other, path: pathIndex, status: status, seconds: 0)
        send(out, context)
        closeAfterFlush(context)
    }

    // MARK: Bytes

    private func send(_ out: ByteBuffer, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
    }

    /// The answer must reach a client that is still sending: closing at once would reset the connection under it. So
    /// our side is closed for writing first, and the rest is dropped until the client ends or its time is over. That
    /// time begins when the client has taken the whole answer.
    private func closeAfterFlush(_ context: ChannelHandlerContext) {
        patienceEnds = loop.now() + rules.limits.idleTimeout
        let flushed = context.eventLoop.makePromise(of: Void.self)
        flushed.futureResult.assumeIsolated().whenComplete { [self] _ in
            patienceEnds = loop.now() + .seconds(2)
        }
        // Empty, and behind everything else: it is done when all of it is.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: flushed)
        context.close(mode: .output, promise: nil)
        context.read()
    }

    private func startHead(_ status: HTTPStatus, id: RequestID, extra: Int) -> ByteBuffer {
        var out = context?.channel.allocator.buffer(capacity: 176 + extra) ?? ByteBuffer()
        out.writeStaticString("HTTP/1.1 ")
        out.writeStaticString(status.reason)
        out.writeStaticString("\r\ndate: ")
        out.writeString(loop.dateLine)
        out.writeStaticString("\r\nx-request-id: ")
        writeHex(id.words.first, to: &out)
        writeHex(id.words.second, to: &out)
        out.writeStaticString("\r\n")
        return out
    }

    /// Sixteen hexadecimal digits, straight into the buffer.
    private func writeHex(_ word: UInt64, to out: inout ByteBuffer) {
        out.writeInteger(Self.hexDigits(UInt32(truncatingIfNeeded: word >> 32)))
        out.writeInteger(Self.hexDigits(UInt32(truncatingIfNeeded: word)))
    }

    /// Eight hexadecimal digits in one integer, in the order they are written.
    private static func hexDigits(_ value: UInt32) -> UInt64 {
        var digits: UInt64 = 0
        for shift in stride(from: 28, through: 0, by: -4) {
            let digit = UInt64(value >> UInt32(shift) & 15)
            digits = digits << 8 | (digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
        return digits
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

    // MARK: Whole answers

    private var keepsAlive: Bool { (head?.isKeepAlive ?? false) && !mustClose && !isReserved && !site.isDraining }

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
        if !staysOpen {
            out.writeStaticString("connection: close\r\n")
        } else if !isChunked {
            // A client of HTTP/1.0 asked for it and has to be told that it got it.
            out.writeStaticString("connection: keep-alive\r\n")
        }
        if status != .noContent {
            out.writeStaticString("content-length: ")
            out.writeString(String(body.readableBytes))
            out.writeStaticString("\r\n")
        }
        out.writeStaticString("\r\n")
        count(request, status)
        if request.verb != .head {
            if body.readableBytes > 16_384 {
                // Not worth copying behind its head.
                context.write(wrapOutboundOut(out), promise: nil)
                out = body
            } else {
                out.writeImmutableBuffer(body)
            }
        }
        send(out, context)
        if staysOpen {
            finish()
        } else {
            phase = .closing
            closeAfterFlush(context)
        }
    }

    private func count(_ request: HTTPRequest, _ status: HTTPStatus, without leftOut: Duration = .zero) {
        let seconds = (loop.now().since(request.arrivedAt) - leftOut).milliseconds / 1_000
        rules.count(verb: request.verb, path: pathIndex, status: status, seconds: seconds)
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
        send(out, context)
    }

    /// HTTP/1.0 has no chunks: there the end of the connection is the end of the stream.
    private var isChunked: Bool { head?.version == .http1_1 }

    /// One message as one `data:` line. Line ends stand in JSON only between tokens, where a space does as well.
    func writeEvent(_ json: ByteBuffer, id: String?, name: StaticString) {
        var event = ByteBuffer()
        event.reserveCapacity(json.readableBytes + 64)
        event.writeStaticString("event: ")
        event.writeStaticString(name)
        if let id { event.writeString("\r\nid: \(id)") }
        event.writeStaticString("\r\ndata: ")
        if json.readableBytesView.contains(where: { $0 == 0x0a || $0 == 0x0d }) {
            event.writeBytes(json.readableBytesView.lazy.map { $0 == 0x0a || $0 == 0x0d ? 0x20 : $0 })
        } else {
            event.writeImmutableBuffer(json)
        }
        event.writeStaticString("\r\n\r\n")
        writeChunk(event)
    }

    func writeMark(id: String, retryMilliseconds: Int?) {
        let retry = retryMilliseconds.map { "retry: \($0)\r\n" } ?? ""
        writeChunk(ByteBuffer(string: "id: \(id)\r\n\(retry)data: \r\n\r\n"))
    }

    func writeKeepAlive() { writeChunk(ByteBuffer(string: ":\r\n\r\n")) }

    private func writeChunk(_ bytes: ByteBuffer) {
        guard phase == .answering, let context else { return }
        guard isChunked else { return send(bytes, context) }
        var out = ByteBuffer()
        out.writeString(String(bytes.readableBytes, radix: 16))
        out.writeStaticString("\r\n")
        out.writeImmutableBuffer(bytes)
        out.writeStaticString("\r\n")
        send(out, context)
    }

    /// The request counts as answered now.
    ///
    /// - Parameter leftOut: what of the time since it came does not count.
    /// - Returns: this moment.
    func countHead(of request: HTTPRequest, without leftOut: Duration) -> Moment {
        if phase == .answering { count(request, .ok, without: leftOut) }
        return loop.now()
    }

    /// A listening stream is over.
    func countStream(since begun: Moment) {
        rules.streamSeconds.observe(seconds: loop.now().since(begun).milliseconds / 1_000)
    }

    func finishStream() {
        guard phase == .answering, let context else { return }
        if isChunked { send(ByteBuffer(string: "0\r\n\r\n"), context) }
        if isChunked, keepsAlive {
            finish()
        } else {
            phase = .closing
            closeAfterFlush(context)
        }
    }
}
