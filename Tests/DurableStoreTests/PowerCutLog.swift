// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import PowerCut

@testable import DurableStore

/// What SQLite did to the files of one storage directory, in order. A *cut* is a number of records: those happened,
/// the power went before the next.
struct PowerCutLog {
    struct Record {
        var kind: powercut_kind
        var file: Int
        var offset: Int
        /// Where in `bytes` its data lies.
        var data: Range<Int>
    }

    let bytes: [UInt8]
    let records: [Record]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var records: [Record] = []
        bytes.withUnsafeBytes { room in
            var at = 0
            while at < room.count {
                let head = room.loadUnaligned(fromByteOffset: at, as: powercut_record.self)
                at += MemoryLayout<powercut_record>.size
                let data = at..<at + Int(head.length)
                records.append(
                    Record(
                        kind: powercut_kind(head.kind), file: Int(head.file), offset: Int(head.offset), data: data))
                at = data.upperBound
            }
        }
        self.records = records
    }

    func data(_ record: Record) -> [UInt8] { Array(bytes[record.data]) }
    func text(_ record: Record) -> String { String(decoding: data(record), as: UTF8.self) }

    /// Moments around which something may be half done: half of all cuts fall there.
    var windows: [Int] {
        records.indices.filter { index in
            switch records[index].kind {
            case POWERCUT_WRITE, POWERCUT_FOUND, POWERCUT_NAME: false
            default: true
            }
        }
    }

    // MARK: Recording

    static let isRegistered = powercut_register() == 0

    /// Records what happens in the directory while `body` runs.
    static func record(_ directory: String, _ body: () async throws -> Void) async throws -> PowerCutLog {
        guard isRegistered, powercut_begin(directory) == 0 else {
            throw StoreError.unusable(what: "the test", detail: "one recording at a time")
        }
        var failure: (any Error)?
        do { try await body() } catch { failure = error }
        var length = 0
        let taken = powercut_take(&length)
        defer { free(taken) }
        if let failure { throw failure }
        return PowerCutLog(Array(UnsafeRawBufferPointer(start: taken, count: taken == nil ? 0 : length)))
    }

    /// The present moment of the recording.
    static var now: Int { Int(powercut_position()) }

    // MARK: Files, for another look at a failure

    static func read(_ path: String) -> [UInt8] {
        PlainFile.contents(of: path, count: Int(StorageFiles.bytes(of: path))) ?? []
    }

    func save(_ path: String) -> Bool { PlainFile.create(path, bytes) }
}
