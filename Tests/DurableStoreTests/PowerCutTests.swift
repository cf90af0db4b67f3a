// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import PowerCut
import Resilience
import Telemetry
import Testing

@testable import DurableStore

/// The power goes at a random moment of a busy life; `PowerCutDisk` says what is on disk then.
///
///     POWER_CUTS=1000 swift test --filter PowerCutTests          more cuts than `make test` takes
///     POWER_CUT_SEED=7 swift test --filter PowerCutTests         another life; chosen by the time where it is 0
///     POWER_CUT_REPLAY=/tmp/power-cut-7 POWER_CUT_SEED=7 …       the cuts of a failure again, exactly
@Suite("Power cuts", .serialized)
struct PowerCutTests {
    /// A recorded life.
    private struct Life {
        var log: PowerCutLog
        var stories: [PowerCutStory]
    }

    private static func number(_ name: String) -> Int? { getenv(name).flatMap { Int(String(cString: $0)) } }
    private static let cutsPerLife = 60

    private static let seed: UInt64 =
        switch number("POWER_CUT_SEED") {
        case nil: 1
        case 0: UInt64(time(nil))
        case let given?: UInt64(given)
        }

    @Test("whenever the power goes, what was acknowledged is there, what was refused is not, and nothing is set aside")
    func cuts() async throws {
        let cuts = max(Self.number("POWER_CUTS") ?? 3 * Self.cutsPerLife, 1)
        let isReplay = getenv("POWER_CUT_REPLAY") != nil
        let lives = isReplay ? 1 : (cuts + Self.cutsPerLife - 1) / Self.cutsPerLife
        for life in 0..<UInt64(lives) {
            let seed = Self.seed + life
            print("power cuts: seed \(seed)")
            guard let replayed = getenv("POWER_CUT_REPLAY") else {
                try await cut(try await Self.live(seed), seed: seed)
                continue
            }
            let path = String(cString: replayed)
            let lines = String(decoding: PowerCutLog.read(path + "/stories"), as: UTF8.self)
            let stories = lines.split(separator: "\n").compactMap { PowerCutStory(line: $0) }
            try await cut(Life(log: PowerCutLog(PowerCutLog.read(path + "/log")), stories: stories), seed: seed)
        }
    }

    // MARK: The life

    private static func settings(_ bench: StoreBench) -> StoreSettings {
        var settings = bench.settings()
        settings.queuePerCallerMax = PowerCutWorker.perCallerMax
        return settings
    }

