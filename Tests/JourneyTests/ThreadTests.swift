// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Glibc
import NIOCore
import Synchronization
import Testing

/// Where a call was seen, and on which thread.
final class Sightings: Sendable {
    struct One: Sendable, Hashable {
        var place: String
        var thread: UInt
        /// Whether that was the thread of the call's event loop; nil where the loop is not known.
        var isOnLoop: Bool?
    }

    private let all = Mutex<[One]>([])
    private let reads = Mutex<Set<UInt>>([])

    static var thread: UInt { UInt(pthread_self()) }

    func note(_ place: String, isOnLoop: Bool? = nil) {
        let one = One(place: place, thread: Self.thread, isOnLoop: isOnLoop)
        all.withLock { $0.append(one) }
    }

    func noteRead() {
        let thread = Self.thread
        reads.withLock { _ = $0.insert(thread) }
    }

    /// What was seen since the last look.
    func take() -> [One] {
        all.withLock { all in
            defer { all = [] }
            return all
        }
    }

    func takeReads() -> Set<UInt> {
        reads.withLock { reads in
            defer { reads = [] }
            return reads
        }
    }
}

/// Stands in front of an upstream and notes on which thread calls go in and come out.
private struct Watched: Backend {
    let inner: any Backend
    let sightings: Sightings

    var name: String { inner.name }
    var route: String { inner.route }
    var asksDuringCalls: Bool { inner.asksDuringCalls }
    func offers() -> Offers { inner.offers() }

    func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer {
        sightings.note("before", isOnLoop: call.loop.inEventLoop)
        let reply = try await inner.call(call)
        sightings.note("after", isOnLoop: call.loop.inEventLoop)
        return reply
    }
}

/// A forwarded call stays on the thread of its connection from the first byte to the last.
@Suite("Threads") struct ThreadTests {
    @Test("A forwarded call changes threads not once", arguments: [1, 2, 4])
    func noHops(_ threads: Int) async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let sightings = Sightings()
        var plan = HousePlan(["up": upstream])
        plan.threads = threads
        plan.wrap = { Watched(inner: $0, sightings: sightings) }
        plan.journal = RecordingJournal(onRecord: { sightings.note("journal") })
        plan.time = ManualTime(runs: true, onRead: { sightings.noteRead() })
        try await withHouse(plan) { house async throws in
            var loopThreads: Set<UInt> = []
            var clients: [ScriptedClient] = []
            for _ in 0..<6 { clients.append(try await ScriptedClient.connect(port: house.port)) }
            let request = RequestText.modern("tools/call", params: #""name":"up__echo""#, name: "up__echo")
            // Each connection's first call may have to open a connection to the upstream, the others find one.
            for round in 0..<40 {
                let client = clients[round % clients.count]
                _ = sightings.take()
                #expect(try await client.ask(request).words == "echo")
                let seen = sightings.take()
                #expect(seen.map(\.place) == ["before", "after", "journal"])
                #expect(seen.allSatisfy { $0.isOnLoop != false }, "round \(round): \(seen)")
                #expect(Set(seen.map(\.thread)).count == 1, "round \(round): \(seen)")
                loopThreads.formUnion(seen.map(\.thread))
            }
            #expect(loopThreads.count == min(threads, clients.count))
            for client in clients { await client.leave() }
        }
        await upstream.goAway()
    }

    @Test("Everything that reads the clock during calls is a thread of the gateway's loops")
    func clockReaders() async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: true))
        let sightings = Sightings()
        var plan = HousePlan(["up": upstream])
        plan.threads = 2
        plan.wrap = { Watched(inner: $0, sightings: sightings) }
        plan.time = ManualTime(runs: true, onRead: { sightings.noteRead() })
        try await withHouse(plan) { house async throws in
            let request = RequestText.modern("tools/call", params: #""name":"up__echo""#, name: "up__echo")
            _ = sightings.takeReads()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        try await house.client { client async throws in
                            for _ in 0..<25 { #expect(try await client.ask(request).words == "echo") }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let readers = sightings.takeReads()
            let callers = Set(sightings.take().map(\.thread))
            #expect(callers.count == 2)
            #expect(readers == callers)
        }
        await upstream.goAway()
    }
}
