// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// A session of a legacy server that one client has to itself: opened with that client's capabilities, so that the
/// server may ask it, and so that what the server says without naming a request can only be meant for it.
final class SideSession: Sendable {
    /// Whose it is. Clients of the stateless era have no session: theirs are lent out for one call after the other, and
    /// thrown away once a question was answered in them.
    struct Key: Sendable, Hashable {
        var session: SessionKey?
        var capabilities: ClientCapabilities
    }

    let key: Key
    let link: ServerLink
    let era: Era
    private let level = Mutex<LogLevel?>(nil)
    /// Holds the session's own stream, on which some servers ask.
    private let stream: Task<Void, Never>?

    init(key: Key, link: ServerLink, era: Era, stream: Task<Void, Never>? = nil) {
        self.key = key
        self.link = link
        self.era = era
        self.stream = stream
    }

    /// The level to ask for now; nil when it is what the session has.
    func newLevel(_ wanted: LogLevel?) -> LogLevel? {
        level.withLock { level in
            guard let wanted, level != wanted else { return nil }
            level = wanted
            return wanted
        }
    }

    func endStream() { stream?.cancel() }
}

/// The side sessions of one server. Bounded; idle ones end after a while.
final class SideSessions: Sendable {
    typealias Opener = @Sendable (SideSession.Key) async -> Result<SideSession, CallFailure>
    typealias Closer = @Sendable (SideSession) async -> Void

    private struct Entry {
        let session: SideSession
        var users: Int
        /// Counts uses, so that a timer can tell whether anything happened since it was set.
        var uses = 1
        /// Nobody new gets it; it is closed when its last user gives it back.
        var isOver = false
    }

    private struct State {
        var entries: [Entry] = []
        /// Those that are being opened count as well. A client's own is opened once, however many of its calls wait.
        var opening: [SideSession.Key: Task<Result<SideSession, CallFailure>, Never>] = [:]
        var openingCount = 0
        var isClosed = false
        var sessionsMax: Int

        /// Takes one that nobody uses off the list; nil when all are used.
        mutating func removeFree() -> SideSession? {
            entries.firstIndex { $0.users == 0 }.map { entries.remove(at: $0).session }
        }
    }

    private let state: Mutex<State>
    /// How long one that was lent stays for the next client, and a client's own for its next call.
    private let idleMax: (lent: Duration, own: Duration)
    private let loop: any EventLoop
    private let open: Opener
    private let close: Closer

    init(
        sessionsMax: Int, idleMax: (lent: Duration, own: Duration), loop: any EventLoop, open: @escaping Opener,
        close: @escaping Closer
    ) {
        state = Mutex(State(sessionsMax: sessionsMax))
        self.idleMax = idleMax
        self.loop = loop
        self.open = open
        self.close = close
    }

    var count: Int { state.withLock { $0.entries.count } }

    /// From here on at most this many. Those that are too many and in use stay as long as they are.
    func change(sessionsMax: Int) {
        let victims = state.withLock { state in
            state.sessionsMax = sessionsMax
            var victims: [SideSession] = []
            while state.entries.count > sessionsMax, let victim = state.removeFree() { victims.append(victim) }
            return victims
        }
        for victim in victims { shut(victim) }
    }

    /// A session for this client: its own, or a free one, or a new one.
    func take(_ key: SideSession.Key) async throws(CallFailure) -> SideSession {
        enum Way {
            case known(SideSession)
            case wait(Task<Result<SideSession, CallFailure>, Never>)
            case full(max: Int)
        }
        let (way, victim) = state.withLock { state -> (Way, SideSession?) in
            if let known = Self.claim(key, &state) { return (.known(known), nil) }
            if key.session != nil, let running = state.opening[key] { return (.wait(running), nil) }
            var victim: SideSession?
            if state.entries.count + state.openingCount >= state.sessionsMax {
                victim = state.removeFree()
                if victim == nil { return (.full(max: state.sessionsMax), nil) }
            }
            guard !state.isClosed else { return (.full(max: state.sessionsMax), victim) }
            state.openingCount += 1
            // On our own loop, where everything of the session lives; ends with the limits of its steps.
            let task = Task(executorPreference: LoopExecutor(loop)) { await self.begin(key) }
            if key.session != nil { state.opening[key] = task }
            return (.wait(task), victim)
        }
        if let victim { shut(victim) }
        switch way {
        case .known(let session): return session
        case .full(let sessionsMax):
            throw .overloaded(
                detail: "its server holds \(sessionsMax) conversations with other clients already", retryAfter: 1)
        case .wait(let task):
            let opened = try await task.value.get()
            // One that is lent was kept for whoever had it opened.
            if key.session == nil { return opened }
            let mine = state.withLock { Self.claim(key, &$0) }
            guard let mine else { throw .unavailable(detail: "its session for this client ended at once") }
            return mine
        }
    }