    /// Two lives between which the store was stopped as it should be.
    private static func live(_ seed: UInt64) async throws -> Life {
        let bench = StoreBench(inMemory: true)
        var workers = (0..<8).map { PowerCutWorker($0, seed: seed, bench: bench) }
        let log = try await PowerCutLog.record(bench.directory) {
            for _ in 0..<2 {
                let store = try bench.open(settings(bench))
                workers = await withTaskGroup(of: PowerCutWorker.self) { group in
                    for worker in workers {
                        group.addTask {
                            var worker = worker
                            await worker.work(store, rounds: 200)
                            worker.restarted()
                            return worker
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                store.close()
            }
        }
        return Life(log: log, stories: workers.flatMap { $0.stories.values })
    }

    // MARK: The cuts

    private func cut(_ life: Life, seed: UInt64) async throws {
        var chance = Chance(seed: seed)
        let (windows, end) = (life.log.windows, life.log.records.count)
        // Something was synced, checkpoints were made, calls were refused: otherwise nothing is shown.
        #expect(windows.count > 300)
        print("power cuts: \(end) records, \(windows.count) windows, \(life.log.bytes.count >> 20) MiB")
        #expect(life.log.records.count { $0.kind == POWERCUT_MARK } > 8)
        #expect(life.stories.contains { $0.steps.allSatisfy { $0.state == nil } })
        #expect(life.stories.contains { $0.steps.last?.state?.hasPrefix("completed") ?? false })
        let places = (0..<Self.cutsPerLife).map { index in
            if index % 2 == 0 { return Int.random(in: 0...end, using: &chance) }
            let near = (windows.randomElement(using: &chance) ?? 0) + Int.random(in: -1...2, using: &chance)
            return min(max(near, 0), end)
        }
        var disk = PowerCutDisk(life.log)
        var isSaved = false
        for (index, cut) in places.sorted().enumerated() {
            disk.advance(to: cut)
            var chance = Chance(seed: seed &* 10_000 &+ UInt64(index))
            let bench = StoreBench(inMemory: true)
            try disk.image(in: bench.directory, using: &chance)
            let problems: [String]
            if index % 5 == 4 {
                problems = try await again(bench, life.stories, at: cut, using: &chance)
            } else {
                problems = try await look(bench, life.stories, at: cut)
            }
            guard !problems.isEmpty else { continue }
            let place = "/tmp/power-cut-\(seed)"
            if !isSaved, getenv("POWER_CUT_REPLAY") == nil { save(life, place) }
            isSaved = true
            let words = problems.prefix(5).joined(separator: "; ")
            let replay = "POWER_CUT_REPLAY=\(place) POWER_CUT_SEED=\(seed)"
            Issue.record("seed \(seed), cut \(cut): \(words); to replay: \(replay)")
        }
    }

    private func save(_ life: Life, _ place: String) {
        mkdir(place, 0o700)
        let lines = life.stories.map(\.line).joined(separator: "\n")
        let isSaved = life.log.save(place + "/log") && PlainFile.create(place + "/stories", Array(lines.utf8))
        #expect(isSaved, "\(place) is there already: remove it and run again")
    }

    /// The power goes a second time, while the store starts after the first or stops after that.
    private func again(
        _ bench: StoreBench, _ stories: [PowerCutStory], at cut: Int, using chance: inout Chance
    ) async throws -> [String] {
        var problems: [String] = []
        var first = 0
        let log = try await PowerCutLog.record(bench.directory) {
            // What was there before.
            first = PowerCutLog.now
            problems = try await look(bench, stories, at: cut)
        }
        let second = Int.random(in: first...log.records.count, using: &chance)
        var disk = PowerCutDisk(log)
        disk.advance(to: second)
        let other = StoreBench(inMemory: true)
        try disk.image(in: other.directory, using: &chance)
        let found = try await look(other, stories, at: cut)
        return problems + found.map { "and again at \(second): " + $0 }
    }

    // MARK: The start after it

    /// Starts a store there; what is not as it has to be.
    private func look(_ bench: StoreBench, _ stories: [PowerCutStory], at cut: Int) async throws -> [String] {
        var problems: [String] = []
        let store: DurableStore
        do {
            store = try bench.open(Self.settings(bench))
        } catch {
            return ["no start: \(error)"]
        }
        defer { store.close() }
        if let storage = store.component("storage"), storage.status != .healthy { problems.append(storage.detail) }
        let strange = bench.names("").filter { $0.contains(".corrupt") || $0.contains(".from-") }
        if !strange.isEmpty { problems.append("set aside: \(strange)") }
        let found = await store.perform { connection in
            Result { () throws(SQLiteFailure) in try Self.found(connection) }
        }
        let (verdict, isRestored, states) = try #require(try found?.get())
        if verdict != "ok" { problems.append("integrity: \(verdict)") }
        if isRestored { problems.append("taken for an older copy") }
        for story in stories {
            let allowed = story.allowed(at: cut)
            if !allowed.contains(states[story.name]) {
                problems.append("\(story.name) is \(states[story.name] ?? "gone"), not one of \(allowed)")
            }
        }
        let strangers = Set(states.keys).subtracting(stories.map(\.name))
        if !strangers.isEmpty { problems.append("nobody brought \(strangers.sorted())") }
        return problems
    }

    private static func found(
        _ connection: Connection
    ) throws(SQLiteFailure) -> (verdict: String, isRestored: Bool, states: [String: String]) {
        var states: [String: String] = [:]
        let calls = try connection.prepare("SELECT handle, status, attempts, length(result) FROM queue_items")
        try calls.each { row in
            let result = row.integer(3).map { " \($0)" } ?? ""
            states[row.text(0) ?? ""] = "\(row.text(1) ?? "") \(row.integer(2) ?? -1)" + result
        }
        let keys = try connection.prepare("SELECT CAST(key AS TEXT), status, handle FROM call_ledger")
        try keys.each { row in
            states[row.text(0) ?? ""] = (row.text(1) ?? "") + (row.text(2).map { " " + $0 } ?? "")
        }
        let isRestored = try connection.integer("SELECT count(*) FROM meta WHERE key = 'restored'") ?? 0 > 0
        return (try connection.text("PRAGMA integrity_check") ?? "none", isRestored, states)
    }
}
