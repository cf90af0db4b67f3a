// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// The mark beside the database: the epochs that its main file may have while the write-ahead log beside it belongs to
/// it. One short file with two places that are written in turn, so that a write which is cut off leaves the other.
struct EpochFile {
    private static let placeBytes = 512
    private static let title = "mcp-gateway epochs"

    let path: String
    private(set) var epochs: [Epoch]?
    private var sequence: UInt64 = 0

    /// Without epochs when there is no such file, or none that can be understood.
    init(database: String) {
        path = database + ".epoch"
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        for place in 0..<2 {
            var bytes = [UInt8](repeating: 0, count: Self.placeBytes)
            let count = unsafe pread(descriptor, &bytes, bytes.count, off_t(place * Self.placeBytes))
            guard count == Self.placeBytes, let found = Self.read(bytes), found.sequence >= sequence else { continue }
            (sequence, epochs) = found
        }
    }

    private static func read(_ bytes: [UInt8]) -> (sequence: UInt64, epochs: [Epoch]?)? {
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.hasPrefix(title + " "), text.hasSuffix("\n") else { return nil }
        let words = text.dropFirst(title.count).split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard words.count >= 3, let sequence = UInt64(words[0]), let last = words.last else { return nil }
        let body = words.dropLast().joined(separator: " ")
        guard last == Epoch.hex(Epoch.digest(body), 16) else { return nil }
        let epochs = words.dropFirst().dropLast().compactMap { Epoch($0) }
        return epochs.count == words.count - 2 ? (sequence, epochs) : nil
    }

    /// Synced when it returns true. When it returns false, the file says what it said before, or already the new.
    mutating func write(_ epochs: [Epoch]) -> Bool {
        let body = (["\(sequence + 1)"] + epochs.map(\.description)).joined(separator: " ")
        let line = Self.title + " " + body + " " + Epoch.hex(Epoch.digest(body), 16)
        precondition(line.utf8.count < Self.placeBytes, "the mark holds a few epochs")
        let padding = String(repeating: " ", count: Self.placeBytes - 1 - line.utf8.count)
        let bytes = Array((line + padding + "\n").utf8)
        let isNew = !StorageFiles.exists(path)
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o660)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        if isNew {
            fchmod(descriptor, 0o660)
            guard ftruncate(descriptor, off_t(2 * Self.placeBytes)) == 0 else { return false }
        }
        let offset = off_t(Int((sequence + 1) % 2) * Self.placeBytes)
        guard unsafe pwrite(descriptor, bytes, bytes.count, offset) == bytes.count, fdatasync(descriptor) == 0 else {
            return false
        }
        if isNew, !StorageFiles.syncDirectory(of: path) { return false }
        // Only what is there counts: a write that did not come through is tried again in the same place.
        sequence += 1
        self.epochs = epochs
        return true
    }
}
