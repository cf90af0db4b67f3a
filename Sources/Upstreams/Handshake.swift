// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// What a server said about itself when a conversation with it began.
struct ServerFacts: Sendable, Equatable {
    var era: Era
    /// Its capabilities object.
    var capabilities: JSONValue = [:]
    var instructions: String?

    func has(_ capability: String) -> Bool { capabilities[capability]?.isObject == true }

    func has(_ capability: String, _ feature: String) -> Bool {
        capabilities[capability]?[feature]?.boolValue == true
    }
}

/// Finds out which era an upstream belongs to, and lists what it has. Never with a call that could have an effect: only
/// `server/discover`, `initialize` and lists are sent.
struct Handshake: Sendable {
    let link: ServerLink
    let writer: CallWriter
    let loop: any EventLoop
    let time: any TimeSource
    /// How long one of these requests may take.
    let patience: Duration
    /// How long a silent stdio server is given before silence counts as "does not know discover".
    let silence: Duration
    let numbers: NumberSource
    /// Not to be read in what the server says.
    var secrets = KnownSecrets()

    private static let pagesMax = 100
    private static let itemsMax = 5_000
    private static let listBytesMax = 64 << 20

    /// Asks for the modern era first, falls back to the handshake of the others.
    func negotiate(skippingProbe: Bool) async throws(TransportError) -> ServerFacts {
        if !skippingProbe, link.transport.kind != "sse", let facts = try await discover() { return facts }
        return try await initialize()
    }

    private func exchange(_ request: WireRequest, within patience: Duration) async throws(CallFailure) -> WireAnswer {
        try await link.transport.exchange(
            request, on: loop, deadline: Deadline(time.now() + patience), hearing: link.plainHearing)
    }

    private func failure(_ error: CallFailure) -> TransportError {
        switch error {
        // The limit and not what was measured, which would be other words each time.
        case .timedOut:
            TransportError(words: "timeout: no answer within \(Pace.seconds(patience)) s", kind: .silence)
        case .overloaded where link.transport.pace.isOn: TransportError(words: error.probeWords, kind: .slowDown)
        case .unavailable, .outcomeUnknown, .cancelled:
            TransportError(
                words: error.probeWords, kind: link.transport.kind == "stdio" ? .ended : .unreachable)
        case .garbage, .stopped, .unknownTool, .badArguments, .overloaded, .needsInput:
            TransportError(words: error.probeWords, kind: .broken)
        }
    }

