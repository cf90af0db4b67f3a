// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

extension CallQueueContract {
    private static func begin(
        _ key: String, _ subject: any Subject, digest: [UInt8] = [1], seconds: Int64 = 600
    ) async -> LedgerFinding {
        await subject.calls.begin(
            Array(key.utf8), digest: digest, expires: subject.now + seconds * 1_000, now: subject.now)
    }

    static let ledger: [Case] = [
        Case(name: "a key is new once, then runs, then has its answer") { subject in
            #expect(await begin("k", subject) == .new)
            #expect(await begin("k", subject) == .running)
            #expect(await begin("k", subject, digest: [2]) == .differs)
            #expect(await begin("other", subject) == .new)
            await subject.calls.end(Array("k".utf8), done)
            #expect(await begin("k", subject) == .answered(done))
            #expect(await begin("k", subject, digest: [2]) == .differs)
            await subject.calls.end(Array("other".utf8), nil)
            #expect(await begin("other", subject, digest: [3]) == .new)
            // An end that comes twice, or for nobody, changes nothing.
            await subject.calls.end(Array("k".utf8), nil)
            await subject.calls.end(Array("nobody".utf8), done)
            #expect(await begin("k", subject) == .answered(done))
            #expect(await begin("nobody", subject) == .new)
        },
        Case(name: "an answer above a mebibyte is not kept, and its key finds lost") { subject in
            for (size, expected) in [(1 << 20, false), (1 << 20 + 1, true)] {
                let answer = StoredAnswer.protocolError([UInt8](repeating: 32, count: size))
                #expect(await begin("k\(size)", subject) == .new)
                await subject.calls.end(Array("k\(size)".utf8), answer)
                #expect(await begin("k\(size)", subject) == (expected ? .lost : .answered(answer)))
            }
        },
        Case(name: "a key is forgotten after its time") { subject in
            #expect(await begin("k", subject, seconds: 10) == .new)
            await subject.calls.end(Array("k".utf8), done)
            subject.advance(seconds: 9)
            #expect(await begin("k", subject) == .answered(done))
            subject.advance(seconds: 1)
            #expect(await begin("k", subject, digest: [9]) == .new)
        },
        Case(
            name: "keys are bounded: of those that are answered the oldest go", bounds: Bounds(ledgerKeysMax: 50)
        ) { subject in
            #expect(await begin("runs", subject, seconds: 1) == .new)
            for number in 0..<200 {
                #expect(await begin("k\(number)", subject, seconds: 100 + Int64(number)) == .new)
                await subject.calls.end(Array("k\(number)".utf8), done)
            }
            #expect(await begin("k199", subject) == .answered(done))
            #expect(await begin("runs", subject) == .running)
            #expect(await begin("k0", subject) == .new)
        },
        Case(
            name: "keys whose answers were too large to be kept go as well when there are too many",
            bounds: Bounds(ledgerKeysMax: 3)
        ) { subject in
            let large = StoredAnswer.result([UInt8](repeating: 32, count: 1 << 20 + 1))
            for number in 0..<8 {
                #expect(await begin("k\(number)", subject, seconds: 100 + Int64(number)) == .new)
                await subject.calls.end(Array("k\(number)".utf8), large)
            }
            #expect(await begin("k7", subject) == .lost)
            #expect(await begin("k0", subject) == .new)
        },
        Case(
            name: "answers are bounded in bytes: the oldest go, and a start knows how many there are",
            bounds: Bounds(ledgerBytesMax: 1_000)
        ) { subject in
            let answer = StoredAnswer.result([UInt8](repeating: 32, count: 20))
            func answered(_ numbers: Range<Int>) async -> Int {
                var count = 0
                for number in numbers where await begin("k\(number)", subject) == .answered(answer) { count += 1 }
                return count
            }
            #expect(await begin("runs", subject, seconds: 50) == .new)
            for number in 0..<50 {
                #expect(await begin("k\(number)", subject, seconds: 100 + Int64(number)) == .new)
                await subject.calls.end(Array("k\(number)".utf8), answer)
            }
            #expect(await answered(0..<50) == 50)
            try subject.restart()
            #expect(await begin("k50", subject) == .new)
            await subject.calls.end(Array("k50".utf8), answer)
            #expect(await begin("runs", subject) == .lost)
            #expect(await answered(30..<51) == 21)
            #expect(await begin("k0", subject) == .new)
        },
        Case(name: "a call with a key is stored once") { subject in
            let key = Array("k".utf8)
            let first = try await subject.calls.accept(keyed("a", key, subject))
            #expect(first.isNew)
            let second = try await subject.calls.accept(keyed("b", key, subject))
            #expect(second == Receipt(call: first.call, isNew: false))
            #expect(subject.calls.counts().waiting == 1)
            #expect(await begin("k", subject) == .stored(handle: "a"))
        },
        Case(name: "a call that was begun and then had to be stored is known as stored") { subject in
            let key = Array("k".utf8)
            #expect(await begin("k", subject) == .new)
            let receipt = try await subject.calls.accept(keyed("a", key, subject))
            #expect(receipt.isNew)
            #expect(await begin("k", subject) == .stored(handle: "a"))
            #expect(await begin("k", subject, digest: [7]) == .differs)
            await subject.calls.end(key, nil)
            #expect(await begin("k", subject) == .stored(handle: "a"))
        },
        Case(name: "the key of a stored call outlives the call, however short it was to be known at first") { subject in
            let key = Array("k".utf8)
            #expect(await begin("k", subject, seconds: 600) == .new)
            var new = keyed("a", key, subject)
            new.expiresAt = subject.now + 100_000_000
            let one = try await subject.calls.accept(new).call
            subject.advance(seconds: 99_999)
            // Anybody's call has what is over its time removed.
            #expect(await begin("other", subject) == .new)
            var again = keyed("b", key, subject)
            again.expiresAt = subject.now + 100_000_000
            #expect(try await subject.calls.accept(again).call.id == one.id)
            subject.advance(seconds: 3_600)
            #expect(await begin("k", subject) == .stored(handle: "a"))
        },
        Case(name: "a call that may have been carried out is never stored a second time") { subject in
            let key = Array("k".utf8)
            _ = await begin("k", subject)
            await subject.calls.end(key, done)
            await #expect(throws: QueueRefusal.self) { _ = try await subject.calls.accept(keyed("a", key, subject)) }
            _ = await begin("lost", subject)
            try subject.restart()
            let lost = keyed("b", Array("lost".utf8), subject)
            await #expect(throws: QueueRefusal.self) { _ = try await subject.calls.accept(lost) }
            #expect(subject.calls.counts() == QueueCounts())
        },
    ]

