// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire
package import NIOCore

/// What is asked of an owner.
package enum Operation: Sendable, Equatable {
    case tool, prompt, resource, completion
    case taskGet, taskUpdate, taskCancel

    /// The method on the wire.
    package var method: String {
        switch self {
        case .tool: "tools/call"
        case .prompt: "prompts/get"
        case .resource: "resources/read"
        case .completion: "completion/complete"
        case .taskGet: "tasks/get"
        case .taskUpdate: "tasks/update"
        case .taskCancel: "tasks/cancel"
        }
    }

    /// The member of `params` that says whom or what it is about, which is rewritten on the way.
    package var targetMember: StaticString {
        switch self {
        case .tool, .prompt: "name"
        case .resource: "uri"
        case .completion: "ref"
        case .taskGet, .taskUpdate, .taskCancel: "taskId"
        }
    }
}

/// What the client wants to hear, and can answer, while a call runs. Never more than it declared itself.
package struct Wishes: Sendable, Equatable {
    package var capabilities: ClientCapabilities = []
    /// The least important log message it wants; nil for none.
    package var logLevel: LogLevel?
    package var progress = false
    /// The legacy session the call belongs to.
    package var session: SessionKey?

    package init() {}

    /// Whether an owner that knows its client by session needs one made for this client.
    package var needsOwnSession: Bool { !capabilities.isDisjoint(with: .interactive) || logLevel != nil }
}

/// Answers a client gives to questions of a call before, for owners of the stateless era.
package struct Resumption: Sendable, Equatable {
    /// The JSON object `inputResponses`; nil when there were no questions.
    package var responses: [UInt8]?
    /// The owner's own `requestState` as a JSON string with quotes; nil when it gave none.
    package var state: [UInt8]?

    package init(responses: [UInt8]?, state: [UInt8]?) {
        self.responses = responses
        self.state = state
    }
}

/// One call on its way to its owner. The arguments are still the bytes the client sent.
package struct RoutedCall: Sendable {
    package var operation: Operation
    /// The name or URI at its owner, without any prefix of ours.
    package var target: String
    /// The JSON text that stands for `operation.targetMember` at the owner.
    package var targetJSON: [UInt8]
    /// The client's whole message; ranges in `message` are offsets from its reader index.
    package var bytes: ByteBuffer
    package var message: Message
    package var caller: Caller
    package var requestID: RequestID
    package var deadline: Deadline
    /// The loop the client's connection lives on. Whoever can serve the call there saves two thread changes.
    package var loop: any EventLoop
    package var wishes = Wishes()
    /// Who hears what the owner says meanwhile; nil when nobody does.
    package var conversation: (any Conversation)?
    package var resumption: Resumption?
    /// What its owner is told of the trace it belongs to.
    package var trace: TraceContext?

    package init(
        operation: Operation = .tool, target: String, targetJSON: [UInt8]? = nil, bytes: ByteBuffer, message: Message,
        caller: Caller, requestID: RequestID, deadline: Deadline, loop: any EventLoop
    ) {
        self.operation = operation
        self.target = target
        self.targetJSON = targetJSON ?? Array(JSONText.quoted(target).utf8)
        self.bytes = bytes
        self.message = message
        self.caller = caller
        self.requestID = requestID
        self.deadline = deadline
        self.loop = loop
    }

    /// The JSON text of `params.arguments`, or nil when the client sent none.
    package var arguments: ByteBuffer? {
        guard let member = message.member("arguments", in: bytes.readableBytesUInt8Span) else { return nil }
        return slice(member.value)
    }

    /// The bytes of a range of the message; shares storage.
    package func slice(_ range: Range<Int>) -> ByteBuffer? {
        bytes.getSlice(at: bytes.readerIndex + range.lowerBound, length: range.count)
    }
}

/// A JSON object that somebody else wrote, scanned but not rebuilt.
package struct Payload: Sendable {
    /// Bytes that contain the object.
    package var bytes: ByteBuffer
    /// Where the object is, as offsets from the reader index.
    package var range: Range<Int>
    /// The object's members, same offsets.
    package var members: [Member]
    /// The members of its `_meta`.
    package var meta: [Member]

    package init(bytes: ByteBuffer, range: Range<Int>, members: [Member], meta: [Member] = []) {
        self.bytes = bytes
        self.range = range
        self.members = members
        self.meta = meta
    }
}

/// What the owner answered.
package enum CallAnswer: Sendable {
    /// The `result` object, as its owner wrote it.
    case result(Payload)
    /// A result that asks for input first (`inputRequests`, `requestState`), as its owner wrote it.
    case inputRequired(Payload)
    /// A task that its owner will carry out, as its owner wrote it.
    case task(Payload)
    /// The `error` object of JSON-RPC, as its owner wrote it.
    case protocolError(Payload)
}

/// Why a call has no answer from its owner. `ReplyBuilder` turns these into words for the client.
package enum CallFailure: Error, Sendable, Equatable {
    /// The owner cannot be reached; nothing was sent. `detail` says what was tried and what came of it.
    case unavailable(detail: String)
    /// The deadline passed. `sent` tells whether the owner may have acted on the call.
    case timedOut(after: Duration, sent: Bool)
    /// The connection broke after the call was sent: whether it was carried out is unknown.
    case outcomeUnknown(detail: String)
    /// The owner answered something that is no answer.
    case garbage(detail: String)
    /// A sandboxed tool was stopped: trap, limit of memory, time or output. `detail` is fit for a model to read.
    case stopped(detail: String)
    /// There is no such tool at its owner (any more).
    case unknownTool
    /// The arguments are not what the tool takes.
    case badArguments(detail: String)
    /// Too much waits already, or the owner asks to slow down; nothing was carried out. With the seconds after which
    /// it is worth trying again.
    case overloaded(detail: String, retryAfter: Int)
    /// The owner needs input that the client cannot or does not give.
    case needsInput(detail: String)
    /// The client left.
    case cancelled
}
