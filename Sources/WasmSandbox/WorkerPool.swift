// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import Synchronization

/// Why a job was never begun.
enum PoolRefusal: Error {
    /// As many wait as may.
    case full
    case expired
    case cancelled
    case stopped
}

/// One piece of work for a worker thread. Exactly one of its two closures is called, once. What `work` returns is
/// called when the worker is free again, so that whoever waits for the answer finds a free worker for the next call.
final class Job: Sendable {
    let deadline: Deadline
    let flag: CancelFlag
    let work: @Sendable (Seat) -> @Sendable () -> Void
    let refuse: @Sendable (PoolRefusal) -> Void

    init(
        deadline: Deadline, flag: CancelFlag, work: @escaping @Sendable (Seat) -> @Sendable () -> Void,
        refuse: @escaping @Sendable (PoolRefusal) -> Void
    ) {
        self.deadline = deadline
        self.flag = flag
        self.work = work
        self.refuse = refuse
    }
}

/// Threads of our own for work that blocks, with a bounded line of jobs before them.
///
/// While anything runs or waits, a ticker calls `beat` every five milliseconds and ends the wait of jobs whose deadline
/// has passed; it lingers a little and then sleeps, so that an idle pool costs no processor time at all. Without a
/// `beat` there is no ticker, and jobs wait however long it takes.
final class WorkerPool: Sendable {
    private struct State {
        var waiting: [Job] = []
        /// What each thread is at; nil for a thread that is at nothing.
        var running: [Job?]
        var runningCount = 0
        /// Threads that sleep and have not been rung for. Only they are woken: a thread that is awake looks for more
        /// work by itself, which saves most of the switches between threads under load.
        var sleepers = 0
        /// Threads that are about to look for work anyway.
        var watchers = 0
        var isStopped = false
        var isTicking = false
        var trims = 0
    }

    private enum Task {
        case job(Job)
        case trim, nothing, end
    }

    private let state: Mutex<State>
    /// How many jobs wait, to be looked at without the lock.
    private let waitingHint = Atomic<Int>(0)
    private let threads: Int
    private let waitingMax: Int
    private let time: any TimeSource
    private let beat: (@Sendable () -> Void)?
    private let bell = Bell()
    private let tickerBell = Bell()

    static let tickNanoseconds = 5_000_000
    private static let lingerTicks = 40

    /// Starts the threads. Throws when the machine has none left.
    init(
        name: String, threads: Int, waitingMax: Int, time: any TimeSource, beat: (@Sendable () -> Void)?
    ) throws(SandboxError) {
        self.threads = threads
        state = Mutex(State(running: Array(repeating: nil, count: threads)))
        self.waitingMax = waitingMax
        self.time = time
        self.beat = beat
        var started = beat == nil || SandboxThread.start("\(name)-tick") { self.keepTicking() }
        for index in 1...threads where started {
            started = SandboxThread.start("\(name)-\(index)") { self.serve(index - 1) }
        }
        guard started else {
            stop()
            throw .runtimeMissing("this machine has no more threads to give; raise the limit of tasks")
        }
    }

    /// Lines the job up. Its `refuse` may be called before this returns.
    func submit(_ job: Job) {
        let (refusal, wakesTicker, wakesWorker): (PoolRefusal?, Bool, Bool) = state.withLock { state in
            if state.isStopped { return (.stopped, false, false) }
            if job.flag.isRaised { return (.cancelled, false, false) }
            let idle = threads - state.runningCount
            if state.waiting.count >= idle + waitingMax { return (.full, false, false) }
            state.waiting.append(job)
            waitingHint.store(state.waiting.count, ordering: .relaxed)
            let wakesTicker = !state.isTicking
            state.isTicking = true
            let wakesWorker = state.sleepers > 0 && state.waiting.count > state.watchers
            if wakesWorker { state.sleepers -= 1 }
            return (nil, wakesTicker, wakesWorker)
        }
        if let refusal {
            job.refuse(refusal)
            return
        }
        if wakesTicker { tickerBell.ring() }
        if wakesWorker { bell.ring() }
    }

