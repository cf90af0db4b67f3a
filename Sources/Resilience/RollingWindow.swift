// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// Counts that can be added up.
protocol Tally: Sendable {
    static var none: Self { get }
    static func += (left: inout Self, right: Self)
}

/// Counts over the last stretch of time, in ten buckets.
///
/// What is counted falls out a bucket at a time, so the window reaches back between nine and ten tenths of its length:
/// never further than it says. Ten buckets, whatever is counted; adding and reading look at each of them at most once.
///
/// Time that goes backwards is the holder's to mend (`Clockhand`); a moment of an older bucket than the newest is
/// counted nowhere, or over a newer one.
struct RollingWindow<Counts: Tally>: Sendable {
    private static var bucketCount: Int { 10 }

    private struct Bucket: Sendable {
        /// Which tenth since the beginning of time the counts belong to. A bucket of another round is as good as empty.
        var number: UInt64
        var counts: Counts
    }

    private var buckets: InlineArray<10, Bucket>
    private let bucketNanoseconds: UInt64

    /// - Parameter length: at least ten nanoseconds.
    init(length: Duration) {
        bucketNanoseconds = max(length.nanosecondsUnsigned / UInt64(Self.bucketCount), 1)
        buckets = InlineArray(repeating: Bucket(number: 0, counts: .none))
    }

    mutating func add(_ counts: Counts, at now: Moment) { update(at: now) { $0 += counts } }

    /// The same for counts of which only a few of many change.
    mutating func update(at now: Moment, _ change: (inout Counts) -> Void) {
        let number = now.nanoseconds / bucketNanoseconds
        let place = Int(number % UInt64(Self.bucketCount))
        if buckets[place].number != number { buckets[place] = Bucket(number: number, counts: .none) }
        change(&buckets[place].counts)
    }

    /// The sum of what is in the window.
    func counts(at now: Moment) -> Counts {
        let newest = now.nanoseconds / bucketNanoseconds
        var sum = Counts.none
        for place in buckets.indices {
            let number = buckets[place].number
            if number <= newest, newest - number < UInt64(Self.bucketCount) { sum += buckets[place].counts }
        }
        return sum
    }

    mutating func clear() {
        for place in buckets.indices { buckets[place] = Bucket(number: 0, counts: .none) }
    }
}

/// The newest moment that a machine has been told.
///
/// Callers read the clock first and take the lock afterwards, so that moments arrive out of order by as much as
/// somebody waited. To a machine time stands still meanwhile; it never goes back.
struct Clockhand: Sendable {
    private(set) var latest = Moment(nanoseconds: 0)

    /// - Returns: `moment`, or the newest one known when that is later.
    mutating func advance(to moment: Moment) -> Moment {
        latest = max(latest, moment)
        return latest
    }

    /// The same without moving.
    func reading(_ moment: Moment) -> Moment { max(latest, moment) }
}
