// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// What a call came to, as its client has to see it.
enum BridgeOutcome: Sendable {
    case ended(Result<CallAnswer, CallFailure>)
    /// The owner asks first; `members` are those of the result besides `resultType`, without braces.
    case inputRequired(members: String)
    /// The owner cannot go on without a capability that the client does not declare: the JSON object of
    /// `requiredCapabilities`.
    case lacksCapability(String)
    /// What the client brought back is not ours, or not for this call.
    case badState
    /// The call that the client answers for is not here any more.
    case interactionLost
    case tooManyParked
    case clientLeft
}

/// Carries one call to its end over the questions its owner asks. One adapter for each era of clients; owners of both
/// eras look the same from here.
protocol QuestionBridge: Sendable {
    func carry(_ call: RoutedCall, to destination: Destination, for inbound: InboundMessage) async -> BridgeOutcome
}

/// For clients that can be asked while their request is open.
struct LegacyClientBridge: QuestionBridge {
    let dispatcher: Dispatcher
    let time: any TimeSource
    /// Says how long one round may take.
    let settings: LiveSettings
    private static let roundsMax = 10
    static let nothingAsked = CallFailure.garbage(detail: "it wants input and does not say which")

    func carry(
        _ call: RoutedCall, to destination: Destination, for inbound: InboundMessage
    ) async -> BridgeOutcome {
        var call = call
        var conversation: CallConversation?
        if inbound.stream != nil {
            conversation = CallConversation(inbound, owner: destination.owner, respondent: .client, time: time)
            call.conversation = conversation
        }
        for round in 0..<Self.roundsMax {
            let outcome = await dispatcher.send(call, to: destination)
            guard case .success(.inputRequired(let payload)) = outcome else { return .ended(outcome) }
            let interview = Interview(payload)
            if interview.isEmpty { return .ended(.failure(Self.nothingAsked)) }
            guard !interview.entries.isEmpty else {
                // Only "come again": an owner sheds load that way.
                await Pause.wait(.milliseconds(50 << min(round, 4)), on: inbound.loop)
                call.resumption = Resumption(responses: nil, state: interview.state)
                continue
            }
            switch await interview.conduct(conversation) {
            case .answers(let responses): call.resumption = Resumption(responses: responses, state: interview.state)
            case .refused(let words): return .ended(.failure(.needsInput(detail: words)))
            }
            call.deadline = Deadline(time.now() + settings.now.timeout)
        }
        return .ended(.failure(.garbage(detail: "it asked again and again, \(Self.roundsMax) times")))
    }
}

/// For clients of the stateless era: they get the questions as a result, and come back with answers.
struct ModernClientBridge: QuestionBridge {
    let dispatcher: Dispatcher
    let time: any TimeSource
    let states: StateKeeper
    let parked: ParkedCalls

    func carry(
        _ call: RoutedCall, to destination: Destination, for inbound: InboundMessage
    ) async -> BridgeOutcome {
        let bytes = inbound.bytes.readableBytesUInt8Span
        let responses = inbound.message.member("inputResponses", in: bytes)
        guard let state = inbound.message.member("requestState", in: bytes), state.kind != .null else {
            let given = responses.map { Resumption(responses: Array(bytes, $0.value), state: nil) }
            return await begin(call, given, destination, inbound)
        }
        guard state.kind == .string,
            let content = states.open(
                JSONText.string(bytes, value: state.value), for: inbound, owner: destination.backend.name)
        else { return .badState }
        switch content {
        case .upstream(let theirs):
            let resumption = Resumption(responses: responses.map { Array(bytes, $0.value) }, state: theirs)
            return await begin(call, resumption, destination, inbound)
        case .parked(let ticket, let round):
            guard let waiting = parked.find(ticket, caller: inbound.caller) else { return .interactionLost }
            let answers = responses.flatMap {
                // Scanned before, within the limits of its transport.
                try? JSONValue.parse(bytes.extracting($0.value), limits: WireLimits(bytesMax: .max))
            }
            let link = waiting.conversation?.attach(inbound) ?? 0
            waiting.call.supply(answers, round: round)
            return await follow(waiting, link, destination, inbound)
        }
    }

