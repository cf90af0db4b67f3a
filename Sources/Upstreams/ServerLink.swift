// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Synchronization
internal import Telemetry

/// What a server says without being asked, as far as it concerns everybody.
enum Notice: Sendable, Equatable {
    case listChanged
    case updated(uri: String)
    /// The process or connection is gone; how it ended.
    case lost(String)
}

/// One conversation with a server: a transport, and whom the messages on it belong to.
///
/// On a shared link only what names its request is brought to a client: its own stream, or a progress token. On a link
/// that one client has to itself everything else belongs to that client too.
final class ServerLink: Sendable {
    let transport: any Transport
    let isExclusive: Bool
    private let numbers: NumberSource
    private let time: any TimeSource
    private let loop: any EventLoop
    private let name: String
    private let log: Logger
    private let notice: @Sendable (Notice) -> Void
    /// Who waits for the acknowledgement of a `subscriptions/listen`, by its number.
    private let acknowledgements = Mutex<[UInt64: @Sendable () -> Void]>([:])
    private let running = Mutex<[UInt64: Running]>([:])
    /// How what is said back to the server travels.
    private let era = Mutex<Era?>(nil)
    /// A client was asked something here: the server may remember what it said.
    private let asked = Atomic<Bool>(false)
    private let calls = Atomic<Int>(0)
    private let heard = Atomic<UInt64>(0)

    private struct Running {
        let conversation: any Conversation
        /// The request asked for log messages.
        let wantsLog: Bool
        var questions: [Task<Void, Never>] = []
    }

    init(
        name: String, transport: any Transport, isExclusive: Bool, numbers: NumberSource, loop: any EventLoop,
        time: any TimeSource, log: Logger, notice: @escaping @Sendable (Notice) -> Void
    ) {
        self.name = name
        self.transport = transport
        self.isExclusive = isExclusive
        self.numbers = numbers
        self.loop = loop
        self.time = time
        self.log = log
        self.notice = notice
    }

    /// Whether a client has answered a question here.
    var hasAsked: Bool { asked.load(ordering: .relaxed) }

    func open() async throws(TransportError) {
        let notice = notice
        try await transport.open(hears: { [weak self] in self?.hear($0) }, lost: { notice(.lost($0)) })
    }

    /// Calls that are under way here.
    var callCount: Int { calls.load(ordering: .relaxed) }

    /// When the server said anything here last.
    var lastHeard: Moment { Moment(nanoseconds: heard.load(ordering: .relaxed)) }

    func speaks(_ era: Era) { self.era.withLock { $0 = era } }

