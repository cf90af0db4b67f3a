// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire
package import NIOCore

/// The protocol revisions the gateway speaks, oldest first.
package enum Revision: UInt8, Sendable, CaseIterable, Comparable {
    case v2024_11_05 = 1
    case v2025_03_26
    case v2025_06_18
    case v2025_11_25
    case v2026_07_28

    /// The name on the wire.
    package var name: String {
        switch self {
        case .v2024_11_05: "2024-11-05"
        case .v2025_03_26: "2025-03-26"
        case .v2025_06_18: "2025-06-18"
        case .v2025_11_25: "2025-11-25"
        case .v2026_07_28: "2026-07-28"
        }
    }

    package init?(name: String) {
        guard let match = Revision.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }

    /// Stateless, every request describes itself; the others are opened with `initialize`.
    package var isModern: Bool { self == .v2026_07_28 }

    package static let newestLegacy = Revision.v2025_11_25
    package static let modern = Revision.v2026_07_28

    package static func < (left: Revision, right: Revision) -> Bool { left.rawValue < right.rawValue }
}

/// One message of a client, with what the transport knows about it.
package struct InboundMessage: Sendable {
    package var bytes: ByteBuffer
    /// Ranges are offsets from the reader index of `bytes`.
    package var message: Message
    /// The revision this message is to be read by and answered in.
    package var revision: Revision
    package var caller: Caller
    /// Where it comes from, for limits on those who give no name: an address, or `local`.
    package var address = "local"
    package var requestID: RequestID
    package var arrivedAt: Moment
    package var loop: any EventLoop
    /// What the client declared: on this very request, or when its session began.
    package var capabilities: ClientCapabilities
    /// Where notifications and questions that belong to this request go; nil when the client takes none.
    package var stream: (any ClientStream)?
    /// The legacy session it belongs to.
    package var session: (any ClientSession)?
    /// The headers `Mcp-Param-…` of a modern HTTP request, names in lower case; nil on transports without headers.
    package var parameterHeaders: [(name: String, value: String)]?
    /// Where it belongs in a trace: first what the transport says, then what those asked on its behalf are told.
    package var trace: TraceContext?
    /// Where what is learnt about it is noted down; nil when it is not recorded.
    package var span: (any SpanNotes)?
    /// Its client cancels by leaving, so that leaving does not say whether it wanted to.
    package var isCancelledByLeaving = false

    package init(
        bytes: ByteBuffer, message: Message, revision: Revision, caller: Caller, requestID: RequestID,
        arrivedAt: Moment, loop: any EventLoop, capabilities: ClientCapabilities = [],
        stream: (any ClientStream)? = nil, session: (any ClientSession)? = nil,
        parameterHeaders: [(name: String, value: String)]? = nil
    ) {
        self.capabilities = capabilities
        self.stream = stream
        self.session = session
        self.parameterHeaders = parameterHeaders
        self.bytes = bytes
        self.message = message
        self.revision = revision
        self.caller = caller
        self.requestID = requestID
        self.arrivedAt = arrivedAt
        self.loop = loop
    }
}

/// What goes back to the client.
package enum Reply: Sendable {
    /// One JSON-RPC response.
    case response(ByteBuffer, ReplyStatus)
    /// Nothing: it was a notification, or a request whose client has taken it back.
    case accepted
}

/// How a response is to be announced by a transport that has status codes.
package enum ReplyStatus: Sendable, Equatable {
    case ok
    /// The envelope is at fault (HTTP 400).
    case badEnvelope
    /// The method does not exist in this revision (HTTP 404).
    case noSuchMethod
    /// Our own fault (HTTP 500).
    case ownFault
    /// Refused because too much is going on; with the seconds to wait (HTTP 503).
    case overloaded(retryAfter: Int)
    /// Refused because it came too soon; with the seconds to wait (HTTP 429).
    case limited(retryAfter: Int)
}

/// The way in: every message of every transport passes here.
package protocol MCPService: Sendable {
    /// Answers one request or takes note of one notification. Never throws: a failure is a reply. Ends within the
    /// configured time, and early when its task is cancelled.
    func handle(_ inbound: InboundMessage) async -> Reply

    /// The reply to bytes that are no message, or that the transport refuses on the protocol's behalf.
    func refuse(_ refusal: ProtocolRefusal) -> Reply

    /// A legacy session has somebody at its other end from here on; it hears of changes until it ends.
    func began(_ session: any ClientSession)
    func ended(_ session: SessionKey)
}

extension MCPService {
    package func began(_ session: any ClientSession) {}
    package func ended(_ session: SessionKey) {}
}

/// A JSON-RPC error that is decided before a message reaches the pipeline.
package struct ProtocolRefusal: Sendable {
    package var code: Int
    package var message: String
    /// JSON text of `error.data`.
    package var data: String?
    /// The request's id as it was written; nil when it could not be read.
    package var idText: [UInt8]?
    package var status: ReplyStatus

    package init(
        code: Int, message: String, data: String? = nil, idText: [UInt8]? = nil, status: ReplyStatus = .badEnvelope
    ) {
        self.code = code
        self.message = message
        self.data = data
        self.idText = idText
        self.status = status
    }
}
