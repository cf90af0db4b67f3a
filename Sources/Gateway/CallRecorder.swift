// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Resilience
internal import Telemetry

/// Writes down what became of each message: counters, the journal's rows, a log line where somebody should look.
struct CallRecorder: Sendable {
    private let journal: any Journal
    private let time: any TimeSource
    private let log: Logger
    private let settings: LiveSettings
    private let metrics: MetricsRegistry
    private let requests: RequestCounters
    private let rateLimited: [Counter]
    private let callsShed: Counter
    private let shedLines: LineBudget
    /// What calls came to lately.
    let pulse = CallPulse()

    init(journal: any Journal, time: any TimeSource, metrics: MetricsRegistry, log: Logger, settings: LiveSettings) {
        shedLines = LineBudget(linesMax: 50, at: time.now())
        rateLimited = RateGate.Refusal.Scope.allCases.map {
            metrics.counter(.rateLimited, labels: [("scope", $0.rawValue)])
        }
        callsShed = metrics.counter(.callsShed)
        self.journal = journal
        self.time = time
        self.log = log
        self.settings = settings
        self.metrics = metrics
        requests = RequestCounters(registry: metrics)
    }

    func finished(_ inbound: InboundMessage, _ destination: Destination, _ reply: CallAnswer) {
        let status: String
        switch reply {
        case .result(let payload) where payload.saysError:
            destination.counters?.toolError.increment()
            status = "tool_error"
        case .result, .task, .inputRequired:
            destination.counters?.ok.increment()
            status = "ok"
        case .protocolError:
            destination.counters?.toolError.increment()
            status = "tool_error"
        }
        note(inbound, destination, status)
    }

    /// One round of a call that ended in questions. The call itself is counted when it ends.
    func asked(_ inbound: InboundMessage, _ destination: Destination) {
        write(
            inbound, tool: destination.shownTool, upstream: destination.backend.name, route: destination.backend.route,
            status: "input_required")
    }

    /// A call that was stored instead of sent. It is counted as a call when it is sent.
    func stored(_ call: StoredCall, _ inbound: InboundMessage, _ destination: Destination, isFirst: Bool) {
        let metadata: Logger.Metadata = [
            LogKey.tool: "\(call.tool)", LogKey.upstream: "\(call.upstream)", LogKey.item: "\(call.id)",
            LogKey.requestID: "\(inbound.requestID)",
        ]
        // One line for each outage; of each call only where somebody wants to know everything.
        log.log(
            level: isFirst ? .info : .debug,
            isFirst ? "calls are stored until their server can be reached" : "a call was stored", metadata: metadata)
        inbound.span?.note("mcp_gateway.item", String(call.id))
        write(
            inbound, tool: destination.shownTool, upstream: destination.backend.name, route: "queue", status: "queued")
    }

    /// A stored call was sent, or tried: its row has the id of the request that brought it.
    func sentLater(
        _ call: StoredCall, _ destination: Destination, _ result: Result<CallAnswer, CallFailure>, took: Duration
    ) {
        let status: String
        switch result {
        case .success(.result(let payload)) where payload.saysError: status = "tool_error"
        case .success(.protocolError): status = "tool_error"
        case .success: status = "ok"
        case .failure: status = "failed"
        }
        switch status {
        case "ok": destination.counters?.ok.increment()
        case "tool_error": destination.counters?.toolError.increment()
        default: destination.counters?.failed.increment()
        }
        destination.counters?.duration.observe(seconds: took.milliseconds / 1_000)
        if case .failure(let failure) = result {
            journal.record(
                ErrorRecord(
                    wallMilliseconds: time.wallMilliseconds(), errorType: failure.type, message: failure.words,
                    component: "\(destination.backend.route):\(destination.backend.name)",
                    requestID: RequestID(call.requestID)))
        }
        journal.record(
            CallRecord(
                wallMilliseconds: time.wallMilliseconds(), method: MCPWire.Method.toolsCall.name,
                tool: destination.shownTool, upstream: destination.backend.name, route: destination.backend.route,
                status: status, responseMilliseconds: took.milliseconds, caller: call.caller,
                requestID: RequestID(call.requestID) ?? .random()))
    }

