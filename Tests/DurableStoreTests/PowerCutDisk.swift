// Licensed under the Apache License 2.0; see LICENSE.

import PowerCut
import Resilience

@testable import DurableStore

/// The disk beneath a recorded directory. What a cut leaves of it:
///
/// - Of each file what was written before its last sync, and of what was written or cut off since then either the
///   first few operations, the last of them torn, or any of them, each dropped, whole or torn. Tearing leaves any
///   sectors of 512 bytes. What is dropped may still have made the file longer; then there are zeros.
/// - Of each name what it stood for at the last sync of the directory, or at any time since then. SQLite syncs the
///   directory with the first sync of a log or journal.
/// - The mark of the epochs as it was written last: it is synced before SQLite's next operation. A cut right before
///   that may come before the mark or after it; its two places lie in sectors of their own, so none is ever torn.
///
/// Not modelled: the files of large payloads, which are synced before a row names them, and `gateway.lock`, without
/// which the start is an unclean one.
struct PowerCutDisk {
    private struct File {
        var name = ""
        var synced: [UInt8] = []
        var open: [PowerCutLog.Record] = []
    }

    static let sector = 512

    private let log: PowerCutLog
    private var files: [Int: File] = [:]
    /// What each name stands for: since the last sync of the directory first, then what it came to stand for.
    private var names: [String: [Int?]] = [:]
    private var mark: [UInt8] = []
    private(set) var position = 0

    init(_ log: PowerCutLog) { self.log = log }

    /// Lets happen what happened up to a cut.
    mutating func advance(to cut: Int) {
        precondition(cut >= position, "time goes on")
        while position < cut {
            take(log.records[position])
            position += 1
        }
    }

    private mutating func take(_ record: PowerCutLog.Record) {
        switch record.kind {
        case POWERCUT_NAME:
            let name = log.text(record)
            files[record.file] = File(name: name)
            names[name] = [record.file]
        case POWERCUT_FOUND: files[record.file]?.synced = log.data(record)
        case POWERCUT_MADE:
            let name = log.text(record)
            files[record.file] = File(name: name)
            names[name, default: [nil]].append(record.file)
        case POWERCUT_DELETED: names[files[record.file]?.name ?? "", default: [nil]].append(nil)
        case POWERCUT_WRITE, POWERCUT_TRUNCATE: files[record.file]?.open.append(record)
        case POWERCUT_SYNC:
            guard var file = files.removeValue(forKey: record.file) else { return }
            for operation in file.open { apply(operation, to: &file.synced) { _ in true } }
            file.open = []
            files[record.file] = file
        case POWERCUT_NAMES: names = names.mapValues { [$0.last ?? nil] }
        case POWERCUT_MARK: mark = log.data(record)
        default: preconditionFailure("a record of no known kind")
        }
    }

    /// Does one operation, or those sectors of it that are asked for.
    private func apply(_ record: PowerCutLog.Record, to bytes: inout [UInt8], _ isThere: (Int) -> Bool) {
        if record.kind == POWERCUT_TRUNCATE {
            if isThere(0) { resize(&bytes, to: record.offset) }
            return
        }
        var from = record.offset
        let end = record.offset + record.data.count
        while from < end {
            let next = min(end, (from / Self.sector + 1) * Self.sector)
            if isThere(from / Self.sector) {
                if bytes.count < next { resize(&bytes, to: next) }
                let source = record.data.lowerBound + from - record.offset
                log.bytes.withUnsafeBytes { all in
                    bytes.withUnsafeMutableBytes { room in
                        UnsafeMutableRawBufferPointer(rebasing: room[from..<next])
                            .copyMemory(from: UnsafeRawBufferPointer(rebasing: all[source..<source + next - from]))
                    }
                }
            }
            from = next
        }
    }

    private func resize(_ bytes: inout [UInt8], to count: Int) {
        if count < bytes.count { bytes.removeLast(bytes.count - count) }
        if count > bytes.count { bytes += [UInt8](repeating: 0, count: count - bytes.count) }
    }

    // MARK: The cut

    /// Writes what is left into an empty directory. The same chance gives the same.
    func image(in directory: String, using chance: inout Chance) throws {
        try StorageFiles.make(directory: directory)
        for name in names.keys.sorted() {
            guard let file = names[name]?.randomElement(using: &chance) ?? nil, let content = files[file] else {
                continue
            }
            guard PlainFile.create(directory + "/" + name, left(of: content, using: &chance)) else {
                throw StoreError.unusable(what: directory + "/" + name, detail: "not written")
            }
        }
        var mark = mark
        if position < log.records.count, log.records[position].kind == POWERCUT_MARK, Bool.random(using: &chance) {
            mark = log.data(log.records[position])
        }
        if !mark.isEmpty, !PlainFile.create(directory + "/queue.db.epoch", mark) {
            throw StoreError.unusable(what: directory, detail: "the mark was not written")
        }
    }

    private func left(of file: File, using chance: inout Chance) -> [UInt8] {
        var bytes = file.synced
        let isInOrder = Bool.random(using: &chance)
        let count = isInOrder ? Int.random(in: 0...file.open.count, using: &chance) : file.open.count
        for (index, operation) in file.open.prefix(count).enumerated() {
            let fate = isInOrder ? (index == count - 1 ? 2 : 1) : Int.random(in: 0...2, using: &chance)
            switch fate {
            case 0:
                let end = operation.offset + operation.data.count
                if operation.kind == POWERCUT_WRITE, end > bytes.count, Bool.random(using: &chance) {
                    resize(&bytes, to: end)
                }
            case 1: apply(operation, to: &bytes) { _ in true }
            default: apply(operation, to: &bytes) { _ in Bool.random(using: &chance) }
            }
        }
        return bytes
    }
}
