// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// What the gateway answers itself, for all owners together: who it is, what it can do, and who wants to hear what.
struct Desk: Sendable {
    let catalogue: Catalogue
    let identity: ServerIdentity
    let changes: Changes
    let replies: ReplyBuilder

    // MARK: Beginnings

    func discovery(_ inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        let versions = Revision.allCases.reversed().map { "\"\($0.name)\"" }.joined(separator: ",")
        let members =
            #""supportedVersions":[\#(versions)],"capabilities":\#(capabilities(.modern).text),"#
            + #""instructions":\#(JSONText.quoted(instructions)),"ttlMs":60000,"cacheScope":"private""#
        return replies.result(members: members, to: inbound, dialect)
    }

    func greeting(_ inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        let revision = inbound.revision
        let members =
            #""protocolVersion":"\#(revision.name)","capabilities":\#(capabilities(revision).text),"#
            + #""serverInfo":\#(identity.json.text),"instructions":\#(JSONText.quoted(instructions))"#
        return replies.result(members: members, to: inbound, dialect)
    }

    /// Modules have tools only, so without upstreams there is nothing else that some owner can ever have.
    private var hasToolsOnly: Bool { !catalogue.owners.contains { $0.backend.route == "upstream" } }

    /// Whether the capability that a method belongs to is offered here.
    func offers(_ method: MCPWire.Method, _ revision: Revision) -> Bool {
        switch method {
        case .promptsList, .promptsGet, .resourcesList, .templatesList, .resourcesRead, .subscribe, .unsubscribe,
            .complete, .setLevel, .tasksUpdate:
            !hasToolsOnly
        case .tasksGet, .tasksResult, .tasksCancel: revision.isModern ? !hasToolsOnly : catalogue.storesCalls
        default: true
        }
    }