    private func begin(
        _ call: RoutedCall, _ resumption: Resumption?, _ destination: Destination, _ inbound: InboundMessage
    ) async -> BridgeOutcome {
        var call = call
        call.resumption = resumption
        guard destination.backend.asksDuringCalls, !inbound.capabilities.isDisjoint(with: .interactive) else {
            if inbound.stream != nil, call.wishes.progress || call.wishes.logLevel != nil {
                call.conversation = CallConversation(inbound, owner: destination.owner, respondent: .client, time: time)
            }
            return outcome(await dispatcher.send(call, to: destination), destination, inbound)
        }
        guard let waiting = parked.open(caller: inbound.caller, loop: inbound.loop) else { return .tooManyParked }
        let conversation = CallConversation(
            inbound, owner: destination.owner, respondent: .parked(waiting.call), time: time)
        waiting.attach(conversation)
        call.conversation = conversation
        let (dispatcher, kept) = (dispatcher, call)
        waiting.call.begin { await dispatcher.send(kept, to: destination) }
        return await follow(waiting, 1, destination, inbound)
    }

    /// Until the call asks or ends.
    private func follow(
        _ waiting: ParkedCalls.Entry, _ link: Int, _ destination: Destination, _ inbound: InboundMessage
    ) async -> BridgeOutcome {
        waiting.join()
        let event = await waiting.call.next()
        let isLast = waiting.leave()
        guard let event else {
            // In this era leaving an open request cancels it, unless the client has sent it twice and still waits with
            // the other. Between two rounds there is none to leave.
            if isLast { parked.abandon(waiting) }
            return .clientLeft
        }
        waiting.conversation?.detach(link)
        switch event {
        case .finished(let result):
            // Nobody has a ticket of one that never asked.
            if waiting.call.hasAsked { parked.forgetSoon(waiting, on: inbound.loop) } else { parked.forget(waiting) }
            return outcome(result, destination, inbound)
        case .asks(let questions, let round):
            parked.expectReturn(waiting, round: round, on: inbound.loop)
            let requests = JSONValue.object(questions.map { (key: $0.key, value: $0.question.inputRequest) })
            let state = states.seal(
                .parked(waiting.call.ticket, round: round), of: inbound, owner: destination.backend.name)
            return .inputRequired(members: #""inputRequests":\#(requests.text),"requestState":"\#(state)""#)
        }
    }

    /// Questions of an owner of the same era go on to the client, and its state travels inside ours.
    private func outcome(
        _ result: Result<CallAnswer, CallFailure>, _ destination: Destination, _ inbound: InboundMessage
    ) -> BridgeOutcome {
        switch result {
        case .success(.inputRequired(let payload)):
            let interview = Interview(payload)
            if interview.isEmpty { return .ended(.failure(LegacyClientBridge.nothingAsked)) }
            guard interview.entries.allSatisfy({ $0.question.map(inbound.capabilities.allow) ?? false }) else {
                return .ended(.failure(.garbage(detail: "it asks for what the client did not offer")))
            }
            let state = states.seal(.upstream(interview.state), of: inbound, owner: destination.backend.name)
            let requests = interview.requests.map { #""inputRequests":\#($0),"# } ?? ""
            return .inputRequired(members: #"\#(requests)"requestState":"\#(state)""#)
        case .success(.protocolError(let payload)):
            guard let interview = URLInterview(payload) else { return .ended(result) }
            guard inbound.capabilities.contains(.elicitationURL) else {
                return .lacksCapability(#"{"elicitation":{"url":{}}}"#)
            }
            let state = states.seal(.upstream(nil), of: inbound, owner: destination.backend.name)
            return .inputRequired(members: #""inputRequests":\#(interview.requests),"requestState":"\#(state)""#)
        case .success(.result), .success(.task), .failure: return .ended(result)
        }
    }
}
