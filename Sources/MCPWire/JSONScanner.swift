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
/// Strict on purpose: duplicate keys, invalid UTF-8 and lone surrogates are refused at every level, because two parsers on the
/// path of a call must never read two different calls out of the same bytes. Cost: one pass, no allocation besides the noted
/// members; about 0.2 ns a byte inside long strings.
struct JSONScanner {
    let limits: WireLimits
    /// Members of the outermost object, of the object that carries the payload, and of that object's `_meta`.
    var root: [Member] = []
    var body: [Member] = []
    var meta: [Member] = []
    /// Keys of the objects that are open right now, innermost last.
    private var keys: [KeyMark] = []

    private struct KeyMark {
        var hash: UInt64
        var range: Range<Int>
        var isEscaped: Bool
    }

    /// Which list an object's members go to.
    enum Level {
        case root, body, meta, elsewhere
    }

    init(limits: WireLimits) {
        self.limits = limits
        keys.reserveCapacity(16)
    }

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
            try scanArray(bytes, &position, depth: depth)
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

    private mutating func scanArray(_ bytes: Span<UInt8>, _ position: inout Int, depth: Int) throws(WireError) {
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
            _ = try scanValue(bytes, &position, depth: depth + 1, level: .elsewhere)
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
        let base = keys.count
        var seen: Set<UInt64> = []
        Self.skipSpace(bytes, &position)
        if position < bytes.count, bytes[position] == UInt8(ascii: "}") {
            position += 1
            return
        }
        while true {
            Self.skipSpace(bytes, &position)
            let member = try scanMember(bytes, &position, depth: depth, level: level, base: base, seen: &seen)
            switch level {
            case .root: root.append(member)
            case .body: body.append(member)
            case .meta: meta.append(member)
            case .elsewhere: break
            }
            Self.skipSpace(bytes, &position)
            guard position < bytes.count else {
                throw WireError(.notJSON, "the JSON text ends inside an object", offset: position)
            }
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "}") { break }
            guard byte == UInt8(ascii: ",") else {
                throw WireError(.notJSON, "a comma or a closing brace was expected here", offset: position - 1)
            }
        }
        keys.removeLast(keys.count - base)
    }

    private mutating func scanMember(
        _ bytes: Span<UInt8>, _ position: inout Int, depth: Int, level: Level, base: Int, seen: inout Set<UInt64>
    ) throws(WireError) -> Member {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            throw WireError(.notJSON, "a key in quotes was expected here", offset: position)
        }
        let opening = position
        let escaped = try Self.scanString(bytes, &position)
        let key = (opening + 1)..<(position - 1)
        try noteKey(bytes, key, escaped, base: base, seen: &seen)
        Self.skipSpace(bytes, &position)
        guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else {
            throw WireError(.notJSON, "a colon was expected here", offset: position)
        }
        position += 1
        Self.skipSpace(bytes, &position)
        let start = position
        let kind = try scanValue(
            bytes, &position, depth: depth + 1, level: Self.inner(of: level, bytes, key, isEscaped: escaped))
        return Member(key: key, value: start..<position, kind: kind, keyIsEscaped: escaped)
    }

    /// The payload of a message is under `params`, `result` or `error`; its `_meta` is one level below.
    private static func inner(of level: Level, _ bytes: Span<UInt8>, _ key: Range<Int>, isEscaped: Bool) -> Level {
        switch level {
        case .root:
            let isBody =
                JSONText.key(bytes, key, isEscaped, equals: "params")
                || JSONText.key(bytes, key, isEscaped, equals: "result")
                || JSONText.key(bytes, key, isEscaped, equals: "error")
            return isBody ? .body : .elsewhere
        case .body:
            return JSONText.key(bytes, key, isEscaped, equals: "_meta") ? .meta : .elsewhere
        case .meta, .elsewhere:
            return .elsewhere
        }
    }

    /// Refuses a key that the innermost object has already. Small objects are compared one by one; past 24 keys a set of hashes
    /// takes over, so that an object of many keys costs no quadratic time. The hash is 64 bits wide: two honest keys do not meet.
    private mutating func noteKey(
        _ bytes: Span<UInt8>, _ key: Range<Int>, _ isEscaped: Bool, base: Int, seen: inout Set<UInt64>
    ) throws(WireError) {
        let hash = isEscaped ? Self.hash(JSONText.unescape(bytes, key).span) : Self.hash(bytes.extracting(key))
        let count = keys.count - base
        if count < 24 {
            for index in base..<keys.count where keys[index].hash == hash {
                throw WireError(.notJSON, "the same key stands twice in one object", offset: key.lowerBound)
            }
        } else {
            if seen.isEmpty { for index in base..<keys.count { seen.insert(keys[index].hash) } }
            guard seen.insert(hash).inserted else {
                throw WireError(.notJSON, "the same key stands twice in one object", offset: key.lowerBound)
            }
        }
        keys.append(KeyMark(hash: hash, range: key, isEscaped: isEscaped))
    }

    /// FNV-1a, 64 bits: quick on the short keys of real messages.
    private static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in bytes.indices {
            hash = (hash ^ UInt64(bytes[index])) &* 0x0000_0100_0000_01b3
        }
        return hash
    }
}