    private static func keyed(_ handle: String, _ key: [UInt8], _ subject: any Subject) -> NewStoredCall {
        var new = call(handle, subject)
        new.ledgerKey = key
        return new
    }

    // MARK: Restarts

    static let restarts: [Case] = [
        Case(name: "a restart keeps what waits, and decides on what was being sent") { subject in
            let waits = try await accept("waits", subject, caller: "a")
            let safe = try await accept("safe", subject, caller: "b") { $0.isIdempotent = true }
            let harmful = try await accept("harmful", subject, caller: "c")
            let finished = try await accept("finished", subject, caller: "d")
            #expect(await lease(subject).count == 4)
            #expect(await settle(waits.id, .notSent(availableAt: subject.now + 500, words: "w"), subject))
            #expect(await settle(finished.id, .completed(done), subject))
            let before = subject.calls.counts()
            try subject.restart()
            #expect(await status(waits.id, subject) == .queued)
            #expect(await status(safe.id, subject) == .queued)
            #expect(await subject.calls.find(id: safe.id)?.call.attempts == 1)
            let unknown = await subject.calls.find(id: harmful.id)?.call
            #expect(unknown?.status == .unknown)
            #expect(unknown?.lastError?.contains("whether it was carried out is not known") == true)
            #expect(try await subject.calls.find(handle: "finished", caller: "d")?.answer == done)
            let after = subject.calls.counts()
            #expect(after.items == [.queued: 2, .unknown: 1, .completed: 1])
            #expect(before.items == [.queued: 1, .inFlight: 2, .completed: 1])
            #expect(after.bytes == before.bytes)
            #expect(subject.calls.nextAvailable(upstream: "erp") == subject.now)
            #expect(await handles(subject) == ["safe"])
        },
        Case(name: "after a restart running keys are lost, and others are as they were") { subject in
            #expect(await begin("runs", subject) == .new)
            #expect(await begin("ends", subject) == .new)
            await subject.calls.end(Array("ends".utf8), done)
            _ = try await subject.calls.accept(keyed("a", Array("stored".utf8), subject))
            try subject.restart()
            #expect(await begin("runs", subject) == .lost)
            #expect(await begin("ends", subject) == .answered(done))
            #expect(await begin("stored", subject) == .stored(handle: "a"))
        },
    ]
}