    private func capabilities(_ revision: Revision) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [("tools", ["listChanged": true])]
        if hasToolsOnly { return .object(members) }
        members.append(("prompts", ["listChanged": true]))
        members.append(("resources", ["subscribe": true, "listChanged": true]))
        members.append(("logging", .object([])))
        if revision >= .v2025_03_26 { members.append(("completions", .object([]))) }
        if revision == .v2025_11_25, catalogue.storesCalls {
            members.append(
                ("tasks", ["cancel": .object([]), "requests": ["tools": ["call": .object([])]]]))
        }
        if revision.isModern {
            members.append(("extensions", .object([(key: ClientCapabilities.tasksExtension, value: .object([]))])))
        }
        return .object(members)
    }

    private static let instructionsCharactersMax = 16_000

    /// Our own words, and a section for each owner that has some.
    private var instructions: String {
        var text = identity.instructions
        for (label, words) in catalogue.current.instructions {
            let section = label.isEmpty ? words : "\(label): \(words)"
            guard text.count + section.count < Self.instructionsCharactersMax else { break }
            text += "\n\n" + section
        }
        return text
    }

    // MARK: Legacy sessions

    func setLevel(_ inbound: InboundMessage) -> Reply {
        guard let level = text("level", inbound).flatMap(LogLevel.init) else {
            let names = LogLevel.allCases.map(\.rawValue).joined(separator: ", ")
            return replies.error(-32602, "\"params.level\" must be one of \(names).", to: inbound)
        }
        inbound.session?.setLogLevel(level)
        return replies.empty(to: inbound)
    }

    func subscribe(_ inbound: InboundMessage, _ dialect: any Dialect) async -> Reply {
        guard let uri = text("uri", inbound) else {
            return replies.error(-32602, "\"params.uri\" must say which resource is meant.", to: inbound)
        }
        guard let told = told(uri) else {
            return replies.error(
                dialect.noResourceCode, "There is nothing of this URI behind this gateway",
                data: #"{"uri":\#(JSONText.quoted(uri))}"#, to: inbound)
        }
        guard changes.canWatch(uri) else {
            return replies.error(-32602, "The owner of this does not tell when it changes.", to: inbound)
        }
        guard let session = inbound.session, changes.hub.change(session.key, { $0.insert(told) }) else {
            return replies.error(
                -32603, "This session watches \(ChangeHub.urisMax) already; end some of them first.", to: inbound)
        }
        await changes.refreshWatches()
        return replies.empty(to: inbound)
    }

    func unsubscribe(_ inbound: InboundMessage) async -> Reply {
        guard let uri = text("uri", inbound) else {
            return replies.error(-32602, "\"params.uri\" must say which resource is meant.", to: inbound)
        }
        if let session = inbound.session { _ = changes.hub.change(session.key) { $0.remove(told(uri) ?? uri) } }
        await changes.refreshWatches()
        return replies.empty(to: inbound)
    }

    private static let uriBytesMax = 8_192

    /// The URI under which changes of this resource are told, however it was spelled; nil when there is no such owner.
    private func told(_ uri: String) -> String? {
        guard uri.utf8.count <= Self.uriBytesMax, let found = catalogue.current.routes.resource(uri) else { return nil }
        return found.owner.resources.exposed(found.target)
    }

    private func text(_ key: StaticString, _ inbound: InboundMessage) -> String? {
        let bytes = inbound.bytes.readableBytesUInt8Span
        guard let member = inbound.message.member(key, in: bytes), member.kind == .string else { return nil }
        return JSONText.string(bytes, value: member.value)
    }

    // MARK: subscriptions/listen

    /// First the acknowledgement, then changes as they come, and at the end, when the gateway is to stop, the result.
    func listen(_ inbound: InboundMessage, _ dialect: any Dialect) async -> Reply {
        let bytes = inbound.bytes.readableBytesUInt8Span
        guard let member = inbound.message.member("notifications", in: bytes),
            let filter = try? JSONValue.parse(bytes.extracting(member.value)), filter.isObject
        else {
            return replies.error(-32602, "\"params.notifications\" must say what to listen for.", to: inbound)
        }
        guard filter["taskIds"] == nil || inbound.capabilities.contains(.tasks) else {
            return replies.error(
                -32021, "Listening for tasks belongs to an extension that the request does not declare.",
                data: #"{"requiredCapabilities":{"extensions":{"\#(ClientCapabilities.tasksExtension)":{}}}}"#,
                to: inbound, status: .badEnvelope)
        }
        guard let stream = inbound.stream, let id = inbound.message.id.map({ Array(bytes, $0) }) else {
            return replies.error(
                -32602, "Changes come as an event stream; the Accept header must allow text/event-stream.", to: inbound)
        }
        guard let uris = Self.uris(filter), Self.isSensible(filter) else {
            return replies.error(
                -32602, "\"params.notifications\" takes true or false for each kind, and lists of texts.", to: inbound)
        }
        guard uris.count <= ChangeHub.urisMax else {
            return replies.error(-32602, "One listen may name \(ChangeHub.urisMax) resources at most.", to: inbound)
        }
        let (interest, honoured) = honour(filter, uris)
        let listener = ChangeHub.Listener.stream(stream, id: id)
        let latch = Latch()
        // Nothing of this subscription may come before its acknowledgement, so it begins to hear after that; but its
        // owners are told first, so that nothing is missed that happens after it.
        guard let number = changes.hub.add(listener, interest, close: { latch.open() }) else {
            return replies.error(
                -32603, "Too many listen here already. Try again later.", to: inbound,
                status: .overloaded(retryAfter: 5))
        }
        await changes.refreshWatches()
        listener.send("notifications/subscriptions/acknowledged", members: #""notifications":\#(honoured.text)"#)
        changes.hub.open(number)
        await latch.wait()
        changes.hub.remove(number)
        await changes.refreshWatches()
        return replies.result(
            members: "", meta: "\"\(ModernMeta.subscriptionID)\":\(String(decoding: id, as: UTF8.self))", to: inbound,
            dialect)
    }

    /// nil when they are no list of texts.
    private static func uris(_ filter: JSONValue) -> [String]? {
        guard let value = filter["resourceSubscriptions"] else { return [] }
        guard let items = value.arrayValue else { return nil }
        let texts = items.compactMap(\.stringValue)
        return texts.count == items.count ? texts : nil
    }

    private static func isSensible(_ filter: JSONValue) -> Bool {
        let flags = ["toolsListChanged", "promptsListChanged", "resourcesListChanged"].compactMap { filter[$0] }
        return flags.allSatisfy { $0.boolValue != nil } && (filter["taskIds"].map { $0.arrayValue != nil } ?? true)
    }

    private func honour(_ filter: JSONValue, _ uris: [String]) -> (ChangeHub.Interest, JSONValue) {
        var interest = ChangeHub.Interest()
        var honoured: [(key: String, value: JSONValue)] = []
        for (key, kind) in [
            ("toolsListChanged", ListKind.tools), ("promptsListChanged", .prompts),
            ("resourcesListChanged", .resources),
        ] where filter[key]?.boolValue == true {
            interest.kinds.insert(kind)
            honoured.append((key, true))
        }
        let watchable = uris.filter { $0.utf8.count <= Self.uriBytesMax && changes.canWatch($0) }
        interest.uris = Set(watchable.compactMap(told))
        if !watchable.isEmpty {
            honoured.append(("resourceSubscriptions", .array(watchable.map { .string($0) })))
        }
        return (interest, .object(honoured))
    }
}
