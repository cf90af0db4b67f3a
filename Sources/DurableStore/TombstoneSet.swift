// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// Ended sessions and when they may be forgotten. A pure machine with a bound: when it is full, those that end
/// soonest go first.
struct TombstoneSet: Sendable {
    let countMax: Int
    private var expiries: [SessionKey: Int64] = [:]

    init(countMax: Int = 100_000) { self.countMax = countMax }

    var count: Int { expiries.count }

    func contains(_ session: SessionKey) -> Bool { expiries[session] != nil }

    mutating func add(_ session: SessionKey, expires: Int64, now: Int64) {
        if expiries.count >= countMax { makeRoom(now: now) }
        expiries[session] = max(expires, expiries[session] ?? expires)
    }

    /// Frees a hundredth at a time, so that its cost is spread.
    private mutating func makeRoom(now: Int64) {
        expiries = expiries.filter { $0.value > now }
        let wanted = countMax - max(1, countMax / 100)
        guard expiries.count > wanted else { return }
        let soonest = expiries.sorted { $0.value < $1.value }.prefix(expiries.count - wanted)
        for (session, _) in soonest { expiries[session] = nil }
    }
}
