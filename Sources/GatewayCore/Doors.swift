// Licensed under the Apache License 2.0; see LICENSE.

/// A tool as its owner describes it: the owner's own name and the raw JSON of its definition.
package struct ToolDescriptor: Sendable, Equatable {
    package var name: String
    /// One JSON object as it stands in the owner's `tools/list`, number spelling and unknown keywords untouched.
    package var definition: [UInt8]

    package init(name: String, definition: [UInt8]) {
        self.name = name
        self.definition = definition
    }
}

/// Somebody who owns tools: a sandboxed module or an upstream server.
package protocol ToolBackend: Sendable {
    /// The label in the configuration; also the default prefix.
    var name: String { get }
    /// `wasm` or `upstream`, for metrics and rows.
    var route: String { get }
    /// The tools it is known to have. Never waits: the last known list, in the owner's order.
    func tools() -> [ToolDescriptor]
    /// Carries one call out. Ends by the call's deadline, whatever the owner does.
    func call(_ call: ToolCall) async throws(CallFailure) -> ToolReply
}

/// One line of `/health`.
package struct ComponentStatus: Sendable, Equatable {
    package enum Level: String, Sendable, Comparable {
        case healthy, degraded, unhealthy

        private var rank: Int {
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
    /// `ok`, `tool_error`, `failed`, `refused`.
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
