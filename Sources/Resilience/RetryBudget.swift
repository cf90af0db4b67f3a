// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// How many calls may be tried again: a share of the calls there are, and a few in any case.
///
/// When an upstream fails, every call wants to be tried again, and retries would double the load of somebody who is in
/// trouble already. The budget bounds that: in a window no more retries than `percent` of its calls and `retriesMin`
/// more, so that also a quiet upstream's only call has its second chance.
///
/// Pure; ten buckets however many calls there are, 288 bytes; a note costs some 35 ns, a question 80. The window
/// reaches back between nine and ten tenths of its length, and a retry falls out of it no earlier than the calls that
/// paid for it.
package struct RetryBudget: Sendable {
    package struct Settings: Sendable, Equatable {
        /// Retries per hundred calls.
        package let percent: Int
        /// Retries per window that need no calls.
        package let retriesMin: Int
        package let window: Duration

        /// - Parameters:
        ///   - percent: 0 to 100.
        ///   - retriesMin: 0 to 1,000,000.
        ///   - window: a millisecond at least.
        package init(percent: Int = 10, retriesMin: Int = 5, window: Duration = .seconds(30)) {
            precondition((0...100).contains(percent), "retries are at most one per call")
            precondition((0...1_000_000).contains(retriesMin), "a window has 0 to 1,000,000 retries for nothing")
            precondition(window >= .milliseconds(1), "a window is a millisecond at least")
            self.percent = percent
            self.retriesMin = retriesMin
            self.window = window
        }
    }

    /// What is in the window.
    package struct Counts: Sendable, Equatable {
        package internal(set) var calls = 0
        package internal(set) var retries = 0
    }

    package let settings: Settings
    private var window: RollingWindow<Counts>
    private var hand = Clockhand()

    package init(_ settings: Settings = Settings()) {
        self.settings = settings
        window = RollingWindow(length: settings.window)
    }

    /// A call is made for the first time. A retry is not another call.
    package mutating func noteCall(at moment: Moment) {
        window.add(Counts(calls: 1, retries: 0), at: hand.advance(to: moment))
    }

    /// Asks for one retry and takes it.
    ///
    /// - Returns: whether it was there; when not, the call keeps the failure it has.
    package mutating func spend(at moment: Moment) -> Bool {
        let now = hand.advance(to: moment)
        let counts = window.counts(at: now)
        guard counts.retries < settings.retriesMin + counts.calls * settings.percent / 100 else { return false }
        window.add(Counts(calls: 0, retries: 1), at: now)
        return true
    }

    package func counts(at moment: Moment) -> Counts { window.counts(at: hand.reading(moment)) }
}

extension RetryBudget.Counts: Tally {
    static var none: Self { Self() }

    static func += (left: inout Self, right: Self) {
        left.calls += right.calls
        left.retries += right.retries
    }
}
