// Licensed under the Apache License 2.0; see LICENSE.

/// One member of a JSON object, as offsets into the bytes that were scanned.
public struct Member: Sendable, Equatable {
    /// The key between its quotes, as written.
    public var key: Range<Int>
    /// The value as written, without surrounding white space.
    public var value: Range<Int>
    public var kind: ValueKind
    /// The key contains a backslash; compare it only after decoding.
    public var keyIsEscaped: Bool
}

public enum ValueKind: Sendable, Equatable {
    case object, array, string, number, bool, null
}

/// Validates JSON text byte by byte (RFC 8259, UTF-8 by RFC 3629) and notes where the members of the outer levels are.
///
/// Strict on purpose: duplicate keys, invalid UTF-8 and lone surrogates are refused at every level, because two parsers
/// on the path of a call must never read two different calls out of the same bytes. Cost: one pass, no allocation
/// besides the noted members; about 0.05 ns a byte inside long ASCII strings, about 1 ns a byte where each character
/// needs a look.
struct JSONScanner {
    /// Most members noted of a payload and of its `_meta`. A noted member is five times as large as the shortest one on
    /// the wire, so without this bound a message of four megabytes would take twenty. Objects further inside are not
    /// noted.
    static let membersMax = 4_096

    let limits: WireLimits
    /// The members of the outermost object that JSON-RPC knows.
    var envelope = Envelope()
    /// Members of the object that carries the payload, and of that object's `_meta`.
    var body: [Member] = []
    var meta: [Member] = []
    /// The elements of a batch.
    var elements: [Range<Int>] = []

    /// Where an object's members are noted; in a batch, where the elements are.
    enum Level {
        case root, body, meta, batch, elsewhere
    }

    init(limits: WireLimits) { self.limits = limits }

    /// Scans exactly one JSON value that fills `bytes`, and returns its range and kind.
    mutating func scanDocument(
        _ bytes: Span<UInt8>, level: Level = .root
    ) throws(WireError) -> (range: Range<Int>, kind: ValueKind) {
        guard bytes.count <= limits.bytesMax else {
            throw WireError(.tooLarge, "the message is longer than \(limits.bytesMax) bytes")
        }
        var position = 0
        Self.skipSpace(bytes, &position)
        let start = position
        let kind = try scanValue(bytes, &position, depth: 1, level: level)
        let end = position
        Self.skipSpace(bytes, &position)
        guard position == bytes.count else {
            throw WireError(.notJSON, "unexpected text after the JSON value", offset: position)
        }
        return (start..<end, kind)
    }

    private mutating func scanValue(
        _ bytes: Span<UInt8>, _ position: inout Int, depth: Int, level: Level
    ) throws(WireError) -> ValueKind {
        guard position < bytes.count else {
            throw WireError(.notJSON, "the JSON text ends in the middle", offset: position)
        }
        switch bytes[position] {
        case UInt8(ascii: "\""):
            _ = try Self.scanString(bytes, &position)
            return .string
        case UInt8(ascii: "{"):
            try scanObject(bytes, &position, depth: depth, level: level)
            return .object
        case UInt8(ascii: "["):
            try scanArray(bytes, &position, depth: depth, notesElements: level == .batch)
            return .array
        case UInt8(ascii: "t"):
            try Self.expect("true", bytes, &position)
            return .bool
        case UInt8(ascii: "f"):
            try Self.expect("false", bytes, &position)
            return .bool
        case UInt8(ascii: "n"):
            try Self.expect("null", bytes, &position)
            return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            try Self.scanNumber(bytes, &position)
            return .number
        default:
            throw WireError(.notJSON, "a JSON value was expected here", offset: position)
        }
    }

