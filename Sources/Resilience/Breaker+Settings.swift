// Licensed under the Apache License 2.0; see LICENSE.

extension Breaker {
    /// When it opens, and for how long. Whoever reads these from a file checks them against the limits given here
    /// first; a value beyond them is our own mistake.
    package struct Settings: Sendable, Equatable {
        package static let failureRatios = 0.01...1.0
        package static let windows = Duration.milliseconds(100)...Duration.seconds(3_600)
        package static let minimumCallCounts = 1...1_000_000
        /// For `openFor`, `openForMax`, `slowCall` and `probePatience`.
        package static let spans = Duration.milliseconds(1)...Duration.seconds(86_400)

        /// The share of failed and slow calls in the window from which on it opens.
        package let failures: Double
        /// How far back it looks.
        package let window: Duration
        /// Fewer calls than this in the window prove nothing.
        package let minimumCalls: Int
        /// How long it stays open before the first probe, at least; up to a quarter more by chance.
        package let openFor: Duration
        /// What the time doubles up to with each failed probe.
        package let openForMax: Duration
        /// A call that took longer counts as failed, whatever came of it.
        package let slowCall: Duration
        /// After this a probe that has not reported is given up, and another call may try. Best no less than the time
        /// limit of a call, so that a probe has always ended by then.
        package let probePatience: Duration

        /// - Parameters:
        ///   - failures: within `failureRatios`.
        ///   - window: within `windows`.
        ///   - minimumCalls: within `minimumCallCounts`.
        ///   - openFor: within `spans`, as the three below.
        ///   - openForMax: one below five quarters of `openFor` is taken for that.
        ///   - slowCall: see above.
        ///   - probePatience: one below `slowCall` is taken for that.
        package init(
            failures: Double = 0.5, window: Duration = .seconds(30), minimumCalls: Int = 10,
            openFor: Duration = .seconds(15), openForMax: Duration = .seconds(120),
            slowCall: Duration = .seconds(5), probePatience: Duration = .seconds(30)
        ) {
            precondition(Self.failureRatios.contains(failures), "the share of failures is 0.01 to 1")
            precondition(Self.windows.contains(window), "the window is 100 ms to an hour")
            precondition(Self.minimumCallCounts.contains(minimumCalls), "the minimum of calls is 1 to 1,000,000")
            for span in [openFor, openForMax, slowCall, probePatience] {
                precondition(Self.spans.contains(span), "the times of a breaker are a millisecond to a day")
            }
            self.failures = failures
            self.window = window
            self.minimumCalls = minimumCalls
            self.openFor = openFor
            // Room for the quarter that chance adds.
            self.openForMax = max(openForMax, openFor / 4 * 5)
            self.slowCall = slowCall
            // A probe that is still out when it cannot be in time any more keeps the slot at least until then.
            self.probePatience = max(probePatience, slowCall)
        }
    }
}
