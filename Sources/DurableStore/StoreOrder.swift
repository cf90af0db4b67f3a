// Licensed under the Apache License 2.0; see LICENSE.

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

/// Something to be read between two transactions; without an engine the store is closed.
typealias StoreLook = @Sendable (CallEngine?) -> Void
