// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// How one era words its answers. Everything that differs between the eras in replies is behind this; the pipeline asks
/// no further.
protocol Dialect: Sendable {
    var revision: Revision { get }
    /// Whether the method exists in this era and the gateway offers it.
    func offers(_ method: Method) -> Bool
    /// How a transport announces that a method does not exist.
    var unknownMethodStatus: ReplyStatus { get }
    /// The code under which an upstream's error is passed on.
    func errorCode(_ code: Int) -> Int
    /// The code for a resource that is not there.
    var noResourceCode: Int { get }
    /// Writes an owner's result, converted from whatever era the owner speaks; `type` is for eras whose results say it.
    func write(_ payload: Payload, of destination: Destination, as type: StaticString, to out: inout ByteBuffer)
    /// Whether arguments that do not fit are a result that says so, or an error of the protocol.
    var badArgumentsAreResults: Bool { get }
    /// Writes a `result` object whose members, without braces, are `members`, and those of its `_meta` are `meta`.
    func writeResult(members: String, meta: String, to out: inout ByteBuffer)
}

extension Dialect {
    /// A member of the result whose URIs and blocks have to be changed; nil when it goes as it stands.
    func changed(_ member: Member, _ payload: Payload, _ destination: Destination) -> JSONValue? {
        let text = ContentText(resources: destination.owner.resources, revision: revision)
        let bytes = payload.bytes.readableBytesUInt8Span
        let change: (JSONValue) -> JSONValue
        switch destination.operation {
        case .tool where member.isNamed("content", in: bytes): change = text.blocks
        case .prompt where member.isNamed("messages", in: bytes): change = text.messages
        case .resource where member.isNamed("contents", in: bytes): change = text.contents
        case .taskGet where member.isNamed("result", in: bytes):
            change = { $0.mapping("content", text.blocks) }
        case .tool, .prompt, .resource, .completion, .taskGet, .taskUpdate, .taskCancel: return nil
        }
        guard text.mustChange(member, payload) else { return nil }
        return payload.tree(member).map(change)
    }

    /// Writes `"key":value`, changed where it has to be.
    func write(_ member: Member, _ payload: Payload, _ destination: Destination, to out: inout ByteBuffer) {
        guard let changed = changed(member, payload, destination) else { return payload.write(member, to: &out) }
        payload.write(key: member, to: &out)
        var json: [UInt8] = []
        changed.write(to: &json)
        out.writeBytes(json)
    }
}

/// 2026-07-28: stateless, every result says its type and who made it.
struct ModernDialect: Dialect {
    let revision = Revision.modern
    private let serverInfo: [UInt8]

    init(identity: ServerIdentity) {
        var out = Array("\"\(ModernMeta.serverInfo)\":".utf8)
        identity.json.write(to: &out)
        serverInfo = out
    }

    func offers(_ method: Method) -> Bool {
        switch method {
        case .discover, .toolsList, .toolsCall, .promptsList, .promptsGet, .resourcesList, .templatesList,
            .resourcesRead, .complete, .listen, .tasksGet, .tasksUpdate, .tasksCancel:
            true
        case .initialize, .initialized, .ping, .subscribe, .unsubscribe, .setLevel, .createMessage, .elicit, .rootsList,
            .cancelled, .progress, .logMessage, .toolsChanged, .promptsChanged, .resourcesChanged, .resourceUpdated,
            .rootsChanged, .acknowledged, .elicitationComplete, .tasksResult, .other:
            false
        }
    }

    var unknownMethodStatus: ReplyStatus { .noSuchMethod }
    var noResourceCode: Int { -32602 }

    /// The envelope of our own hop is our own affair: what an upstream finds wrong with it is no news for the client.
    /// What it misses in the client itself is.
    func errorCode(_ code: Int) -> Int {
        if code == -32021 { return code }
        if (-32099...(-32020)).contains(code) { return -32603 }
        return code == -32002 ? -32602 : code
    }

    var badArgumentsAreResults: Bool { true }