    /// Sends a request of a client and waits for its answer; what comes meanwhile goes to the conversation.
    func exchange(
        _ request: WireRequest, for conversation: (any Conversation)?, wantsLog: Bool = false, on loop: any EventLoop,
        deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer {
        calls.add(1, ordering: .relaxed)
        defer { calls.subtract(1, ordering: .relaxed) }
        let answer = try await converse(request, for: conversation, wantsLog, on: loop, deadline: deadline)
        heard.store(time.now().nanoseconds, ordering: .relaxed)
        return answer
    }

    private func converse(
        _ request: WireRequest, for conversation: (any Conversation)?, _ wantsLog: Bool, on loop: any EventLoop,
        deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer {
        guard let conversation, let id = request.id else {
            return try await transport.exchange(request, on: loop, deadline: deadline, hearing: plainHearing)
        }
        running.withLock { $0[id] = Running(conversation: conversation, wantsLog: wantsLog) }
        defer {
            for question in end(id) { question.cancel() }
        }
        let hearing = Hearing(
            message: { [weak self] in self?.hear($0) }, extraTime: { conversation.timeAsking(at: $0) },
            paused: { conversation.paused(resumeAfter: $0) })
        return try await transport.exchange(request, on: loop, deadline: deadline, hearing: hearing)
    }

    /// Forgets a call that has ended; returns the questions that end with it. On a pipe of one client nothing says to
    /// which of its calls a question belongs: it may be another one's, and goes on with that.
    private func end(_ id: UInt64) -> [Task<Void, Never>] {
        running.withLock { running in
            let questions = running.removeValue(forKey: id)?.questions ?? []
            guard isExclusive, transport.isDuplex, let other = running.keys.max() else { return questions }
            running[other]?.questions += questions
            return []
        }
    }

    /// For requests nobody converses over: what concerns everybody is heard all the same.
    var plainHearing: Hearing { Hearing(message: { [weak self] in self?.hear($0) }) }

    // MARK: What the server says

    func hear(_ incoming: Incoming) {
        heard.store(time.now().nanoseconds, ordering: .relaxed)
        switch incoming.message.kind {
        case .result, .error: break
        case .request: question(incoming)
        case .notification: notification(incoming)
        }
    }

    private func notification(_ incoming: Incoming) {
        switch incoming.message.method {
        case .progress:
            guard let payload = incoming.payload, let conversation = conversation(token: payload) else { return }
            conversation.progressed(payload)
        case .logMessage:
            guard let payload = incoming.payload, let conversation = conversation(of: incoming) else { return }
            conversation.logged(payload)
        case .acknowledged: acknowledged(incoming)
        case .toolsChanged, .promptsChanged, .resourcesChanged: notice(.listChanged)
        case .resourceUpdated:
            let bytes = incoming.bytes.readableBytesUInt8Span
            guard let uri = incoming.message.member("uri", in: bytes), uri.kind == .string else { return }
            notice(.updated(uri: JSONText.string(bytes, value: uri.value)))
        default: break
        }
    }

    /// Calls when the server has acknowledged the listen of this number.
    func expectAcknowledgement(_ id: UInt64, _ then: @escaping @Sendable () -> Void) {
        acknowledgements.withLock { $0[id] = then }
    }

    func forgetAcknowledgement(_ id: UInt64) { _ = acknowledgements.withLock { $0.removeValue(forKey: id) } }

    private func acknowledged(_ incoming: Incoming) {
        let bytes = incoming.bytes.readableBytesUInt8Span
        guard let id = incoming.message.metaMember("io.modelcontextprotocol/subscriptionId", in: bytes),
            let number = UInt64(JSONText.string(bytes, inside: id.value))
        else { return }
        acknowledgements.withLock { $0.removeValue(forKey: number) }?()
    }

    /// Progress carries the number of the request as its token.
    private func conversation(token payload: Payload) -> (any Conversation)? {
        let bytes = payload.bytes.readableBytesUInt8Span
        guard let token = Message.find("progressToken", payload.members, bytes), token.kind == .number,
            let number = UInt64(JSONText.string(bytes, inside: token.value))
        else { return nil }
        return running.withLock { $0[number]?.conversation }
    }

    /// The conversation a message belongs to: that of its stream, else the latest of a link with one client.
    private func conversation(of incoming: Incoming) -> (any Conversation)? {
        key(of: incoming).flatMap { key in running.withLock { $0[key]?.conversation } }
    }

    private func key(of incoming: Incoming) -> UInt64? {
        if let during = incoming.during { return during }
        if isExclusive { return running.withLock { $0.keys.max() } }
        // A server of the stateless era logs only for a request that asked for it, and before its answer: while one
        // such request is under way, it can only mean that one.
        guard incoming.message.method == .logMessage, era.withLock({ $0 }) == .modern else { return nil }
        return running.withLock { running in
            let asking = running.filter { $0.value.wantsLog }
            return asking.count == 1 ? asking.first?.key : nil
        }
    }

    private func question(_ incoming: Incoming) {
        let bytes = incoming.bytes.readableBytesUInt8Span
        guard let id = incoming.message.id.map({ Array(bytes, $0) }) else { return }
        if incoming.message.method == .ping { return reply(id, #""result":{}"#) }
        let params = incoming.message.body.flatMap { try? JSONValue.parse(bytes.extracting($0)) }
        guard let question = Question(method: incoming.message.method.name, params: params),
            let key = key(of: incoming), let conversation = running.withLock({ $0[key]?.conversation })
        else {
            return reply(id, #""error":{"code":-32601,"message":"This client did not offer that."}"#)
        }
        asked.store(true, ordering: .relaxed)
        // Ends with the question's own patience, and at once when the call it belongs to is over.
        let task = Task(executorPreference: LoopExecutor(loop)) {
            switch await conversation.ask(question) {
            case .answer(let answer): self.reply(id, "\"result\":\(answer.text)")
            case .refused(let code, let message):
                self.reply(id, #""error":{"code":\#(code),"message":\#(JSONText.quoted(message))}"#)
            }
        }
        let isKept = running.withLock { running in
            guard let count = running[key]?.questions.count, count < Self.questionsMax else { return false }
            running[key]?.questions.append(task)
            return true
        }
        if !isKept { task.cancel() }
    }

    /// Questions of one call, answered ones included.
    private static let questionsMax = 64

    /// Says something back that nobody waits for.
    private func reply(_ id: [UInt8], _ member: String) {
        var out = ByteBuffer(string: #"{"jsonrpc":"2.0","id":"#)
        out.writeBytes(id)
        out.writeString(",\(member)}")
        let response = WireRequest(id: nil, method: "", body: out, era: era.withLock { $0 })
        let (transport, loop) = (transport, loop)
        let deadline = Deadline(time.now() + Self.replyPatience)
        // Ends with the server's word that it has the message, after some seconds at the latest.
        Task(executorPreference: LoopExecutor(loop)) { await transport.notify(response, on: loop, deadline: deadline) }
    }

    private static let replyPatience = Duration.seconds(10)
}
