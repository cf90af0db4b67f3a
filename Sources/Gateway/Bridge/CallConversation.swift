// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// The conversation of one call: takes what the owner says to the client that made it, in that client's words, and
/// brings questions to it or to where its call is parked.
final class CallConversation: Conversation {
    /// Who answers questions.
    enum Respondent: Sendable {
        /// The client itself, on the open stream of its request.
        case client
        /// The client when it comes back.
        case parked(ParkedCall)
    }

    /// The request that listens at the moment.
    private struct Link: Sendable {
        let stream: any ClientStream
        /// The client's token as it was written; nil when it wants no progress.
        let progressToken: [UInt8]?
        let level: LogLevel?
        let revision: Revision
    }

    private struct State {
        var link: Link?
        /// Counts the requests that have listened.
        var linkNumber = 0
        /// What the client that listens, or listened last, can be asked.
        var capabilities: ClientCapabilities = []
        var lastProgress = -Double.infinity
    }

    private let state = Mutex(State())
    private let asking = AskingClock()
    private let respondent: Respondent
    /// Shown before an elicitation's message, since the client knows only the gateway.
    private let label: String
    private let time: any TimeSource
    /// How long one question may wait.
    private static let patience = Duration.seconds(600)

    init(_ inbound: InboundMessage, owner: Owner, respondent: Respondent, time: any TimeSource) {
        self.respondent = respondent
        self.time = time
        label = owner.prefix
        attach(inbound)
    }

    /// From here on this request of the client listens. Its number is for `detach`.
    @discardableResult func attach(_ inbound: InboundMessage) -> Int {
        let link = inbound.stream.map { stream in
            Link(
                stream: stream, progressToken: inbound.progressToken, level: inbound.wantedLogLevel,
                revision: inbound.revision)
        }
        return state.withLock { state in
            state.link = link
            state.capabilities = inbound.capabilities
            state.linkNumber += 1
            return state.linkNumber
        }
    }

    /// This request listens no more; another one may have come since.
    func detach(_ number: Int) { state.withLock { if $0.linkNumber == number { $0.link = nil } } }

    // MARK: Notifications

    /// Strictly rising over everything the call does, whoever counts (rounds, other servers): the rest is dropped.
    func progressed(_ notification: Payload) {
        guard let value = notification.member("progress").flatMap(notification.tree),
            case .number(let text) = value, let number = Double(text)
        else { return }
        let link = state.withLock { state -> Link? in
            guard number > state.lastProgress else { return nil }
            state.lastProgress = number
            return state.link
        }
        guard let link, let token = link.progressToken else { return }
        var out = Self.open("notifications/progress")
        out.writeStaticString(#"{"progressToken":"#)
        out.writeBytes(token)
        let bytes = notification.bytes.readableBytesUInt8Span
        for member in notification.members where !member.isNamed("progressToken", in: bytes) {
            if member.isNamed("_meta", in: bytes) { continue }
            if member.isNamed("message", in: bytes), link.revision < .v2025_03_26 { continue }
            out.writeStaticString(",")
            notification.write(member, to: &out)
        }
        out.writeStaticString("}}")
        link.stream.send(out, isVital: false)
    }

    func logged(_ notification: Payload) {
        guard let link = state.withLock({ $0.link }) else { return }
        // A legacy client that has not said what it wants leaves the choice to the server.
        if link.revision.isModern, link.level == nil { return }
        if let wanted = link.level {
            let bytes = notification.bytes.readableBytesUInt8Span
            guard let level = notification.member("level"), level.kind == .string,
                let said = LogLevel(rawValue: JSONText.string(bytes, value: level.value)), said >= wanted
            else { return }
        }
        var out = Self.open("notifications/message")
        if let params = notification.slice(notification.range) { out.writeImmutableBuffer(params) }
        out.writeStaticString("}")
        link.stream.send(out, isVital: false)
    }

    private static func open(_ method: StaticString) -> ByteBuffer {
        var out = ByteBuffer(string: #"{"jsonrpc":"2.0","method":""#)
        out.writeStaticString(method)
        out.writeStaticString(#"","params":"#)
        return out
    }

    func paused(resumeAfter: Duration) {
        state.withLock { $0.link }?.stream.pause(resumeAfter: resumeAfter)
    }

    // MARK: Questions

    func ask(_ question: Question) async -> QuestionOutcome {
        // What the client did not offer, no server may ask through us.
        guard state.withLock({ $0.capabilities }).allow(question) else {
            return .refused(code: -32601, message: "The client behind this gateway did not offer that.")
        }
        let labelled = question.labelled(label)
        asking.begin(at: time.now())
        defer { asking.end(at: time.now()) }
        switch respondent {
        case .parked(let call): return await call.ask(labelled)
        case .client:
            guard let link = state.withLock({ $0.link }), link.stream.canAsk else {
                return .refused(code: -32601, message: "The client behind this gateway cannot be asked now.")
            }
            return await link.stream.ask(
                labelled.adapted(to: link.revision), deadline: Deadline(time.now() + Self.patience))
        }
    }

    func timeAsking(at now: Moment) -> Duration { asking.total(at: now) }
}

extension Question {
    /// With the name of who asks before the message.
    func labelled(_ label: String) -> Question {
        guard kind == .elicitation, !label.isEmpty else { return self }
        return Question(
            kind: kind, params: params.mapping("message") { .string("[\(label)] \($0.stringValue ?? "")") })
    }

    /// As a client of this legacy revision knows it.
    func adapted(to revision: Revision) -> Question {
        guard kind == .elicitation else { return self }
        var params = params
        if revision < .v2025_11_25 { params = params.without("mode") }
        if revision == .v2025_11_25, params["mode"]?.stringValue == "url", params["elicitationId"] == nil {
            params = params.with("elicitationId", .string("\(RequestID.random())"))
        }
        return Question(kind: kind, params: params)
    }

    /// As a stateless client knows it.
    var inputRequest: JSONValue {
        let shown = kind == .elicitation ? params.without("elicitationId", "task") : params.without("task")
        var members: [(key: String, value: JSONValue)] = [("method", .string(kind.rawValue))]
        if kind != .roots || shown.objectValue?.isEmpty == false { members.append(("params", shown)) }
        return .object(members)
    }
}

extension InboundMessage {
    /// The client's progress token as it was written.
    var progressToken: [UInt8]? {
        let span = bytes.readableBytesUInt8Span
        guard let token = message.metaMember("progressToken", in: span), token.kind == .string || token.kind == .number
        else { return nil }
        return Array(span, token.value)
    }

    /// The least important log message the client wants with this request.
    var wantedLogLevel: LogLevel? {
        guard revision.isModern else { return session?.logLevel }
        let span = bytes.readableBytesUInt8Span
        guard let level = message.metaMember("io.modelcontextprotocol/logLevel", in: span), level.kind == .string else {
            return nil
        }
        return LogLevel(rawValue: JSONText.string(span, value: level.value))
    }
}
