// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Telemetry

/// The numbers the store shows.
struct StoreNumbers: Sendable {
    let calls: Counter
    let errors: Counter
    let droppedCalls: Counter
    let droppedErrors: Counter
    let commit: Histogram

    init(in registry: MetricsRegistry) {
        calls = registry.counter(MetricName.journalRows, labels: [("table", "request_log")])
        errors = registry.counter(MetricName.journalRows, labels: [("table", "error_log")])
        droppedCalls = registry.counter(MetricName.journalDropped, labels: [("table", "request_log")])
        droppedErrors = registry.counter(MetricName.journalDropped, labels: [("table", "error_log")])
        commit = registry.histogram(MetricName.storageCommit)
    }
}

/// Puts rows into the tables. Belongs to the writer's thread; use inside a transaction.
final class RowWriter {
    private let call: Statement
    private let error: Statement
    private let tombstone: Statement

    init(_ connection: Connection) throws(SQLiteFailure) {
        call = try connection.prepare(
            """
            INSERT INTO request_log (timestamp, method, tool, upstream, route, status, response_time_ms, caller,
                request_id, weight) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """)
        error = try connection.prepare(
            "INSERT INTO error_log (timestamp, error_type, message, component, request_id) VALUES (?, ?, ?, ?, ?)")
        tombstone = try connection.prepare(
            "INSERT OR REPLACE INTO session_tombstones (session, expires_at) VALUES (?, ?)")
    }

    func write(_ batch: Inbox.Batch) throws(SQLiteFailure) {
        // Several loops write into one batch; whoever reads by id expects time order.
        let inOrder = batch.calls.sorted { $0.record.wallMilliseconds < $1.record.wallMilliseconds }
        for row in inOrder { try write(row) }
        for record in batch.errors { try write(record) }
        for (session, expires) in batch.tombstones {
            tombstone.bind(1, bytes: session.bytes)
            tombstone.bind(2, WallTime.text(milliseconds: expires))
            try tombstone.run()
        }
    }

    private func write(_ row: SampledCall) throws(SQLiteFailure) {
        let record = row.record
        call.bind(1, WallTime.text(milliseconds: record.wallMilliseconds))
        call.bind(2, Self.harmless(record.method, 128))
        call.bind(3, record.tool.map { Self.harmless($0, 256) })
        call.bind(4, record.upstream.map { Self.harmless($0, 256) })
        call.bind(5, Self.harmless(record.route, 64))
        call.bind(6, Self.harmless(record.status, 64))
        // Thousandths of a millisecond are what a clock can tell.
        call.bind(7, (record.responseMilliseconds * 1_000).rounded() / 1_000)
        call.bind(8, Self.harmless(record.caller, 256))
        call.bind(9, record.requestID.description)
        call.bind(10, row.weight)
        try call.run()
    }

    private func write(_ record: ErrorRecord) throws(SQLiteFailure) {
        error.bind(1, WallTime.text(milliseconds: record.wallMilliseconds))
        error.bind(2, Self.harmless(record.errorType, 128))
        error.bind(3, Self.harmless(record.message, 4_096))
        error.bind(4, Self.harmless(record.component, 64))
        error.bind(5, record.requestID?.description)
        try error.run()
    }

    /// Operators read these columns in a terminal.
    private static func harmless(_ text: String, _ bytesMax: Int) -> String {
        LogText.escaped(text, bytesMax: bytesMax)
    }
}
