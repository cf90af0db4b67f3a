// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// One descriptor that takes lines. Used under its owner's lock.
struct LogSink: Sendable {
    let descriptor: Int32
    /// A file on disk takes a line at once. A pipe or socket may have a reader that has stopped reading; that must
    /// not stop us.
    let isFile: Bool
    /// What was there at the beginning and what was taken since.
    var bytes: Int
    /// Whether the last line was left without its end.
    private var isTorn = false
    /// Why the last line was not taken whole, as a number of the system's; 0 for a reader that does not read.
    private(set) var refusal: Int32 = 0
    private static let pieceMax = 4_096

    init(descriptor: Int32, isFile: Bool, bytes: Int = 0) {
        self.descriptor = descriptor
        self.isFile = isFile
        self.bytes = bytes
    }

    /// What `bytes` will be when the whole line is taken.
    func bytes(after line: [UInt8]) -> Int { bytes + line.count + (isTorn ? 1 : 0) }

    /// Whether the whole line was taken.
    mutating func write(_ line: [UInt8]) -> Bool {
        // A line that was cut short by a full disk must not swallow the next one.
        let whole = isTorn ? [0x0A] + line : line
        var done = 0
        while done < whole.count {
            refusal = 0
            if !isFile && !isReady() { break }
            let count = send(whole, from: done)
            if count > 0 {
                done += count
            } else if count == 0 || errno != EINTR {
                refusal = count < 0 ? errno : ENOSPC
                break
            }
        }
        bytes += done
        if done == whole.count { isTorn = false } else if done > 0 { isTorn = true }
        return done == whole.count
    }

    /// A pipe that says it is ready takes one piece of 4,096 bytes without waiting.
    private func send(_ bytes: [UInt8], from start: Int) -> Int {
        let length = isFile ? bytes.count - start : min(bytes.count - start, Self.pieceMax)
        return unsafe bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe Glibc.write(descriptor, base + start, length)
        }
    }

    private func isReady() -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return unsafe poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLOUT) != 0
    }
}

/// An error number of the operating system in words.
package enum SystemError {
    package static func text(_ number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        unsafe buffer.withUnsafeMutableBufferPointer { room in
            if let base = room.baseAddress { _ = unsafe strerror_r(number, base, room.count) }
        }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.isEmpty ? "system reason \(number)" : name
    }
}
