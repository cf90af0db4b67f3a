// Licensed under the Apache License 2.0; see LICENSE.

/// A metric: its name, its kind, its labels, and the sentence that explains it. All of them are here; nobody spells a
/// name elsewhere, and `docs/METRICS.md` is made from this list.
package struct MetricName: Sendable {
    package let name: String
    package let help: String
    package let labels: [String]
    /// The one of them whose values are many.
    let growing: String?
    let kind: MetricsRegistry.Kind

    private init(
        _ kind: MetricsRegistry.Kind, _ name: String, labels: [String] = [], growing: String? = nil, _ help: String
    ) {
        self.kind = kind
        self.name = name
        self.labels = labels
        self.growing = growing
        self.help = help
    }

    // What operators' queries and dashboards already name.
    package static let httpRequests = MetricName(
        .counter, "http_requests_total", labels: ["method", "path", "status"],
        "HTTP requests answered, by method, route and status. 500 and 503 of the routes for clients are there from the "
            + "start, others come with the first answer.")
    package static let httpDuration = MetricName(
        .histogram, "http_request_duration_seconds", labels: ["path"],
        "Time from the request to its answer; of a stream that stays open for news, to its head. Without the time "
            + "that a person took to answer questions.")
    package static let queueSize = MetricName(
        .gauge, "mcp_queue_size",
        "Calls stored that wait or are being sent.")
    package static let processResidentMemory = MetricName(
        .gauge, "process_resident_memory_bytes",
        "Memory of the process that is in RAM.")
    package static let processCPU = MetricName(
        .counter, "process_cpu_seconds_total",
        "User and system CPU time of the process.")
    package static let processOpenFiles = MetricName(
        .gauge, "process_open_fds",
        "Open file descriptors.")
    package static let processStartTime = MetricName(
        .gauge, "process_start_time_seconds",
        "When the process began, in seconds since 1970.")

    // Calls.
    package static let mcpRequests = MetricName(
        .counter, "mcp_requests_total", labels: ["method"],
        "MCP requests, by method.")
    package static let toolCalls = MetricName(
        .counter, "mcp_tool_calls_total", labels: ["tool", "route", "outcome"], growing: "tool",
        "Tool calls, by tool, route and outcome: ok; tool_error, where the tool said so, the client was wrong, or "
            + "left; failed, also by a max_in_flight of the upstream or tool. Of very many tools each is there from "
            + "its first call on, and those beyond 333 together as tool other.")
    package static let toolCallDuration = MetricName(
        .histogram, "mcp_tool_call_duration_seconds", labels: ["route"],
        "Time from a tool call's arrival to its answer, without the time that a person took to answer questions.")
    package static let callsInFlight = MetricName(
        .gauge, "mcp_calls_in_flight",
        "Tool calls being worked on now.")

    package static let callsWaiting = MetricName(
        .gauge, "mcp_calls_waiting",
        "Tool calls that wait for their turn now.")
    package static let rateLimited = MetricName(
        .counter, "mcp_rate_limited_total", labels: ["scope"],
        "Requests refused because they came too soon, by the limit that refused them.")

    package static let callsShed = MetricName(
        .counter, "mcp_calls_shed_total",
        "Requests turned away because there was no room for them in the gateway: limits.max_in_flight, memory, "
            + "server.max_connections, a drain or a stop. Not those for an upstream that is full, see "
            + "mcp_tool_calls_total.")

    package static let authFailures = MetricName(
        .counter, "mcp_auth_failures_total",
        "Requests refused because their token is not good, of clients and of operators. Requests without one are not "
            + "counted.")

    package static let securityEvents = MetricName(
        .counter, "mcp_security_events_total", labels: ["event"],
        "What security.log tells of, by event, with those whose lines were left out.")

    package static let callsParked = MetricName(
        .gauge, "mcp_calls_parked",
        "Calls that wait for their client to come back with answers.")
    package static let listeners = MetricName(
        .gauge, "mcp_listeners",
        "Clients that hear of changes now.")

    // Stored calls.
    package static let queueSent = MetricName(
        .counter, "mcp_queue_sent_total",
        "Stored calls that were sent, or tried.")

    // Kept answers.
    package static let cacheEntries = MetricName(
        .gauge, "mcp_cache_entries",
        "Answers that are kept.")
    package static let cacheBytes = MetricName(
        .gauge, "mcp_cache_bytes",
        "What the kept answers take on disk.")
    package static let cacheLookups = MetricName(
        .counter, "mcp_cache_lookups_total", labels: ["outcome"],
        "Calls that a kept answer could serve, by what came of it, each once: fresh, stale (there was no other), miss.")

    // Backends.
    package static let breakerState = MetricName(
        .gauge, "mcp_circuit_breaker_state", labels: ["upstream"],
        "0 when the upstream's breaker is closed (traffic flows), 1 half-open, 2 open. Only of upstreams that have one."
    )
    package static let toolBreakersOpen = MetricName(
        .gauge, "mcp_tool_breakers_open", labels: ["upstream"],
        "Tools of the upstream whose own breaker is open. Only of upstreams with such tools.")
    package static let upstreamUp = MetricName(
        .gauge, "mcp_upstream_up", labels: ["upstream"],
        "1 when the upstream answers, else 0. Only where there are upstreams.")
    package static let upstreamSessions = MetricName(
        .gauge, "mcp_upstream_sessions", labels: ["upstream"],
        "Sessions held at the upstream for single clients.")
    package static let upstreamRestarts = MetricName(
        .counter, "mcp_upstream_restarts_total", labels: ["upstream"],
        "Times the process of a stdio upstream failed after it had been up, and was started again.")
    package static let wasmInstances = MetricName(
        .gauge, "mcp_wasm_instances",
        "Sandboxed instances at work now.")

    // The whole.
    package static let buildInfo = MetricName(
        .gauge, "mcp_build_info", labels: ["version"],
        "Always 1; the version is in the label.")
    package static let componentStatus = MetricName(
        .gauge, "mcp_component_status", labels: ["component"],
        "What /health says of each component: 0 healthy, 1 degraded, 2 unhealthy.")
    package static let certificateExpires = MetricName(
        .gauge, "mcp_certificate_expires_seconds", labels: ["file"],
        "Until when the listener's certificate is valid, in seconds since 1970. Only with server.tls.")

    // Traces.
    package static let spansSent = MetricName(
        .counter, "mcp_spans_sent_total", "Spans that a collector has taken.")
    package static let spansDropped = MetricName(
        .counter, "mcp_spans_dropped_total", "Spans lost because no collector took them in time.")

    // The machine.
    package static let cpuLimit = MetricName(
        .gauge, "mcp_cpu_limit_cores",
        "Cores that may be used: the quota of the control group, or those of the machine.")
    package static let memoryUsed = MetricName(
        .gauge, "mcp_memory_used_bytes",
        "Memory used by all that share mcp_memory_limit_bytes, without what can be dropped at once: what the gateway "
            + "judges by.")
    package static let memoryLimit = MetricName(
        .gauge, "mcp_memory_limit_bytes",
        "Memory that may be used: the limit of the control group, or of the machine.")
    package static let memoryPressure = MetricName(
        .gauge, "mcp_memory_pressure",
        "0 when there is room, 1 caches are dropped, 2 calls that can wait are stored, 3 all are refused.")

    // Listener.
    package static let connections = MetricName(
        .gauge, "mcp_connections", labels: ["listener"],
        "Open client connections.")
    package static let streamSeconds = MetricName(
        .histogram, "mcp_stream_duration_seconds",
        "How long listening streams to clients stayed open.")
    package static let tlsHandshakeFailures = MetricName(
        .counter, "mcp_tls_handshake_failures_total",
        "Connections ended because they did not come to speak TLS, or not in time. Only with server.tls.")

    // The queue.
    package static let queueItems = MetricName(
        .gauge, "mcp_queue_items", labels: ["status"],
        "Calls in the queue's table, by status.")
    package static let queueLimit = MetricName(
        .gauge, "mcp_queue_limit_items",
        "Calls that may be stored at one time.")
    package static let queueBytes = MetricName(
        .gauge, "mcp_queue_bytes",
        "Bytes of stored calls that are not over. What is over makes room for new ones.")
    package static let queueBytesLimit = MetricName(
        .gauge, "mcp_queue_limit_bytes",
        "Bytes that stored calls may take at one time.")
    package static let queueOldestAge = MetricName(
        .gauge, "mcp_queue_oldest_age_seconds",
        "How long the oldest call that waits or is being sent has been stored.")

    // Storage and logs.
    package static let journalRows = MetricName(
        .counter, "mcp_journal_rows_total", labels: ["table"],
        "Log rows written to the database, by table.")
    package static let journalDropped = MetricName(
        .counter, "mcp_journal_rows_dropped_total", labels: ["table"],
        "Log rows lost because the database could not take them, by table.")
    package static let storageCommit = MetricName(
        .histogram, "mcp_storage_commit_seconds",
        "Time of one commit to the database.")
    package static let backupAge = MetricName(
        .gauge, "mcp_backup_age_seconds",
        "How old the newest daily backup is; +Inf where there is none.")
    package static let storageFree = MetricName(
        .gauge, "mcp_storage_free_bytes",
        "Free space where the database is.")
    package static let logDropped = MetricName(
        .counter, "mcp_log_lines_dropped_total", labels: ["file"],
        "Log lines that could not be written, by file.")
    package static let logRotations = MetricName(
        .counter, "mcp_log_rotations_total", labels: ["file", "outcome"],
        "Log files put aside at their size limit, by file and outcome: done, refused.")

    /// In the order of this file.
    package static let all: [MetricName] = [
        .httpRequests, .httpDuration, .queueSize, .processResidentMemory, .processCPU, .processOpenFiles,
        .processStartTime, .mcpRequests, .toolCalls, .toolCallDuration, .callsInFlight, .callsWaiting, .rateLimited,
        .callsShed, .authFailures, .securityEvents, .callsParked, .listeners, .queueSent, .cacheEntries, .cacheBytes,
        .cacheLookups,
        .breakerState, .toolBreakersOpen, .upstreamUp, .upstreamSessions, .upstreamRestarts, .wasmInstances,
        .buildInfo, .componentStatus,
        .certificateExpires, .spansSent, .spansDropped, .cpuLimit, .memoryUsed, .memoryLimit, .memoryPressure,
        .connections,
        .streamSeconds,
        .tlsHandshakeFailures, .queueItems, .queueLimit, .queueBytes, .queueBytesLimit, .queueOldestAge, .journalRows,
        .journalDropped, .storageCommit,
        .backupAge, .storageFree, .logDropped, .logRotations,
    ]

    /// Series of one kind and with labels of these names, or a mistake of ours.
    fileprivate func check(_ kind: MetricsRegistry.Kind, _ labels: [(String, String)]) {
        precondition(
            self.kind == kind && self.labels == labels.map(\.0), "\(name) is another kind, or has other labels")
    }
}

