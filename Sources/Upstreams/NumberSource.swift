// Licensed under the Apache License 2.0; see LICENSE.

internal import Synchronization

/// The ids of our own requests: never used twice towards one upstream while the gateway runs.
final class NumberSource: Sendable {
    private let last = Atomic<UInt64>(0)

    func next() -> UInt64 { last.add(1, ordering: .relaxed).newValue }
}