    func writeResult(members: String, meta: String, to out: inout ByteBuffer) {
        out.writeStaticString(#"{"resultType":"complete","#)
        out.writeString(members)
        if !members.isEmpty { out.writeStaticString(",") }
        out.writeStaticString(#""_meta":{"#)
        if !meta.isEmpty { out.writeString("\(meta),") }
        out.writeBytes(serverInfo)
        out.writeStaticString("}}")
    }

    func write(_ payload: Payload, of destination: Destination, as type: StaticString, to out: inout ByteBuffer) {
        let bytes = payload.bytes.readableBytesUInt8Span
        out.writeStaticString(#"{"resultType":""#)
        out.writeStaticString(type)
        out.writeStaticString("\"")
        var hasLifetime = destination.operation != .resource
        var hasScope = hasLifetime
        for member in payload.members {
            if member.isNamed("resultType", in: bytes) || member.isNamed("_meta", in: bytes) { continue }
            if member.isNamed("ttlMs", in: bytes) { hasLifetime = true }
            if member.isNamed("cacheScope", in: bytes) { hasScope = true }
            out.writeStaticString(",")
            write(member, payload, destination, to: &out)
        }
        // An owner of the other era says nothing about keeping what was read.
        if !hasLifetime { out.writeStaticString(#","ttlMs":0"#) }
        if !hasScope { out.writeStaticString(#","cacheScope":"private""#) }
        out.writeStaticString(",")
        writeIdentity(keeping: payload, to: &out)
    }

    /// Ends the result with its `_meta`: what the owner put there, with our own identity instead of its.
    private func writeIdentity(keeping payload: Payload, to out: inout ByteBuffer) {
        out.writeStaticString(#""_meta":{"#)
        let bytes = payload.bytes.readableBytesUInt8Span
        for member in payload.meta where !member.isNamed("io.modelcontextprotocol/serverInfo", in: bytes) {
            payload.write(member, to: &out)
            out.writeStaticString(",")
        }
        out.writeBytes(serverInfo)
        out.writeStaticString("}}")
    }
}

/// 2024-11-05 to 2025-11-25: opened with `initialize`, results without wrapping.
struct LegacyDialect: Dialect {
    let revision: Revision

    func offers(_ method: Method) -> Bool {
        switch method {
        case .initialize, .initialized, .ping, .toolsList, .toolsCall, .promptsList, .promptsGet, .resourcesList,
            .templatesList, .resourcesRead, .subscribe, .unsubscribe, .complete, .setLevel, .cancelled, .progress,
            .rootsChanged:
            true
        // Tasks were an experiment of this one revision.
        case .tasksGet, .tasksResult, .tasksCancel: revision == .v2025_11_25
        case .discover, .listen, .tasksUpdate, .createMessage, .elicit, .rootsList,
            .logMessage, .toolsChanged, .promptsChanged, .resourcesChanged, .resourceUpdated, .acknowledged,
            .elicitationComplete, .other:
            false
        }
    }

    var unknownMethodStatus: ReplyStatus { .ok }
    var noResourceCode: Int { -32002 }

    /// Codes of the stateless era mean nothing here.
    func errorCode(_ code: Int) -> Int {
        if code == -32042 { return revision == .v2025_11_25 ? code : -32603 }
        return (-32099...(-32020)).contains(code) ? -32603 : code
    }

    var badArgumentsAreResults: Bool { revision >= .v2025_11_25 }

    func writeResult(members: String, meta: String, to out: inout ByteBuffer) {
        out.writeStaticString("{")
        out.writeString(members)
        // What is said to clients without other means; nothing of the protocol's own.
        if !meta.isEmpty, revision >= .v2025_06_18 { out.writeString(",\"_meta\":{\(meta)}") }
        out.writeStaticString("}")
    }

    func write(_ payload: Payload, of destination: Destination, as type: StaticString, to out: inout ByteBuffer) {
        let bytes = payload.bytes.readableBytesUInt8Span
        let structured = structured(payload, destination)
        let hasModernMeta = payload.meta.contains { $0.keyBegins(with: ModernMeta.prefix, in: bytes) }
        if structured.isPlain, !hasModernMeta,
            payload.members.allSatisfy({ isKnown($0, bytes) && changed($0, payload, destination) == nil })
        {
            if let whole = payload.slice(payload.range) { out.writeImmutableBuffer(whole) }
            return
        }
        out.writeStaticString("{")
        var isFirst = true
        func comma() {
            if !isFirst { out.writeStaticString(",") }
            isFirst = false
        }
        for member in payload.members where isKnown(member, bytes) {
            if member.isNamed("_meta", in: bytes) { continue }
            if member.isNamed("structuredContent", in: bytes), let text = structured.replacement {
                guard !text.isEmpty else { continue }
                comma()
                out.writeStaticString(#""structuredContent":"#)
                out.writeBytes(text)
            } else if member.isNamed("content", in: bytes), let text = structured.content {
                comma()
                out.writeStaticString(#""content":"#)
                out.writeBytes(text)
            } else {
                comma()
                write(member, payload, destination, to: &out)
            }
        }
        let meta = payload.meta.filter { !$0.keyBegins(with: ModernMeta.prefix, in: bytes) }
        if !meta.isEmpty {
            comma()
            out.writeStaticString(#""_meta":{"#)
            for (index, member) in meta.enumerated() {
                if index > 0 { out.writeStaticString(",") }
                payload.write(member, to: &out)
            }
            out.writeStaticString("}")
        }
        out.writeStaticString("}")
    }

    private func isKnown(_ member: Member, _ bytes: Span<UInt8>) -> Bool {
        !member.isNamed("resultType", in: bytes) && !member.isNamed("ttlMs", in: bytes)
            && !member.isNamed("cacheScope", in: bytes)
    }

    /// How structured output is shown: it was always an object, and there was none before 2025-06-18. Whoever cannot
    /// read it has a text that says the same.
    private func structured(
        _ payload: Payload, _ destination: Destination
    ) -> (isPlain: Bool, replacement: [UInt8]?, content: [UInt8]?) {
        guard destination.operation == .tool, let member = payload.member("structuredContent") else {
            return (true, nil, nil)
        }
        var replacement: [UInt8]?
        if revision < .v2025_06_18 {
            replacement = []
        } else if member.kind != .object || destination.tool?.outputShape == .wrapped {
            let shape = destination.tool?.outputShape ?? .free
            replacement = []
            if shape == .wrapped || shape == .free, let value = payload.slice(member.value) {
                replacement = Array(#"{"result":"#.utf8) + Array(value.readableBytesView) + Array("}".utf8)
            }
        }
        let content = payload.member("content")
        // An owner of this era is read as it is, as long as its clients can read all of it.
        let isTold = payload.member("resultType") == nil && replacement == nil
        let hasText = isTold || content.map { payload.holds("\"text\"", in: $0.value) } ?? true
        var text: [UInt8]?
        if !hasText, let content, let value = payload.slice(member.value) {
            let inside = changed(content, payload, destination) ?? payload.tree(content) ?? []
            let copy: JSONValue = ["type": "text", "text": .string(String(buffer: value))]
            text = []
            JSONValue.array((inside.arrayValue ?? []) + [copy]).write(to: &text!)
        }
        return (replacement == nil && text == nil, replacement, text)
    }
}

extension Payload {
    func slice(_ range: Range<Int>) -> ByteBuffer? {
        bytes.getSlice(at: bytes.readerIndex + range.lowerBound, length: range.count)
    }

    /// Writes `"key":value` as it stands.
    func write(_ member: Member, to out: inout ByteBuffer) {
        guard let text = slice((member.key.lowerBound - 1)..<member.value.upperBound) else { return }
        out.writeImmutableBuffer(text)
    }

    /// Writes `"key":`.
    func write(key member: Member, to out: inout ByteBuffer) {
        guard let text = slice((member.key.lowerBound - 1)..<(member.key.upperBound + 1)) else { return }
        out.writeImmutableBuffer(text)
        out.writeStaticString(":")
    }
}
