// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire
package import NIOCore

/// One `tools/call` on its way to the owner of the tool. The arguments are still the bytes the client sent.
package struct ToolCall: Sendable {
    /// The tool's name at its owner, without any prefix of ours.
    package var tool: String
    /// The client's whole message; ranges in `message` are offsets from its reader index.
    package var bytes: ByteBuffer
    package var message: Message
    package var caller: Caller
    package var requestID: RequestID
    package var deadline: Deadline
    /// The loop the client's connection lives on. Whoever can serve the call there saves two thread changes.
    package var loop: any EventLoop

    package init(
        tool: String, bytes: ByteBuffer, message: Message, caller: Caller, requestID: RequestID, deadline: Deadline,
        loop: any EventLoop
    ) {
        self.tool = tool
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

/// What the owner of a tool answered.
package enum ToolReply: Sendable {
    /// The `result` object of `tools/call`, as its owner wrote it.
    case result(Payload)
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
    /// Too much waits already; nothing was sent.
    case overloaded(detail: String)
    /// The client left.
    case cancelled
}
