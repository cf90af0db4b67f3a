// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// A thread for work on files that would hold up whoever asks for it. One piece after the other; at rest it sleeps.
final class FileDesk: Sendable {
    typealias Job = @Sendable () -> Void

    /// What the thread holds on to, so that it does not hold on to the desk.
    private final class Table: Sendable {
        let jobs = Mutex<[Job]>([])
        let isClosed = Mutex(false)
        let bell: Bell

        init() throws(StoreError) { bell = try Bell() }

        func work() {
            while true {
                // Asked first: what was put in before the end is done.
                let isLast = isClosed.withLock { $0 }
                let taken = jobs.withLock { jobs in
                    defer { jobs = [] }
                    return jobs
                }
                for job in taken { job() }
                if isLast { return }
                if taken.isEmpty { bell.wait(milliseconds: nil) }
            }
        }
    }

    private let table: Table
    private let thread: Mutex<WriterThread?>

    init() throws(StoreError) {
        let table = try Table()
        self.table = table
        thread = Mutex(try WriterThread { table.work() })
    }

    deinit { close() }

    /// False when the desk is closed: the job will not be done.
    @discardableResult
    func post(_ job: @escaping Job) -> Bool {
        let isTaken = table.isClosed.withLock { isClosed in
            if !isClosed { table.jobs.withLock { $0.append(job) } }
            return !isClosed
        }
        if isTaken { table.bell.ring() }
        return isTaken
    }

    /// Nil when the desk is closed.
    func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
        await withCheckedContinuation { continuation in
            if !post({ continuation.resume(returning: body()) }) { continuation.resume(returning: nil) }
        }
    }

    /// Does what was put in before, and ends. May be called more than once.
    func close() {
        let thread = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        guard let thread else { return }
        table.isClosed.withLock { $0 = true }
        table.bell.ring()
        thread.join()
    }
}
