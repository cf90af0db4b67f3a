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
        fileprivate let counts: Bool
        let deadline: Deadline

        deinit { if counts { admission.inFlight.subtract(1, ordering: .relaxed) } }
    }

    /// nil when as many calls as allowed are running already.
    ///
    /// - Parameter counts: false for what is let in whatever else runs.
    func admit(at now: Moment, counts: Bool = true) -> Permit? {
        guard counts else { return Permit(admission: self, counts: false, deadline: Deadline(now + timeout)) }
        let count = inFlight.add(1, ordering: .relaxed).newValue
        guard count <= inFlightMax else {
            inFlight.subtract(1, ordering: .relaxed)
            return nil
        }
        return Permit(admission: self, counts: true, deadline: Deadline(now + timeout))
    }

    var running: Int { inFlight.load(ordering: .relaxed) }
    var limit: Int { inFlightMax }
}
