// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import HostLoad
internal import Logging
package import MCPWire
package import NIOCore
package import Sealing
internal import Synchronization
package import Telemetry

/// The one way of every message: admission → route → checks → delivery over all questions → reply.
package final class Pipeline: MCPService {
    let catalogue: Catalogue
    private let admission: Admission
    let delivery: Delivery
    private let isCutOff = Atomic(false)
    private let queueDesk: QueueDesk
    private let worker: DeferredWorker
    /// One that sends what waits in a queue, which is ours or another one's.
    let makeWorker: @Sendable (any CallQueue) -> DeferredWorker
    private let legacyBridge: LegacyClientBridge
    private let modernBridge: ModernClientBridge
    private let states: StateKeeper
    private let parked = ParkedCalls()
    private let replies: ReplyBuilder
    private let recorder: CallRecorder
    private let settling: Settling
    private let desk: Desk
    private let changes: Changes
    private let settings: LiveSettings
    private let metrics: MetricsRegistry
    private let time: any TimeSource
    let tracer: Tracer
    /// What operators order about traffic.
    package let traffic: TrafficControl

    /// - Parameters:
    ///   - keys: seal what clients carry from one round of a call to the next.
    ///   - archive: where what operators change by hand is written down.
    ///   - pressure: how short memory is.
    package init(
        settings: PipelineSettings, catalogue: Catalogue, settling: Settling = Settling(expected: 0),
        identity: ServerIdentity, keys: SealKeys, calls: any CallKeeping, cache: any ReplyCache,
        journal: any Journal, archive: any OverrideArchive, pressure: @escaping @Sendable () -> Pressure = { .none },
        time: any TimeSource, tracer: Tracer? = nil, metrics: MetricsRegistry, logs: LogFiles
    ) {
        let tracer = tracer ?? Tracer(time: time, metrics: metrics)
        self.tracer = tracer
        self.catalogue = catalogue
        self.settling = settling
        self.metrics = metrics
        self.time = time
        let settings = LiveSettings(settings)
        self.settings = settings
        admission = Admission(settings: settings, pressure: pressure, time: time)
        metrics.gauge(.callsInFlight) { [admission] in Double(admission.running) }
        metrics.gauge(.callsWaiting) { [admission] in Double(admission.waiting) }
        metrics.gauge(.callsParked) { [parked] in Double(parked.count) }
        let dispatcher = Dispatcher(time: time, tracer: tracer)
        states = StateKeeper(keys: keys, time: time)
        legacyBridge = LegacyClientBridge(dispatcher: dispatcher, time: time, settings: settings)
        modernBridge = ModernClientBridge(dispatcher: dispatcher, time: time, states: states, parked: parked)
        replies = ReplyBuilder(identity: identity)
        delivery = Delivery(
            store: calls, cache: cache, mustStore: { [admission] in admission.isShortOfMemory }, time: time,
            metrics: metrics)
        queueDesk = QueueDesk(
            queue: calls, shape: StoredShape(settings: settings), replies: replies, catalogue: catalogue,
            time: time)
        recorder = CallRecorder(
            journal: journal, time: time, metrics: metrics, log: logs.logger(component: LogComponent.gateway),
            settings: settings)
        let log = logs.logger(component: LogComponent.gateway)
        let paces = OwnerPaces(time: time)
        makeWorker = { [catalogue, recorder] queue in
            DeferredWorker(
                queue: queue, paces: paces, catalogue: catalogue, dispatcher: dispatcher, recorder: recorder,
                tracer: tracer,
                time: time, settings: settings, metrics: metrics, log: log)
        }
        worker = makeWorker(calls)
        changes = Changes(catalogue: catalogue)
        metrics.gauge(.listeners) { [changes] in Double(changes.hub.listenerCount) }
        desk = Desk(catalogue: catalogue, identity: identity, changes: changes, replies: replies)
        traffic = TrafficControl(
            catalogue: catalogue, admission: admission, parked: parked, settings: settings, archive: archive,
            changes: changes, returned: { [calls, worker] in await Self.hurry(calls, worker, time) },
            pulse: recorder.pulse, time: time, log: logs.logger(component: LogComponent.gateway))
        metrics.gauges(.toolBreakersOpen, label: "upstream") { [traffic] in traffic.openToolBreakers() }
        meetOwners()
        traffic.restore()
    }

    /// Takes up what a reload has changed in the catalogue and in the settings. Calls that run end as they began.
    package func change(to new: PipelineSettings) {
        settings.change(to: new)
        admission.change()
        meetOwners()
        worker.ownersChanged()
        traffic.reapply()
        changes.offersChanged()
        metrics.keepTools(of: catalogue.current)
        traffic.reapplyToBreakers()
        // An owner that cannot be told now is told when it can be reached.
        Task { await changes.repeatWatches() }
    }

    /// What waits for a tool that was taken out need not wait for the time of its next try.
    private static func hurry(_ calls: any CallKeeping, _ worker: DeferredWorker, _ time: any TimeSource) async {
        for upstream in calls.waiting().keys {
            await calls.hurry(upstream: upstream, now: time.wallMilliseconds())
            worker.ring(upstream)
        }
    }

    /// For owners that come and for those that go.
    private func meetOwners() {
        for owner in catalogue.owners {
            let name = owner.backend.name
            owner.breaker?.whenClosed { [worker] in worker.ring(name) }
            guard owner.breaker != nil else { continue }
            // Asked by name: after a reload another breaker may stand there.
            metrics.gauge(.breakerState, labels: [("upstream", name)]) { [catalogue] in
                catalogue.owner(name)?.breaker?.level ?? 0
            }
        }
    }

    /// An owner is not in the configuration any more.
    package func forget(owner name: String) { metrics.remove(.breakerState, labels: [("upstream", name)]) }

    /// Calls that are being worked on now.
    package var callsInFlight: Int { admission.running }

    package func refuse(_ refusal: ProtocolRefusal) -> Reply { replies.refusal(refusal) }

    func answer(_ inbound: InboundMessage) async -> Reply {
        let dialect = replies.dialect(of: inbound.revision)
        guard inbound.message.kind == .request else { return .accepted }
        guard dialect.offers(inbound.message.method), desk.offers(inbound.message.method, inbound.revision) else {
            recorder.refused(inbound)
            return replies.error(
                -32601,
                "There is no method of this name in revision \(inbound.revision.name) that this gateway offers.",
                to: inbound, status: dialect.unknownMethodStatus)
        }
        if !inbound.message.method.isFree, !inbound.message.method.isCall {
            do throws(Admission.Refusal) { try admission.checkRate(inbound) } catch {
                return turnedAway(error, inbound, dialect)
            }
        }
        switch inbound.message.method {
        case .initialize where admission.isDraining:
            return turnedAway(.busy(words: Admission.drainingWords, retryAfter: 5), inbound, dialect)
        case .toolsCall, .promptsGet, .resourcesRead, .complete, .tasksGet, .tasksResult, .tasksUpdate,
            .tasksCancel:
            return await call(inbound, dialect)
        case .toolsList: return await list(.tools, inbound)
        case .promptsList: return await list(.prompts, inbound)
        case .resourcesList: return await list(.resources, inbound)
        case .templatesList: return await list(.templates, inbound)
        case .discover: return answered(inbound, desk.discovery(inbound, dialect))
        case .initialize: return answered(inbound, desk.greeting(inbound, dialect))
        case .ping: return answered(inbound, replies.empty(to: inbound))
        case .setLevel: return answered(inbound, desk.setLevel(inbound))
        case .subscribe: return answered(inbound, await desk.subscribe(inbound, dialect))
        case .unsubscribe: return answered(inbound, await desk.unsubscribe(inbound))
        case .listen: return answered(inbound, await desk.listen(inbound, dialect))
        case .initialized, .cancelled, .progress, .logMessage, .toolsChanged, .promptsChanged, .resourcesChanged,
            .resourceUpdated, .rootsChanged, .acknowledged, .elicitationComplete, .createMessage, .elicit, .rootsList,
            .other:
            return refused(inbound, -32601, "\(inbound.message.method.knownName) is nothing that a client asks.")
        }
    }

    // MARK: Calls

    private func call(_ original: InboundMessage, _ dialect: any Dialect) async -> Reply {
        // May it enter?
        let permit: Admission.Permit
        do throws(Admission.Refusal) {
            permit = try await admission.admit(original, isFurtherRound: { [states] in states.isOurs(original) })
        } catch {
            return turnedAway(error, original, dialect)
        }
        // Whom is it for?
        let inbound: InboundMessage
        let destination: Destination
        switch await route(original) {
        case .refused(let code, let words, let data, let status):
            return refused(original, code, words, data: data, status: status)
        case .answered(let members): return answered(original, replies.result(members: members, to: original, dialect))
        case .queueTool(let name): return answered(original, await queueDesk.answer(name, original, dialect))
        case .storedTask(let handle): return answered(original, await queueDesk.task(handle, original, dialect))
        case .destination(let found, let message): (destination, inbound) = (found, message)
        }
        do throws(RateGate.Refusal) { try destination.gate?.take(at: time.now()) } catch {
            return turnedAway(.limited(error), inbound, dialect, destination)
        }
        // Is it what its owner takes?
        switch CallChecks.judge(inbound, destination) {
        case .fits: break
        case .badHeader(let words): return refused(inbound, -32020, words, status: .badEnvelope)
        case .badArguments(let words):
            recorder.failed(inbound, destination, .badArguments(detail: words))
            return replies.failure(.badArguments(detail: words), of: destination, to: inbound, dialect)
        }
        if inbound.wantsTask, catalogue.storesCalls, destination.policy.offline != .queue {
            return refused(inbound, -32601, "This tool runs as a plain call only, not as a task.")
        }
        // Go.
        var call = RoutedCall(
            operation: destination.operation, target: destination.target, targetJSON: destination.targetJSON,
            bytes: inbound.bytes, message: inbound.message, caller: inbound.caller, requestID: inbound.requestID,
            deadline: permit.deadline, loop: inbound.loop)
        call.wishes = inbound.wishes
        call.trace = inbound.trace
        let bridge: any QuestionBridge = inbound.revision.isModern ? modernBridge : legacyBridge
        let order = Delivery.Order(call: call, destination: destination, inbound: inbound, bridge: bridge)
        switch await delivery.carry(order) {
        case .bridged(let outcome), .kept(let outcome): return reply(outcome, inbound, destination, dialect)
        case .stored(let stored):
            recorder.stored(stored, inbound, destination, isFirst: delivery.waiting(for: stored.upstream) == 1)
            return await queueDesk.stored(stored, to: inbound, dialect)
        case .keyDiffers:
            return refused(
                inbound, -32602, "This idempotency key, or request id, was used for a call with other arguments before."
            )
        case .keyUnusable:
            return refused(inbound, -32602, "An idempotency key is a text of 1 to 256 bytes.")
        }
    }

    private func reply(
        _ outcome: BridgeOutcome, _ inbound: InboundMessage, _ destination: Destination, _ dialect: any Dialect
    ) -> Reply {
        switch outcome {
        case .ended(.success(let answer)):
            return reply(answer, inbound, destination, dialect)
        case .ended(.failure(.cancelled)) where isCutOff.load(ordering: .relaxed),
            .clientLeft where isCutOff.load(ordering: .relaxed):
            let failure = CallFailure.outcomeUnknown(detail: "the gateway was stopped before its answer came")
            recorder.failed(inbound, destination, failure)
            return replies.failure(failure, of: destination, to: inbound, dialect)
        case .ended(.failure(let failure)):
            recorder.failed(inbound, destination, failure)
            if case .overloaded(_, let seconds) = failure, inbound.revision.isModern {
                // Refused for load, as at our own door.
                let words = FailureWords.of(failure, destination)
                return replies.error(-32603, words, to: inbound, status: .overloaded(retryAfter: seconds))
            }
            return replies.failure(failure, of: destination, to: inbound, dialect)
        case .inputRequired(let members):
            recorder.asked(inbound, destination)
            return replies.inputRequired(members: members, to: inbound)
        case .lacksCapability(let needed):
            return refused(
                inbound, -32021, "The tool needs a capability that the request does not declare.",
                data: #"{"requiredCapabilities":\#(needed)}"#, status: .badEnvelope)
        case .badState:
            return refused(inbound, -32602, "\"requestState\" is not one of ours for this call, or is too old.")
        case .interactionLost:
            return refused(
                inbound, -32602,
                "The call that asked this is not waiting any more; begin it anew if it is still wanted.")
        case .tooManyParked:
            return turnedAway(
                .busy(words: "Too many calls wait for answers of their clients. Try again in 1 s.", retryAfter: 1),
                inbound, dialect, destination)
        case .clientLeft:
            recorder.failed(inbound, destination, .cancelled)
            return .accepted
        }
    }

    private func reply(
        _ answer: CallAnswer, _ inbound: InboundMessage, _ destination: Destination, _ dialect: any Dialect
    ) -> Reply {
        if case .task = answer, !inbound.capabilities.contains(.tasks) {
            let failure = CallFailure.garbage(detail: "it began a task for a client that takes none")
            recorder.failed(inbound, destination, failure)
            return replies.failure(failure, of: destination, to: inbound, dialect)
        }
        if case .result(let payload) = answer, let words = CallChecks.outputProblem(payload, destination) {
            let failure = CallFailure.garbage(detail: words)
            recorder.failed(inbound, destination, failure)
            return replies.failure(failure, of: destination, to: inbound, dialect)
        }
        recorder.finished(inbound, destination, answer)
        let shown: (String) -> String = { [states] task in
            states.handle(task: task, owner: destination.backend.name, caller: inbound.caller)
        }
        return replies.reply(answer, of: destination, to: inbound, dialect, taskHandle: shown)
    }

    /// From one snapshot. Just after a start a name that is not known may be about to be.
    private func route(_ inbound: InboundMessage) async -> CallRouting.Way {
        let first = CallRouting.look(inbound, catalogue.current, states)
        guard case .refused = first, !settling.isOver else { return first }
        await settling.wait()
        return CallRouting.look(inbound, catalogue.current, states)
    }

    private func refused(
        _ inbound: InboundMessage, _ code: Int, _ words: String, data: String? = nil, status: ReplyStatus = .ok
    ) -> Reply {
        recorder.refused(inbound)
        return replies.error(code, words, data: data, to: inbound, status: status)
    }

    /// Refused for load, perhaps on its way. A legacy client would end its whole session at any status but 200.
    private func turnedAway(
        _ refusal: Admission.Refusal, _ inbound: InboundMessage, _ dialect: any Dialect, _ whom: Destination? = nil
    ) -> Reply {
        let (words, status): (String, ReplyStatus)
        switch refusal {
        case .left: return .accepted
        case .busy(let text, let seconds):
            recorder.shed(inbound, whom, text)
            (words, status) = (text, .overloaded(retryAfter: seconds))
        case .limited(let limited):
            recorder.limited(inbound, whom, limited.scope)
            (words, status) = (limited.words, .limited(retryAfter: limited.retryAfter))
        }
        if inbound.revision.isModern { return replies.error(-32603, words, to: inbound, status: status) }
        if inbound.message.method == .toolsCall { return replies.toolError(words, to: inbound, dialect) }
        return replies.error(-32603, words, to: inbound)
    }

    // MARK: What the gateway answers itself

    private func answered(_ inbound: InboundMessage, _ reply: Reply) -> Reply {
        recorder.answered(inbound)
        return reply
    }

    private func list(_ kind: ListKind, _ inbound: InboundMessage) async -> Reply {
        if !settling.isOver { await settling.wait() }
        let bytes = inbound.bytes.readableBytesUInt8Span
        if let cursor = inbound.message.member("cursor", in: bytes), cursor.kind != .null {
            return refused(inbound, -32602, "This cursor is not one of ours: the list has a single page.")
        }
        return answered(
            inbound,
            replies.result(
                catalogue.current.list(kind).result(
                    inbound.revision, takesTasks: inbound.capabilities.contains(.tasks)), to: inbound))
    }

    // MARK: Changes and the end

    package func began(_ session: any ClientSession) { changes.hub.add(session) }

    package func ended(_ session: SessionKey) { changes.end(session) }

    /// Takes up what the backends have now, and tells whoever wants to know.
    package func offersChanged() {
        changes.offersChanged()
        traffic.reapplyToBreakers()
    }

    /// An owner says that one of its resources has changed.
    package func updated(_ uri: String, of backend: String) {
        delivery.changed(uri, of: backend)
        changes.updated(uri, of: backend)
    }

    /// An owner that was away answers again.
    package func ownerReturned(_ name: String) {
        catalogue.owner(name)?.breaker?.serverReturned()
        worker.ring(name)
    }

    /// Sends stored calls until its task is cancelled; what is under way then ends first.
    package func sendStoredCalls(on loops: [any EventLoop]) async { await worker.run(on: loops) }

    /// Has stored calls sent now, without waiting for their time between two tries.
    package func ringForStoredCalls() { worker.ringAll() }

    /// Ends what has no end of its own: open listens get their last word, waiting calls are given up.
    package func drain() {
        changes.hub.close()
        parked.abandonAll()
        worker.stop()
        queueDesk.stop()
    }

    /// From here on a call that is ended is not one whose client has left: the gateway does not wait for it any more.
    package func cutOff() { isCutOff.store(true, ordering: .relaxed) }

    /// Returns when no call runs any more whose client may come back for it, at the latest when this is over.
    package func finishDetached(within grace: Duration) async { await delivery.finish(within: grace) }

    /// What would become of a call, from the code that decides it.
    ///
    /// - Parameter caller: whose limit is told; nil for nobody's in particular.
    package func explain(_ name: String, as caller: String?) -> JSONValue {
        let circumstances = Explanation.Circumstances(
            now: time.now(), caller: caller, rateOfAll: admission.limit, ratePerCaller: settings.now.ratePerCaller,
            isDraining: admission.isDraining, mustStore: admission.isShortOfMemory,
            waiting: { [delivery] in delivery.waiting(for: $0) })
        return Explanation.of(name, circumstances, catalogue: catalogue)
    }
}
