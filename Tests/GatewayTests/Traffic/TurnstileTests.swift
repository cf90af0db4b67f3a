// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import NIOCore
import Testing

@testable import Gateway

/// A turnstile, and people who come to it on one loop.
struct TurnstileBench: Sendable {
    let turnstile: Turnstile
    let loop: any EventLoop
    /// Names, in the order in which they got in.
    let entered = Collected<String>()
    static let never = Deadline(Moment(nanoseconds: .max))
    static let now = Moment(nanoseconds: 1_000_000_000)

    /// What became of somebody.
    enum Fate: Sendable, Equatable {
        case inside
        case full(running: Int, waiting: Int)
        case late(after: Duration)
        case left
    }

    init(
        running: Int, waiting: Int = 0, wait: Duration = .seconds(3_600), on loop: any EventLoop = TestLoop.one
    ) {
        self.loop = loop
        turnstile = Turnstile(Turnstile.Settings(runningMax: running, waitingMax: waiting, waitMax: wait))
    }

    func change(running: Int, waiting: Int = 0, wait: Duration = .seconds(3_600)) {
        turnstile.change(to: Turnstile.Settings(runningMax: running, waitingMax: waiting, waitMax: wait))
    }

    /// Comes, and stays inside when that works out.
    func come(_ name: String, by deadline: Deadline = never) -> Task<Fate, Never> {
        Task(executorPreference: LoopExecutor(loop)) {
            do throws(Turnstile.Refusal) {
                try await turnstile.enter(by: deadline, at: Self.now, on: loop)
                entered.add(name)
                return .inside
            } catch {
                switch error {
                case .full(let running, let waiting): return .full(running: running, waiting: waiting)
                case .late(let after): return .late(after: after)
                case .left: return .left
                }
            }
        }
    }

    /// Comes and gets in, or records an issue.
    func enter(_ count: Int = 1) async throws {
        for number in 0..<count { #expect(try await come("early \(number)").soon() == .inside) }
    }

    /// Comes and is in the line when this returns.
    func queue(_ name: String, by deadline: Deadline = never) async throws -> Task<Fate, Never> {
        let before = turnstile.waiting
        let task = come(name, by: deadline)
        try await wait(for: "\(name) to stand in the line") { turnstile.waiting == before + 1 }
        return task
    }
}

/// Who gets in, who waits, and who is sent away.
@Suite("Turnstile") struct TurnstileTests {
    private typealias Fate = TurnstileBench.Fate

    @Test("So many are let in; without a line one more is sent away at once, and is told what it met")
    func cap() async throws {
        let bench = TurnstileBench(running: 2)
        try await bench.enter(2)
        #expect(try await bench.come("third").soon() == .full(running: 2, waiting: 0))
        #expect(bench.turnstile.running == 2)
        bench.turnstile.leave(after: nil)
        #expect(bench.turnstile.running == 1)
        try await bench.enter()
        for _ in 0..<2 { bench.turnstile.leave(after: nil) }
        #expect(bench.turnstile.running == 0)
    }

    @Test("The line is served in the order in which it formed, and its end is the end")
    func order() async throws {
        let bench = TurnstileBench(running: 1, waiting: 3)
        try await bench.enter()
        var tasks: [Task<TurnstileBench.Fate, Never>] = []
        for name in ["a", "b", "c"] { tasks.append(try await bench.queue(name)) }
        #expect(try await bench.come("d").soon() == .full(running: 1, waiting: 3))
        for task in tasks {
            bench.turnstile.leave(after: nil)
            #expect(try await task.soon() == .inside)
            #expect(bench.turnstile.running == 1)
        }
        #expect(bench.entered.all == ["early 0", "a", "b", "c"])
        bench.turnstile.leave(after: nil)
        #expect(bench.turnstile.running == 0 && bench.turnstile.waiting == 0)
    }

    @Test("A place that is handed on is taken at once, so that nobody who comes then overtakes")
    func handedOn() async throws {
        let bench = TurnstileBench(running: 1, waiting: 1)
        try await bench.enter()
        let first = try await bench.queue("first")
        bench.turnstile.leave(after: nil)
        // Whether or not the first has noticed by now.
        #expect(bench.turnstile.running == 1)
        #expect(bench.turnstile.waiting == 0)
        let second = try await bench.queue("second")
        #expect(try await first.soon() == .inside)
        bench.turnstile.leave(after: nil)
        #expect(try await second.soon() == .inside)
        #expect(bench.entered.all == ["early 0", "first", "second"])
    }

    @Test("Who has waited as long as may be goes, and takes nobody's place with it")
    func patience() async throws {
        let bench = TurnstileBench(running: 1, waiting: 5, wait: .milliseconds(20))
        try await bench.enter()
        #expect(try await bench.come("late").soon() == .late(after: .milliseconds(20)))
        #expect(bench.turnstile.waiting == 0)
        #expect(bench.turnstile.running == 1)
        bench.turnstile.leave(after: nil)
        try await bench.enter()
    }

    @Test("Nobody waits beyond his own deadline", arguments: [Duration.zero, .milliseconds(15)])
    func deadline(_ rest: Duration) async throws {
        let bench = TurnstileBench(running: 1, waiting: 5)
        try await bench.enter()
        let deadline = Deadline(TurnstileBench.now + rest)
        #expect(try await bench.come("late", by: deadline).soon() == .late(after: rest))
        #expect(bench.turnstile.waiting == 0)
    }

