// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization

/// Answers of tools that may be given again: all on disk, the latest in memory, and what there is known by heart, so
/// that nobody waits to hear that there is nothing. Written behind by the store's writer.
package final class ReplyShelf: ReplyCache, Sendable {
    /// Has the writer's thread do something with its connection; false when it is gone.
    typealias Writer = @Sendable (_ job: @escaping Inbox.Job) -> Bool

    private struct Entry {
        let tool: String
        let bytes: Int
        let keptAt: Int64
        /// Only of the latest.
        var result: [UInt8]?
        var isWritten = false
    }

    /// What is known of an answer takes about as much besides key and result.
    private static let entryBytes = 250
    static let entriesMax = 100_000

    private struct State {
        var bytesMax: Int64
        /// In memory.
        var memoryMax: Int
        var entries: [[UInt8]: Entry] = [:]
        /// Of results alone.
        var bytes: Int64 = 0
        /// Of results, keys and what is known of them.
        var weight: Int64 = 0
        var bytesInMemory = 0
        /// Keys in the order in which their results were put into memory; may hold some twice.
        var inMemory: [[UInt8]] = []
        var unwritten: Set<[UInt8]> = []
        var unlisted: Set<[UInt8]> = []
        var isWriting = false

        init(bytesMax: Int) { (self.bytesMax, memoryMax) = (Int64(bytesMax), bytesMax / 8) }
    }

    private let state: Mutex<State>
    private let writer: Writer

    /// Reads what there is; call on the thread that owns the connection.
    init(_ connection: Connection, bytesMax: Int, writer: @escaping Writer) throws(SQLiteFailure) {
        self.writer = writer
        var loaded = State(bytesMax: bytesMax)
        let rows = try connection.prepare("SELECT key, tool, length(result), kept_at FROM reply_cache")
        while try rows.step() {
            let keptAt = rows.text(3).flatMap { WallTime.milliseconds($0) } ?? 0
            let bytes = Int(rows.integer(2) ?? 0)
            let entry = Entry(tool: rows.text(1) ?? "", bytes: bytes, keptAt: keptAt, isWritten: true)
            Self.enter(rows.bytes(0), entry, &loaded)
        }
        Self.makeRoom(&loaded)
        state = Mutex(loaded)
    }

    package func lookup(_ key: [UInt8]) async -> KeptReply? {
        let (entry, kept) = state.withLock { state -> (Entry?, KeptReply?) in
            guard let entry = state.entries[key] else { return (nil, nil) }
            return (entry, entry.result.map { KeptReply(result: $0, keptAt: entry.keptAt) })
        }
        if let kept { return kept }
        guard let entry, let result = await read(key) else { return nil }
        state.withLock { state in
            guard state.entries[key]?.keptAt == entry.keptAt else { return }
            Self.hold(key, result, &state)
        }
        return KeptReply(result: result, keptAt: entry.keptAt)
    }

    private func read(_ key: [UInt8]) async -> [UInt8]? {
        await withCheckedContinuation { continuation in
            let isTaken = writer { connection in
                let rows = try? connection?.prepare("SELECT result FROM reply_cache WHERE key = ?")
                rows?.bind(1, bytes: key)
                let found = (try? rows?.step()) ?? false
                continuation.resume(returning: found ? rows?.bytes(0) : nil)
            }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    package func keep(_ key: [UInt8], tool: String, _ reply: KeptReply) {
        let mustWrite = state.withLock { state in
            Self.forget(key, &state)
            Self.enter(key, Entry(tool: tool, bytes: reply.result.count, keptAt: reply.keptAt), &state)
            Self.hold(key, reply.result, &state)
            Self.makeRoom(&state)
            state.unwritten.insert(key)
            state.unlisted.remove(key)
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if mustWrite { writeSoon() }
    }

    /// Another bound for what is kept on disk and in memory. Beyond a lower one the oldest go at once.
    func change(bytesMax: Int) {
        let mustWrite = state.withLock { state in
            (state.bytesMax, state.memoryMax) = (Int64(bytesMax), bytesMax / 8)
            Self.makeRoom(&state)
            Self.thin(&state)
            guard !state.unlisted.isEmpty else { return false }
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if mustWrite { writeSoon() }
    }

    private static func enter(_ key: [UInt8], _ entry: Entry, _ state: inout State) {
        state.entries[key] = entry
        state.bytes += Int64(entry.bytes)
        state.weight += Int64(entry.bytes + key.count + entryBytes)
    }

    private static func forget(_ key: [UInt8], _ state: inout State) {
        guard let entry = state.entries.removeValue(forKey: key) else { return }
        state.bytes -= Int64(entry.bytes)
        state.weight -= Int64(entry.bytes + key.count + entryBytes)
        if entry.result != nil { state.bytesInMemory -= entry.bytes }
        state.unwritten.remove(key)
    }

    /// Keeps a result in memory; those that came first leave it. What is not on disk yet stays.
    private static func hold(_ key: [UInt8], _ result: [UInt8], _ state: inout State) {
        guard state.entries[key]?.result == nil else { return }
        state.entries[key]?.result = result
        state.bytesInMemory += result.count
        state.inMemory.append(key)
        thin(&state, except: key)
    }

    private static func thin(_ state: inout State, except key: [UInt8]? = nil) {
        var index = 0
        while state.bytesInMemory > state.memoryMax, index < state.inMemory.count {
            let old = state.inMemory[index]
            index += 1
            guard let entry = state.entries[old], entry.result != nil, entry.isWritten, old != key else { continue }
            state.entries[old]?.result = nil
            state.bytesInMemory -= entry.bytes
        }
        // Results that are kept again and again under one key stand in it once more each time.
        if state.inMemory.count > 64 + 2 * state.entries.count {
            var seen: Set<[UInt8]> = []
            let latest = state.inMemory.reversed().filter {
                state.entries[$0]?.result != nil && seen.insert($0).inserted
            }
            state.inMemory = latest.reversed()
            return
        }
        guard index > 0 else { return }
        let rest = state.inMemory.prefix(index).filter { state.entries[$0]?.result != nil }
        state.inMemory = rest + state.inMemory.dropFirst(index)
    }

    private static func makeRoom(_ state: inout State) {
        guard state.weight > state.bytesMax || state.entries.count > entriesMax else { return }
        // A tenth at once, so that this is seldom done.
        for (key, _) in state.entries.sorted(by: { $0.value.keptAt < $1.value.keptAt }) {
            guard state.weight > state.bytesMax / 10 * 9 || state.entries.count > entriesMax / 10 * 9 else { break }
            forget(key, &state)
            state.unlisted.insert(key)
        }
    }

    // MARK: On the writer's thread

    /// Rows that are taken away in one go; orders of the queue come in between.
    private static let goneAtOnce = 10_000

    private func writeSoon() {
        let isTaken = writer { [self] connection in
            guard let connection else { return }
            let (rows, gone, isMore) = state.withLock { state in
                let rows = state.unwritten.compactMap { key in
                    state.entries[key].flatMap { entry in entry.result.map { (key, entry, $0) } }
                }
                let gone = Array(state.unlisted.prefix(Self.goneAtOnce))
                state.unlisted.subtract(gone)
                state.unwritten = []
                state.isWriting = !state.unlisted.isEmpty
                return (rows, gone, state.isWriting)
            }
            defer { if isMore { writeSoon() } }
            // What cannot be written now is there in memory, and asked for anew after a start.
            let isWritten: ()? = try? connection.transaction { () throws(SQLiteFailure) in
                let insert = try connection.prepare("INSERT OR REPLACE INTO reply_cache VALUES (?, ?, ?, ?)")
                for (key, entry, result) in rows {
                    insert.bind(1, bytes: key)
                    insert.bind(2, entry.tool)
                    insert.bind(3, bytes: result)
                    insert.bind(4, WallTime.text(milliseconds: entry.keptAt))
                    try insert.run()
                }
                let delete = try connection.prepare("DELETE FROM reply_cache WHERE key = ?")
                for key in gone {
                    delete.bind(1, bytes: key)
                    try delete.run()
                }
            }
            guard isWritten != nil else { return }
            state.withLock { state in
                for (key, entry, _) in rows where state.entries[key]?.keptAt == entry.keptAt {
                    state.entries[key]?.isWritten = true
                }
            }
        }
        if !isTaken { state.withLock { $0.isWriting = false } }
    }

    package func clear(tool: String?) async -> (entries: Int, bytes: Int64) {
        let gone = state.withLock { state in
            let gone = state.entries.filter { tool == nil || $0.value.tool == tool }
            for key in gone.keys { Self.forget(key, &state) }
            return gone
        }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isTaken = writer { connection in
                let statement = try? connection?.prepare("DELETE FROM reply_cache WHERE ?1 IS NULL OR tool = ?1")
                statement?.bind(1, tool)
                // A file that cannot be written keeps old answers; they are not known any more, and so never given.
                try? statement?.run()
                continuation.resume()
            }
            if !isTaken { continuation.resume() }
        }
        return (gone.count, gone.values.reduce(0) { $0 + Int64($1.bytes) })
    }

    package func size() -> (entries: Int, bytes: Int64) { state.withLock { ($0.entries.count, $0.bytes) } }

    /// Places in the list of what is in memory, for tests.
    var listed: Int { state.withLock { $0.inMemory.count } }

    /// Lets go of what is in memory; it can be read again.
    func releaseMemory() {
        state.withLock { state in
            for key in state.inMemory where state.entries[key]?.isWritten == true { state.entries[key]?.result = nil }
            state.inMemory = state.inMemory.filter { state.entries[$0]?.result != nil }
            state.bytesInMemory = state.inMemory.reduce(0) { $0 + (state.entries[$1]?.bytes ?? 0) }
        }
    }
}
