// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// A call of a stateless client to an owner that asks while the call stays open. The call goes on here; the client
/// comes and goes with questions and answers.
final class ParkedCall: Sendable {
    enum Event: Sendable {
        /// The questions nobody has answered yet, by key.
        case asks([(key: String, question: Question)], round: UInt32)
        case finished(Result<CallAnswer, CallFailure>)
    }

    private struct Open {
        let key: String
        let question: Question
        let continuation: UnsafeContinuation<QuestionOutcome, Never>
    }

    private struct State {
        var open: [Open] = []
        var round: UInt32 = 0
        /// Questions have been shown since the last answers came.
        var isShown = false
        var count = 0
        var outcome: Result<CallAnswer, CallFailure>?
        var watchers: [Int: UnsafeContinuation<Void, Never>] = [:]
        var watcherCount = 0
        var isEnded = false
    }

    let ticket: ParkedCalls.Ticket
    let caller: Caller
    private let loop: any EventLoop
    private let state = Mutex(State())
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// Owners often ask several things at once: so long is waited for the others after the first.
    private static let collecting = TimeAmount.milliseconds(15)

    init(ticket: ParkedCalls.Ticket, caller: Caller, loop: any EventLoop) {
        self.ticket = ticket
        self.caller = caller
        self.loop = loop
    }

    /// Begins the call in a task of its own, which ends with the call's deadline at the latest.
    func begin(_ body: @escaping @Sendable () async -> Result<CallAnswer, CallFailure>) {
        let work = Task(executorPreference: LoopExecutor(loop)) { self.finish(await body()) }
        task.withLock { $0 = work }
    }

    private func finish(_ outcome: Result<CallAnswer, CallFailure>) {
        let (watchers, open) = state.withLock { state in
            state.outcome = outcome
            state.isEnded = true
            defer { state.open = [] }
            return (Self.takeWatchers(&state), state.open)
        }
        // The call ended by itself: what it had asked is of no interest any more.
        for one in open { one.continuation.resume(returning: Self.refusal(of: one.question)) }
        for watcher in watchers { watcher.resume() }
    }

    /// Gives the call up: whoever waits for an answer of the client is refused, and the owner is told.
    func abandon() {
        let open = state.withLock { state in
            defer { state.open = [] }
            state.isEnded = true
            return state.open
        }
        for one in open { one.continuation.resume(returning: Self.refusal(of: one.question)) }
        task.withLock { $0 }?.cancel()
    }

    /// What a server is told when nobody will answer any more: a person who does not decide has cancelled.
    static func refusal(of question: Question) -> QuestionOutcome {
        if question.kind == .elicitation { return .answer(["action": "cancel"]) }
        return .refused(code: -1, message: "The client did not answer.")
    }

    // MARK: The owner's side

    func ask(_ question: Question) async -> QuestionOutcome {
        await withUnsafeContinuation { continuation in
            let isEnded = state.withLock { state in
                guard !state.isEnded, state.open.count < Self.questionsMax else { return true }
                state.count += 1
                state.open.append(
                    Open(key: "\(question.kind.key)-\(state.count)", question: question, continuation: continuation))
                return false
            }
            if isEnded { return continuation.resume(returning: Self.refusal(of: question)) }
            loop.scheduleTask(in: Self.collecting) { self.wakeWatchers() }
        }
    }

    private static let questionsMax = 32

    private func wakeWatchers() {
        let watchers = state.withLock { Self.takeWatchers(&$0) }
        for watcher in watchers { watcher.resume() }
    }

    private static func takeWatchers(_ state: inout State) -> [UnsafeContinuation<Void, Never>] {
        defer { state.watchers = [:] }
        return Array(state.watchers.values)
    }

    // MARK: The client's side

    /// Whether its client has seen a question, and so has a ticket.
    var hasAsked: Bool { state.withLock { $0.round > 0 } }

    /// Whether questions of it are open.
    var isAsking: Bool { state.withLock { !$0.open.isEmpty } }

    var isOver: Bool { state.withLock { $0.outcome != nil } }

    /// Whether the questions of this round are still open.
    func isWaiting(since round: UInt32) -> Bool {
        state.withLock { $0.round == round && !$0.open.isEmpty && $0.outcome == nil }
    }

    /// The next thing the client has to know: questions, or the end. nil when the client left meanwhile.
    func next() async -> Event? {
        while true {
            if Task.isCancelled { return nil }
            if let event = state.withLock({ Self.event(&$0) }) { return event }
            await wait()
        }
    }

    private static func event(_ state: inout State) -> Event? {
        if let outcome = state.outcome { return .finished(outcome) }
        guard !state.open.isEmpty else { return nil }
        if !state.isShown { state.round += 1 }
        state.isShown = true
        return .asks(state.open.map { ($0.key, $0.question) }, round: state.round)
    }

    private func wait() async {
        let number = state.withLock { state in
            state.watcherCount += 1
            return state.watcherCount
        }
        await withTaskCancellationHandler {
            // Resumed exactly once: by whoever takes it out of `watchers`.
            await withUnsafeContinuation { continuation in
                let isOver = state.withLock { state in
                    let isOver = state.outcome != nil || Task.isCancelled
                    if !isOver { state.watchers[number] = continuation }
                    return isOver
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.watchers.removeValue(forKey: number) }?.resume()
        }
    }

    /// Takes answers. Those of an earlier round have been taken before; keys that nothing was asked under and answers
    /// of the wrong form are passed over, so that the question is asked again.
    func supply(_ responses: JSONValue?, round: UInt32) {
        let answered = state.withLock { state -> [(Open, JSONValue)] in
            guard round == state.round else { return [] }
            var answered: [(Open, JSONValue)] = []
            state.open.removeAll { one in
                guard let response = responses?[one.key], one.question.isAnswered(by: response) else { return false }
                answered.append((one, response))
                return true
            }
            if !answered.isEmpty { state.isShown = false }
            return answered
        }
        for (one, response) in answered { one.continuation.resume(returning: .answer(response)) }
    }
}

extension Question.Kind {
    /// What the keys of `inputRequests` begin with.
    var key: String {
        switch self {
        case .sampling: "sampling"
        case .elicitation: "elicitation"
        case .roots: "roots"
        }
    }
}