    private mutating func scanArray(
        _ bytes: Span<UInt8>, _ position: inout Int, depth: Int, notesElements: Bool
    ) throws(WireError) {
        guard depth <= limits.depthMax else {
            throw WireError(.tooDeep, "nested deeper than \(limits.depthMax) levels", offset: position)
        }
        position += 1
        Self.skipSpace(bytes, &position)
        if position < bytes.count, bytes[position] == UInt8(ascii: "]") {
            position += 1
            return
        }
        while true {
            Self.skipSpace(bytes, &position)
            let start = position
            _ = try scanValue(bytes, &position, depth: depth + 1, level: .elsewhere)
            if notesElements { elements.append(start..<position) }
            Self.skipSpace(bytes, &position)
            guard position < bytes.count else {
                throw WireError(.notJSON, "the JSON text ends inside an array", offset: position)
            }
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "]") { return }
            guard byte == UInt8(ascii: ",") else {
                throw WireError(.notJSON, "a comma or a closing bracket was expected here", offset: position - 1)
            }
        }
    }

    private mutating func scanObject(
        _ bytes: Span<UInt8>, _ position: inout Int, depth: Int, level: Level
    ) throws(WireError) {
        guard depth <= limits.depthMax else {
            throw WireError(.tooDeep, "nested deeper than \(limits.depthMax) levels", offset: position)
        }
        position += 1
        Self.skipSpace(bytes, &position)
        if position < bytes.count, bytes[position] == UInt8(ascii: "}") {
            position += 1
            return
        }
        var keys = KeySet()
        while true {
            Self.skipSpace(bytes, &position)
            try scanMember(bytes, &position, depth: depth, level: level, keys: &keys)
            Self.skipSpace(bytes, &position)
            guard position < bytes.count else {
                throw WireError(.notJSON, "the JSON text ends inside an object", offset: position)
            }
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "}") { return }
            guard byte == UInt8(ascii: ",") else {
                throw WireError(.notJSON, "a comma or a closing brace was expected here", offset: position - 1)
            }
        }
    }

    private mutating func scanMember(
        _ bytes: Span<UInt8>, _ position: inout Int, depth: Int, level: Level, keys: inout KeySet
    ) throws(WireError) {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            throw WireError(.notJSON, "a key in quotes was expected here", offset: position)
        }
        let opening = position
        let escaped = try Self.scanString(bytes, &position)
        let key = (opening + 1)..<(position - 1)
        guard keys.insert(bytes, key, isEscaped: escaped) else {
            throw WireError(.notJSON, "the same key stands twice in one object", offset: key.lowerBound)
        }
        Self.skipSpace(bytes, &position)
        guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else {
            throw WireError(.notJSON, "a colon was expected here", offset: position)
        }
        position += 1
        Self.skipSpace(bytes, &position)
        let start = position
        // The payload of a message is under `params`, `result` or `error`; its `_meta` is one level below.
        var inner = Level.elsewhere
        var word: Envelope.Word?
        switch level {
        case .root:
            word = Envelope.Word(bytes, key, isEscaped: escaped)
            if let word, word.isPayload { inner = .body }
        case .body:
            if JSONText.key(bytes, key, escaped, equals: "_meta") { inner = .meta }
        case .meta, .batch, .elsewhere: break
        }
        let kind = try scanValue(bytes, &position, depth: depth + 1, level: inner)
        let member = Member(key: key, value: start..<position, kind: kind, keyIsEscaped: escaped)
        switch level {
        case .root: if let word { envelope[word] = member }
        case .body: try Self.note(member, in: &body)
        case .meta: try Self.note(member, in: &meta)
        case .batch, .elsewhere: break
        }
    }

    private static func note(_ member: Member, in members: inout [Member]) throws(WireError) {
        guard members.count < membersMax else {
            throw WireError(
                .tooLarge, "an object of the payload has more than \(membersMax) members",
                offset: member.key.lowerBound)
        }
        // Payloads have a handful of members: one allocation instead of one for each doubling.
        if members.isEmpty { members.reserveCapacity(4) }
        members.append(member)
    }
}
