// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire

/// What must hold of any bytes at all. Used by the tests and, as the same file, by the fuzzer.
enum WireInvariants {
    /// The first broken promise in words, or nil.
    static func fault(_ bytes: [UInt8], limits: WireLimits = WireLimits(bytesMax: 1 << 20)) -> String? {
        let tree: JSONValue?
        do {
            tree = try JSONValue.parse(bytes.span, limits: limits)
        } catch {
            if let fault = fault(in: error, bytes) { return fault }
            tree = nil
        }
        if let tree {
            let written = tree.text
            // Escapes only get longer when written again; the limit of size is not the question here.
            guard let again = try? JSONValue.parse(written, limits: WireLimits(bytesMax: 8 << 20)), again == tree else {
                return "the tree changes when it is written and read again"
            }
        }
        do {
            let message = try MessageParser.parse(bytes.span, limits: limits)
            guard let tree else { return "a message was accepted that is not JSON" }
            return fault(in: message, tree, bytes, limits)
        } catch {
            if error.kind == .notJSON, tree != nil { return "JSON was refused as not being JSON" }
            return fault(in: error, bytes)
        }
    }

    private static func fault(in error: WireError, _ bytes: [UInt8]) -> String? {
        if let offset = error.offset, !(0...bytes.count).contains(offset) { return "an offset outside the text" }
        if error.reason.isEmpty { return "a refusal without words" }
        return nil
    }

    private static func fault(
        in message: Message, _ tree: JSONValue, _ bytes: [UInt8], _ limits: WireLimits
    ) -> String? {
        guard (try? MessageParser.parse(bytes.span, limits: limits)) == message else {
            return "a message reads differently the second time"
        }
        if let id = message.id {
            guard bytes.indices.contains(id.lowerBound), id.upperBound <= bytes.count else {
                return "the id is out of bounds"
            }
            guard subtree(bytes, id) == tree["id"] else { return "the id is not the member \"id\"" }
        } else if message.kind == .request || message.kind == .result {
            return "a request or a result without id"
        }
        if message.kind == .request || message.kind == .notification {
            guard tree["method"] == .string(message.method.name) else {
                return "the method is not the member \"method\""
            }
        }
        let name =
            switch message.kind {
            case .request, .notification: "params"
            case .result: "result"
            case .error: "error"
            }
        guard let body = message.body else {
            return tree[name] == nil && message.members.isEmpty && message.meta.isEmpty
                ? nil : "the payload was not seen"
        }
        guard body.lowerBound >= 0, body.upperBound <= bytes.count else { return "the payload is out of bounds" }
        guard subtree(bytes, body) == tree[name] else { return "the payload is not the member \"\(name)\"" }
        if let fault = fault(in: message.members, within: body, tree[name], bytes) { return fault }
        let meta = message.member("_meta", in: bytes.span)
        guard let meta, meta.kind == .object else {
            return message.meta.isEmpty ? nil : "members of a _meta that is not there"
        }
        return fault(in: message.meta, within: meta.value, tree[name]?["_meta"], bytes)
    }

    /// Members lie inside their object, one after the other, and are those of the tree.
    private static func fault(
        in members: [Member], within outer: Range<Int>, _ tree: JSONValue?, _ bytes: [UInt8]
    ) -> String? {
        let expected = tree?.objectValue ?? []
        guard members.count == expected.count else { return "members are missing or invented" }
        var end = outer.lowerBound
        for (member, pair) in zip(members, expected) {
            guard member.key.lowerBound > end, member.key.upperBound < member.value.lowerBound, !member.value.isEmpty,
                member.value.upperBound < outer.upperBound
            else { return "a member lies outside its object" }
            end = member.value.upperBound
            guard JSONText.string(bytes.span, inside: member.key).utf8.elementsEqual(pair.key.utf8) else {
                return "a key is not the one of the tree"
            }
            guard member.keyIsEscaped == bytes[member.key].contains(UInt8(ascii: "\\")) else {
                return "escapes of a key unseen"
            }
            guard subtree(bytes, member.value) == pair.value else { return "a value is not the one of the tree" }
            guard member.keyBegins(with: pair.key, in: bytes.span) else { return "a key does not begin with itself" }
        }
        return nil
    }

    /// What must hold of any bytes as an event stream: the way it is cut into pieces changes nothing.
    static func streamFault(_ bytes: [UInt8], eventBytesMax: Int = 4_096) -> String? {
        let whole = events(bytes, step: max(1, bytes.count), eventBytesMax)
        for step in [1, 7] where events(bytes, step: step, eventBytesMax) != whole {
            return "pieces of \(step) bytes change the events"
        }
        let isTooLong = whole?.contains { $0.data.count > eventBytesMax + 16 } ?? false
        return isTooLong ? "an event is longer than the limit" : nil
    }

    /// The events, or nil when the stream is refused.
    private static func events(_ bytes: [UInt8], step: Int, _ eventBytesMax: Int) -> [EventStreamParser.Event]? {
        var parser = EventStreamParser(eventBytesMax: eventBytesMax)
        var events: [EventStreamParser.Event] = []
        for start in stride(from: 0, to: bytes.count, by: step) {
            let piece = bytes.span.extracting(start..<min(bytes.count, start + step))
            guard let found = try? parser.feed(piece) else { return nil }
            events += found
        }
        return events
    }

    private static func subtree(_ bytes: [UInt8], _ range: Range<Int>) -> JSONValue? {
        let piece = Array(bytes.span, range)
        return try? JSONValue.parse(piece.span, limits: WireLimits(bytesMax: .max))
    }
}
