// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import NIOCore

/// Cuts a stream of bytes into lines. Each byte is looked at once and copied at most once, and only where a line
/// comes in pieces.
struct LineCutter {
    enum Overlong {
        /// The stream is broken: nothing more is cut from it.
        case refuse
        /// The line ends here and the rest of it is dropped.
        case cut
    }

    private var partial = ByteBuffer()
    /// Between an overlong line's limit and its end.
    private var isSkipping = false
    private(set) var isRefused = false
    private let bytesMax: Int
    private let overlong: Overlong

    init(bytesMax: Int, overlong: Overlong) {
        self.bytesMax = bytesMax
        self.overlong = overlong
    }

    /// Takes in bytes and hands out each line that is complete, without LF or CR LF; empty lines are left out.
    mutating func take(_ incoming: ByteBuffer, _ line: (ByteBuffer) -> Void) {
        var incoming = incoming
        while !isRefused, incoming.readableBytes > 0 {
            guard let length = incoming.offset(of: UInt8(ascii: "\n")) else {
                add(incoming, line)
                return
            }
            // Within the readable bytes, as `length` was found there.
            guard let piece = incoming.readSlice(length: length) else { return }
            incoming.moveReaderIndex(forwardBy: 1)
            add(piece, line)
            if !isSkipping { emit(line) }
            isSkipping = false
        }
    }

    /// The stream is over: hands out what has no line end.
    mutating func end(_ line: (ByteBuffer) -> Void) {
        if !isRefused, !isSkipping { emit(line) }
    }

    private mutating func add(_ piece: ByteBuffer, _ line: (ByteBuffer) -> Void) {
        if isSkipping { return }
        // One more than the limit, as a carriage return is not part of the line.
        guard partial.readableBytes + piece.readableBytes > bytesMax + 1 else {
            if partial.readableBytes == 0 { partial = piece } else { partial.writeImmutableBuffer(piece) }
            return
        }
        switch overlong {
        case .refuse:
            isRefused = true
            partial = ByteBuffer()
        case .cut:
            let room = max(bytesMax - partial.readableBytes, 0)
            if let head = piece.getSlice(at: piece.readerIndex, length: min(room, piece.readableBytes)) {
                partial.writeImmutableBuffer(head)
            }
            emit(line)
            isSkipping = true
        }
    }

    private mutating func emit(_ line: (ByteBuffer) -> Void) {
        var whole = partial
        partial = ByteBuffer()
        let last = whole.readableBytes > 0 ? whole.getInteger(at: whole.writerIndex - 1, as: UInt8.self) : nil
        if last == UInt8(ascii: "\r") { whole.moveWriterIndex(to: whole.writerIndex - 1) }
        guard whole.readableBytes > 0 else { return }
        guard whole.readableBytes <= bytesMax else {
            switch overlong {
            case .refuse: isRefused = true
            case .cut: line(whole.getSlice(at: whole.readerIndex, length: bytesMax) ?? whole)
            }
            return
        }
        line(whole)
    }
}

extension ByteBuffer {
    /// How far the first such byte is from the reader index.
    func offset(of byte: UInt8) -> Int? {
        unsafe withUnsafeReadableBytes { bytes -> Int? in
            guard let base = bytes.baseAddress, let hit = unsafe memchr(base, Int32(byte), bytes.count) else {
                return nil
            }
            return unsafe base.distance(to: UnsafeRawPointer(hit))
        }
    }

    /// The same as one line. Inside a JSON text a line break can only be white space between tokens, so it is sent as
    /// a space.
    func asOneLine() -> ByteBuffer {
        guard let first = offset(of: UInt8(ascii: "\n")) else { return self }
        var copy = self
        for index in (readerIndex + first)..<writerIndex
        where getInteger(at: index, as: UInt8.self) == UInt8(ascii: "\n") {
            copy.setInteger(UInt8(ascii: " "), at: index)
        }
        return copy
    }
}

/// Reads one of the child's output pipes.
final class LineReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var cutter: LineCutter
    private let onLine: (ByteBuffer) -> Void
    private let onRefused: () -> Void
    private let onEnd: () -> Void

    init(
        _ cutter: LineCutter, onLine: @escaping (ByteBuffer) -> Void, onRefused: @escaping () -> Void,
        onEnd: @escaping () -> Void
    ) {
        self.cutter = cutter
        self.onLine = onLine
        self.onRefused = onRefused
        self.onEnd = onEnd
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if cutter.isRefused { return }
        cutter.take(unwrapInboundIn(data), onLine)
        if cutter.isRefused { onRefused() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        cutter.end(onLine)
        onEnd()
        context.fireChannelInactive()
    }

    /// A broken pipe is an end like any other.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
