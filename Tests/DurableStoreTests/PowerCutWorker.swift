// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience

@testable import DurableStore

/// One of several who use a store at the same time, each with calls and keys of its own, and keeps their stories.
struct PowerCutWorker {
    /// Calls of one caller that may wait: few, so that some are refused.
    static let perCallerMax = 6

    private let number: Int
    private let bench: StoreBench
    private var chance: Chance
    private var made = 0
    /// A handle that is in use.
    private var first: String?
    private(set) var stories: [String: PowerCutStory] = [:]
    private var waiting: [(id: Int64, handle: String)] = []
    private var sending: [LeasedCall] = []
    private var running: [String] = []

    init(_ number: Int, seed: UInt64, bench: StoreBench) {
        self.number = number
        self.bench = bench
        chance = Chance(seed: seed &* 1_000 &+ UInt64(number))
    }

    private var upstream: String { "u\(number)" }
    private var now: Int64 { bench.time.wallMilliseconds() }

    mutating func work(_ store: DurableStore, rounds: Int) async {
        for _ in 0..<rounds {
            switch Int.random(in: 0..<20, using: &chance) {
            case 0..<8: await accept(store)
            case 8..<11: await lease(store)
            case 11..<15: await settle(store)
            case 15: await cancel(store)
            case 16, 17: await begin(store)
            case 18: await end(store)
            default:
                // Makes a checkpoint due now and then.
                if number == 0 { bench.time.advance(seconds: 2) }
            }
        }
    }

    /// After a clean stop, which is a start too: what was being sent is not any more.
    mutating func restarted() {
        (sending, running, waiting) = ([], [], [])
    }

    private mutating func note(_ name: String, _ state: String?, begun: Int) {
        stories[name, default: PowerCutStory(name)].add(state, begun: begun)
    }

    private mutating func accept(_ store: DurableStore) async {
        made += 1
        // Now and then one whose handle exists already, after its key was written in the same transaction.
        let twin = made % 9 == 0 ? first : nil
        let isTwin = twin != nil
        let handle = twin ?? "w\(number)-\(made)"
        let bytes = [UInt8](repeating: 0x31, count: Int.random(in: 0..<3_000, using: &chance))
        var new = NewStoredCall(
            handle: handle, upstream: upstream, tool: "t", target: "t", arguments: bytes,
            caller: "w\(number)-\(made % 2)", idempotencyKey: handle, requestID: .random(), createdAt: now)
        new.isIdempotent = Bool.random(using: &chance)
        let key = isTwin || made % 4 == 0 ? "k-w\(number)-\(made)" : nil
        new.ledgerKey = key.map { Array($0.utf8) }
        let begun = PowerCutLog.now
        let receipt = try? await store.calls.accept(new)
        if let key { note(key, receipt == nil ? nil : "stored \(handle)", begun: begun) }
        if !isTwin { note(handle, receipt == nil ? nil : "queued 0", begun: begun) }
        guard let receipt else { return }
        if first == nil { first = handle }
        waiting.append((receipt.call.id, handle))
    }

    private mutating func lease(_ store: DurableStore) async {
        let begun = PowerCutLog.now
        let limit = Int.random(in: 1...2, using: &chance)
        for one in await store.calls.lease(upstream: upstream, limit: limit, now: now) {
            let call = one.call
            // What was handed out is not simply queued after a start, unless sending it twice does no harm.
            note(call.handle, (call.isIdempotent ? "queued " : "unknown ") + "\(call.attempts)", begun: begun)
            waiting.removeAll { $0.id == call.id }
            sending.append(one)
        }
    }

    private mutating func settle(_ store: DurableStore) async {
        guard let index = sending.indices.randomElement(using: &chance) else { return }
        let call = sending.remove(at: index).call
        let result = [UInt8](repeating: 0x32, count: Int.random(in: 1..<300, using: &chance))
        let (end, state): (Settlement, String) =
            switch Int.random(in: 0..<8, using: &chance) {
            case 0: (.again(availableAt: now, words: "a"), "queued \(call.attempts)")
            case 1: (.notSent(availableAt: now, words: "n"), "queued \(call.attempts - 1)")
            case 2: (.failed(words: "f"), "failed \(call.attempts)")
            case 3: (.unknown(words: "u"), "unknown \(call.attempts)")
            default: (.completed(.result(result)), "completed \(call.attempts) \(result.count)")
            }
        let begun = PowerCutLog.now
        if await store.calls.settle(call.id, end, now: now) { note(call.handle, state, begun: begun) }
    }

    private mutating func cancel(_ store: DurableStore) async {
        guard let index = waiting.indices.randomElement(using: &chance) else { return }
        let (id, handle) = waiting.remove(at: index)
        let begun = PowerCutLog.now
        if case .done(let call) = await store.calls.cancel(id: id, words: "c", now: now) {
            note(handle, "cancelled \(call.attempts)", begun: begun)
        }
    }

    private mutating func begin(_ store: DurableStore) async {
        made += 1
        let key = "l-w\(number)-\(made)"
        let begun = PowerCutLog.now
        let finding = await store.calls.begin(Array(key.utf8), digest: [1], expires: now + 86_400_000, now: now)
        guard case .new = finding else { return }
        note(key, "running", begun: begun)
        running.append(key)
    }

    private mutating func end(_ store: DurableStore) async {
        guard let index = running.indices.randomElement(using: &chance) else { return }
        let key = running.remove(at: index)
        let answer = Int.random(in: 0..<3, using: &chance) > 0 ? [UInt8](repeating: 0x33, count: 200) : nil
        let begun = PowerCutLog.now
        await store.calls.end(Array(key.utf8), answer.map { .result($0) })
        note(key, answer == nil ? nil : "answered", begun: begun)
    }
}