    /// Raises the flag: a waiting job leaves the line at once, a running one stops at its next look.
    func cancel(_ flag: CancelFlag) {
        flag.raise()
        let waiting = state.withLock { state -> Job? in
            guard let index = state.waiting.firstIndex(where: { $0.flag === flag }) else { return nil }
            return state.waiting.remove(at: index)
        }
        waiting?.refuse(.cancelled)
    }

    /// Idle threads give their buffers back.
    func trim() {
        wakeAll { $0.trims += 1 }
    }

    /// Refuses what waits, stops what runs, ends the threads. Returns at once.
    func stop() {
        let (waiting, running) = state.withLock { state -> ([Job], [Job]) in
            state.isStopped = true
            let waiting = state.waiting
            state.waiting = []
            return (waiting, state.running.compactMap { $0 })
        }
        for job in running { job.flag.raise() }
        for job in waiting { job.refuse(.stopped) }
        wakeAll { _ in }
        tickerBell.ring()
    }

    func usage() -> (running: Int, waiting: Int) {
        state.withLock { ($0.runningCount, $0.waiting.count) }
    }

    // MARK: Threads

    private func wakeAll(_ change: (inout State) -> Void) {
        let sleepers = state.withLock { state in
            change(&state)
            defer { state.sleepers = 0 }
            return state.sleepers
        }
        for _ in 0..<sleepers { bell.ring() }
    }

    private func serve(_ thread: Int) {
        let seat = Seat()
        var trimmed = 0
        var maySleep = false
        var isWatching = false
        while true {
            switch next(thread, &trimmed, &isWatching, maySleep: maySleep) {
            case .job(let job):
                let answer = job.work(seat)
                state.withLock { state in
                    state.running[thread] = nil
                    state.runningCount -= 1
                }
                answer()
                maySleep = false
            case .trim: seat.trim()
            case .nothing where !maySleep: maySleep = !watchForWork()
            case .nothing:
                bell.wait()
                maySleep = true
            case .end: return
            }
        }
    }

    /// Looks for new work a few microseconds long before the thread goes to sleep: under load the next call is about to
    /// come, and waking a thread costs more than this.
    private func watchForWork() -> Bool {
        for _ in 0..<Self.watchSteps where waitingHint.load(ordering: .relaxed) > 0 { return true }
        return false
    }

    private static let watchSteps = 4_000

    /// What the thread does next; with `nothing`, when it may sleep, it has been counted among the sleepers.
    private func next(_ thread: Int, _ trimmed: inout Int, _ isWatching: inout Bool, maySleep: Bool) -> Task {
        state.withLock { state in
            if isWatching { state.watchers -= 1 }
            isWatching = false
            if !state.waiting.isEmpty {
                let job = state.waiting.removeFirst()
                waitingHint.store(state.waiting.count, ordering: .relaxed)
                state.running[thread] = job
                state.runningCount += 1
                return .job(job)
            }
            if state.isStopped { return .end }
            if trimmed != state.trims {
                trimmed = state.trims
                return .trim
            }
            if maySleep {
                state.sleepers += 1
            } else {
                state.watchers += 1
                isWatching = true
            }
            return .nothing
        }
    }

    private func keepTicking() {
        var idleTicks = 0
        tickerBell.wait()
        while true {
            usleep(UInt32(Self.tickNanoseconds / 1_000))
            beat?()
            let now = time.now()
            let (expired, isBusy, isOver) = state.withLock { state -> ([Job], Bool, Bool) in
                let expired = state.waiting.filter { $0.deadline.hasPassed(at: now) }
                if !expired.isEmpty { state.waiting.removeAll { $0.deadline.hasPassed(at: now) } }
                let isBusy = !state.waiting.isEmpty || state.runningCount > 0
                return (expired, isBusy, state.isStopped && !isBusy)
            }
            for job in expired { job.refuse(.expired) }
            if isOver { return }
            idleTicks = isBusy ? 0 : idleTicks + 1
            if idleTicks >= Self.lingerTicks, fallAsleep() {
                idleTicks = 0
                tickerBell.wait()
            }
        }
    }

    private func fallAsleep() -> Bool {
        state.withLock { state in
            guard state.waiting.isEmpty, state.runningCount == 0, !state.isStopped else { return false }
            state.isTicking = false
            return true
        }
    }
}
