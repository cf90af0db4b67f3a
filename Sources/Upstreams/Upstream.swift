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
/// the server has forgotten our session.
package final class Upstream: ToolBackend {
    package let name: String
    package let route = "upstream"
    let transport: any Transport
    let writer: CallWriter
    let numbers = NumberSource()
    let time: any TimeSource
    let log: Logger
    private let timeout: Duration
    private let answerLimits: WireLimits
    private let state: Mutex<State>

    struct State: Sendable {
        var era: Era?
        /// Counts successful handshakes, so that a call can tell whether the session it used has been replaced.
        var generation = 0
        /// The session is lost: the next attempt opens another. Until then calls go on with the old era, find the same
        /// out, and wait together.
        var mustRenew = false
        var tools: [ToolDescriptor] = []
        var hasListed = false
        var awayReason: String? = "not connected yet"
        var since: Int64
        var checkedAt: Int64
        /// Set while `keepUp` sleeps; calling it ends the sleep.
        var wake: (@Sendable () -> Void)?
        /// Somebody rang while `keepUp` was awake: its next sleep does not begin.
        var isRung = false
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    init(
        settings: UpstreamSettings, transport: any Transport, writer: CallWriter, time: any TimeSource, log: Logger
    ) {
        name = settings.name
        timeout = settings.timeout
        answerLimits = WireLimits(bytesMax: settings.answerBytesMax)
        self.transport = transport
        self.writer = writer
        self.time = time
        self.log = log
        let now = time.wallMilliseconds()
        state = Mutex(State(since: now, checkedAt: now))
    }

    func withState<T: Sendable>(_ body: (inout sending State) -> sending T) -> T { state.withLock(body) }

    package func tools() -> [ToolDescriptor] { state.withLock { $0.tools } }

    var isUp: Bool { state.withLock { $0.era != nil } }

    // MARK: Calls

    package func call(_ call: ToolCall) async throws(CallFailure) -> ToolReply {
        let deadline = call.deadline.earlier(of: Deadline(time.now() + timeout))
        let (era, generation, reason) = state.withLock { ($0.era, $0.generation, $0.awayReason) }
        guard let era else {
            wakeUp()
            throw .unavailable(detail: reason ?? "not connected")
        }
        let answer = try await exchange(call, era, deadline)
        guard case .legacy(_, session: .some) = era, isSessionLoss(answer) else { return try reply(answer) }
        // The server has forgotten the session, which proves that it did not run the call: open another and send it
        // again.
        let renewed = try await renewSession(after: generation, deadline: deadline, loop: call.loop)
        return try reply(try await exchange(call, renewed, deadline))
    }

    /// Inside a session 404 means that the session is gone, and some servers say 400 with an error code of their own.
    /// Neither ran the call. A method that does not exist is another matter.
    private func isSessionLoss(_ answer: WireAnswer) -> Bool {
        switch answer.status {
        case 404: answer.errorCode != -32601
        case 400: answer.errorCode == nil || answer.errorCode == -32000 || answer.errorCode == -32600
        default: false
        }
    }

    private func exchange(_ call: ToolCall, _ era: Era, _ deadline: Deadline) async throws(CallFailure) -> WireAnswer {
        let request = writer.call(call, id: numbers.next(), era: era)
        do throws(CallFailure) {
            return try await transport.exchange(request, on: call.loop, deadline: deadline)
        } catch {
            switch error {
            case .unavailable(let detail): becameAway(detail)
            case .outcomeUnknown: wakeUp()
            case .timedOut, .garbage, .stopped, .unknownTool, .badArguments, .overloaded, .cancelled: break
            }
            throw error
        }
    }

    /// What the answer means for the call.
    private func reply(_ answer: WireAnswer) throws(CallFailure) -> ToolReply {
        // Perhaps it is another server by now.
        if answer.status >= 400 { wakeUp() }
        guard let message = answer.message, let body = message.body else {
            throw Self.failure(status: answer.status)
        }
        let payload = Payload(bytes: answer.bytes, range: body, members: message.members, meta: message.meta)
        let span = answer.bytes.readableBytesUInt8Span
        if message.kind == .error {
            if let code = answer.errorCode, code == -32020 || code == -32022 {
                wakeUp()
                throw .garbage(detail: "it does not accept our envelope: \(answer.errorText)")
            }
            return .protocolError(payload)
        }
        guard message.bodyKind == .object else { throw .garbage(detail: "the result is not an object") }
        if let type = message.member("resultType", in: span),
            type.kind != .string || JSONText.string(span, value: type.value) != "complete"
        {
            throw .garbage(detail: "it asks for something this gateway did not offer to give")
        }
        return .result(payload)
    }

    private static func failure(status: Int) -> CallFailure {
        switch status {
        case 401, 403: .unavailable(detail: "it refuses our credentials, HTTP status \(status)")
        case 429, 503: .unavailable(detail: "it is too busy, HTTP status \(status)")
        default: .garbage(detail: "HTTP status \(status) without a JSON-RPC answer")
        }
    }

    // MARK: What is known

    /// Waits until a handshake newer than `generation` has been made.
    private func renewSession(
        after generation: Int, deadline: Deadline, loop: any EventLoop
    ) async throws(CallFailure) -> Era {
        state.withLock { state in
            if state.generation == generation { state.mustRenew = true }
        }
        while true {
            let (era, current, reason) = state.withLock { ($0.era, $0.generation, $0.awayReason) }
            if let era, current != generation { return era }
            let now = time.now()
            guard !deadline.hasPassed(at: now) else {
                throw .unavailable(detail: reason ?? "its session is gone and no new one could be opened in time")
            }
            await nextAttempt(within: deadline.remaining(at: now), loop: loop)
            let failed = state.withLock { $0.era == nil ? $0.awayReason : nil }
            if let failed { throw .unavailable(detail: failed) }
        }
    }

    /// Returns when `keepUp` has tried once more, or when the time is over.
    private func nextAttempt(within patience: Duration, loop: any EventLoop) async {
        let timer = loop.scheduleTask(in: .nanoseconds(patience.nanosecondsClamped)) { self.releaseWaiters() }
        // Resumed exactly once: whoever takes it off the list resumes it.
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            state.withLock { $0.waiters.append(continuation) }
            wakeUp()
        }
        timer.cancel()
    }

    func releaseWaiters() {
        let waiters = state.withLock { state in
            let waiters = state.waiters
            state.waiters = []
            return waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Ends the pause of `keepUp`, if it is pausing.
    package func wakeUp() {
        let wake = state.withLock { state in
            if state.wake == nil { state.isRung = true }
            return state.wake
        }
        wake?()
    }

    /// A call found the server unreachable.
    private func becameAway(_ reason: String) {
        noteAway(reason)
        wakeUp()
    }

    func noteAway(_ reason: String) {
        let now = time.wallMilliseconds()
        let isNews = state.withLock { state in
            let isNews = state.era != nil || state.awayReason != reason
            if state.era != nil { state.since = now }
            state.era = nil
            state.mustRenew = false
            state.awayReason = reason
            state.checkedAt = now
            return isNews
        }
        if isNews {
            log.warning("upstream is away", metadata: [LogKey.upstream: "\(name)", LogKey.detail: "\(reason)"])
        }
    }

    /// Takes up what a handshake found; true when the list of tools is another than before.
    func noteUp(_ era: Era, tools: [ToolDescriptor], isNewHandshake: Bool) -> Bool {
        let now = time.wallMilliseconds()
        let (isNews, isChanged) = state.withLock { state in
            let isNews = state.era == nil
            let isChanged = !state.hasListed || state.tools != tools
            if isNews { state.since = now }
            if isNewHandshake { state.generation += 1 }
            state.era = era
            if isNewHandshake { state.mustRenew = false }
            state.awayReason = nil
            state.tools = tools
            state.hasListed = true
            state.checkedAt = now
            return (isNews, isChanged)
        }
        if isNews {
            log.info(
                "upstream is there",
                metadata: [
                    LogKey.upstream: "\(name)", LogKey.revision: "\(era.revision.name)", LogKey.tools: "\(tools.count)",
                ])
        }
        return isChanged
    }

    var component: ComponentStatus {
        let copy = state.withLock { ($0.era, $0.awayReason, $0.tools.count, $0.checkedAt, $0.since, $0.hasListed) }
        let (era, reason, count, checkedAt, since, hasListed) = copy
        guard let era else {
            let kept = hasListed ? "; its \(count) tools stay listed" : ""
            return ComponentStatus(
                name: "upstream:\(name)", status: .unhealthy, detail: (reason ?? "not connected") + kept,
                checkedAt: checkedAt, since: since)
        }
        return ComponentStatus(
            name: "upstream:\(name)", status: .healthy,
            detail: "\(era.revision.name) over \(transport.kind), \(count) tools", checkedAt: checkedAt, since: since)
    }
}

extension Era {
    var revision: Revision {
        switch self {
        case .modern: .modern
        case .legacy(let revision, _): revision
        }
    }
}
