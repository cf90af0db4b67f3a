// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience
import Testing

/// Does the same random things with an engine and with the model, and compares what both say after each.
struct QueueSimulation {
    let seed: UInt64
    private var chance: Chance
    private var model: QueueModel
    private let bounds: CallQueueContract.Bounds
    private var made = 0

    init(seed: UInt64, bounds: CallQueueContract.Bounds) {
        self.seed = seed
        self.bounds = bounds
        chance = Chance(seed: seed)
        model = QueueModel(bounds: bounds, now: 0)
    }

    private static let upstreams = ["erp", "crm", "shop"]
    private static let callers = ["ann", "bob", "cyd", "dan"]

    mutating func run(_ subject: any CallQueueContract.Subject, steps: Int) async throws {
        model.now = subject.now
        for step in 0..<steps {
            let what = try await one(subject)
            let isAlike = await compare(subject, rows: step % 8 == 0)
            guard isAlike else {
                Issue.record("seed \(seed), step \(step), after \(what): the engine says something else")
                return
            }
        }
        // A simulation in which nothing happens proves nothing.
        #expect(made > steps / 10, "seed \(seed)")
    }

    private mutating func one(_ subject: any CallQueueContract.Subject) async throws -> String {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<35: return await accept(subject)
        case 35..<55: return await lease(subject)
        case 55..<75: return await settle(subject)
        case 75..<82: return await order(subject)
        case 82..<84:
            let statuses: Set<StoredStatus> = [.failed, .cancelled, .expired]
            let gone = await subject.calls.purge(statuses, before: subject.now + 1)
            let before = model.items.count
            model.items.removeAll { statuses.contains($0.status) }
            return gone == before - model.items.count ? "purge" : unlike("purge removed \(gone)")
        case 84..<99:
            let isLong = Int.random(in: 0..<10, using: &chance) == 0
            let seconds = isLong ? 3_000 : Int64.random(in: 1..<90, using: &chance)
            subject.advance(seconds: seconds)
            model.now = subject.now
            model.upkeep()
            return "time"
        default:
            // Seldom, because a restart costs as much as a hundred other steps.
            guard Int.random(in: 0..<5, using: &chance) == 0 else { return "nothing" }
            try subject.restart()
            model.restart()
            model.upkeep()
            return "restart"
        }
    }

    private func unlike(_ words: String) -> String {
        Issue.record("seed \(seed): \(words)")
        return words
    }

    private mutating func accept(_ subject: any CallQueueContract.Subject) async -> String {
        made += 1
        let upstream = Self.upstreams.randomElement(using: &chance) ?? ""
        let caller = Self.callers.randomElement(using: &chance) ?? ""
        let bytes = Int.random(in: 0..<120, using: &chance)
        var new = CallQueueContract.call(
            "h\(made)", subject, upstream: upstream, caller: caller, arguments: [UInt8](repeating: 49, count: bytes))
        new.priority = Int.random(in: 0..<3, using: &chance)
        new.isIdempotent = Bool.random(using: &chance)
        if Bool.random(using: &chance) { new.expiresAt = subject.now + Int64.random(in: 1..<300_000, using: &chance) }
        let hasRoom = model.makeRoom(caller: caller, bytes: Int64(bytes))
        guard let receipt = try? await subject.calls.accept(new) else {
            return hasRoom ? unlike("h\(made) was refused") : "refusal"
        }
        guard hasRoom else { return unlike("h\(made) was stored") }
        model.items.append(
            QueueModel.Item(
                id: receipt.call.id, handle: new.handle, status: .queued, lane: [upstream, caller],
                isIdempotent: new.isIdempotent, priority: new.priority, createdAt: new.createdAt,
                availableAt: new.createdAt, expiresAt: new.expiresAt, payloadBytes: Int64(bytes)))
        return "accept"
    }

    private mutating func lease(_ subject: any CallQueueContract.Subject) async -> String {
        let upstream = Self.upstreams.randomElement(using: &chance) ?? ""
        let limit = Int.random(in: 1..<4, using: &chance)
        let taken = await CallQueueContract.lease(subject, upstream: upstream, limit: limit).map(\.call.id)
        let expected = model.lease(upstream: upstream, limit: limit)
        return taken == expected ? "lease" : unlike("leased \(taken), not \(expected)")
    }

    private mutating func settle(_ subject: any CallQueueContract.Subject) async -> String {
        let sending = model.items.indices.filter { model.items[$0].status == .inFlight }
        guard let index = sending.randomElement(using: &chance) else { return "nothing" }
        let item = model.items[index]
        let later = subject.now + Int64.random(in: 0..<90_000, using: &chance)
        let result = [UInt8](repeating: 50, count: Int.random(in: 0..<60, using: &chance))
        let settlement: Settlement
        switch Int.random(in: 0..<7, using: &chance) {
        case 0, 1:
            settlement = .completed(.result(result))
            model.items[index].resultBytes = Int64(result.count)
            model.end(item.id, .completed, nil)
        case 2:
            settlement = .failed(words: "f", answer: .protocolError(result))
            model.items[index].resultBytes = Int64(result.count)
            model.end(item.id, .failed, "f")
        case 3:
            settlement = .again(availableAt: later, words: "a")
            (model.items[index].status, model.items[index].availableAt) = (.queued, later)
            model.items[index].words = "a"
        case 4:
            settlement = .notSent(availableAt: later, words: "n")
            (model.items[index].status, model.items[index].availableAt) = (.queued, later)
            model.items[index].attempts -= 1
            model.items[index].words = "n"
        case 5:
            settlement = .unknown(words: "u")
            model.end(item.id, .unknown, "u")
        default:
            settlement = .cancelled(words: "c")
            model.end(item.id, .cancelled, "c")
        }
        let isWritten = await CallQueueContract.settle(item.id, settlement, subject)
        // What waits again although its time is over does not for long.
        model.upkeep()
        return isWritten ? "\(settlement)" : unlike("an end was not written")
    }

    private mutating func order(_ subject: any CallQueueContract.Subject) async -> String {
        guard let item = model.items.randomElement(using: &chance) else { return "nothing" }
        guard Bool.random(using: &chance) else {
            let outcome = await subject.calls.cancel(id: item.id, words: "x", now: subject.now)
            let isPossible = item.status == .queued || item.status == .unknown
            let isDoubtful = item.status == .unknown && !item.isIdempotent
            let times = item.attempts == 1 ? "once" : "\(item.attempts) times"
            let doubt = isDoubtful ? "it was sent \(times) without an answer; " : ""
            if isPossible { model.end(item.id, .cancelled, doubt + "x") }
            return isPossible == outcome.isDone ? "cancel" : unlike("cancelling \(item.status): \(outcome)")
        }
        let outcome = await subject.calls.retry(id: item.id, now: subject.now)
        let isPossible = item.status.isOver && item.status != .completed && !item.isForgotten
        if isPossible, let index = model.items.firstIndex(where: { $0.id == item.id }) {
            model.items[index].status = .queued
            model.items[index].availableAt = subject.now
            model.items[index].resultBytes = 0
            model.items[index].keepUntil = nil
            if let end = item.expiresAt, end <= subject.now {
                model.items[index].expiresAt = subject.now + (end - item.createdAt)
            }
        }
        return isPossible == outcome.isDone ? "retry" : unlike("sending \(item.status) again: \(outcome)")
    }

    /// Looks at everything through the door; at single rows now and then, which costs most.
    private func compare(_ subject: any CallQueueContract.Subject, rows: Bool) async -> Bool {
        var filter = QueueFilter()
        filter.limit = 1
        // Asked once before, because that look may be what has upkeep done.
        _ = await subject.calls.list(filter)
        filter.limit = rows ? 1_000 : 1
        let listed = await subject.calls.list(filter)
        let expected = model.items.sorted { $0.id > $1.id }.prefix(filter.limit)
        let isSame = zip(listed, expected).allSatisfy { call, item in
            call.id == item.id && call.handle == item.handle && call.status == item.status
                && call.attempts == item.attempts && call.availableAt == item.availableAt
                && call.expiresAt == item.expiresAt && (item.words == nil || call.lastError == item.words)
        }
        guard isSame, listed.count == expected.count, subject.calls.counts() == model.counts else { return false }
        var byUpstream: [String: Int] = [:]
        for item in model.waiting { byUpstream[item.lane[0], default: 0] += 1 }
        guard subject.calls.waiting() == byUpstream else { return false }
        for upstream in Self.upstreams {
            guard subject.calls.nextAvailable(upstream: upstream) == model.nextAvailable(upstream: upstream) else {
                return false
            }
            for caller in Self.callers {
                let count = model.waiting.filter { $0.lane == [upstream, caller] }.count
                guard subject.calls.waiting(upstream: upstream, caller: caller) == count else { return false }
            }
        }
        return true
    }
}

extension QueueOrderOutcome {
    fileprivate var isDone: Bool {
        if case .done = self { true } else { false }
    }
}
