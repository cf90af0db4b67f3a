// Licensed under the Apache License 2.0; see LICENSE.

/// Carries out many orders in one transaction and tells each how it went: after COMMIT, which syncs, or after nothing
/// of it is left. Belongs to the writer's thread.
final class GroupCommit {
    /// Orders that share one transaction.
    static let ordersMax = 1_000

    private let connection: Connection
    private let engine: CallEngine
    private let savepoint: Statement
    private let release: Statement
    private let takeBack: Statement

    init(_ connection: Connection, _ engine: CallEngine) throws(SQLiteFailure) {
        self.connection = connection
        self.engine = engine
        savepoint = try connection.prepare("SAVEPOINT one")
        release = try connection.prepare("RELEASE one")
        takeBack = try connection.prepare("ROLLBACK TO one")
    }

    /// What a group came to.
    struct Result {
        var committed: [StoreOrder.Answer] = []
        /// With their own failures: nothing of these is left, the others are on disk.
        var refused: [(order: StoreOrder, failure: SQLiteFailure)] = []
    }

    /// Throws when nothing of the whole group is left.
    func run(_ orders: [StoreOrder]) throws(SQLiteFailure) -> Result {
        do throws(SQLiteFailure) {
            try connection.execute("BEGIN IMMEDIATE")
            var result = Result()
            for order in orders {
                do throws(SQLiteFailure) {
                    result.committed.append(try one(order))
                } catch {
                    // A disk that is full or broken makes SQLite take everything back: then nobody was served.
                    guard connection.isInTransaction else { throw error }
                    result.refused.append((order, error))
                }
            }
            try connection.execute("COMMIT")
            return result
        } catch {
            engine.undoAll()
            leaveNothing(after: error)
            throw error
        }
    }

    private func one(_ order: StoreOrder) throws(SQLiteFailure) -> StoreOrder.Answer {
        let mark = engine.mark
        try savepoint.run()
        do throws(SQLiteFailure) {
            let outcome = try order.body(engine)
            switch outcome {
            case .keep(let answer):
                try release.run()
                return answer
            case .undo(let answer):
                try back(to: mark)
                return answer
            }
        } catch {
            engine.undo(to: mark)
            if connection.isInTransaction { try back(to: mark) }
            throw error
        }
    }

    private func back(to mark: CallEngine.Mark) throws(SQLiteFailure) {
        engine.undo(to: mark)
        do throws(SQLiteFailure) {
            try takeBack.run()
            try release.run()
        } catch {
            // What cannot be taken back alone goes with all others.
            _ = try? connection.execute("ROLLBACK")
            throw error
        }
    }

    /// Makes sure that what failed is not found by the next start. When COMMIT fails late, its frames may lie whole in
    /// the write-ahead log although nobody saw them committed. A next small transaction takes their place, and breaks
    /// their chain of checksums, also where it cannot be synced itself.
    private func leaveNothing(after failure: SQLiteFailure) {
        // Both are attempts: what made the group end is what the callers hear.
        if connection.isInTransaction { _ = try? connection.execute("ROLLBACK") }
        // Whom another process kept waiting has written nothing.
        if failure.isBusy { return }
        _ = try? connection.execute("INSERT OR REPLACE INTO meta VALUES ('last_trouble', datetime('now'))")
    }
}
