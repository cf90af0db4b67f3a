// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// How much waits for a child to read it. Asked from any thread.
final class ChildBacklog: Sendable {
    private struct State {
        var bytes = 0
        var isOpen = true
    }

    private let state = Mutex(State())
    private let bytesMax: Int

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    var isOpen: Bool { state.withLock { $0.isOpen } }

    /// Takes room for a line. A line larger than the whole bound is still taken when nothing waits, since it could
    /// never be sent otherwise and its size has been checked where it came in.
    func admit(_ bytes: Int) throws(ChildError) {
        let refusal: ChildError? = state.withLock { state in
            guard state.isOpen else { return .ended }
            guard state.bytes == 0 || state.bytes + bytes <= bytesMax else {
                return .tooMuchUnsent(bytesMax: bytesMax)
            }
            state.bytes += bytes
            return nil
        }
        if let refusal { throw refusal }
    }

    func release(_ bytes: Int) {
        state.withLock { $0.bytes -= bytes }
    }

    /// From now on nothing is taken.
    func close() {
        state.withLock { $0.isOpen = false }
    }
}
