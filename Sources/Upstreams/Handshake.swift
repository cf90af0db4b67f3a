// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Telemetry

/// Finds out which era an upstream belongs to, and lists its tools. Never with a call that could have an effect: only
/// `server/discover`, `initialize` and `tools/list` are sent.
struct Handshake: Sendable {
    let transport: any Transport
    let writer: CallWriter
    let loop: any EventLoop
    let time: any TimeSource
    /// How long one of these requests may take.
    let patience: Duration
    /// How long a silent stdio server is given before silence counts as "does not know discover".
    let silence: Duration
    let numbers: NumberSource
    let log: Logger

    private static let pagesMax = 100
    private static let toolsMax = 5_000

    /// Asks for the modern era first, falls back to the handshake of the others.
    func negotiate(skippingProbe: Bool) async throws(TransportError) -> Era {
        if !skippingProbe, try await isModern() { return .modern }
        return try await initialize()
    }

    private func exchange(_ request: WireRequest, within patience: Duration) async throws(CallFailure) -> WireAnswer {
        try await transport.exchange(request, on: loop, deadline: Deadline(time.now() + patience))
    }

    private func isModern() async throws(TransportError) -> Bool {
        let isPipe = transport.kind == "stdio"
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await exchange(
                writer.request("server/discover", id: numbers.next(), era: .modern), within: isPipe ? silence : patience
            )
        } catch {
            // On a pipe silence and oddities are how many old servers meet a method they do not know.
            if isPipe, case .timedOut = error { return false }
            if isPipe, case .garbage = error { return false }
            throw TransportError(words: error.probeWords)
        }
        if [401, 403].contains(answer.status) {
            throw TransportError(
                words: "it refuses our credentials (HTTP status \(answer.status)); check the headers setting")
        }
        if answer.status == 429 || answer.status >= 500 {
            throw TransportError(words: "it answered with HTTP status \(answer.status)")
        }
        guard let message = answer.message else { return false }
        if message.kind == .result { return try listsModern(answer, message) }
        switch answer.errorCode {
        case -32022: return try offersCommonRevision(answer, message)
        case -32020, -32021: return true
        default: return false
        }
    }

    private func listsModern(_ answer: WireAnswer, _ message: Message) throws(TransportError) -> Bool {
        let span = answer.bytes.readableBytesUInt8Span
        guard message.member("resultType", in: span) != nil,
            let versions = message.member("supportedVersions", in: span),
            let list = try? JSONValue.parse(span.extracting(versions.value)).arrayValue
        else { return false }
        return list.contains { $0.stringValue == Revision.modern.name }
    }

    private func offersCommonRevision(_ answer: WireAnswer, _ message: Message) throws(TransportError) -> Bool {
        let span = answer.bytes.readableBytesUInt8Span
        let data = message.member("data", in: span).flatMap { try? JSONValue.parse(span.extracting($0.value)) }
        let names = data?["supported"]?.arrayValue?.compactMap(\.stringValue) ?? []
        if names.contains(Revision.modern.name) { return true }
        if names.isEmpty || names.contains(where: { Revision(name: $0) != nil }) { return false }
        throw TransportError(
            words: "it speaks only protocol versions that this gateway does not know: "
                + names.prefix(5).joined(separator: ", ")
        )
    }

    private func initialize() async throws(TransportError) -> Era {
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await exchange(writer.initialize(id: numbers.next()), within: patience)
        } catch {
            throw TransportError(words: error.probeWords)
        }
        if [401, 403].contains(answer.status) {
            throw TransportError(
                words: "it refuses our credentials (HTTP status \(answer.status)); check the headers setting")
        }
        let span = answer.bytes.readableBytesUInt8Span
        guard let message = answer.message, message.kind == .result else {
            if [400, 404, 405].contains(answer.status), answer.message == nil {
                throw TransportError(
                    words: "there is no MCP endpoint at this address (HTTP status \(answer.status)); the old HTTP+SSE "
                        + "transport is not spoken to upstreams yet")
            }
            throw TransportError(words: "it refuses to begin: \(answer.errorText)")
        }
        guard let named = message.member("protocolVersion", in: span), named.kind == .string,
            let revision = Revision(name: JSONText.string(span, value: named.value)), !revision.isModern
        else {
            throw TransportError(
                words: "it answered initialize with a protocol version that this gateway does not know")
        }
        let era = Era.legacy(revision, session: answer.session)
        await transport.notify(
            writer.notification("notifications/initialized", era: era), on: loop,
            deadline: Deadline(time.now() + patience))
        return era
    }

    /// Every page of `tools/list`.
    func listTools(_ era: Era) async throws(TransportError) -> [ToolDescriptor] {
        var tools: [ToolDescriptor] = []
        var cursor: String?
        for _ in 0..<Self.pagesMax {
            let page = try await listPage(era, cursor: cursor)
            for item in page["tools"]?.arrayValue ?? [] {
                if let tool = descriptor(item, era) { tools.append(tool) }
            }
            guard tools.count <= Self.toolsMax else {
                throw TransportError(words: "it lists more than \(Self.toolsMax) tools")
            }
            guard let next = page["nextCursor"]?.stringValue else { return tools }
            cursor = next
        }
        throw TransportError(words: "its list of tools has more than \(Self.pagesMax) pages")
    }

    /// A tool as it can be shown. Clients insist on an input schema, so one that is missing is added as "any object".
    private func descriptor(_ item: JSONValue, _ era: Era) -> ToolDescriptor? {
        guard let name = item["name"]?.stringValue, var members = item.objectValue else { return nil }
        if item["inputSchema"]?["type"]?.stringValue != "object" {
            members.removeAll { $0.key == "inputSchema" }
            members.append(("inputSchema", ["type": "object"]))
        }
        let text = JSONValue.object(members).text
        if era == .modern, transport.kind == "http", text.contains("\"x-mcp-header\"") {
            log.warning(
                "a tool that wants its arguments in headers is left out; this version cannot send them",
                metadata: [LogKey.tool: "\(name)"])
            return nil
        }
        return ToolDescriptor(name: name, definition: Array(text.utf8))
    }

    private func listPage(_ era: Era, cursor: String?) async throws(TransportError) -> JSONValue {
        let members = cursor.map { #""cursor":\#(JSONText.quoted($0))"# } ?? ""
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await exchange(
                writer.request("tools/list", id: numbers.next(), members: members, era: era), within: patience)
        } catch {
            throw TransportError(words: error.probeWords)
        }
        guard let message = answer.message else {
            throw TransportError(words: "it answered tools/list with HTTP status \(answer.status)")
        }
        // A server without tools is a server all the same.
        if message.kind == .error, answer.errorCode == -32601 { return ["tools": []] }
        guard message.kind == .result, let body = message.body else {
            throw TransportError(words: "it does not list its tools: \(answer.errorText)")
        }
        do throws(WireError) {
            return try JSONValue.parse(
                answer.bytes.readableBytesUInt8Span.extracting(body), limits: WireLimits(bytesMax: 16 << 20))
        } catch {
            throw TransportError(words: "its list of tools cannot be read: \(error.text)")
        }
    }
}

extension CallFailure {
    /// The failure of a probe, for health and log.
    var probeWords: String {
        switch self {
        case .unavailable(let detail), .outcomeUnknown(let detail), .garbage(let detail), .stopped(let detail),
            .badArguments(let detail), .overloaded(let detail):
            detail
        case .timedOut(let after, _): "no answer within \(Int(after.milliseconds)) ms"
        case .unknownTool: "it does not know the method"
        case .cancelled: "the gateway is stopping"
        }
    }
}
