// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// Looks into a write-ahead log whose main file is gone. SQLite cannot: without that file no table has a name.
enum WriteAheadLog {
    /// No table but `queue_items` has as many columns.
    static let columnsOfOthersMax = 11

    /// Rows of the queue in a log, each as often as its page was written; 0 for a file that is no log. Rows that were
    /// in a page already count too: what is kept for nothing costs a file.
    static func queueRows(in path: String) -> Int {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var head = [UInt8](repeating: 0, count: 32)
        guard unsafe pread(descriptor, &head, 32, 0) == 32, number(head, 0, 4) & ~1 == 0x377F_0682 else { return 0 }
        let pageBytes = number(head, 8, 4)
        guard pageBytes >= 512, pageBytes <= 65_536, pageBytes & (pageBytes - 1) == 0 else { return 0 }
        var rows = 0
        var frame = [UInt8](repeating: 0, count: 24 + pageBytes)
        var offset = 32
        // Frames after the first of another round are what an earlier use of the file left.
        while unsafe pread(descriptor, &frame, frame.count, off_t(offset)) == frame.count,
            frame[8..<16] == head[16..<24]
        {
            let isFirst = number(frame, 0, 4) == 1
            rows += queueRows(page: frame[24...], header: isFirst ? 100 : 0)
            offset += frame.count
        }
        return rows
    }

    private static func queueRows(page: ArraySlice<UInt8>, header: Int) -> Int {
        let page = Array(page)
        // A leaf of a table; everything else holds no rows of one with a row id.
        guard page[header] == 0x0D else { return 0 }
        let count = number(page, header + 3, 2)
        var rows = 0
        for cell in 0..<count {
            let pointer = header + 8 + 2 * cell
            guard pointer + 2 <= page.count else { break }
            var at = number(page, pointer, 2)
            guard variable(page, &at) != nil, variable(page, &at) != nil else { continue }
            let start = at
            guard let headBytes = variable(page, &at) else { continue }
            var columns = 0
            while at < start + headBytes, variable(page, &at) != nil { columns += 1 }
            if columns > columnsOfOthersMax { rows += 1 }
        }
        return rows
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> Int {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) }
    }

    /// SQLite's integers of one to nine bytes.
    private static func variable(_ bytes: [UInt8], _ at: inout Int) -> Int? {
        var value: UInt64 = 0
        for place in 0..<9 {
            guard at < bytes.count else { return nil }
            let byte = bytes[at]
            at += 1
            if place == 8 { return Int(truncatingIfNeeded: value << 8 | UInt64(byte)) }
            value = value << 7 | UInt64(byte & 0x7F)
            if byte < 0x80 { break }
        }
        return Int(truncatingIfNeeded: value)
    }
}
