// Licensed under the Apache License 2.0; see LICENSE.

/// A point on the monotonic clock, in nanoseconds. Machines take it as an argument; nobody inside reads a clock.
public struct Moment: Sendable, Hashable, Comparable {
    public let nanoseconds: UInt64

    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    public static func < (left: Moment, right: Moment) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Saturates: a moment never wraps around.
    public static func + (moment: Moment, duration: Duration) -> Moment {
        let parts = duration.components
        let added = UInt64(clamping: parts.seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let nanoseconds = added.overflow ? UInt64.max : added.partialValue
        let sum = moment.nanoseconds.addingReportingOverflow(nanoseconds)
        let fine = UInt64(clamping: parts.attoseconds / 1_000_000_000)
        let total = sum.partialValue.addingReportingOverflow(fine)
        return Moment(nanoseconds: sum.overflow || total.overflow ? .max : total.partialValue)
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    public func since(_ earlier: Moment) -> Duration {
        .nanoseconds(Int64(clamping: nanoseconds &- min(earlier.nanoseconds, nanoseconds)))
    }
}

/// When a call has to be over.
public struct Deadline: Sendable, Hashable {
    public let moment: Moment

    public init(_ moment: Moment) { self.moment = moment }

    public func hasPassed(at now: Moment) -> Bool { now >= moment }

    /// What is left of it, never negative.
    public func remaining(at now: Moment) -> Duration { moment.since(now) }

    public func earlier(of other: Deadline) -> Deadline { moment < other.moment ? self : other }
}

/// Where the rooms get the time from. Only the daemon names the real one; tests hand in one that stands still.
public protocol TimeSource: Sendable {
    func now() -> Moment
    /// Wall clock, milliseconds since 1970 UTC; for what people read, never for measuring.
    func wallMilliseconds() -> Int64
}

extension Duration {
    public var milliseconds: Double {
        let parts = components
        return Double(parts.seconds) * 1_000 + Double(parts.attoseconds) / 1e15
    }

    /// Saturates at both ends.
    public var nanosecondsClamped: Int64 {
        let parts = components
        let whole = parts.seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let total = whole.partialValue.addingReportingOverflow(parts.attoseconds / 1_000_000_000)
        guard !whole.overflow, !total.overflow else { return parts.seconds < 0 ? .min : .max }
        return total.partialValue
    }
}
