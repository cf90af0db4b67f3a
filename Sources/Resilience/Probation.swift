// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// Watches what calls come to after a change, and says when it has made things clearly worse.
///
/// Clearly: with enough calls on both sides to say anything, at least a tenth more of them fail, or they take three
/// times as long and half a second longer. What was bad before the change is nobody's fault; what is a little worse may
/// be chance. Pure.
package struct Probation: Sendable {
    package enum Verdict: Sendable, Equatable {
        /// Goes on being watched.
        case open
        /// Its time is over, and nothing was clearly worse.
        case passed
        /// In words.
        case worse(String)
    }

    /// Calls after the change from which on it is judged.
    package static let callsMin = 10
    private static let shareMore = 0.1
    private static let timesLonger = 3.0
    private static let longerMin = Duration.milliseconds(500)

    package let ends: Moment
    /// What was made anew may take its time for the first calls; from here on they count for how long they take.
    private let settled: Moment
    private static let settling = Duration.seconds(5)
    private let before: Pulse.Reading

    /// - Parameter before: what calls came to until the change.
    package init(before: Pulse.Reading, for length: Duration, at moment: Moment) {
        self.before = before
        ends = moment + length
        settled = moment + min(length / 2, Self.settling)
    }

    /// The same comparison for longer: something was changed again meanwhile.
    package func extended(to ends: Moment) -> Probation { Probation(self, ends: max(ends, self.ends)) }

    private init(_ former: Probation, ends: Moment) {
        before = former.before
        settled = former.settled
        self.ends = ends
    }

    package func judge(_ after: Pulse.Reading, at moment: Moment) -> Verdict {
        if after.calls >= Self.callsMin {
            // Without calls before there is nothing to compare with.
            if before.calls > 0, after.failedShare >= before.failedShare + Self.shareMore {
                return .worse(
                    "\(Self.percent(after.failedShare)) of \(after.calls) calls failed since, "
                        + "\(Self.percent(before.failedShare)) of \(before.calls) before")
            }
            // Of a few calls the longest says little.
            if moment >= settled, before.calls >= Self.callsMin, let was = before.p95, let now = after.p95,
                now >= was + Self.longerMin,
                now >= was * Self.timesLonger
            {
                return .worse(
                    "calls take up to \(Int(now.milliseconds)) ms since (P95), up to \(Int(was.milliseconds)) ms before"
                )
            }
        }
        return moment >= ends ? .passed : .open
    }

    private static func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
