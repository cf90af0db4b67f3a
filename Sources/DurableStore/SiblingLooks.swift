// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// How often the folders of others are looked into for a call. Each look opens their databases, and anybody can ask for
/// handles that do not exist: so many a second for one caller, and so many at a time for all.
struct SiblingLooks: Sendable {
    static let perSecondMax = 20
    static let underWayMax = 32
    private static let callersMax = 1_000

    private var second: UInt64 = 0
    private var counts: [String: Int] = [:]
    private var underWay = 0

    /// False when it has to wait; otherwise `end` is called when it is over.
    mutating func begin(_ caller: String, at now: Moment) -> Bool {
        let second = now.nanoseconds / 1_000_000_000
        if self.second != second { (self.second, counts) = (second, [:]) }
        let count = counts[caller, default: 0]
        guard underWay < Self.underWayMax, count < Self.perSecondMax, counts.count < Self.callersMax else {
            return false
        }
        counts[caller] = count + 1
        underWay += 1
        return true
    }

    mutating func end() { underWay -= 1 }
}
