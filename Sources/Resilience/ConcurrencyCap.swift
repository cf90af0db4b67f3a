// Licensed under the Apache License 2.0; see LICENSE.

/// A bulkhead: so many at a time, and no more.
///
/// A slow upstream keeps its calls for long; without a cap it ends up with all the calls that the gateway has room for,
/// and starves the others. Counts only: there is no line to wait in, and no time. Two integers; the holder sees to it
/// that whoever was admitted leaves once.
package struct ConcurrencyCap: Sendable, Equatable {
    /// How many are in.
    package private(set) var running = 0
    /// How many may be.
    package private(set) var runningMax: Int

    /// - Parameter runningMax: at least 1.
    package init(runningMax: Int) {
        precondition(runningMax > 0, "a cap of none would be a wall")
        self.runningMax = runningMax
    }

    /// How many more would be admitted now; zero while more are in than a lowered cap allows.
    package var free: Int { max(runningMax - running, 0) }

    /// - Returns: whether there was room; then the caller is in, and owes one `leave`.
    package mutating func admit() -> Bool {
        guard running < runningMax else { return false }
        running += 1
        return true
    }

    /// Ends what one `admit` began.
    package mutating func leave() {
        precondition(running > 0, "somebody left who was not in")
        running -= 1
    }

    /// In force for the next to ask. Nobody who is in is put out.
    package mutating func change(runningMax: Int) {
        precondition(runningMax > 0, "a cap of none would be a wall")
        self.runningMax = runningMax
    }
}