    func failed(_ inbound: InboundMessage, _ destination: Destination, _ failure: CallFailure) {
        switch failure {
        case .unknownTool, .badArguments, .needsInput, .cancelled:
            destination.counters?.toolError.increment()
            note(inbound, destination, "refused")
            return
        case .unavailable, .timedOut, .outcomeUnknown, .garbage, .stopped, .overloaded: break
        }
        destination.counters?.failed.increment()
        let words = failure.words
        inbound.span?.failed(failure.type, words)
        note(inbound, destination, "failed")
        if let omitted = destination.owner.failedLines.take(at: time.now()) {
            let metadata = metadata(inbound, destination, LogKey.detail, words, omitted: omitted)
            log.warning("call failed", metadata: metadata)
        }
        journal.record(
            ErrorRecord(
                wallMilliseconds: time.wallMilliseconds(), errorType: failure.type, message: words,
                component: "\(destination.backend.route):\(destination.backend.name)", requestID: inbound.requestID))
    }

    /// A request that the gateway answered itself.
    func answered(_ inbound: InboundMessage) {
        write(inbound, tool: nil, upstream: nil, route: "gateway", status: "ok")
    }

    /// The client's mistake.
    func refused(_ inbound: InboundMessage) {
        write(inbound, tool: nil, upstream: nil, route: "gateway", status: "refused")
    }

    /// Turned away because of load.
    ///
    /// - Parameter destination: whom it was for, where that was found out before.
    func shed(_ inbound: InboundMessage, _ destination: Destination?, _ words: String) {
        let took = write(
            inbound, tool: destination?.shownTool, upstream: destination?.backend.name, route: "gateway",
            status: "failed")
        pulse.note(.failed, took: took, at: time.now())
        callsShed.increment()
        inbound.span?.failed("overloaded", words)
        if let omitted = shedLines.take(at: time.now()) {
            var metadata: Logger.Metadata = [
                LogKey.detail: "\(words)", LogKey.requestID: "\(inbound.requestID)",
            ]
            if omitted > 0 { metadata["omitted_before"] = "\(omitted)" }
            log.warning("a call was turned away, and so failed", metadata: metadata)
        }
        journal.record(
            ErrorRecord(
                wallMilliseconds: time.wallMilliseconds(), errorType: "overloaded", message: words,
                component: LogComponent.gateway, requestID: inbound.requestID))
    }

    /// Turned away because it came too soon: what was asked for, and no error.
    func limited(_ inbound: InboundMessage, _ destination: Destination?, _ scope: RateGate.Refusal.Scope) {
        let took = write(
            inbound, tool: destination?.shownTool, upstream: destination?.backend.name, route: "gateway",
            status: "limited")
        pulse.note(.limited, took: took, at: time.now())
        for (known, counter) in zip(RateGate.Refusal.Scope.allCases, rateLimited) where known == scope {
            counter.increment()
        }
    }

    private func note(_ inbound: InboundMessage, _ destination: Destination, _ status: String) {
        let took = write(
            inbound, tool: destination.shownTool, upstream: destination.backend.name,
            route: destination.backend.route, status: status)
        destination.counters?.duration.observe(seconds: took.milliseconds / 1_000)
        pulse.note(status == "failed" ? .failed : .good, took: took, at: time.now())
        if took > settings.now.slowCall, let omitted = destination.owner.slowLines.take(at: time.now()) {
            let metadata = metadata(inbound, destination, LogKey.took, Words.seconds(took), omitted: omitted)
            log.warning("slow call", metadata: metadata)
        }
    }

