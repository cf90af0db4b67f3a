// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

/// How a stored call looks to the client that made it: as a task, or in words.
struct StoredShape: Sendable {
    /// Says how long a result can be asked for after it is there.
    let settings: LiveSettings

    /// In `_meta` of answers about stored calls.
    static let metaMember = "mcp-gateway/stored-call"

    // MARK: As a task (2026-07-28)

    /// Members of a task object, without braces and without `resultType`.
    ///
    /// - Parameter outcome: members that only a finished task has, such as `"result":…`.
    func taskMembers(_ call: StoredCall, outcome: String = "") -> String {
        var members = #""taskId":\#(JSONText.quoted(call.handle)),"status":"\#(Self.status(call))","#
        members += #""statusMessage":\#(JSONText.quoted(Self.message(call))),"#
        members += #""createdAt":"\#(Self.time(call.createdAt))","lastUpdatedAt":"\#(Self.time(call.updatedAt))","#
        members += #""ttlMs":\#(lifetime(call)),"pollIntervalMs":\#(call.status == .inFlight ? 1_000 : 5_000)"#
        return outcome.isEmpty ? members : members + "," + outcome
    }

    /// The same for 2025-11-25.
    ///
    /// - Parameter hasFailed: its owner answered `isError`.
    func legacyTaskMembers(_ call: StoredCall, hasFailed: Bool = false) -> String {
        let status = hasFailed && call.status == .completed ? "failed" : Self.status(call)
        return #""taskId":\#(JSONText.quoted(call.handle)),"status":"\#(status)","#
            + #""statusMessage":\#(JSONText.quoted(Self.message(call))),"createdAt":"\#(Self.time(call.createdAt))","#
            + #""lastUpdatedAt":"\#(Self.time(call.updatedAt))","ttl":\#(lifetime(call)),"#
            + #""pollInterval":\#(call.status == .inFlight ? 1_000 : 5_000)"#
    }

    /// From when it was stored to when its result may be gone, in milliseconds.
    private func lifetime(_ call: StoredCall) -> Int64 {
        let waiting = call.expiresAt.map { max(0, $0 - call.createdAt) } ?? 365 * 86_400_000
        return waiting + Int64(settings.now.resultKept.milliseconds)
    }

    static func status(_ call: StoredCall) -> String {
        switch call.status {
        case .queued, .inFlight: "working"
        case .completed: "completed"
        case .failed, .expired, .unknown: "failed"
        // The client has not cancelled what the gateway gave up for want of room.
        case .cancelled: isDropped(call) ? "failed" : "cancelled"
        }
    }

    private static func isDropped(_ call: StoredCall) -> Bool { call.lastError?.hasPrefix("dropped") == true }

    static func message(_ call: StoredCall) -> String {
        let reason = call.lastError.map { " (\($0))" } ?? ""
        // Only what was not sent, or was answered, is known not to have been done.
        let isDoubtful = call.attempts > 0
        let sent = "It was sent \(call.attempts == 1 ? "once" : "\(call.attempts) times") without an answer"
        switch call.status {
        case .queued: return "Stored; it is sent when its server can be reached\(reason)."
        case .inFlight: return "It is being sent."
        case .completed: return "Done."
        case .failed: return "It was not done\(reason)."
        case .expired where isDoubtful: return "\(sent), and its time is over: whether it was done is unknown."
        case .expired: return "It was not done: its time was over before its server could be reached."
        case .cancelled where isDoubtful:
            return "\(sent), and it was given up: whether it was done is unknown\(reason)."
        case .cancelled: return "It was given up before it was sent\(reason)."
        case .unknown:
            return "It was sent and its answer was lost: whether it was done is unknown. A person has to look\(reason)."
        }
    }

    static func time(_ milliseconds: Int64) -> String {
        WallTime.text(milliseconds: milliseconds).replacing(" ", with: "T") + "Z"
    }

    // MARK: In words

    /// Members of the result of a call that was stored, for clients without tasks.
    func notDoneYet(_ call: StoredCall) -> String {
        let words =
            "NOT DONE YET: stored as \(call.handle); do not call again; ask gateway__queue_result. "
            + Self.message(call)
        return Self.members(words, isError: false)
    }

    /// How the call is, for `gateway__queue_status`.
    func statusMembers(_ call: StoredCall) -> String {
        let state: JSONValue = [
            "handle": .string(call.handle), "status": .string(call.status.rawValue), "tool": .string(call.tool),
            "attempts": .number(String(call.attempts)), "stored_at": .string(Self.time(call.createdAt)),
            "message": .string(Self.message(call)),
        ]
        let words = "\(call.tool), stored as \(call.handle): \(call.status.rawValue). \(Self.message(call))"
        return Self.members(words, isError: false) + #","structuredContent":\#(state.text)"#
    }

    /// For a call that ended without an answer of its owner.
    func endedMembers(_ call: StoredCall) -> String {
        let words =
            call.status == .completed ? "It was carried out; its result cannot be given now." : Self.message(call)
        return Self.members("\(call.tool) was stored as \(call.handle). \(words)", isError: true)
    }

    /// For a call that ended without an answer of its owner, as an error object.
    static func error(_ call: StoredCall) -> String {
        #"{"code":-32603,"message":\#(JSONText.quoted(message(call)))}"#
    }

    private static func members(_ words: String, isError: Bool) -> String {
        #""content":[{"type":"text","text":\#(JSONText.quoted(words))}],"isError":\#(isError)"#
    }

    /// The same facts for programs, in `_meta`.
    static func meta(_ call: StoredCall) -> String {
        #""\#(metaMember)":{"handle":\#(JSONText.quoted(call.handle)),"status":"\#(call.status.rawValue)"}"#
    }
}
