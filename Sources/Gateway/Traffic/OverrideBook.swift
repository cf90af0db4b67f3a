// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Synchronization

/// What operators have changed by hand: in force at once, and written down so that it stays over a restart.
final class OverrideBook: Sendable {
    private let held: Mutex<[Override.Key: Override]>
    private let archive: any OverrideArchive
    private let last = Mutex<Task<Bool, Never>?>(nil)
    private let time: any TimeSource
    /// Tools and upstreams have names that operators type.
    static let overridesMax = 1_000

    init(archive: any OverrideArchive, time: any TimeSource) {
        self.archive = archive
        self.time = time
        let now = time.wallMilliseconds()
        let known = archive.overrides().filter { $0.until.map { $0 > now } ?? true }
        held = Mutex(Dictionary(known.map { ($0.key, $0) }) { $1 })
    }

    /// Oldest first.
    var all: [Override] {
        held.withLock { $0.values.sorted { ($0.since, $0.subject) < ($1.since, $1.subject) } }
    }

    subscript(kind: Override.Kind, subject: String) -> Override? {
        held.withLock { $0[Override.Key(kind: kind, subject: subject)] }
    }

    func of(_ kind: Override.Kind) -> [Override] { all.filter { $0.kind == kind } }

    /// False when there is no room for one more.
    func put(_ kind: Override.Kind, _ subject: String, _ value: String, _ terms: OrderTerms) -> Bool {
        let now = time.wallMilliseconds()
        return put(
            Override(
                kind: kind, subject: subject, value: value, since: now, by: terms.by,
                until: terms.lasts.map { now + Int64($0.milliseconds) }))
    }

    func put(_ new: Override) -> Bool {
        held.withLock { held in
            // What there is one of has its place in any case.
            guard held[new.key] != nil || held.count < Self.overridesMax || new.subject.isEmpty else { return false }
            held[new.key] = new
            return true
        }
    }

    @discardableResult
    func remove(_ key: Override.Key) -> Override? { held.withLock { $0.removeValue(forKey: key) } }

    /// Takes out those whose time is over.
    func takeOverdue() -> [Override] {
        let now = time.wallMilliseconds()
        return held.withLock { held in
            let over = held.values.filter { $0.until.map { $0 <= now } ?? false }
            for one in over { held[one.key] = nil }
            return over
        }
    }

    /// A drain is not written down: it ends with the process. One after the other, each with what holds by then.
    func write() async -> Bool {
        let task = last.withLock { last in
            let before = last
            let task = Task {
                _ = await before?.value
                return await self.archive.keep(self.all.filter { $0.kind != .drain })
            }
            last = task
            return task
        }
        return await task.value
    }
}
