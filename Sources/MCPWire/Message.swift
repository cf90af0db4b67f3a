// Licensed under the Apache License 2.0; see LICENSE.

/// The methods the gateway knows by name; everything else is `other`.
public enum Method: Sendable, Equatable {
    case initialize, initialized, ping, discover
    case toolsList, toolsCall
    case promptsList, promptsGet
    case resourcesList, templatesList, resourcesRead, subscribe, unsubscribe
    case listen, complete, setLevel
    case tasksGet, tasksResult, tasksUpdate, tasksCancel
    /// Asked by servers.
    case createMessage, elicit, rootsList
    /// Notifications.
    case cancelled, progress, logMessage
    case toolsChanged, promptsChanged, resourcesChanged, resourceUpdated, rootsChanged
    case acknowledged, elicitationComplete
    case other(String)

    /// Every method with its name on the wire; what is called most stands first.
    static let names: [(method: Method, name: StaticString)] = [
        (.toolsCall, "tools/call"),
        (.toolsList, "tools/list"),
        (.ping, "ping"),
        (.initialize, "initialize"),
        (.initialized, "notifications/initialized"),
        (.discover, "server/discover"),
        (.promptsList, "prompts/list"),
        (.promptsGet, "prompts/get"),
        (.resourcesList, "resources/list"),
        (.templatesList, "resources/templates/list"),
        (.resourcesRead, "resources/read"),
        (.subscribe, "resources/subscribe"),
        (.unsubscribe, "resources/unsubscribe"),
        (.listen, "subscriptions/listen"),
        (.complete, "completion/complete"),
        (.setLevel, "logging/setLevel"),
        (.tasksGet, "tasks/get"),
        (.tasksResult, "tasks/result"),
        (.tasksUpdate, "tasks/update"),
        (.tasksCancel, "tasks/cancel"),
        (.createMessage, "sampling/createMessage"),
        (.elicit, "elicitation/create"),
        (.rootsList, "roots/list"),
        (.cancelled, "notifications/cancelled"),
        (.progress, "notifications/progress"),
        (.logMessage, "notifications/message"),
        (.toolsChanged, "notifications/tools/list_changed"),
        (.promptsChanged, "notifications/prompts/list_changed"),
        (.resourcesChanged, "notifications/resources/list_changed"),
        (.resourceUpdated, "notifications/resources/updated"),
        (.rootsChanged, "notifications/roots/list_changed"),
        (.acknowledged, "notifications/subscriptions/acknowledged"),
        (.elicitationComplete, "notifications/elicitation/complete"),
    ]

    /// The name on the wire.
    public var name: String {
        if case .other(let name) = self { return name }
        return Self.names.first { $0.method == self }.map { "\($0.name)" } ?? ""
    }

    /// The method named between the quotes at `range`.
    init(_ bytes: Span<UInt8>, inside range: Range<Int>) {
        let isEscaped = JSONText.hasEscape(bytes, range)
        for (method, name) in Self.names where JSONText.key(bytes, range, isEscaped, equals: name) {
            self = method
            return
        }
        self = .other(JSONText.string(bytes, inside: range))
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