    /// A client's own session serves all its calls; the others one call at a time.
    private static func claim(_ key: SideSession.Key, _ state: inout State) -> SideSession? {
        let found = state.entries.firstIndex { entry in
            entry.session.key == key && !entry.isOver && (key.session != nil || entry.users == 0)
        }
        guard let index = found else { return nil }
        state.entries[index].users += 1
        state.entries[index].uses += 1
        return state.entries[index].session
    }

    private func begin(_ key: SideSession.Key) async -> Result<SideSession, CallFailure> {
        let result = await open(key)
        let isTooLate = state.withLock { state in
            state.openingCount -= 1
            state.opening[key] = nil
            guard case .success(let session) = result, !state.isClosed else { return true }
            state.entries.append(Entry(session: session, users: key.session == nil ? 1 : 0))
            return false
        }
        guard case .success(let session) = result else { return result }
        if isTooLate {
            shut(session)
            return .failure(.unavailable(detail: "the gateway is stopping"))
        }
        // Those who had a client's own opened may all have gone meanwhile.
        if key.session != nil { watch(session, uses: 1) }
        return result
    }

    func giveBack(_ session: SideSession) {
        let (isOver, uses) = state.withLock { state -> (Bool, Int?) in
            guard let index = state.entries.firstIndex(where: { $0.session === session }) else { return (false, nil) }
            state.entries[index].users -= 1
            guard state.entries[index].users == 0 else { return (false, nil) }
            // What a client answered may be remembered there, and is nothing for the next one.
            if session.key.session == nil, session.link.hasAsked { state.entries[index].isOver = true }
            guard state.entries[index].isOver else { return (false, state.entries[index].uses) }
            state.entries.remove(at: index)
            return (true, nil)
        }
        if isOver { shut(session) }
        if let uses { watch(session, uses: uses) }
    }

    /// Ends the session when nobody uses it for a while.
    private func watch(_ session: SideSession, uses: Int) {
        let idle = session.key.session == nil ? idleMax.lent : idleMax.own
        loop.scheduleTask(in: .nanoseconds(idle.nanosecondsClamped)) {
            let isIdle = self.state.withLock { state in
                let found = state.entries.firstIndex { $0.session === session && $0.users == 0 && $0.uses == uses }
                if let found { state.entries.remove(at: found) }
                return found != nil
            }
            if isIdle { self.shut(session) }
        }
    }

    /// The session is of no use any more. Whoever still uses it gives it back first.
    func discard(_ session: SideSession) {
        let isFree = state.withLock { state in
            guard let index = state.entries.firstIndex(where: { $0.session === session }) else { return false }
            state.entries[index].isOver = true
            guard state.entries[index].users == 0 else { return false }
            state.entries.remove(at: index)
            return true
        }
        if isFree { shut(session) }
    }

    /// Ends all sessions of a client that is gone.
    func forget(_ client: SessionKey) {
        let gone = state.withLock { state in state.entries.filter { $0.session.key.session == client }.map(\.session) }
        for session in gone { discard(session) }
    }

    /// Called once for each session, by whoever took it off the list.
    private func shut(_ session: SideSession) {
        session.endStream()
        let close = close
        // Ends with the process or with the server's word, which have their own limits.
        Task(executorPreference: LoopExecutor(loop)) { await close(session) }
    }

    /// All at once: each may take some seconds.
    func closeAll() async {
        let all = state.withLock { state in
            state.isClosed = true
            defer { state.entries = [] }
            return state.entries.map(\.session)
        }
        let close = close
        await withDiscardingTaskGroup { group in
            for session in all {
                session.endStream()
                group.addTask(executorPreference: LoopExecutor(loop)) { await close(session) }
            }
        }
    }
}
