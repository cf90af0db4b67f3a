// Licensed under the Apache License 2.0; see LICENSE.

/// Something an owner offers: a tool, a prompt, a resource or a template of resources, as the owner describes it.
package struct OfferedItem: Sendable, Equatable {
    /// What it is asked for by: the owner's own name of a tool or prompt, a URI, or a URI template.
    package var name: String
    /// One JSON object as it stands in the owner's list, number spelling and unknown keywords untouched.
    package var definition: [UInt8]

    package init(name: String, definition: [UInt8]) {
        self.name = name
        self.definition = definition
    }
}

/// Everything an owner is known to have.
package struct Offers: Sendable, Equatable {
    package var tools: [OfferedItem]
    package var prompts: [OfferedItem]
    package var resources: [OfferedItem]
    package var templates: [OfferedItem]
    /// It completes arguments.
    package var completes = false
    /// It tells when single resources change.
    package var announcesUpdates = false
    /// What it tells models about itself.
    package var instructions: String?

    package init(
        tools: [OfferedItem] = [], prompts: [OfferedItem] = [], resources: [OfferedItem] = [],
        templates: [OfferedItem] = []
    ) {
        self.tools = tools
        self.prompts = prompts
        self.resources = resources
        self.templates = templates
    }
}

/// Somebody who owns tools, prompts or resources: a sandboxed module or an upstream server.
package protocol Backend: Sendable {
    /// The label in the configuration; also the default prefix.
    var name: String { get }
    /// `wasm` or `upstream`, for metrics and rows.
    var route: String { get }
    /// What it is known to have. Never waits: the last known lists, in the owner's order.
    func offers() -> Offers
    /// Carries one call out. Ends by the call's deadline, whatever the owner does.
    func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer
    /// Whether it may ask its questions while a call stays open. A client that cannot be asked then needs the call kept
    /// for it.
    var asksDuringCalls: Bool { get }
    /// Whether calls can reach it now, as far as is known.
    var isReachable: Bool { get }
    /// It has asked for a pause until then; nil when it takes calls now.
    var refusesUntil: Moment? { get }
    /// Whether calls reach it with headers, so that arguments can be asked for in them.
    var takesHeaders: Bool { get }
    /// From here on exactly these resources are watched, by their owner's URIs. Returns when that is in force, or after
    /// a few seconds when it cannot be had now; it is then put in force as soon as it can. Orders may overtake each
    /// other on the way: the one with the highest number counts.
    func watch(_ uris: Set<String>, order: Int) async
    /// A client's legacy session is over: what was held for it alone can go.
    func forget(_ session: SessionKey)
}

extension Backend {
    package var asksDuringCalls: Bool { false }
    package var takesHeaders: Bool { true }
    package var refusesUntil: Moment? { nil }
    package var isReachable: Bool { true }
    package func watch(_ uris: Set<String>, order: Int) async {}
    package func forget(_ session: SessionKey) {}
}

/// One line of `/health`.
package struct ComponentStatus: Sendable, Equatable {
    package enum Level: String, Sendable, Comparable {
        case healthy, degraded, unhealthy

        /// 0 for healthy, rising with what is wrong.
        package var rank: Int {
            switch self {
            case .healthy: 0
            case .degraded: 1
            case .unhealthy: 2
            }
        }

        package static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
    }

    package var name: String
    package var status: Level
    package var detail: String
    /// Whether this component being down means that no call can be accepted. An upstream never is: being offline is
    /// normal.
    package var isVital: Bool
    /// Wall milliseconds at which it was last looked at.
    package var checkedAt: Int64
    /// Wall milliseconds since which it has this status, where known.
    package var since: Int64?

    package init(
        name: String, status: Level, detail: String, isVital: Bool = false, checkedAt: Int64, since: Int64? = nil
    ) {
        self.name = name
        self.status = status
        self.detail = detail
        self.isVital = isVital
        self.checkedAt = checkedAt
        self.since = since
    }
}

/// Rooms report their state through this. Answers from what is known; never waits.
package protocol StatusSource: Sendable {
    func components() -> [ComponentStatus]
}

/// One row of `request_log`.
package struct CallRecord: Sendable {
    package var wallMilliseconds: Int64
    /// The MCP method.
    package var method: String
    /// The merged name of the tool, when it is one the gateway knows; never free text of a client.
    package var tool: String?
    package var upstream: String?
    package var route: String
    /// `ok`, `tool_error`, `failed`, `refused`, `limited`.
    package var status: String
    package var responseMilliseconds: Double
    package var caller: String
    package var requestID: RequestID

    package init(
        wallMilliseconds: Int64, method: String, tool: String?, upstream: String?, route: String, status: String,
        responseMilliseconds: Double, caller: String, requestID: RequestID
    ) {
        self.wallMilliseconds = wallMilliseconds
        self.method = method
        self.tool = tool
        self.upstream = upstream
        self.route = route
        self.status = status
        self.responseMilliseconds = responseMilliseconds
        self.caller = caller
        self.requestID = requestID
    }

    /// Whether the row must survive sampling.
    package var isError: Bool { status == "failed" }
}

/// One row of `error_log`.
package struct ErrorRecord: Sendable {
    package var wallMilliseconds: Int64
    package var errorType: String
    package var message: String
    package var component: String
    package var requestID: RequestID?

    package init(
        wallMilliseconds: Int64, errorType: String, message: String, component: String, requestID: RequestID? = nil
    ) {
        self.wallMilliseconds = wallMilliseconds
        self.errorType = errorType
        self.message = message
        self.component = component
        self.requestID = requestID
    }
}

/// Where calls and errors are written down. Both return at once: the writing happens in batches on another thread, and
/// when the disk cannot keep up rows are dropped and counted, never callers delayed.
package protocol Journal: Sendable {
    func record(_ call: CallRecord)
    func record(_ error: ErrorRecord)
}

/// Sessions that a client has ended. They stay ended over restarts.
package protocol Tombstones: Sendable {
    /// Looks in memory only.
    func contains(_ session: SessionKey) -> Bool
    /// Remembers it; in force at once, on disk within a second. `expires` is wall milliseconds, after which no such id
    /// is valid anyway.
    func add(_ session: SessionKey, expires: Int64)
}

/// The random part of a session id.
package struct SessionKey: Sendable, Hashable {
    package let bytes: [UInt8]
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
}
