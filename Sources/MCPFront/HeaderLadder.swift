// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import MCPWire
internal import NIOCore

/// The checks of the stateless revision on `_meta` and headers, in the order that decides which error a client sees
/// first.
///
/// Header and body must agree: somebody on the path may have decided by the header while we act on the body.
enum HeaderLadder {
    static func refusal(of request: HTTPRequest, _ message: Message) -> ProtocolRefusal? {
        let bytes = request.body.readableBytesUInt8Span
        func refuse(_ code: Int, _ words: String) -> ProtocolRefusal {
            EnvelopeCheck.refuse(code, words, message, request.body)
        }

        if let refusal = EnvelopeCheck.shape(of: message, request.body) { return refusal }
        let named = EnvelopeCheck.version(of: message, request.body)
        switch only(request, "mcp-protocol-version") {
        case .one(let header) where header == named: break
        case .one: return refuse(-32020, "The header MCP-Protocol-Version differs from the version in params._meta.")
        case .none: return refuse(-32020, "The header MCP-Protocol-Version is missing.")
        case .several: return refuse(-32020, "The header MCP-Protocol-Version stands more than once.")
        }
        switch only(request, "mcp-method") {
        case .one(let header) where header == message.method.name: break
        case .one: return refuse(-32020, "The header Mcp-Method differs from the method in the body.")
        case .none: return refuse(-32020, "The header Mcp-Method is missing.")
        case .several: return refuse(-32020, "The header Mcp-Method stands more than once.")
        }
        if let words = nameProblem(request, message, bytes) { return refuse(-32020, words) }

        return EnvelopeCheck.support(of: message, request.body)
    }

    /// `Mcp-Name` repeats whom the call is for.
    private static func nameProblem(_ request: HTTPRequest, _ message: Message, _ bytes: Span<UInt8>) -> String? {
        let key: StaticString
        switch message.method.name {
        case "tools/call", "prompts/get": key = "name"
        case "resources/read": key = "uri"
        case "tasks/get", "tasks/update", "tasks/cancel": key = "taskId"
        default: return nil
        }
        // A body without a name is refused later, as what it is.
        guard let member = message.member(key, in: bytes), member.kind == .string else { return nil }
        switch only(request, "mcp-name") {
        case .none: return "The header Mcp-Name is missing."
        case .several: return "The header Mcp-Name stands more than once."
        case .one(let header):
            guard let decoded = HeaderText.decode(header) else { return "The header Mcp-Name is not valid base64." }
            // Byte for byte: what only looks the same is another name to whoever decided by the header.
            return decoded.utf8.elementsEqual(JSONText.string(bytes, value: member.value).utf8)
                ? nil : "The header Mcp-Name differs from the name in the body."
        }
    }

    private enum Value {
        case none, several
        case one(String)
    }

    private static func only(_ request: HTTPRequest, _ name: String) -> Value {
        let values = request.headers(name)
        guard let first = values.first else { return .none }
        return values.count == 1 ? .one(HeaderText.trimmed(first)) : .several
    }
}

/// What the stateless revision demands of a request's own `_meta`, whatever the transport.
enum EnvelopeCheck {
    static func refusal(of message: Message, _ body: ByteBuffer) -> ProtocolRefusal? {
        shape(of: message, body) ?? support(of: message, body)
    }

    static func refuse(
        _ code: Int, _ words: String, _ message: Message, _ body: ByteBuffer, data: String? = nil
    ) -> ProtocolRefusal {
        let bytes = body.readableBytesUInt8Span
        return ProtocolRefusal(code: code, message: words, data: data, idText: message.id.map { Array(bytes, $0) })
    }

    /// Both members are there and of the right kind.
    static func shape(of message: Message, _ body: ByteBuffer) -> ProtocolRefusal? {
        let bytes = body.readableBytesUInt8Span
        let version = message.metaMember("io.modelcontextprotocol/protocolVersion", in: bytes)
        guard version?.kind == .string else {
            return refuse(
                -32602, "params._meta must say io.modelcontextprotocol/protocolVersion, as a string.", message, body)
        }
        let capabilities = message.metaMember("io.modelcontextprotocol/clientCapabilities", in: bytes)
        guard capabilities?.kind == .object else {
            return refuse(
                -32602, "params._meta must say io.modelcontextprotocol/clientCapabilities, as an object.", message, body
            )
        }
        if let level = message.metaMember("io.modelcontextprotocol/logLevel", in: bytes) {
            guard level.kind == .string, LogLevel(rawValue: JSONText.string(bytes, value: level.value)) != nil else {
                let names = LogLevel.allCases.map(\.rawValue).joined(separator: ", ")
                return refuse(
                    -32602, "io.modelcontextprotocol/logLevel in params._meta must be one of \(names).", message, body)
            }
        }
        return nil
    }

    static func version(of message: Message, _ body: ByteBuffer) -> String {
        let bytes = body.readableBytesUInt8Span
        let member = message.metaMember("io.modelcontextprotocol/protocolVersion", in: bytes)
        return member.map { JSONText.string(bytes, value: $0.value) } ?? ""
    }

    /// The version is one that has no handshake and that the gateway speaks.
    static func support(of message: Message, _ body: ByteBuffer) -> ProtocolRefusal? {
        let named = version(of: message, body)
        guard named != Revision.modern.name else { return nil }
        let supported = Revision.allCases.reversed().map { "\"\($0.name)\"" }.joined(separator: ",")
        return refuse(
            -32022, "This protocol version is not supported; use one of those named in data.supported.", message, body,
            data: #"{"supported":[\#(supported)],"requested":\#(JSONText.quoted(named))}"#)
    }
}