    private func metadata(
        _ inbound: InboundMessage, _ destination: Destination, _ key: String, _ fact: String, omitted: Int
    ) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            LogKey.tool: "\(destination.shownTool ?? destination.operation.method)",
            LogKey.upstream: "\(destination.backend.name)", key: "\(fact)", LogKey.requestID: "\(inbound.requestID)",
        ]
        if omitted > 0 { metadata["omitted_before"] = "\(omitted)" }
        if let trace = inbound.trace { metadata[LogKey.traceID] = "\(trace.traceText)" }
        return metadata
    }

    /// - Returns: how long it took, without the time that a person took to answer questions.
    @discardableResult
    private func write(
        _ inbound: InboundMessage, tool: String?, upstream: String?, route: String, status: String
    ) -> Duration {
        let now = time.now()
        let took = max(.zero, now.since(inbound.arrivedAt) - (inbound.stream?.timeAsking(at: now) ?? .zero))
        requests.count(inbound.message.method)
        if let span = inbound.span {
            if let tool { span.note("gen_ai.tool.name", tool) }
            if let upstream { span.note("mcp_gateway.upstream", upstream) }
            span.note("mcp_gateway.route", route)
            span.note("mcp_gateway.outcome", status)
        }
        journal.record(
            CallRecord(
                wallMilliseconds: time.wallMilliseconds(), method: inbound.message.method.knownName, tool: tool,
                upstream: upstream, route: route, status: status, responseMilliseconds: took.milliseconds,
                caller: inbound.caller.name, requestID: inbound.requestID))
        return took
    }
}

/// `mcp_requests_total{method}`, one handle for each method a client can ask.
private struct RequestCounters: Sendable {
    private let known: [(method: MCPWire.Method, counter: Counter)]
    private let other: Counter

    init(registry: MetricsRegistry) {
        let methods: [MCPWire.Method] = [
            .toolsCall, .toolsList, .promptsGet, .promptsList, .resourcesRead, .resourcesList, .templatesList,
            .complete, .initialize, .discover, .ping, .setLevel, .subscribe, .unsubscribe, .listen, .tasksGet,
            .tasksUpdate, .tasksCancel,
        ]
        known = methods.map { ($0, registry.counter(.mcpRequests, labels: [("method", $0.name)])) }
        other = registry.counter(.mcpRequests, labels: [("method", "other")])
    }

    func count(_ method: MCPWire.Method) {
        for entry in known where entry.method == method { return entry.counter.increment() }
        other.increment()
    }
}

extension Destination {
    /// What rows and logs call it: names that the gateway itself lists, never a URI, which a client may make up.
    var shownTool: String? {
        switch operation {
        case .tool, .prompt: exposedName
        case .resource, .completion, .taskGet, .taskUpdate, .taskCancel: nil
        }
    }
}

extension MCPWire.Method {
    /// The name, or `other`: rows never hold a method name that a client made up.
    var knownName: String {
        if case .other = self { return "other" }
        return name
    }
}

extension Payload {
    /// Whether a tool's result says `isError: true`.
    var saysError: Bool {
        let bytes = bytes.readableBytesUInt8Span
        guard let member = Message.find("isError", members, bytes), member.kind == .bool else { return false }
        return member.value.count == 4
    }
}

extension CallFailure {
    /// A stable word for rows and metrics.
    var type: String {
        switch self {
        case .unavailable: "upstream_unavailable"
        case .timedOut: "call_timeout"
        case .outcomeUnknown: "outcome_unknown"
        case .garbage: "bad_answer"
        case .stopped: "tool_stopped"
        case .unknownTool: "unknown_tool"
        case .badArguments: "bad_arguments"
        case .overloaded: "overloaded"
        case .needsInput: "needs_input"
        case .cancelled: "cancelled"
        }
    }

    var words: String {
        switch self {
        case .unavailable(let detail), .outcomeUnknown(let detail), .garbage(let detail), .stopped(let detail),
            .badArguments(let detail), .overloaded(let detail, _), .needsInput(let detail):
            detail
        case .timedOut(let after, let sent):
            "timeout: no answer within \(Words.seconds(after))\(sent ? ", sent" : ", not sent")"
        case .unknownTool: "no such tool"
        case .cancelled: "the client left"
        }
    }
}
