// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// Something that has happened, or has not yet. Raised and looked at from any thread.
package final class Flag: Sendable {
    private let state = Atomic<Bool>(false)

    package init() {}

    package func raise() { state.store(true, ordering: .sequentiallyConsistent) }
    package var isRaised: Bool { state.load(ordering: .sequentiallyConsistent) }
}

/// What came, in its order. Filled and read from any thread.
package final class Collected<Item: Sendable>: Sendable {
    private let items = Mutex<[Item]>([])

    package init() {}

    package func add(_ item: Item) { items.withLock { $0.append(item) } }
    package var all: [Item] { items.withLock { $0 } }
    package var count: Int { all.count }
}

/// Something else came than a test can go on with.
package struct Unexpected: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
