// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire
package import NIOCore
internal import Synchronization

/// Something a server wants to know from the client, its user or its model.
package struct Question: Sendable, Equatable {
    package enum Kind: String, Sendable {
        case sampling = "sampling/createMessage"
        case elicitation = "elicitation/create"
        case roots = "roots/list"
    }

    package var kind: Kind
    package var params: JSONValue

    package init(kind: Kind, params: JSONValue) {
        self.kind = kind
        self.params = params
    }

    /// nil when the method asks nothing of a client.
    package init?(method: String, params: JSONValue?) {
        guard let kind = Kind(rawValue: method) else { return nil }
        self.init(kind: kind, params: params ?? [:])
    }

    /// Whether a response has the form this question asks for. What is in it is between server and client.
    package func isAnswered(by response: JSONValue) -> Bool {
        switch kind {
        case .roots: return response["roots"]?.arrayValue != nil
        case .sampling:
            let content = response["content"]
            return response["role"]?.stringValue != nil && (content?.isObject == true || content?.arrayValue != nil)
        case .elicitation:
            switch response["action"]?.stringValue {
            case "accept":
                return params["mode"]?.stringValue == "url" || response["content"]?.isObject == true
            case "decline", "cancel": return true
            default: return false
            }
        }
    }
}

/// What became of a question.
package enum QuestionOutcome: Sendable, Equatable {
    /// The client's result object.
    case answer(JSONValue)
    /// The client's error, or ours on its behalf.
    case refused(code: Int, message: String)
}

/// The client's side of a call that is under way, as the owner of the tool sees it. May be called from any thread.
package protocol Conversation: AnyObject, Sendable {
    /// `notifications/progress` for this call; the payload is its `params`.
    func progressed(_ notification: Payload)
    /// `notifications/message` for this call; the payload is its `params`.
    func logged(_ notification: Payload)
    /// Asks, and waits for the answer as long as the call may last.
    func ask(_ question: Question) async -> QuestionOutcome
    /// How long, all in all, questions of this call have waited for the client's side until now. Deadlines move by that
    /// much: nobody is to be hurried by the time a tool may take.
    func timeAsking(at now: Moment) -> Duration
    /// The server has closed the stream on purpose and goes on with the call: nobody needs to hold a connection.
    func paused(resumeAfter: Duration)
}

/// Where messages about one request go to, as the transport has it. May be called from any thread.
package protocol ClientStream: AnyObject, Sendable {
    /// Sends a notification that belongs to the request. Nothing is sent when the client is gone or takes no
    /// notifications here.
    ///
    /// - Parameter isVital: what happens when the client does not keep up: a stream whose every message counts is
    ///   ended, so that the client begins anew; of others the message is dropped.
    func send(_ notification: ByteBuffer, isVital: Bool)
    /// Whether the client can be asked something on this stream while the request is open.
    var canAsk: Bool { get }
    /// Sends a request of ours and waits for the response, at most until the deadline.
    func ask(_ question: Question, deadline: Deadline) async -> QuestionOutcome
    /// How long questions have waited for the client's side while the request was open, until now: what the gateway
    /// says of the time a request took leaves that out.
    func timeAsking(at now: Moment) -> Duration
    /// Lets the client hang up and come back for the answer, where its revision knows how to.
    func pause(resumeAfter: Duration)
}

/// How long questions have waited. However many wait at a time, each moment counts once. Without questions it costs one
/// load.
package struct AskingClock: ~Copyable, Sendable {
    // Not private: other modules lay it out, and the compiler (6.3.1) fails where they cannot name it.
    package struct State {
        var open = 0
        var since = Moment(nanoseconds: 0)
        var asked = Duration.zero
    }

    private let hasBegun = Atomic(false)
    private let state = Mutex(State())

    package init() {}

    package func begin(at now: Moment) {
        hasBegun.store(true, ordering: .relaxed)
        state.withLock { state in
            if state.open == 0 { state.since = now }
            state.open += 1
        }
    }

    package func end(at now: Moment) {
        state.withLock { state in
            state.open -= 1
            if state.open == 0 { state.asked += now.since(state.since) }
        }
    }

    package func total(at now: Moment) -> Duration {
        guard hasBegun.load(ordering: .relaxed) else { return .zero }
        return state.withLock { $0.asked + ($0.open > 0 ? now.since($0.since) : .zero) }
    }
}

/// A legacy session with somebody at its other end. May be called from any thread.
package protocol ClientSession: AnyObject, Sendable {
    var key: SessionKey { get }
    var revision: Revision { get }
    /// The least important log message the client wants; nil until it has said so.
    var logLevel: LogLevel? { get }
    func setLogLevel(_ level: LogLevel)
    /// Sends a notification that belongs to no request, on exactly one stream of the session.
    func deliver(_ notification: ByteBuffer)
}
