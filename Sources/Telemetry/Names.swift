// Licensed under the Apache License 2.0; see LICENSE.

/// The keys of facts in log lines, one vocabulary for the whole house.
package enum LogKey {
    package static let requestID = "request_id"
    package static let traceID = "trace_id"
    package static let upstream = "upstream"
    package static let tool = "tool"
    package static let tools = "tools"
    package static let revision = "revision"
    package static let took = "took"
    package static let count = "count"
    package static let item = "item"
    package static let file = "file"
    package static let detail = "detail"
    package static let address = "address"
    package static let pid = "pid"
    package static let grace = "grace"
    package static let residentBefore = "resident_before"
    package static let residentAfter = "resident_after"
}

/// Who is speaking in a log line.
package enum LogComponent {
    package static let daemon = "daemon"
    package static let front = "front"
    package static let gateway = "gateway"
    package static let catalogue = "catalogue"
    package static let wasm = "wasm"
    package static let upstreams = "upstreams"
    package static let storage = "storage"
}

/// The events of `security.log`.
package enum SecurityEvent {
    package static let authFailure = "auth_failure"
    /// An address that is refused for a while, since it shows one wrong token after the other.
    package static let lockout = "lockout"
    package static let originRefused = "origin_refused"
    package static let hostRefused = "host_refused"
    /// A connection that did not come to speak TLS.
    package static let tlsRefused = "tls_refused"
    package static let toolPinMismatch = "tool_pin_mismatch"
    /// An order or a question of an operator, done or not.
    package static let adminCall = "admin_call"
    /// Somebody who is no operator asked for an admin route.
    package static let adminRefused = "admin_refused"
    /// app.log is over its size limit and could not be put aside.
    package static let logKeepsGrowing = "log_keeps_growing"
    /// security.log could not be written for a while, and lacks lines.
    package static let logLinesMissing = "log_lines_missing"

    package static let all = [
        authFailure, lockout, originRefused, hostRefused, tlsRefused, toolPinMismatch, adminCall, adminRefused,
        logKeepsGrowing, logLinesMissing,
    ]
}