    @Test("Who would come too late is told at once: by how long those before stayed, and how many stand there")
    func estimate() async throws {
        let bench = TurnstileBench(running: 1, waiting: 10, wait: .seconds(200))
        try await bench.enter()
        bench.turnstile.leave(after: .seconds(100))
        try await bench.enter()
        let hurried = Deadline(TurnstileBench.now + .seconds(99))
        #expect(try await bench.come("hurried", by: hurried).soon() == .late(after: .zero))
        // A hundred seconds each: the third in the line would be in after three hundred.
        let waiting = [try await bench.queue("a"), try await bench.queue("b")]
        #expect(try await bench.come("c").soon() == .late(after: .zero))
        #expect(bench.turnstile.waiting == 2)
        for task in waiting { task.cancel() }
        for task in waiting { #expect(try await task.soon() == .left) }
        // Ten at a time are ten times as fast.
        bench.change(running: 10, waiting: 10, wait: .seconds(200))
        try await bench.enter(9)
        for name in ["d", "e", "f", "g"] {
            let task = try await bench.queue(name)
            task.cancel()
            #expect(try await task.soon() == .left)
        }
    }

    @Test("What says nothing about how long calls take changes no estimate")
    func noStay() async throws {
        let bench = TurnstileBench(running: 1, waiting: 1, wait: .seconds(2))
        try await bench.enter()
        bench.turnstile.leave(after: .seconds(10))
        for _ in 0..<50 {
            try await bench.enter()
            bench.turnstile.leave(after: nil)
        }
        try await bench.enter()
        #expect(try await bench.come("late").soon() == .late(after: .zero))
        // Quick ones do: the mean moves by a tenth each time.
        for _ in 0..<50 {
            bench.turnstile.leave(after: .milliseconds(1))
            try await bench.enter()
        }
        try await bench.queue("in time").cancel()
    }

    @Test("Who leaves the line by himself is out of it, and the others move up")
    func cancelled() async throws {
        let bench = TurnstileBench(running: 1, waiting: 3)
        try await bench.enter()
        let (a, b) = (try await bench.queue("a"), try await bench.queue("b"))
        a.cancel()
        #expect(try await a.soon() == .left)
        #expect(bench.turnstile.waiting == 1)
        bench.turnstile.leave(after: nil)
        #expect(try await b.soon() == .inside)
        #expect(bench.turnstile.running == 1)
    }

    @Test("Who is gone when his turn comes hands the place on")
    func goneAtTheDoor() async throws {
        let bench = TurnstileBench(running: 1, waiting: 3)
        try await bench.enter()
        let (a, b) = (try await bench.queue("a"), try await bench.queue("b"))
        // On their loop, so that neither can notice one before the other.
        let turnstile = bench.turnstile
        try await bench.loop.submit {
            turnstile.leave(after: nil)
            a.cancel()
        }.get()
        #expect(try await a.soon() == .left)
        #expect(try await b.soon() == .inside)
        #expect(bench.turnstile.running == 1)
        bench.turnstile.leave(after: nil)
        #expect(bench.turnstile.running == 0)
    }

    @Test("Who is gone already when he comes takes no place in the line")
    func goneBefore() async throws {
        let bench = TurnstileBench(running: 1, waiting: 1)
        try await bench.enter()
        let gone = bench.come("gone")
        gone.cancel()
        #expect(try await gone.soon() == .left)
        try await bench.queue("next").cancel()
    }

    @Test("More room lets in those who wait, in their order; less room puts nobody out")
    func change() async throws {
        let bench = TurnstileBench(running: 1, waiting: 5)
        try await bench.enter()
        var tasks: [Task<TurnstileBench.Fate, Never>] = []
        for name in ["a", "b", "c"] { tasks.append(try await bench.queue(name)) }
        bench.change(running: 3, waiting: 5)
        #expect(bench.turnstile.running == 3)
        for task in tasks.prefix(2) { #expect(try await task.soon() == .inside) }
        #expect(bench.entered.all == ["early 0", "a", "b"])
        bench.change(running: 1, waiting: 5)
        #expect(bench.turnstile.running == 3)
        // Two have to go before one may come.
        for left in [2, 1] {
            bench.turnstile.leave(after: nil)
            #expect(bench.turnstile.running == left)
            #expect(bench.turnstile.waiting == 1)
        }
        bench.turnstile.leave(after: nil)
        #expect(try await tasks[2].soon() == .inside)
        #expect(bench.turnstile.running == 1)
    }

    @Test("A shorter line keeps those who stand in it, and takes nobody more")
    func shorter() async throws {
        let bench = TurnstileBench(running: 1, waiting: 2)
        try await bench.enter()
        let (a, b) = (try await bench.queue("a"), try await bench.queue("b"))
        bench.change(running: 1, waiting: 1)
        #expect(try await bench.come("c").soon() == .full(running: 1, waiting: 2))
        for task in [a, b] {
            bench.turnstile.leave(after: nil)
            #expect(try await task.soon() == .inside)
        }
    }
}
