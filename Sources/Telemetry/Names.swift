// Licensed under the Apache License 2.0; see LICENSE.

/// A metric's name with the sentence that explains it. The table of all of them is below; nobody spells a name
/// elsewhere.
package struct MetricName: Sendable {
    package let name: String
    package let help: String

    private init(_ name: String, _ help: String) {
        self.name = name
        self.help = help
    }

    // What operators' queries and dashboards already name.
    package static let httpRequests = MetricName(
        "http_requests_total", "HTTP requests answered, by method, route and status.")
    package static let httpDuration = MetricName(
        "http_request_duration_seconds", "Time from the request to the head of its answer.")
    package static let queueSize = MetricName("mcp_queue_size", "Calls stored that wait or are being sent.")
    package static let processResidentMemory = MetricName(
        "process_resident_memory_bytes", "Memory of the process that is in RAM.")
    package static let processCPU = MetricName(
        "process_cpu_seconds_total", "User and system CPU time of the process.")
    package static let processOpenFiles = MetricName("process_open_fds", "Open file descriptors.")
    package static let processStartTime = MetricName(
        "process_start_time_seconds", "When the process began, in seconds since 1970.")

    // Calls.
    package static let mcpRequests = MetricName("mcp_requests_total", "MCP requests, by method and outcome.")
    package static let toolCalls = MetricName("mcp_tool_calls_total", "Tool calls, by tool, route and outcome.")
    package static let toolCallDuration = MetricName(
        "mcp_tool_call_duration_seconds", "Time from a tool call's arrival to its answer.")
    package static let callsInFlight = MetricName("mcp_calls_in_flight", "Tool calls being worked on now.")

    package static let callsWaiting = MetricName("mcp_calls_waiting", "Tool calls that wait for their turn now.")
    package static let rateLimited = MetricName(
        "mcp_rate_limited_total", "Requests refused because they came too soon, by the limit that refused them.")

    package static let callsShed = MetricName(
        "mcp_calls_shed_total", "Requests turned away because there was no room for them.")

    package static let authFailures = MetricName(
        "mcp_auth_failures_total", "Requests with a token that is not good.")

    package static let callsParked = MetricName(
        "mcp_calls_parked", "Calls that wait for their client to come back with answers.")
    package static let listeners = MetricName("mcp_listeners", "Clients that hear of changes now.")

    // Stored calls.
    package static let queueSent = MetricName("mcp_queue_sent_total", "Stored calls that were sent, or tried.")

    // Kept answers.
    package static let cacheEntries = MetricName("mcp_cache_entries", "Answers that are kept.")
    package static let cacheBytes = MetricName("mcp_cache_bytes", "What the kept answers take on disk.")
    package static let cacheLookups = MetricName(
        "mcp_cache_lookups_total", "Calls that a kept answer could serve, by what came of it: fresh, stale, miss.")

    // Backends.
    package static let breakerState = MetricName(
        "mcp_circuit_breaker_state", "0 when the upstream's breaker is closed (traffic flows), 1 half-open, 2 open.")
    package static let upstreamUp = MetricName("mcp_upstream_up", "1 when the upstream answers, else 0.")
    package static let upstreamSessions = MetricName(
        "mcp_upstream_sessions", "Sessions held at the upstream for single clients.")
    package static let wasmInstances = MetricName("mcp_wasm_instances", "Sandboxed instances at work now.")

    // The whole.
    package static let buildInfo = MetricName("mcp_build_info", "Always 1; the version is in the label.")
    package static let componentStatus = MetricName(
        "mcp_component_status", "What /health says of each component: 0 healthy, 1 degraded, 2 unhealthy.")
    package static let certificateExpires = MetricName(
        "mcp_certificate_expires_seconds", "Until when the listener's certificate is valid, in seconds since 1970.")

    // The machine.
    package static let cpuLimit = MetricName(
        "mcp_cpu_limit_cores", "Cores that may be used: the quota of the control group, or those of the machine.")
    package static let memoryLimit = MetricName(
        "mcp_memory_limit_bytes", "Memory that may be used: the limit of the control group, or of the machine.")
    package static let memoryPressure = MetricName(
        "mcp_memory_pressure",
        "0 when there is room, 1 caches are dropped, 2 calls that can wait are stored, 3 all are refused.")

    // Listener.
    package static let connections = MetricName("mcp_connections", "Open client connections.")
    package static let streamSeconds = MetricName(
        "mcp_stream_duration_seconds", "How long listening streams to clients stayed open.")
    package static let tlsHandshakeFailures = MetricName(
        "mcp_tls_handshake_failures_total", "Connections ended because they did not come to speak TLS, or not in time.")

    // The queue.
    package static let queueItems = MetricName("mcp_queue_items", "Calls in the queue's table, by status.")
    package static let queueLimit = MetricName("mcp_queue_limit_items", "Calls that may be stored at one time.")
    package static let queueOldestAge = MetricName(
        "mcp_queue_oldest_age_seconds", "How long the oldest call that waits or is being sent has been stored.")

    // Storage and logs.
    package static let journalRows = MetricName("mcp_journal_rows_total", "Log rows written to the database, by table.")
    package static let journalDropped = MetricName(
        "mcp_journal_rows_dropped_total", "Log rows lost because the database could not take them, by table.")
    package static let storageCommit = MetricName("mcp_storage_commit_seconds", "Time of one commit to the database.")
    package static let backupAge = MetricName(
        "mcp_backup_age_seconds", "How old the newest daily backup is; +Inf where there is none.")
    package static let storageFree = MetricName("mcp_storage_free_bytes", "Free space where the database is.")
    package static let logDropped = MetricName(
        "mcp_log_lines_dropped_total", "Log lines that could not be written, by file.")
    package static let logRotations = MetricName(
        "mcp_log_rotations_total", "Log files put aside at their size limit, by file and outcome: done, refused.")
}

extension MetricsRegistry {
    package func counter(_ metric: MetricName, labels: [(String, String)] = []) -> Counter {
        counter(metric.name, help: metric.help, labels: labels)
    }

    package func gauge(_ metric: MetricName, labels: [(String, String)] = []) -> Gauge {
        gauge(metric.name, help: metric.help, labels: labels)
    }

    package func histogram(
        _ metric: MetricName, buckets: [Double] = Histogram.requestSeconds, labels: [(String, String)] = []
    ) -> Histogram {
        histogram(metric.name, help: metric.help, buckets: buckets, labels: labels)
    }

    package func gauge(
        _ metric: MetricName, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        gauge(metric.name, help: metric.help, labels: labels, read: read)
    }

    /// A gauge whose series come and go; see `MetricsRegistry.gauges`.
    package func gauges(
        _ metric: MetricName, label: String, read: @escaping @Sendable () -> [(value: String, number: Double)]
    ) {
        gauges(metric.name, help: metric.help, label: label, read: read)
    }

    package func counter(
        _ metric: MetricName, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        counter(metric.name, help: metric.help, labels: labels, read: read)
    }

    /// Takes one series out; what it stood for is gone.
    package func remove(_ metric: MetricName, labels: [(String, String)]) {
        remove(metric.name, labels: labels)
    }
}

/// The keys of facts in log lines, one vocabulary for the whole house.
package enum LogKey {
    package static let requestID = "request_id"
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
}
