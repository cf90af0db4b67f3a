// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Logging
import Synchronization
import Telemetry

/// Stored calls that ended without having been sent. Whoever made them was told that they are kept, so it is said where
/// somebody looks: in the log once a minute with their number, and in `error_log` by name. Belongs to the writer's
/// thread.
struct TollBook {
    private static let tellEvery = Duration.seconds(60)
    /// Rows between two lines of the log; the rest share one.
    private static let rowsMax = 100

    private let shared: StoreShared
    private let time: any TimeSource
    private let log: Logger
    /// Not in the log yet.
    private var toll = CallEngine.Toll()
    private var rows = 0
    private var withoutRow = 0
    private var lastTold: Moment?

    init(shared: StoreShared, time: any TimeSource, log: Logger) {
        self.shared = shared
        self.time = time
        self.log = log
    }

    var isEmpty: Bool { toll.expired == 0 && toll.dropped == 0 }

    /// What a commit has ended.
    mutating func add(_ more: CallEngine.Toll, _ connection: Connection?) {
        toll.expired += more.expired
        toll.dropped += more.dropped
        if more.expired > 0, let connection { record(more.expired, connection) }
    }

    mutating func tellWhenDue() {
        if !isEmpty, lastTold.map({ time.now().since($0) >= Self.tellEvery }) ?? true { tell() }
    }

    mutating func tell() {
        if toll.expired > 0 {
            log.warning(
                "stored calls expired before they could be sent", metadata: [LogKey.count: "\(toll.expired)"])
        }
        if toll.dropped > 0 {
            log.warning("stored calls were dropped: the queue is full", metadata: [LogKey.count: "\(toll.dropped)"])
        }
        if withoutRow > 0 {
            record("\(withoutRow) more stored calls expired before they could be sent", component: "queue", nil)
        }
        (toll, rows, withoutRow, lastTold) = (CallEngine.Toll(), 0, 0, time.now())
    }

    // MARK: Rows

    private mutating func record(_ count: Int, _ connection: Connection) {
        let named = min(count, Self.rowsMax - rows)
        rows += named
        withoutRow += count - named
        guard named > 0 else { return }
        do throws(SQLiteFailure) {
            // Those that ended last are kept longest.
            let last = try connection.prepare(
                """
                SELECT id, tool, upstream, request_id FROM queue_items INDEXED BY queue_items_by_end
                WHERE keep_until IS NOT NULL AND status = 'expired' ORDER BY keep_until DESC, id DESC LIMIT ?
                """)
            last.bind(1, Int64(named))
            try last.each { row in
                let upstream = row.text(2) ?? ""
                record(
                    "stored call \(row.integer(0) ?? 0) of \(row.text(1) ?? "") expired before it could be sent",
                    component: "upstream:\(upstream)", row.text(3).flatMap { RequestID($0) })
            }
        } catch {
            withoutRow += named
        }
    }

    private func record(_ message: String, component: String, _ requestID: RequestID?) {
        let row = ErrorRecord(
            wallMilliseconds: time.wallMilliseconds(), errorType: "expired", message: message, component: component,
            requestID: requestID)
        // The writer is awake and takes it with the next rows.
        shared.inbox.withLock { _ = $0.put(row) }
    }
}
