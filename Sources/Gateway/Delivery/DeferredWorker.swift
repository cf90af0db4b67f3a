// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Resilience
internal import Synchronization
internal import Telemetry

/// Sends stored calls to their owners when these can be reached. Passes the same dispatcher as calls of clients, so
/// that breakers hold for both.
final class DeferredWorker: Sendable {
    private let queue: any CallQueue
    private let paces: OwnerPaces
    private let catalogue: Catalogue
    private let dispatcher: Dispatcher
    private let recorder: CallRecorder
    private let tracer: Tracer
    private let time: any TimeSource
    private let settings: LiveSettings
    private let log: Logger
    private let sentCount: Counter
    private struct Served {
        /// One for each upstream.
        var bells: [String: Bell] = [:]
        /// Takes the names of upstreams that come while `run` runs.
        var newcomers: AsyncStream<String>.Continuation?
    }

    private let served = Mutex(Served())
    private let isStopping = Atomic(false)
    /// Since when the tools of calls were missing.
    private let missed = Mutex<[Int64: Moment]>([:])

    /// The longest it sleeps when nothing rings.
    private static let restMax = Duration.seconds(30)
    /// The same while all lanes are taken by calls of another queue, which ring elsewhere.
    private static let laneRestMax = Duration.milliseconds(200)
    private static let backoffBase = Duration.seconds(1)
    private static let backoffMax = Duration.seconds(300)

    /// Ends a sleep. What rings while nobody sleeps ends the next one at once.
    private final class Bell: Sendable {
        private let state = Mutex<(isRung: Bool, latch: Latch?)>((false, nil))

        func ring() {
            let latch = state.withLock { state in
                state.isRung = true
                return state.latch
            }
            latch?.open()
        }

        func wait(atMost patience: Duration, on loop: any EventLoop) async {
            let latch = Latch()
            let isRung = state.withLock { state in
                defer { state = (false, latch) }
                return state.isRung
            }
            if !isRung { await latch.wait(atMost: patience, on: loop) }
            state.withLock { $0 = (false, nil) }
        }
    }

    init(
        queue: any CallQueue, paces: OwnerPaces, catalogue: Catalogue, dispatcher: Dispatcher,
        recorder: CallRecorder, tracer: Tracer, time: any TimeSource, settings: LiveSettings, metrics: MetricsRegistry,
        log: Logger
    ) {
        self.recorder = recorder
        self.tracer = tracer
        self.queue = queue
        self.paces = paces
        self.catalogue = catalogue
        self.dispatcher = dispatcher
        self.time = time
        self.settings = settings
        self.log = log
        sentCount = metrics.counter(.queueSent)
        queue.whenStored { [weak self] in self?.ring($0) }
        ownersChanged()
    }

    /// An owner can be reached again, or an operator wants its calls sent now.
    func ring(_ owner: String) { served.withLock { $0.bells[owner] }?.ring() }

    func ringAll() { for bell in served.withLock({ Array($0.bells.values) }) { bell.ring() } }

    /// Serves upstreams that are new in the configuration from here on, and those that are gone no longer.
    func ownersChanged() {
        let names = Set(catalogue.owners.filter { $0.backend.route == "upstream" }.map(\.backend.name))
        let gone = served.withLock { served in
            let new = names.subtracting(served.bells.keys)
            let gone = served.bells.filter { !names.contains($0.key) }
            for name in gone.keys { served.bells[name] = nil }
            for name in new {
                served.bells[name] = Bell()
                served.newcomers?.yield(name)
            }
            return gone
        }
        for bell in gone.values { bell.ring() }
    }

    /// Works until its task is cancelled. What is under way then ends first.
    func run(on loops: [any EventLoop]) async {
        let (names, newcomers) = AsyncStream.makeStream(of: String.self)
        served.withLock { served in
            for name in served.bells.keys.sorted() { newcomers.yield(name) }
            served.newcomers = newcomers
        }
        if isStopping.load(ordering: .relaxed) { newcomers.finish() }
        await withDiscardingTaskGroup { group in
            var next = 0
            // Ends when the task is cancelled, and by `stop`.
            for await name in names {
                guard let bell = served.withLock({ $0.bells[name] }) else { continue }
                let loop = loops[next % loops.count]
                next += 1
                group.addTask(executorPreference: LoopExecutor(loop)) { await self.serve(name, bell, loop) }
            }
        }
    }

