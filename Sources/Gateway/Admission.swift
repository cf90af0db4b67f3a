// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Synchronization

/// Lets a bounded number of calls in and gives each its deadline.
final class Admission: Sendable {
    private let inFlight = Atomic<Int>(0)
    private let inFlightMax: Int
    private let timeout: Duration

    init(inFlightMax: Int, timeout: Duration) {
        self.inFlightMax = inFlightMax
        self.timeout = timeout
    }

    /// The right to be in flight; ends when it goes out of scope.
    struct Permit: ~Copyable {
        fileprivate let admission: Admission
        let deadline: Deadline

        deinit { admission.inFlight.subtract(1, ordering: .relaxed) }
    }

    /// nil when as many calls as allowed are running already.
    func admit(at now: Moment) -> Permit? {
        let count = inFlight.add(1, ordering: .relaxed).newValue
        guard count <= inFlightMax else {
            inFlight.subtract(1, ordering: .relaxed)
            return nil
        }
        return Permit(admission: self, deadline: Deadline(now + timeout))
    }

    var running: Int { inFlight.load(ordering: .relaxed) }
    var limit: Int { inFlightMax }
}