/// The table of all metrics for people.
package enum MetricsReference {
    package static func table() -> String {
        var out = "| Metric | Kind | Labels | Says |\n|---|---|---|---|\n"
        for metric in MetricName.all {
            let labels = metric.labels.map { "`\($0)`" }.joined(separator: ", ")
            out += "| `\(metric.name)` | \(metric.kind.rawValue) | \(labels) | \(metric.help) |\n"
        }
        return out
    }
}

extension MetricsRegistry {
    package func counter(_ metric: MetricName, labels: [(String, String)] = []) -> Counter {
        metric.check(.counter, labels)
        return counter(metric.name, help: metric.help, labels: labels, growing: metric.growing)
    }

    package func gauge(_ metric: MetricName, labels: [(String, String)] = []) -> Gauge {
        metric.check(.gauge, labels)
        return gauge(metric.name, help: metric.help, labels: labels)
    }

    package func histogram(
        _ metric: MetricName, buckets: [Double] = Histogram.requestSeconds, labels: [(String, String)] = []
    ) -> Histogram {
        metric.check(.histogram, labels)
        return histogram(metric.name, help: metric.help, buckets: buckets, labels: labels)
    }

    package func gauge(
        _ metric: MetricName, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        metric.check(.gauge, labels)
        gauge(metric.name, help: metric.help, labels: labels, read: read)
    }

    /// A gauge whose series come and go; see `MetricsRegistry.gauges`.
    package func gauges(
        _ metric: MetricName, label: String, read: @escaping @Sendable () -> [(value: String, number: Double)]
    ) {
        metric.check(.gauge, [(label, "")])
        gauges(metric.name, help: metric.help, label: label, read: read)
    }

    package func counter(
        _ metric: MetricName, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        metric.check(.counter, labels)
        counter(metric.name, help: metric.help, labels: labels, read: read)
    }

    /// Whether so many series more leave half of them to others; see `MetricsRegistry.hasSpace`.
    package func hasSpace(for count: Int, in metric: MetricName) -> Bool { hasSpace(for: count, in: metric.name) }

    /// Takes out all series but those with these values of the first label, and those that are summed up.
    package func keep(_ metric: MetricName, values: some Sequence<String>) {
        precondition(!metric.labels.isEmpty, "\(metric.name) has no labels")
        keep(metric.name, firstLabel: metric.labels[0], values: values)
    }

    /// Takes one series out; what it stood for is gone.
    package func remove(_ metric: MetricName, labels: [(String, String)]) {
        remove(metric.name, labels: labels)
    }
}