    /// Begins nothing new. What is under way goes on.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
        served.withLock { $0.newcomers?.finish() }
        ringAll()
    }

    /// Calls of one owner that are on their way from this queue.
    private final class UnderWay: Sendable {
        private let calls = Atomic(0)
        var count: Int { calls.load(ordering: .relaxed) }
        func enter() { calls.add(1, ordering: .relaxed) }
        func leave() { calls.subtract(1, ordering: .relaxed) }
    }

    /// A lane that is free again is looked at at once: one caller's long call holds up nobody else's.
    private func serve(_ name: String, _ bell: Bell, _ loop: any EventLoop) async {
        let (pace, underWay) = (paces.pace(of: name), UnderWay())
        await withDiscardingTaskGroup { group in
            var sent = 0
            while !Task.isCancelled, !isStopping.load(ordering: .relaxed), let owner = catalogue.owner(name),
                served.withLock({ $0.bells[name] === bell })
            {
                if isFarOff(name) {
                    // No pause is that long: the clock was set back.
                    await queue.hurry(upstream: name, now: time.wallMilliseconds())
                    if isFarOff(name) { await bell.wait(atMost: .seconds(1), on: loop) }
                    continue
                }
                if let rest = rest(owner) {
                    if sent > 0, underWay.count == 0, queue.nextAvailable(upstream: name) == nil {
                        log.info(
                            "no stored call waits any more",
                            metadata: [LogKey.upstream: "\(name)", LogKey.count: "\(sent)"])
                        sent = 0
                    }
                    await bell.wait(atMost: rest, on: loop)
                    continue
                }
                let free = pace.takeLanes()
                guard free > 0 else {
                    await bell.wait(atMost: underWay.count > 0 ? Self.restMax : Self.laneRestMax, on: loop)
                    continue
                }
                let leased = await queue.lease(upstream: name, limit: free, now: time.wallMilliseconds())
                pace.leave(free - leased.count)
                if leased.isEmpty {
                    // Its lanes wait, or the database cannot be written.
                    await bell.wait(atMost: .seconds(1), on: loop)
                }
                for one in leased {
                    await pace.wait(on: loop)
                    underWay.enter()
                    sent += 1
                    group.addTask(executorPreference: LoopExecutor(loop)) {
                        await self.deliver(one, loop)
                        underWay.leave()
                        pace.leave()
                        bell.ring()
                    }
                }
            }
        }
    }

    private func isFarOff(_ name: String) -> Bool {
        guard let next = queue.nextAvailable(upstream: name) else { return false }
        return next - time.wallMilliseconds() > Int64(Self.backoffMax.milliseconds) + 60_000
    }

    /// How long there is nothing to do; nil when there is.
    private func rest(_ owner: Owner) -> Duration? {
        let name = owner.backend.name
        guard let next = queue.nextAvailable(upstream: name) else { return Self.restMax }
        guard owner.backend.isReachable else { return Self.restMax }
        if let until = owner.refusesUntil { return min(until.since(time.now()), Self.restMax) }
        let wait = next - time.wallMilliseconds()
        return wait > 0 ? min(.milliseconds(wait), Self.restMax) : nil
    }

    // MARK: One call

    private func deliver(_ leased: LeasedCall, _ loop: any EventLoop) async {
        let call = leased.call
        let settlement = await send(leased, loop)
        sentCount.increment()
        note(leased, settlement)
        // What has happened must not be lost because the disk is full for a moment.
        var pause = Duration.milliseconds(100)
        while await !queue.settle(call.id, settlement, now: time.wallMilliseconds()) {
            if isStopping.load(ordering: .relaxed), pause > .seconds(2) { return }
            await Pause.wait(pause, on: loop)
            pause = min(pause * 2, .seconds(5))
        }
    }

    private func send(_ leased: LeasedCall, _ loop: any EventLoop) async -> Settlement {
        let call = leased.call
        guard let destination = catalogue.current.routes.tool(call.tool),
            destination.backend.name == call.upstream, destination.target == call.target
        else {
            guard catalogue.current.disabled[call.tool] == nil else {
                return .notSent(
                    availableAt: time.wallMilliseconds() + 30_000, words: "its tool is taken out by an operator")
            }
            return missing(call)
        }
        missed.withLock { $0[call.id] = nil }
        do throws(RateGate.Refusal) { try destination.gate?.take(at: time.now()) } catch {
            return .notSent(
                availableAt: time.wallMilliseconds() + Int64(error.retryAfter) * 1_000, words: error.words)
        }
        if let then = call.schemaDigest, let now = destination.tool?.inputDigest, then != now {
            return .failed(words: "the tool takes other arguments now than when the call was stored")
        }
        guard let (bytes, message) = StoredCallWriting.message(leased) else {
            return .failed(words: "what was stored cannot be read any more")
        }
        var routed = RoutedCall(
            target: call.target, bytes: bytes, message: message, caller: Caller(name: call.caller),
            requestID: RequestID(call.requestID) ?? .random(), deadline: Deadline(time.now() + settings.now.timeout),
            loop: loop)
        // It goes on with the trace of the call that brought it, if that one had any.
        routed.trace = message.trace(in: bytes)
        let span = tracer.begin("queue \(call.upstream)", .consumer, under: routed.trace)
        if let span {
            span.note("gen_ai.tool.name", call.tool)
            span.note("mcp_gateway.item", String(call.id))
            span.note("mcp_gateway.request_id", call.requestID)
            routed.trace = span.context
        }
        let began = time.now()
        let result = await dispatcher.send(routed, to: destination)
        if case .failure(let failure) = result { span?.failed(failure.type, failure.words) }
        tracer.end(span)
        // What did not get as far as being sent is no call yet.
        if !result.isUnsent { recorder.sentLater(call, destination, result, took: time.now().since(began)) }
        return settlement(result, call)
    }

    /// A server that has just come up may not have told everything yet.
    private func missing(_ call: StoredCall) -> Settlement {
        let now = time.now()
        let since = missed.withLock { missed in
            // Those that were taken back or ended otherwise are forgotten with the rest.
            if missed.count > 10_000 { missed = [:] }
            return missed[call.id]
                ?? {
                    missed[call.id] = now
                    return now
                }()
        }
        let words = "its server has no such tool any more"
        guard now.since(since) >= Self.missingMax else {
            return .notSent(availableAt: time.wallMilliseconds() + 5_000, words: words)
        }
        missed.withLock { $0[call.id] = nil }
        return .failed(words: words)
    }

    private static let missingMax = Duration.seconds(60)
    /// Tries of one call that its server answers with nonsense, and of one whose answers are lost.
    private static let nonsenseMax = 5
    private static let triesMax = 50

    private func settlement(_ result: Result<CallAnswer, CallFailure>, _ call: StoredCall) -> Settlement {
        let now = time.wallMilliseconds()
        switch result {
        case .success(.result(let payload)): return .completed(.result(payload.text))
        case .success(.protocolError(let payload)):
            return .failed(words: "its server answered with an error", answer: .protocolError(payload.text))
        case .success(.inputRequired):
            return .failed(words: "it asks for input, and nobody is there to give it")
        case .success(.task): return .failed(words: "its server began a task nobody asked for")
        case .failure(let failure) where failure.isWorthStoring:
            return .notSent(availableAt: now + pause(after: 1), words: failure.words)
        case .failure(.unknownTool), .failure(.badArguments), .failure(.needsInput), .failure(.stopped):
            return .failed(words: words(of: result))
        case .failure(let failure):
            guard call.isIdempotent else { return .unknown(words: failure.words) }
            // It would hold up its lane for as long as it is worth being sent.
            let most = if case .garbage = failure { Self.nonsenseMax } else { Self.triesMax }
            guard call.attempts < most else {
                return .failed(words: "it was sent \(call.attempts) times: \(failure.words)")
            }
            return .again(availableAt: now + pause(after: call.attempts), words: words(of: result))
        }
    }

    private func words(of result: Result<CallAnswer, CallFailure>) -> String {
        if case .failure(let failure) = result { failure.words } else { "" }
    }

    private func pause(after attempts: Int) -> Int64 {
        var backoff = Backoff(
            base: Self.backoffBase, cap: Self.backoffMax, jitter: .equal, seed: .random(in: .min ... .max))
        return Int64(backoff.delay(attempt: max(0, attempts - 1)).milliseconds)
    }

    private func note(_ leased: LeasedCall, _ settlement: Settlement) {
        let call = leased.call
        var metadata: Logger.Metadata = [
            LogKey.tool: "\(call.tool)", LogKey.upstream: "\(call.upstream)", LogKey.item: "\(call.id)",
            LogKey.requestID: "\(call.requestID)",
        ]
        let message: Logger.Message
        switch settlement {
        case .completed: return log.debug("a stored call is done", metadata: metadata)
        case .again, .notSent, .cancelled: return log.debug("a stored call waits on", metadata: metadata)
        case .failed(let words, _):
            message = "a stored call failed"
            metadata[LogKey.detail] = "\(words)"
        case .unknown(let words):
            message =
                "a stored call failed on its way, sent and its answer lost: a person has to decide (mcp-gateway queue)"
            metadata[LogKey.detail] = "\(words)"
        }
        if let (bytes, parsed) = StoredCallWriting.message(leased), let trace = parsed.trace(in: bytes) {
            metadata[LogKey.traceID] = "\(trace.traceText)"
        }
        log.warning(message, metadata: metadata)
    }
}

extension Result<CallAnswer, CallFailure> {
    fileprivate var isUnsent: Bool { if case .failure(let failure) = self { failure.isWorthStoring } else { false } }
}
