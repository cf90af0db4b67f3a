// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

/// Stored calls as operators see them: facts about them, never what is in them. Arguments and results are the caller's,
/// and so is the handle, which is all one needs to ask for a result.
enum QueueFacts {
    static func json(_ call: StoredCall, now: Int64) -> JSONValue {
        .object([
            ("id", .integer(call.id)), ("status", .string(call.status.rawValue)),
            ("upstream", .string(call.upstream)), ("tool", .string(call.tool)), ("caller", .string(call.caller)),
            ("idempotent", .bool(call.isIdempotent)), ("priority", .integer(call.priority)),
            ("attempts", .integer(call.attempts)), ("age_seconds", age(since: call.createdAt, now)),
            ("created_at", time(call.createdAt)), ("updated_at", time(call.updatedAt)),
            ("available_at", time(call.availableAt)), ("expires_at", call.expiresAt.map(time) ?? .null),
            ("last_error", call.lastError.map { .string($0) } ?? .null), ("request_id", .string(call.requestID)),
        ])
    }

    /// With what helps to look for it at its upstream, and how large an answer there is.
    static func json(_ outcome: StoredOutcome, now: Int64) -> JSONValue {
        var members = json(outcome.call, now: now).objectValue ?? []
        members.append(("target", .string(outcome.call.target)))
        members.append(("idempotency_key", .string(outcome.call.idempotencyKey)))
        switch outcome.answer {
        case .result(let bytes): members.append(("answer", answer("result", bytes)))
        case .protocolError(let bytes): members.append(("answer", answer("error", bytes)))
        case nil: members.append(("answer", .null))
        }
        return .object(members)
    }

    private static func answer(_ kind: String, _ bytes: [UInt8]) -> JSONValue {
        .object([("kind", .string(kind)), ("bytes", .integer(bytes.count))])
    }

    static func json(_ counts: QueueCounts, now: Int64) -> JSONValue {
        let items = StoredStatus.allCases.map { ($0.rawValue, JSONValue.integer(counts.items[$0, default: 0])) }
        return .object([
            ("items", .object(items)), ("waiting", .integer(counts.waiting)), ("bytes", .integer(counts.bytes)),
            ("oldest_waiting", counts.oldestWaiting.map(time) ?? .null),
            ("oldest_age_seconds", counts.oldestWaiting.map { age(since: $0, now) } ?? .null),
        ])
    }

    static func words(_ counts: QueueCounts, now: Int64) -> String {
        let kept = counts.items.values.reduce(0, +)
        var parts = [counts.waiting == 0 ? "no calls wait" : "\(Words.count(counts.waiting, "call")) to be sent"]
        let undecided = counts.items[.unknown, default: 0]
        if undecided > 0 { parts.append("\(undecided) to be decided by a person") }
        parts.append("\(kept) stored in all, \(counts.bytes) bytes")
        return parts.joined(separator: ", ")
    }

    private static func time(_ milliseconds: Int64) -> JSONValue { .string(WallTime.text(milliseconds: milliseconds)) }

    /// A clock that was set back makes nothing younger than now.
    private static func age(since milliseconds: Int64, _ now: Int64) -> JSONValue {
        .integer(max(0, now - milliseconds) / 1_000)
    }
}
