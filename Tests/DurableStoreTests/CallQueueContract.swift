// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Synchronization
import Testing

/// What the doors `CallQueue` and `CallLedger` promise, for any engine behind them. An engine's own tests hand in a
/// `Maker` and run every case of `cases` against it.
struct CallQueueContract {
    /// What a case asks of the engine it gets.
    struct Bounds: Sendable {
        var itemsMax = 1_000
        var bytesMax: Int64 = 1 << 20
        var perCallerMax = 1_000
        var dropsOldest = false
        var resultKeepSeconds: Int64 = 3_600
        var retentionSeconds: Int64 = 7_200
        var ledgerKeysMax = 1_000
        var ledgerBytesMax: Int64 = 64 << 20
    }

    /// An engine with nothing in it, time that the case moves, and a way to stop and start it again.
    protocol Subject: Sendable {
        var calls: any CallQueue & CallLedger { get }
        var now: Int64 { get }
        func advance(seconds: Int64)
        func restart() throws
        func close()
    }

    typealias Maker = @Sendable (Bounds) throws -> any Subject

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var bounds = Bounds()
        var body: @Sendable (any Subject) async throws -> Void
        var testDescription: String { name }
    }

    static func run(_ one: Case, _ make: Maker) async throws {
        let subject = try make(one.bounds)
        defer { subject.close() }
        try await one.body(subject)
    }

    static let cases: [Case] = comingAndGoing + endings + orders + bounds + ledger + restarts

    // MARK: What the cases share

    static func call(
        _ handle: String, _ subject: any Subject, upstream: String = "erp", caller: String = "ann",
        arguments: [UInt8]? = Array(#"{"n":1}"#.utf8)
    ) -> NewStoredCall {
        NewStoredCall(
            handle: handle, upstream: upstream, tool: "erp__order", target: "order", arguments: arguments,
            caller: caller, idempotencyKey: "key-" + handle, requestID: RequestID(high: 1, low: 2),
            createdAt: subject.now)
    }

    @discardableResult
    static func accept(
        _ handle: String, _ subject: any Subject, upstream: String = "erp", caller: String = "ann",
        arguments: [UInt8]? = Array(#"{"n":1}"#.utf8), _ edit: (inout NewStoredCall) -> Void = { _ in }
    ) async throws -> StoredCall {
        var new = call(handle, subject, upstream: upstream, caller: caller, arguments: arguments)
        edit(&new)
        return try await subject.calls.accept(new).call
    }

    static func lease(_ subject: any Subject, upstream: String = "erp", limit: Int = 10) async -> [LeasedCall] {
        await subject.calls.lease(upstream: upstream, limit: limit, now: subject.now)
    }

    static func handles(_ subject: any Subject, upstream: String = "erp", limit: Int = 10) async -> [String] {
        await lease(subject, upstream: upstream, limit: limit).map(\.call.handle).sorted()
    }

    static func settle(_ id: Int64, _ settlement: Settlement, _ subject: any Subject) async -> Bool {
        await subject.calls.settle(id, settlement, now: subject.now)
    }

    static func status(_ id: Int64, _ subject: any Subject) async -> StoredStatus? {
        await subject.calls.find(id: id)?.call.status
    }

    static let done = StoredAnswer.result(Array(#"{"content":[]}"#.utf8))
}

// MARK: Coming and going

extension CallQueueContract {
    static let comingAndGoing: [Case] = [
        Case(name: "a call is found as it was stored") { subject in
            var new = call("h1", subject)
            new.meta = Array(#"{"a":1}"#.utf8)
            new.isIdempotent = true
            new.priority = 3
            new.schemaDigest = "d"
            new.expiresAt = subject.now + 1_234
            let receipt = try await subject.calls.accept(new)
            #expect(receipt.isNew)
            let expected = StoredCall(
                id: receipt.call.id, handle: "h1", status: .queued, upstream: "erp", tool: "erp__order",
                target: "order", caller: "ann", idempotencyKey: "key-h1", isIdempotent: true, priority: 3,
                schemaDigest: "d", requestID: "00000000000000010000000000000002", attempts: 0,
                createdAt: subject.now, updatedAt: subject.now, availableAt: subject.now,
                expiresAt: subject.now + 1_234, lastError: nil)
            #expect(receipt.call == expected)
            #expect(await subject.calls.find(id: receipt.call.id)?.call == expected)
            #expect(await subject.calls.list(QueueFilter()) == [expected])
            let leased = await lease(subject)
            #expect(leased.map(\.arguments) == [new.arguments])
            #expect(leased.map(\.meta) == [new.meta])
        },
        Case(name: "no arguments, empty ones and large ones come back as they were") { subject in
            let large = (0..<300_000).map { UInt8($0 % 251) }
            let all: [[UInt8]?] = [nil, [], [1], large]
            for (number, arguments) in all.enumerated() {
                try await accept("h\(number)", subject, caller: "c\(number)", arguments: arguments)
            }
            let leased = await lease(subject)
            #expect(leased.sorted { $0.call.id < $1.call.id }.map(\.arguments) == all)
            for one in leased {
                #expect(await settle(one.call.id, .completed(.result(one.arguments ?? [9])), subject))
                let found = try await subject.calls.find(handle: one.call.handle, caller: one.call.caller)
                #expect(found?.answer == .result(one.arguments ?? [9]))
            }
        },
        Case(name: "a lane goes by priority, then age, one at a time; lanes do not wait for each other") { subject in
            for (handle, priority) in [("a", 0), ("b", 0), ("c", 5), ("d", 5)] {
                try await accept(handle, subject) { $0.priority = priority }
            }
            try await accept("x", subject, caller: "bob")
            try await accept("y", subject, upstream: "crm")
            var order: [String] = []
            #expect(await handles(subject).contains("x"))
            for _ in 0..<4 {
                let running = await subject.calls.list(QueueFilter()).filter { $0.status == .inFlight }
                let mine = running.filter { $0.caller == "ann" && $0.upstream == "erp" }
                #expect(mine.count == 1)
                #expect(await handles(subject) == [])
                for one in mine {
                    order.append(one.handle)
                    #expect(await settle(one.id, .completed(done), subject))
                }
                _ = await lease(subject)
            }
            #expect(order == ["c", "d", "a", "b"])
            #expect(await handles(subject, upstream: "crm") == ["y"])
        },
        Case(name: "no more than asked for are leased, and the rest stay") { subject in
            for number in 0..<10 { try await accept("h\(number)", subject, caller: "c\(number)") }
            #expect(await lease(subject, limit: 0).isEmpty)
            #expect(await lease(subject, limit: 4).count == 4)
            #expect(await lease(subject, limit: 100).count == 6)
            #expect(await lease(subject, limit: 100).isEmpty)
        },
        Case(name: "what is asked from memory follows what is stored") { subject in
            let notices = Mutex<[String]>([])
            subject.calls.whenStored { upstream in notices.withLock { $0.append(upstream) } }
            #expect(subject.calls.nextAvailable(upstream: "erp") == nil)
            let one = try await accept("a", subject)
            #expect(notices.withLock { $0 } == ["erp"])
            #expect(subject.calls.nextAvailable(upstream: "erp") == subject.now)
            subject.advance(seconds: 5)
            try await accept("b", subject)
            try await accept("c", subject, upstream: "crm", caller: "bob")
            #expect(subject.calls.waiting() == ["erp": 2, "crm": 1])
            #expect(subject.calls.waiting(upstream: "erp", caller: "ann") == 2)
            #expect(subject.calls.waiting(upstream: "erp", caller: "bob") == 0)
            #expect(subject.calls.counts().waiting == 3)
            #expect(subject.calls.counts().oldestWaiting == one.createdAt)
            #expect(await handles(subject) == ["a"])
            #expect(subject.calls.counts().items == [.queued: 2, .inFlight: 1])
            #expect(subject.calls.nextAvailable(upstream: "erp") == nil)
            notices.withLock { $0 = [] }
            #expect(await settle(one.id, .again(availableAt: subject.now + 700, words: "away"), subject))
            #expect(notices.withLock { $0 } == ["erp"])
            #expect(subject.calls.nextAvailable(upstream: "erp") == subject.now + 700)
            #expect(await subject.calls.cancel(id: one.id, words: "no", now: subject.now) != .noSuchCall)
            #expect(subject.calls.nextAvailable(upstream: "erp") == subject.now)
            #expect(subject.calls.counts().oldestWaiting == subject.now)
            #expect(subject.calls.waiting() == ["erp": 1, "crm": 1])
        },
    ]

    // MARK: Endings

    static let endings: [Case] = [
        Case(name: "an answer is kept for its caller only, and goes after its time") { subject in
            for answer in [done, StoredAnswer.protocolError(Array(#"{"code":-1}"#.utf8))] {
                let one = try await accept("h-\(answer)", subject)
                _ = await lease(subject)
                #expect(await settle(one.id, .completed(answer), subject))
                let found = try await subject.calls.find(handle: one.handle, caller: "ann")
                #expect(found?.answer == answer)
                #expect(found?.call.status == .completed)
                #expect(found?.call.attempts == 1)
                #expect(try await subject.calls.find(handle: one.handle, caller: "bob") == nil)
                #expect(await settle(one.id, .unknown(words: "late"), subject))
                #expect(await status(one.id, subject) == .completed)
            }
            #expect(subject.calls.counts().bytes > 0)
            subject.advance(seconds: 3_601)
            #expect(await subject.calls.list(QueueFilter()) == [])
            #expect(subject.calls.counts() == QueueCounts())
        },
        Case(name: "one that is to be sent again holds its lane up until then; not sent counts no attempt") { subject in
            let one = try await accept("a", subject)
            try await accept("b", subject)
            #expect(await handles(subject) == ["a"])
            #expect(await settle(one.id, .again(availableAt: subject.now + 60_000, words: "busy"), subject))
            #expect(await handles(subject) == [])
            subject.advance(seconds: 60)
            #expect(await lease(subject).map(\.call.attempts) == [2])
            #expect(await settle(one.id, .notSent(availableAt: subject.now, words: "open"), subject))
            #expect(await subject.calls.find(id: one.id)?.call.attempts == 1)
            #expect(await subject.calls.find(id: one.id)?.call.lastError == "open")
            #expect(await handles(subject) == ["a"])
            #expect(await settle(one.id, .failed(words: "gone", answer: done), subject))
            #expect(await subject.calls.find(id: one.id)?.answer == done)
            #expect(await handles(subject) == ["b"])
        },
        Case(name: "an unknown one holds nobody up and waits for a person however long") { subject in
            let one = try await accept("a", subject)
            try await accept("b", subject)
            _ = await lease(subject)
            #expect(await settle(one.id, .unknown(words: "lost"), subject))
            #expect(await handles(subject) == ["b"])
            subject.advance(seconds: 100_000)
            #expect(await subject.calls.find(id: one.id)?.call.status == .unknown)
            guard case .done = await subject.calls.retry(id: one.id, now: subject.now) else {
                Issue.record("it cannot be sent again")
                return
            }
            #expect(await status(one.id, subject) == .queued)
        },
        Case(name: "calls expire in words, also when nobody ever takes them") { subject in
            let one = try await accept("a", subject) { $0.expiresAt = subject.now + 1_000 }
            let two = try await accept("b", subject, upstream: "never") { $0.expiresAt = subject.now + 1_000 }
            try await accept("c", subject)
            subject.advance(seconds: 1)
            #expect(await handles(subject) == ["c"])
            #expect(await status(one.id, subject) == .expired)
            #expect(await status(two.id, subject) == .expired)
            #expect(await subject.calls.find(id: two.id)?.call.lastError?.contains("its time was over") == true)
            #expect(subject.calls.waiting() == ["erp": 1])
        },
        Case(
            name: "however many are over their time, the first that is not is taken",
            bounds: Bounds(itemsMax: 2_000, perCallerMax: 2_000)
        ) { subject in
            for number in 0..<1_200 { try await accept("h\(number)", subject) { $0.expiresAt = subject.now + 1_000 } }
            try await accept("lives", subject)
            subject.advance(seconds: 1)
            #expect(await handles(subject) == ["lives"])
            #expect(subject.calls.counts().items == [.inFlight: 1, .expired: 1_200])
        },
    ]
}
