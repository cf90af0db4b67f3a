// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Synchronization
import Testing

extension CallQueueContract {
    /// Brings a call of its own lane into a state.
    private static func bring(to status: StoredStatus, _ subject: any Subject) async throws -> StoredCall {
        let one = try await accept("h-\(status)", subject, caller: "c-\(status)") { new in
            if status == .expired { new.expiresAt = subject.now + 5_000 }
        }
        if status == .expired { subject.advance(seconds: 5) }
        switch status {
        case .queued: break
        case .cancelled: _ = await subject.calls.cancel(id: one.id, words: "w", now: subject.now)
        case .inFlight, .expired: _ = await lease(subject)
        case .completed, .failed, .unknown:
            _ = await lease(subject)
            let end: Settlement =
                switch status {
                case .completed: .completed(done)
                case .failed: .failed(words: "w")
                default: .unknown(words: "w")
                }
            #expect(await settle(one.id, end, subject))
        }
        #expect(await Self.status(one.id, subject) == status)
        return one
    }

    static let orders: [Case] = [
        Case(name: "cancelling takes back what waits or is unknown, and nothing else") { subject in
            for status in StoredStatus.allCases where status != .inFlight {
                let one = try await bring(to: status, subject)
                let outcome = await subject.calls.cancel(id: one.id, words: "not wanted", now: subject.now)
                let found = try #require(await subject.calls.find(id: one.id)?.call)
                if status == .queued || status == .unknown {
                    #expect(outcome == .done(found))
                    #expect(found.status == .cancelled)
                    let doubt = status == .unknown ? "it was sent once without an answer; " : ""
                    #expect(found.lastError == doubt + "not wanted")
                } else {
                    #expect(outcome == .notPossible(found))
                    #expect(found.status == status)
                }
            }
            let sending = try await bring(to: .inFlight, subject)
            guard case .notPossible = await subject.calls.cancel(id: sending.id, words: "", now: subject.now) else {
                Issue.record("one that is being sent was cancelled")
                return
            }
            #expect(await subject.calls.cancel(id: 99_999, words: "", now: subject.now) == .noSuchCall)
        },
        Case(name: "cancelling does not hide that a call may have been carried out, where it matters") { subject in
            for isIdempotent in [false, true] {
                let one = try await accept("h\(isIdempotent)", subject) { $0.isIdempotent = isIdempotent }
                for _ in 0..<3 {
                    #expect(await lease(subject).count == 1)
                    #expect(await settle(one.id, .again(availableAt: subject.now, words: "busy"), subject))
                }
                _ = await lease(subject)
                #expect(await settle(one.id, .unknown(words: "lost"), subject))
                _ = await subject.calls.cancel(id: one.id, words: "not wanted", now: subject.now)
                let words = isIdempotent ? "not wanted" : "it was sent 4 times without an answer; not wanted"
                #expect(await subject.calls.find(id: one.id)?.call.lastError == words)
            }
        },
        Case(name: "when an upstream is back its calls need not wait for their next try") { subject in
            let notices = Mutex<[String]>([])
            subject.calls.whenStored { upstream in notices.withLock { $0.append(upstream) } }
            let one = try await accept("a", subject) { $0.expiresAt = subject.now + 900_000 }
            let two = try await accept("b", subject, caller: "bob")
            let other = try await accept("c", subject, upstream: "crm")
            _ = await lease(subject)
            _ = await lease(subject, upstream: "crm")
            for id in [one.id, two.id, other.id] {
                #expect(await settle(id, .again(availableAt: subject.now + 600_000, words: "away"), subject))
            }
            // It comes first in its lane from here on, and the one behind it waits all the same.
            try await accept("first", subject) { $0.priority = 5 }
            #expect(await handles(subject) == ["first"])
            notices.withLock { $0 = [] }
            subject.advance(seconds: 1)
            await subject.calls.hurry(upstream: "erp", now: subject.now)
            #expect(notices.withLock { $0.contains("erp") })
            #expect(subject.calls.nextAvailable(upstream: "erp") == subject.now)
            #expect(subject.calls.nextAvailable(upstream: "crm") == subject.now + 599_000)
            try subject.restart()
            #expect(await subject.calls.find(id: one.id)?.call.availableAt == subject.now)
            #expect(await subject.calls.find(id: one.id)?.call.attempts == 1)
            #expect(await handles(subject) == ["a", "b"])
            #expect(await handles(subject, upstream: "crm") == [])
            await subject.calls.hurry(upstream: "nobody", now: subject.now)
        },
        Case(name: "what is over and was not completed can be sent again, with its arguments") { subject in
            for status in StoredStatus.allCases where status != .inFlight {
                let one = try await bring(to: status, subject)
                subject.advance(seconds: 10)
                let outcome = await subject.calls.retry(id: one.id, now: subject.now)
                let found = try #require(await subject.calls.find(id: one.id)?.call)
                guard status.isOver, status != .completed else {
                    #expect(outcome == .notPossible(found))
                    _ = await subject.calls.cancel(id: one.id, words: "", now: subject.now)
                    continue
                }
                #expect(outcome == .done(found))
                #expect(found.status == .queued)
                #expect(found.availableAt == subject.now)
                let leased = await lease(subject)
                #expect(leased.map(\.arguments) == [Array(#"{"n":1}"#.utf8)])
                #expect(await settle(one.id, .completed(done), subject))
            }
            #expect(await subject.calls.retry(id: 99_999, now: subject.now) == .noSuchCall)
        },
        Case(name: "purging removes what is over, of these statuses, changed before that time") { subject in
            for status in StoredStatus.allCases where status != .inFlight { _ = try await bring(to: status, subject) }
            #expect(await subject.calls.purge([.failed, .queued], before: subject.now - 5_000) == 0)
            subject.advance(seconds: 1)
            #expect(await subject.calls.purge([.failed, .queued], before: subject.now) == 1)
            #expect(await subject.calls.purge(Set(StoredStatus.allCases), before: subject.now) == 4)
            // The one that waited was taken along when others were sent.
            #expect(await subject.calls.list(QueueFilter()).map(\.status) == [.inFlight])
        },
        Case(name: "lists are newest first, by filter and page") { subject in
            for number in 0..<25 {
                try await accept("h\(number)", subject, upstream: number % 5 == 0 ? "crm" : "erp")
            }
            var filter = QueueFilter()
            filter.limit = 10
            var pages: [[String]] = []
            while true {
                let page = await subject.calls.list(filter)
                if page.isEmpty { break }
                pages.append(page.map(\.handle))
                filter.before = page.last?.id
            }
            #expect(pages.map(\.count) == [10, 10, 5])
            #expect(pages.flatMap { $0 } == (0..<25).reversed().map { "h\($0)" })
            filter = QueueFilter()
            filter.upstream = "crm"
            #expect(await subject.calls.list(filter).map(\.handle) == ["h20", "h15", "h10", "h5", "h0"])
            _ = await lease(subject, upstream: "crm")
            filter.statuses = [.inFlight, .failed]
            #expect(await subject.calls.list(filter).map(\.handle) == ["h0"])
            filter.statuses = [.failed]
            #expect(await subject.calls.list(filter).isEmpty)
        },
    ]

