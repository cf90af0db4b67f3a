// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import MCPWire
internal import NIOCore

/// What has to change in the content of a result on its way to a client: URIs get their label, and blocks that a
/// revision does not know become blocks it knows. Most results hold neither, and then nothing is taken apart.
struct ContentText: Sendable {
    let resources: ResourceNames
    let revision: Revision

    /// Whether this member of a result has to be taken apart at all: a look at its bytes, no tree.
    func mustChange(_ member: Member, _ payload: Payload) -> Bool {
        guard !resources.label.isEmpty || revision < .v2025_06_18 else { return false }
        // Both kinds of block that hold a URI are named so; `contents` of a read always has one.
        if payload.holds("resource", in: member.value) || payload.holds("\"uri\"", in: member.value) { return true }
        return revision < .v2025_03_26 && payload.holds("\"audio\"", in: member.value)
    }

    /// `content` of a tool's result.
    func blocks(_ content: JSONValue) -> JSONValue {
        .array((content.arrayValue ?? []).map(block))
    }

    /// `messages` of a prompt: each holds one block, or several.
    func messages(_ messages: JSONValue) -> JSONValue {
        .array(
            (messages.arrayValue ?? []).map { message in
                message.mapping("content") { $0.arrayValue == nil ? block($0) : blocks($0) }
            })
    }

    /// `contents` of a resource.
    func contents(_ contents: JSONValue) -> JSONValue { .array((contents.arrayValue ?? []).map(addressed)) }

    private func addressed(_ object: JSONValue) -> JSONValue {
        object.mapping("uri") { uri in uri.stringValue.map { .string(resources.exposed($0)) } ?? uri }
    }

    private func block(_ block: JSONValue) -> JSONValue {
        switch block["type"]?.stringValue {
        case "resource": return block.mapping("resource", addressed)
        case "resource_link":
            let link = addressed(block)
            if revision >= .v2025_06_18 { return link }
            // Before there were links, their place is text.
            let uri = link["uri"]?.stringValue ?? ""
            let name = (link["title"] ?? link["name"])?.stringValue ?? uri
            return ["type": "text", "text": .string("\(name): \(uri)")]
        case "audio" where revision < .v2025_03_26:
            return [
                "type": "resource",
                "resource": [
                    "uri": "data:audio", "mimeType": block["mimeType"] ?? "application/octet-stream",
                    "blob": block["data"] ?? "",
                ],
            ]
        default: return block
        }
    }
}

extension Payload {
    /// Whether the bytes of `range` hold this text. Looks for its first character only, which is quick.
    func holds(_ text: StaticString, in range: Range<Int>) -> Bool {
        bytes.withUnsafeReadableBytes { all in
            guard let base = all.baseAddress, range.upperBound <= all.count else { return false }
            let (word, count) = (text.utf8Start, text.utf8CodeUnitCount)
            var offset = range.lowerBound
            while offset + count <= range.upperBound,
                let found = memchr(base + offset, Int32(word.pointee), range.upperBound - offset)
            {
                let place = UnsafeRawPointer(found) - base
                guard place + count <= range.upperBound else { return false }
                if memcmp(found, word, count) == 0 { return true }
                offset = place + 1
            }
            return false
        }
    }

    /// The tree of one member's value; nil when it cannot be read.
    func tree(_ member: Member) -> JSONValue? { tree(member.value) }

    func tree(_ range: Range<Int>) -> JSONValue? {
        // The bytes were scanned before, within the limits of their transport.
        let limits = WireLimits(bytesMax: .max)
        return try? JSONValue.parse(bytes.readableBytesUInt8Span.extracting(range), limits: limits)
    }

    func member(_ key: StaticString) -> Member? { Message.find(key, members, bytes.readableBytesUInt8Span) }

    /// An object written by the gateway itself, as a payload.
    init?(_ object: JSONValue) {
        var text: [UInt8] = []
        object.write(to: &text)
        let limits = WireLimits(bytesMax: .max)
        guard let scanned = try? MessageParser.object(text.span, limits: limits) else { return nil }
        self.init(
            bytes: ByteBuffer(bytes: text), range: scanned.range, members: scanned.members, meta: scanned.meta)
    }
}
