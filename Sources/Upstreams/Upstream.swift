// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Synchronization
internal import Telemetry

/// One upstream server: what we know of it, and the way to it.
///
/// Knowing is kept up by `keepUp`; calls only read what it found. A call never waits for a handshake, except once when
/// the server has forgotten our session, and when its client needs a session of its own.
package final class Upstream: Backend {
    package let name: String
    package let route = "upstream"
    let writer: CallWriter
    let numbers = NumberSource()
    let time: any TimeSource
    let log: Logger
    let transports: TransportFactory
    /// The loop on which what is ours happens: upkeep, streams, side sessions.
    let loop: any EventLoop
    let cadence: Cadence
    let sides: SideSessions
    let listening: Listening
    let archive: (any OffersArchive)?
    let secrets: KnownSecrets
    /// For lines that a server which misbehaves could bring about at will.
    let lines: LineBudget
    private let state: Mutex<State>
    /// When a call was answered last, whoever made it.
    private let heard = Atomic<UInt64>(0)
    var lastAnswered: Moment { Moment(nanoseconds: heard.load(ordering: .relaxed)) }
    /// The longest a call may take, in nanoseconds.
    let timeout: Atomic<Int64>
    var callMax: Duration { .nanoseconds(timeout.load(ordering: .relaxed)) }
    /// Calls under way, on whatever session.
    let inFlight = Atomic<Int>(0)
    /// It was taken out of the configuration, or has other settings there: another is there in its place, or none.
    let isLeaving = Atomic<Bool>(false)
    /// How often its process failed after it had been up.
    let restarts = Atomic<Int>(0)
    /// Opened when it is to leave.
    let leaving = Latch()

    struct State: Sendable {
        /// The conversation that all clients share.
        var link: ServerLink
        var facts: ServerFacts?
        /// The session before, which the server may still keep.
        var lastEra: Era?
        /// Counts successful handshakes, so that a call can tell whether the session it used has been replaced.
        var generation = 0
        /// The session is lost: the next attempt opens another. Until then calls go on with the old era, find the same
        /// out, and wait together.
        var mustRenew = false
        var offers = Offers()
        /// The arguments each tool wants repeated in headers.
        var headers: [String: [HeaderParameter]] = [:]
        var hasListed = false
        /// It answers after it was away, and nobody was told yet.
        var hasReturned = false
        var awayReason: String? = State.notYet
        static let notYet = "not connected yet"
        /// Of the reason, when it was tried.
        var awayKind: TransportError.Kind?
        var since: Int64
        var checkedAt: Int64
        /// Set while `keepUp` sleeps; opening it ends the sleep.
        var sleep: Latch?
        /// Somebody rang while `keepUp` was awake: its next sleep does not begin.
        var isRung = false
        /// Its process has ended, or its stream.
        var isLost = false
        /// What is there now has answered a handshake.
        var isProven = false
        /// Tools that it has and that are not shown, as they were last told of.
        var leftOut: [String] = []
        /// A process that keeps ending is not started again before.
        var coolsUntil: Moment?
        var waiters: [Latch] = []
        /// Nobody looks after it any more: its connections and processes have ended, or end now.
        var isOver = false
        /// Opened when the last call has ended, while it leaves.
        var unused: Latch?
    }

    /// - Parameter known: what one with this name and other settings had.
    init(
        settings: UpstreamSettings, transports: TransportFactory, writer: CallWriter,
        cadence: Cadence, archive: (any OffersArchive)?, known: Offers? = nil, loop: any EventLoop,
        time: any TimeSource, log: Logger
    ) {
        self.archive = archive
        name = settings.name
        timeout = Atomic(settings.timeout.nanosecondsClamped)
        self.transports = transports
        self.writer = writer
        self.cadence = cadence
        self.loop = loop
        self.time = time
        self.log = log
        let secrets = KnownSecrets(of: settings.place)
        self.secrets = secrets
        lines = LineBudget(linesMax: 5, per: .seconds(300), at: time.now())
        let now = time.wallMilliseconds()
        let notices = Notices()
        listening = Listening(notices: notices)
        let opener = SideOpener(
            name: name, transports: transports, writer: writer, cadence: cadence, numbers: numbers,
            secrets: secrets, loop: loop, time: time, log: log)
        sides = SideSessions(
            sessionsMax: settings.sideSessionsMax, idleMax: (.seconds(60), .seconds(1_800)), loop: loop,
            open: opener.open,
            close: opener.close)
        let link = ServerLink(
            name: name, transport: transports.make(), isExclusive: false, numbers: numbers, loop: loop, time: time,
            log: log, notice: notices.take)
        var first = State(link: link, since: now, checkedAt: now)
        // What it had when it was seen last, so that a start without network knows its tools.
        if let offers = known ?? archive?.offers(of: name)?.offers {
            (first.offers, first.hasListed) = (offers, true)
        }
        state = Mutex(first)
        notices.bind(self)
    }

    func withState<T: Sendable>(_ body: (inout sending State) -> sending T) -> T { state.withLock(body) }

    package func offers() -> Offers { state.withLock { $0.offers } }

    /// What it has or had; nil when it never said.
    var lastOffers: Offers? { state.withLock { $0.hasListed ? $0.offers : nil } }

    /// Servers of the other era ask while a call stays open.
    package var asksDuringCalls: Bool {
        state.withLock { state in
            if case .legacy = state.facts?.era { return true }
            return false
        }
    }

    package var takesHeaders: Bool { state.withLock { !$0.link.transport.isDuplex } }

    package var isReachable: Bool { isUp }

    var isUp: Bool { state.withLock { $0.facts != nil } }

    package func watch(_ uris: Set<String>, order: Int) async { await listening.watch(uris, order: order) }

    package func forget(_ session: SessionKey) { sides.forget(session) }

    // MARK: Calls

    package func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer {
        inFlight.add(1, ordering: .sequentiallyConsistent)
        defer { callEnded() }
        let answer = try await carry(call)
        heard.store(time.now().nanoseconds, ordering: .relaxed)
        return answer
    }

    private func carry(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer {
        let pace = transports.pace
        if pace.isOn, let refusal = pace.refusal(at: time.now()) { throw refusal }
        let (link, facts, generation) = try await known(to: call)
        // A legacy server knows its client by session.
        if case .legacy = facts.era, call.wishes.needsOwnSession, call.conversation != nil {
            return try AnswerReading.answer(try await aside(call), hiding: secrets)
        }
        let deadline = deadline(of: call)
        let answer = try await exchange(call, link, facts.era, deadline)
        guard mustRepeat(answer, facts.era, link.transport) else { return try read(answer) }
        // The server does not know our session, our revision or our headers any more, which proves that it did not run
        // the call: find out anew and send it again.
        let (again, era) = try await renew(after: generation, deadline: deadline, loop: call.loop)
        return try read(try await exchange(call, again, era, deadline))
    }

    /// The way to it. One that has not been asked yet, after a start or a reload, is waited for once: it is not away.
    private func known(to call: RoutedCall) async throws(CallFailure) -> (ServerLink, ServerFacts, Int) {
        for isFirst in [true, false] {
            let latch = Latch()
            let (link, facts, generation, reason, waits) = state.withLock { state in
                let waits = isFirst && state.facts == nil && state.awayReason == State.notYet && !state.isOver
                if waits { state.waiters.append(latch) }
                return (state.link, state.facts, state.generation, state.awayReason, waits)
            }
            if let facts { return (link, facts, generation) }
            wakeUp()
            guard waits else { throw .unavailable(detail: reason ?? "not connected") }
            let rest = deadline(of: call).remaining(at: time.now())
            await latch.wait(atMost: min(rest, Self.firstWordMax), on: call.loop)
            if Task.isCancelled { throw .cancelled }
        }
        throw .unavailable(detail: State.notYet)
    }

    /// How long a call waits for the first word of its server.
    private static let firstWordMax = Duration.seconds(10)

    private func deadline(of call: RoutedCall) -> Deadline {
        call.deadline.earlier(of: Deadline(time.now() + callMax))
    }

    /// Only what the server says before it runs anything: over HTTP both codes come with status 400. On a pipe there
    /// are no headers that could differ, and a tool may use any code it likes. The old HTTP+SSE transport has its
    /// session in the address that messages are posted to.
    private func mustRepeat(_ answer: WireAnswer, _ era: Era, _ transport: any Transport) -> Bool {
        switch era {
        case .modern:
            !transport.isDuplex && answer.status == 400
                && (answer.errorCode == -32020 || answer.errorCode == -32022)
        case .legacy(_, let session):
            (session != nil || transport.kind == "sse") && AnswerReading.isSessionLoss(answer)
        }
    }

    /// A call of a client with a session of its own at the server.
    private func aside(_ call: RoutedCall) async throws(CallFailure) -> WireAnswer {
        let key = SideSession.Key(
            session: call.wishes.session, capabilities: call.wishes.capabilities.intersection(.relayed))
        let deadline = deadline(of: call)
        let first = try await take(key, deadline, on: call.loop)
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await use(first, call, deadline)
        } catch {
            // Nothing was sent: its process was gone already.
            guard case .unavailable = error, first.link.transport.isDuplex else { throw error }
            return try await use(try await take(key, deadline, on: call.loop), call, deadline)
        }
        guard mustRepeat(answer, first.era, first.link.transport) else { return answer }
        sides.discard(first)
        return try await use(try await take(key, deadline, on: call.loop), call, deadline)
    }

    /// Opening one may take longer than this call has; then it is there for the next.
    private func take(
        _ key: SideSession.Key, _ deadline: Deadline, on loop: any EventLoop
    ) async throws(CallFailure) -> SideSession {
        let began = time.now()
        let handover = Handover<SideSession>()
        let sides = sides
        // Ends with the limits of opening a session. What it brings too late is given back.
        Task(executorPreference: LoopExecutor(loop)) {
            let result: Result<SideSession, CallFailure>
            do throws(CallFailure) { result = .success(try await sides.take(key)) } catch { result = .failure(error) }
            if !handover.bring(result), case .success(let session) = result { sides.giveBack(session) }
        }
        guard let result = await handover.wait(atMost: deadline.remaining(at: began), on: loop) else {
            throw Task.isCancelled ? .cancelled : .timedOut(after: time.now().since(began), sent: false)
        }
        return try result.get()
    }

    private func use(
        _ side: SideSession, _ call: RoutedCall, _ deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer {
        defer { sides.giveBack(side) }
        do throws(CallFailure) {
            if let level = side.newLevel(call.wishes.logLevel) {
                let request = writer.request(
                    "logging/setLevel", id: numbers.next(), members: #""level":"\#(level.rawValue)""#, era: side.era)
                // A server without logging says so, and the call goes on without.
                _ = try await side.link.exchange(request, for: nil, on: call.loop, deadline: deadline)
            }
            let request = writer.call(call, id: numbers.next(), era: side.era)
            return try await side.link.exchange(request, for: call.conversation, on: call.loop, deadline: deadline)
        } catch {
            switch error {
            case .unavailable, .outcomeUnknown: sides.discard(side)
            case .timedOut, .cancelled:
                // The server may go on with it, and what it says then would be heard by whoever comes next.
                if side.key.session == nil, side.link.transport.isDuplex { sides.discard(side) }
            case .garbage, .stopped, .unknownTool, .badArguments, .overloaded, .needsInput: break
            }
            throw error
        }
    }

    private func exchange(
        _ call: RoutedCall, _ link: ServerLink, _ era: Era, _ deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer {
        var request = writer.call(call, id: numbers.next(), era: era)
        if era == .modern, call.operation == .tool, let headers = state.withLock({ $0.headers[call.target] }) {
            request.parameterHeaders = AnswerReading.headers(headers, of: call)
        }
        do throws(CallFailure) {
            return try await link.exchange(
                request, for: call.conversation, wantsLog: call.wishes.logLevel != nil, on: call.loop,
                deadline: deadline)
        } catch {
            switch error {
            case .unavailable(let detail): becameAway(detail, link.transport.kind == "stdio" ? .ended : .unreachable)
            case .outcomeUnknown: wakeUp()
            case .timedOut, .garbage, .stopped, .unknownTool, .badArguments, .overloaded, .needsInput, .cancelled: break
            }
            throw error
        }
    }

    private func read(_ answer: WireAnswer) throws(CallFailure) -> CallAnswer {
        // Perhaps it is another server by now.
        if answer.status >= 400 || answer.errorCode == -32020 || answer.errorCode == -32022 { wakeUp() }
        return try AnswerReading.answer(answer, hiding: secrets)
    }

    // MARK: What is known

    /// Waits until a handshake newer than `generation` has been made.
    private func renew(
        after generation: Int, deadline: Deadline, loop: any EventLoop
    ) async throws(CallFailure) -> (ServerLink, Era) {
        state.withLock { state in
            if state.generation == generation { state.mustRenew = true }
        }
        while true {
            let (link, facts, current, reason) = state.withLock { ($0.link, $0.facts, $0.generation, $0.awayReason) }
            if let facts, current != generation { return (link, facts.era) }
            let now = time.now()
            if let refusal = transports.pace.refusal(at: now) { throw refusal }
            // Waiting for the next start would only be a longer way to the same answer.
            if let reason, facts == nil, state.withLock({ $0.coolsUntil.map { now < $0 } ?? false }) {
                throw .unavailable(detail: reason)
            }
            guard !deadline.hasPassed(at: now) else {
                throw .unavailable(detail: reason ?? "its session is gone and no new one could be opened in time")
            }
            let latch = Latch()
            // When nobody looks after it any more, nobody would open it.
            let isOver = state.withLock { state in
                if !state.isOver { state.waiters.append(latch) }
                return state.isOver
            }
            if isOver { throw .unavailable(detail: reason ?? "its connections have ended") }
            wakeUp()
            await latch.wait(atMost: deadline.remaining(at: now), on: loop)
            if Task.isCancelled { throw .cancelled }
            let failed = state.withLock { $0.facts == nil ? $0.awayReason : nil }
            if let failed { throw .unavailable(detail: failed) }
        }
    }

    func releaseWaiters() {
        let waiters = state.withLock { state in
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.open() }
    }

    /// Ends the pause of `keepUp`, if it is pausing.
    package func wakeUp() {
        let sleep = state.withLock { state in
            if state.sleep == nil { state.isRung = true }
            return state.sleep
        }
        sleep?.open()
    }

    /// A call found the server unreachable.
    private func becameAway(_ reason: String, _ kind: TransportError.Kind) {
        noteAway(reason, kind)
        wakeUp()
    }
}

extension ClientCapabilities {
    /// What a legacy server can be told of a client.
    static let relayed: ClientCapabilities = [
        .roots, .sampling, .samplingTools, .samplingContext, .elicitationForm, .elicitationURL,
    ]
}

extension Era {
    var revision: Revision {
        switch self {
        case .modern: .modern
        case .legacy(let revision, _): revision
        }
    }
}
