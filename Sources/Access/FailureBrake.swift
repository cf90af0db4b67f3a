// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// Keeps those away for a while who show one wrong token after the other.
///
/// Ten failures of one address within a minute, and it is refused for a minute without a look at what it shows; the
/// next time for two, then four, eight, and fifteen minutes. A success clears it, and so do fifteen quiet minutes. It
/// spares the log and the processor; what keeps strangers out is the length of the secrets, also against somebody
/// with many addresses.
///
/// Pure and bounded: 4,096 addresses, some 200 bytes each. When there are more, the one that is known for longest is
/// forgotten. Time that goes back stands still.
package struct FailureBrake: Sendable {
    private static let failuresMax = 10
    private static let window = Duration.seconds(60)
    private static let refusalMin = Duration.seconds(60)
    private static let refusalMax = Duration.seconds(900)
    /// So long after its last failure or refusal an address is as good as new.
    private static let memory = Duration.seconds(900)
    package static let addressesMax = 4_096
    /// Bytes of an address that count.
    private static let addressBytesMax = 64

    private struct Entry: Sendable {
        let address: String
        /// The last failures, the next one goes to `place`.
        var failures = InlineArray<10, UInt64>(repeating: 0)
        var count = 0
        var place = 0
        /// How often it was refused in a row.
        var refusals = 0
        var refusedUntil = Moment(nanoseconds: 0)
        var lastFailure = Moment(nanoseconds: 0)
    }

    /// In the order in which they came; `hand` is the next to be used, which is the oldest once all are.
    private var entries: [Entry?] = []
    private var hand = 0
    private var places: [String: Int] = [:]
    private var latest = Moment(nanoseconds: 0)

    package init() {}

    /// Addresses it remembers.
    package var addressCount: Int { places.count }

    /// For how much longer the address is refused; nil when it may show its token.
    ///
    /// - Parameter isLocal: on this machine, where it is never refused.
    package func refusal(of address: String, isLocal: Bool, at now: Moment) -> Duration? {
        guard !isLocal, let place = places[Self.key(address)], let entry = entries[place] else { return nil }
        let now = max(now, latest)
        return entry.refusedUntil > now ? entry.refusedUntil.since(now) : nil
    }

    /// Counts a wrong token.
    ///
    /// - Returns: for how long the address is refused from now on, when this was one too many.
    package mutating func fail(_ address: String, isLocal: Bool, at now: Moment) -> Duration? {
        guard !isLocal else { return nil }
        latest = max(latest, now)
        let place = self.place(of: Self.key(address))
        guard var entry = entries[place] else { return nil }
        defer { entries[place] = entry }
        // It had been let in before the refusal began: it is counted already.
        guard entry.refusedUntil <= latest else { return nil }
        if latest.since(max(entry.lastFailure, entry.refusedUntil)) >= Self.memory {
            entry = Entry(address: entry.address)
        }
        entry.lastFailure = latest
        entry.failures[entry.place] = latest.nanoseconds
        entry.place = (entry.place + 1) % Self.failuresMax
        entry.count = min(entry.count + 1, Self.failuresMax)
        let oldest = Moment(nanoseconds: entry.failures[entry.place])
        guard entry.count == Self.failuresMax, latest.since(oldest) < Self.window else { return nil }
        let length = min(Self.refusalMin * (1 << min(entry.refusals, 8)), Self.refusalMax)
        entry.refusals += 1
        entry.count = 0
        entry.refusedUntil = latest + length
        return length
    }

    /// A good token: the address begins anew.
    package mutating func succeed(_ address: String) {
        guard let place = places.removeValue(forKey: Self.key(address)) else { return }
        entries[place] = nil
    }

    private mutating func place(of address: String) -> Int {
        if let place = places[address] { return place }
        let place = hand
        hand = (hand + 1) % Self.addressesMax
        if place == entries.count {
            entries.append(Entry(address: address))
        } else {
            if let oldest = entries[place] { places[oldest.address] = nil }
            entries[place] = Entry(address: address)
        }
        places[address] = place
        return place
    }

    /// Addresses of the kernel are shorter; one that a proxy tells may be anything.
    private static func key(_ address: String) -> String {
        guard address.utf8.count > addressBytesMax else { return address }
        return String(decoding: address.utf8.prefix(addressBytesMax), as: UTF8.self)
    }
}
