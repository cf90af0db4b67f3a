// Licensed under the Apache License 2.0; see LICENSE.

/// The methods the gateway knows by name; everything else is `other`.
public enum Method: Sendable, Equatable {
    case initialize, initialized, ping, discover
    case toolsList, toolsCall
    case cancelled
    case other(String)

    /// The name on the wire.
    public var name: String {
        switch self {
        case .initialize: "initialize"
        case .initialized: "notifications/initialized"
        case .ping: "ping"
        case .discover: "server/discover"
        case .toolsList: "tools/list"
        case .toolsCall: "tools/call"
        case .cancelled: "notifications/cancelled"
        case .other(let name): name
        }
    }

    /// The method named between the quotes at `range`.
    init(_ bytes: Span<UInt8>, inside range: Range<Int>) {
        let isEscaped = JSONText.hasEscape(bytes, range)
        func equals(_ word: StaticString) -> Bool { JSONText.key(bytes, range, isEscaped, equals: word) }
        if equals("tools/call") {
            self = .toolsCall
        } else if equals("tools/list") {
            self = .toolsList
        } else if equals("ping") {
            self = .ping
        } else if equals("initialize") {
            self = .initialize
        } else if equals("notifications/initialized") {
            self = .initialized
        } else if equals("server/discover") {
            self = .discover
        } else if equals("notifications/cancelled") {
            self = .cancelled
        } else {
            self = .other(JSONText.string(bytes, inside: range))
        }
    }
}

/// One JSON-RPC message: its envelope taken apart, its payload left in the bytes it came in.
///
/// All ranges are offsets from the start of the bytes that were parsed.
public struct Message: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case request, notification, result, error
    }

    public var kind: Kind
    /// Meaningful for requests and notifications.
    public var method: Method
    /// The id exactly as written (`7`, `"7"`, `9007199254740993`), always a string or an integer; nil for
    /// notifications, and for an error whose sender could not read the id.
    public var id: Range<Int>?
    /// The value of `params`, `result` or `error`.
    public var body: Range<Int>?
    public var bodyKind: ValueKind?
    /// The members of `body` when it is an object.
    public var members: [Member]
    /// The members of `body._meta` when that is an object.
    public var meta: [Member]

    /// The member of the payload with this key.
    public func member(_ key: StaticString, in bytes: Span<UInt8>) -> Member? {
        Self.find(key, members, bytes)
    }

    /// The member of `_meta` with this key.
    public func metaMember(_ key: StaticString, in bytes: Span<UInt8>) -> Member? {
        Self.find(key, meta, bytes)
    }

    public static func find(_ key: StaticString, _ members: [Member], _ bytes: Span<UInt8>) -> Member? {
        for member in members where JSONText.key(bytes, member.key, member.keyIsEscaped, equals: key) { return member }
        return nil
    }
}

extension Member {
    /// Whether the key is `word`, escapes resolved.
    public func isNamed(_ word: StaticString, in bytes: Span<UInt8>) -> Bool {
        JSONText.key(bytes, key, keyIsEscaped, equals: word)
    }

    /// Whether the key begins with `prefix`, byte for byte: no Unicode equivalence. An escaped key is decoded first.
    public func keyBegins(with prefix: String, in bytes: Span<UInt8>) -> Bool {
        if keyIsEscaped { return JSONText.unescape(bytes, key).starts(with: prefix.utf8) }
        guard key.count >= prefix.utf8.count else { return false }
        var index = key.lowerBound
        for byte in prefix.utf8 {
            if bytes[index] != byte { return false }
            index += 1
        }
        return true
    }
}