    // MARK: Bounds

    private static func refusal(_ handle: String, _ subject: any Subject, caller: String = "ann") async -> String? {
        do {
            try await accept(handle, subject, caller: caller)
            return nil
        } catch QueueRefusal.full(let detail) {
            return detail
        } catch {
            return "another reason: \(error)"
        }
    }

    static let bounds: [Case] = [
        Case(name: "a full queue refuses, keeps nothing of it, and has room again later", bounds: Bounds(itemsMax: 3)) {
            subject in
            for number in 0..<3 { try await accept("h\(number)", subject) }
            #expect(await refusal("more", subject)?.contains("3") == true)
            #expect(subject.calls.counts().items == [.queued: 3])
            #expect(try await subject.calls.find(handle: "more", caller: "ann") == nil)
            let leased = await lease(subject)
            #expect(await refusal("more", subject) != nil)
            #expect(await settle(leased[0].call.id, .unknown(words: ""), subject))
            #expect(await refusal("more", subject) == nil)
        },
        Case(name: "bytes are bounded: what is over makes room", bounds: Bounds(bytesMax: 20)) { subject in
            let one = try await accept("a", subject)
            try await accept("b", subject)
            #expect(subject.calls.counts().bytes == 14)
            #expect(await refusal("c", subject)?.contains("14 of 20 bytes") == true)
            _ = await lease(subject)
            #expect(await settle(one.id, .completed(.result(Array("0123456789012".utf8))), subject))
            #expect(subject.calls.counts().bytes == 20)
            #expect(await refusal("c", subject) == nil)
            #expect(await subject.calls.find(id: one.id) == nil)
            #expect(subject.calls.counts().items == [.queued: 2])
            #expect(subject.calls.counts().bytes == 14)
            #expect(await refusal("d", subject)?.contains("14 of 20 bytes") == true)
        },
        Case(
            name: "arguments count as long as they are kept, however a call ended",
            bounds: Bounds(bytesMax: 60, dropsOldest: true)
        ) { subject in
            let ends: [StoredStatus] = [.failed, .expired, .cancelled, .unknown]
            for status in ends { _ = try await bring(to: status, subject) }
            #expect(subject.calls.counts().bytes == 28)
            try subject.restart()
            #expect(subject.calls.counts().bytes == 28)
            // Nothing that waits goes while something that is over holds bytes, and never what a person has to see.
            for number in 0..<7 { try await accept("h\(number)", subject, caller: "c\(number)") }
            #expect(subject.calls.counts().items == [.queued: 7, .unknown: 1])
            #expect(subject.calls.counts().bytes == 56)
            try await accept("h7", subject)
            #expect(subject.calls.counts().items == [.queued: 7, .unknown: 1, .cancelled: 1])
            #expect(subject.calls.counts().bytes == 56)
            let dropped = try #require(try await subject.calls.find(handle: "h0", caller: "c0")?.call)
            #expect(dropped.lastError == "dropped: queue full")
            #expect(await subject.calls.retry(id: dropped.id, now: subject.now) == .notPossible(dropped))
            #expect(await subject.calls.purge(Set(StoredStatus.allCases), before: .max) == 2)
            #expect(subject.calls.counts().bytes == 49)
        },
        Case(name: "a caller has its own bound", bounds: Bounds(perCallerMax: 2, dropsOldest: true)) { subject in
            try await accept("a", subject)
            try await accept("b", subject, upstream: "crm")
            #expect(await refusal("c", subject)?.contains("this caller") == true)
            #expect(await refusal("d", subject, caller: "bob") == nil)
        },
        Case(
            name: "nothing is dropped for a call that finds no room even then",
            bounds: Bounds(bytesMax: 20, dropsOldest: true)
        ) { subject in
            let kept = try await accept("a", subject, arguments: Array("0123456789012".utf8))
            _ = await lease(subject)
            #expect(await settle(kept.id, .unknown(words: "lost"), subject))
            let waits = try await accept("b", subject)
            let before = subject.calls.counts()
            await #expect(throws: QueueRefusal.self) {
                try await accept("c", subject, arguments: [UInt8](repeating: 49, count: 8))
            }
            #expect(subject.calls.counts() == before)
            #expect(await status(waits.id, subject) == .queued)
            #expect(await handles(subject) == ["b"])
        },
        Case(
            name: "where the oldest may be dropped, the lowest priority goes first, never one that is being sent",
            bounds: Bounds(itemsMax: 4, dropsOldest: true)
        ) { subject in
            let sending = try await accept("a", subject)
            #expect(await handles(subject) == ["a"])
            let high = try await accept("b", subject) { $0.priority = 9 }
            let old = try await accept("c", subject)
            let young = try await accept("d", subject, caller: "bob")
            try await accept("e", subject)
            #expect(await subject.calls.find(id: old.id)?.call.lastError == "dropped: queue full")
            #expect(await status(old.id, subject) == .cancelled)
            try await accept("f", subject)
            #expect(await status(young.id, subject) == .cancelled)
            #expect(await status(high.id, subject) == .queued)
            #expect(await status(sending.id, subject) == .inFlight)
            #expect(subject.calls.counts().waiting == 4)
        },
    ]
}