    /// nil when the server is of the other era.
    private func discover(isRepeated: Bool = false) async throws(TransportError) -> ServerFacts? {
        let isPipe = link.transport.isDuplex
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await exchange(
                writer.request("server/discover", id: numbers.next(), era: .modern), within: isPipe ? silence : patience
            )
        } catch {
            // Silence on a pipe, and oddities anywhere, are how many old servers meet a method they do not know.
            if isPipe, case .timedOut = error { return nil }
            if case .garbage = error { return nil }
            throw failure(error)
        }
        try Self.refuseStatus(answer)
        guard let message = answer.message else { return nil }
        var facts = ServerFacts(era: .modern)
        if message.kind == .result {
            guard try listsModern(answer, message) else { return nil }
            read(answer, message, into: &facts)
            return facts
        }
        switch answer.errorCode {
        case -32022: guard try offersCommonRevision(answer, message) else { return nil }
        case -32020, -32021: break
        default: return nil
        }
        // It is of this era, and has not said yet what it can do.
        return isRepeated ? facts : try await discover(isRepeated: true) ?? facts
    }

    private static func refuseStatus(_ answer: WireAnswer) throws(TransportError) {
        if [401, 403].contains(answer.status) {
            throw TransportError(
                words: "it refuses our credentials (HTTP status \(answer.status)); check the headers setting",
                kind: .refusal)
        }
        if answer.status >= 500 {
            throw TransportError(words: "it answered with HTTP status \(answer.status)")
        }
    }

    private func read(_ answer: WireAnswer, _ message: Message, into facts: inout ServerFacts) {
        let span = answer.bytes.readableBytesUInt8Span
        if let member = message.member("capabilities", in: span),
            let tree = try? JSONValue.parse(span.extracting(member.value)), tree.isObject
        {
            facts.capabilities = tree
        }
        if let member = message.member("instructions", in: span), member.kind == .string {
            facts.instructions = JSONText.string(span, value: member.value)
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
                + secrets.hidden(in: names.prefix(5).joined(separator: ", "), bytesMax: 200)
        )
    }

    /// Begins a session.
    ///
    /// - Parameter capabilities: those of the one client the session is for.
    func initialize(capabilities: ClientCapabilities = []) async throws(TransportError) -> ServerFacts {
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await exchange(
                writer.initialize(id: numbers.next(), capabilities: capabilities), within: patience)
        } catch {
            throw failure(error)
        }
        if [401, 403].contains(answer.status) { try Self.refuseStatus(answer) }
        let span = answer.bytes.readableBytesUInt8Span
        guard let message = answer.message, message.kind == .result else {
            if [400, 404, 405].contains(answer.status), answer.message == nil {
                throw TransportError(
                    words: "there is no MCP endpoint at this address (HTTP status \(answer.status))",
                    isNoEndpoint: true)
            }
            throw TransportError(words: "it refuses to begin: \(answer.errorText(hiding: secrets))")
        }
        guard let named = message.member("protocolVersion", in: span), named.kind == .string,
            let revision = Revision(name: JSONText.string(span, value: named.value)), !revision.isModern
        else {
            throw TransportError(
                words: "it answered initialize with a protocol version that this gateway does not know")
        }
        var facts = ServerFacts(era: .legacy(revision, session: answer.session))
        read(answer, message, into: &facts)
        link.speaks(facts.era)
        await link.transport.notify(
            writer.notification("notifications/initialized", era: facts.era), on: loop,
            deadline: Deadline(time.now() + patience))
        return facts
    }

    // MARK: Lists

    /// Everything the server has. Tools are what it is there for: without their list it counts as away. The other lists
    /// are kept as they were when they cannot be had.
    func offers(_ facts: ServerFacts, known: Offers) async throws(TransportError) -> Offers {
        var offers = known
        offers.tools = try await list("tools/list", "tools", key: "name", facts.era).compactMap(tool)
        offers.prompts = await optional("prompts", "prompts/list", "prompts", "name", facts, known.prompts)
        offers.resources = await optional("resources", "resources/list", "resources", "uri", facts, known.resources)
        offers.templates = await optional(
            "resources", "resources/templates/list", "resourceTemplates", "uriTemplate", facts, known.templates)
        offers.completes = facts.has("completions") || (facts.era.revision == .v2024_11_05 && !offers.prompts.isEmpty)
        offers.announcesUpdates = facts.has("resources", "subscribe")
        offers.instructions = facts.instructions
        return offers
    }

    private func optional(
        _ capability: String, _ method: String, _ member: String, _ key: String, _ facts: ServerFacts,
        _ known: [OfferedItem]
    ) async -> [OfferedItem] {
        guard facts.has(capability) else { return [] }
        do throws(TransportError) {
            return try await list(method, member, key: key, facts.era).compactMap { item in
                item[key]?.stringValue.map { OfferedItem(name: $0, definition: Array(item.text.utf8)) }
            }
        } catch {
            return known
        }
    }

    /// A tool as it can be shown. Clients insist on an input schema, so one that is missing is added as "any object".
    private func tool(_ item: JSONValue) -> OfferedItem? {
        guard let name = item["name"]?.stringValue, var members = item.objectValue else { return nil }
        if item["inputSchema"]?["type"]?.stringValue != "object" {
            members.removeAll { $0.key == "inputSchema" }
            members.append(("inputSchema", ["type": "object"]))
        }
        return OfferedItem(name: name, definition: Array(JSONValue.object(members).text.utf8))
    }

    /// Every page of one list.
    private func list(
        _ method: String, _ member: String, key: String, _ era: Era
    ) async throws(TransportError) -> [JSONValue] {
        var items: [JSONValue] = []
        var cursor: String?
        var bytes = 0
        for _ in 0..<Self.pagesMax {
            let (page, length) = try await page(method, era, cursor: cursor, member: member)
            bytes += length
            guard bytes <= Self.listBytesMax else {
                throw TransportError(words: "its \(method) is longer than \(Self.listBytesMax) bytes")
            }
            items += page[member]?.arrayValue ?? []
            guard items.count <= Self.itemsMax else {
                throw TransportError(words: "its \(method) has more than \(Self.itemsMax) entries")
            }
            // An empty cursor is a cursor.
            guard let next = page["nextCursor"]?.stringValue else { return items }
            cursor = next
        }
        throw TransportError(words: "its \(method) has more than \(Self.pagesMax) pages")
    }

    private func page(
        _ method: String, _ era: Era, cursor: String?, member: String
    ) async throws(TransportError) -> (JSONValue, Int) {
        let members = cursor.map { #""cursor":\#(JSONText.quoted($0))"# } ?? ""
        let answer: WireAnswer
        do throws(CallFailure) {
            answer = try await exchange(
                writer.request(method, id: numbers.next(), members: members, era: era), within: patience)
        } catch {
            throw failure(error)
        }
        guard let message = answer.message else {
            throw TransportError(words: "it answered \(method) with HTTP status \(answer.status)")
        }
        // A server without any is a server all the same.
        if message.kind == .error, answer.errorCode == -32601 {
            return (.object([(key: member, value: .array([]))]), 0)
        }
        guard message.kind == .result, let body = message.body else {
            throw TransportError(words: "it does not answer \(method): \(answer.errorText(hiding: secrets))")
        }
        do throws(WireError) {
            let limits = WireLimits(bytesMax: 16 << 20)
            return (
                try JSONValue.parse(answer.bytes.readableBytesUInt8Span.extracting(body), limits: limits), body.count
            )
        } catch {
            throw TransportError(words: "its answer to \(method) cannot be read: \(error.text)")
        }
    }
}

extension CallFailure {
    /// The failure of a probe, for health and log.
    var probeWords: String {
        switch self {
        case .unavailable(let detail), .outcomeUnknown(let detail), .garbage(let detail), .stopped(let detail),
            .badArguments(let detail), .overloaded(let detail, _), .needsInput(let detail):
            detail
        case .timedOut(let after, _): "timeout: no answer within \(Pace.seconds(after)) s"
        case .unknownTool: "it does not know the method"
        case .cancelled: "the gateway is stopping"
        }
    }
}
