// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// Why the writer did not do what it was asked to.
enum OrderRefusal: Sendable {
    /// What stands in the way, and what an operator can do.
    case unwritable(String)
    case closing
}

/// What an order leaves behind besides its value.
enum OrderOutcome<Value> {
    /// What it wrote is to be kept.
    case keep(Value)
    /// What it wrote is to be taken back.
    case undo(Value)
}

/// Something that is to be written, with somebody who waits for it. Either `body`'s answer is called, after what it
/// wrote is synced to disk, or `refused`, after nothing of it is left; one of them, once.
struct StoreOrder: Sendable {
    typealias Answer = @Sendable () -> Void

    /// It adds a call, and has to wait for better times when the disk is almost full or the gateway stops.
    var isNew: Bool
    var body: @Sendable (CallEngine) throws(SQLiteFailure) -> OrderOutcome<Answer>
    var refused: @Sendable (OrderRefusal) -> Void
}

extension StoreOrder {
    /// What the engine does by itself.
    static func upkeep(now: Int64) -> StoreOrder {
        StoreOrder(
            isNew: false,
            body: { (engine) throws(SQLiteFailure) in
                try engine.upkeep(now: now)
                return .keep {}
            }, refused: { _ in })
    }

    /// The end of a call that could not be written before.
    static func late(_ end: Inbox.LateEnd, _ shared: StoreShared) -> StoreOrder {
        StoreOrder(
            isNew: false,
            body: { (engine) throws(SQLiteFailure) in
                try engine.end(end.key, end.answer)
                return .keep {}
            }, refused: { _ in shared.inbox.withLock { $0.postpone(end.key, end.answer) } })
    }
}

/// Something to be read between two transactions; without an engine the store is closed.
typealias StoreLook = @Sendable (CallEngine?) -> Void
