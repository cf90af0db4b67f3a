// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

/// How long the queue has room.
struct QueueSupply: Sendable {
    let terms: OutageTerms
    let waiting: Int
    /// Of the caller with most of them.
    var waitingOfOne = 0
    let callsPerHour: Double
    /// What comes of the caller with most calls.
    var shareOfOne = 1.0
    /// Of those stored before; nil where there were none.
    let bytesPerCall: Double?

    private var places: Int { max(0, terms.queueItemsMax - waiting) }
    private var placesOfOne: Int? { terms.queuePerCallerMax.map { max(0, $0 - waitingOfOne) } }

    /// Whether a call that would be stored now is refused, or costs another its place: anybody's, or one caller's.
    var isFull: Bool { places == 0 || placesOfOne == 0 }

    /// Until each bound is reached, with the words for it; empty where no calls are to be expected.
    private var bounds: [(hours: Double, words: String)] {
        guard callsPerHour > 0 else { return [] }
        var bounds = [(hours: Double(places) / callsPerHour, words: "")]
        if let placesOfOne, shareOfOne > 0 {
            let hours = Double(placesOfOne) / (callsPerHour * shareOfOne)
            bounds.append((hours, " for the caller with most of them (storage.max_queue_per_caller)"))
        }
        if let bytesPerCall, bytesPerCall > 0 {
            let left = max(0, Double(terms.queueBytesMax) - Double(waiting) * bytesPerCall)
            bounds.append((left / (callsPerHour * bytesPerCall), " by size (storage.max_queue_bytes)"))
        }
        return bounds
    }

    /// nil where nothing is to be expected.
    var hours: Double? { bounds.map(\.hours).min() }

    var words: String {
        var room = "\(waiting) of \(terms.queueItemsMax) places taken"
        if let most = terms.queuePerCallerMax {
            room += ", by one caller \(waitingOfOne) of the \(most) that it may have"
        }
        if places > 0, placesOfOne == 0 { return room + ": further ones of that caller are refused now" }
        if places == 0 {
            return room + ": full now, "
                + (terms.dropsOldest ? "each further one costs the oldest its place" : "further ones are refused")
        }
        guard let first = bounds.min(by: { $0.hours < $1.hours }) else {
            return room + "; no calls of such tools in the last day, so it will not fill soon"
        }
        let rate = "\(NumberText.of(callsPerHour)) calls an hour as in the last day"
        return "\(room); at \(rate) it is full in \(AgeText.of(seconds: Int(min(first.hours * 3_600, 1e9))))"
            + first.words
    }

    var json: JSONValue {
        func number(_ value: Int?) -> JSONValue { value.map { .number(String($0)) } ?? .null }
        return .object([
            ("waiting", number(waiting)), ("max_items", number(terms.queueItemsMax)),
            ("waiting_of_one_caller", number(waitingOfOne)), ("max_per_caller", number(terms.queuePerCallerMax)),
            ("full", .bool(isFull)), ("calls_per_hour", .number(NumberText.of(callsPerHour))),
            ("hours_until_full", hours.map { .number(NumberText.of($0)) } ?? .null),
            ("first_expiry_seconds", number(terms.firstExpiry.map { Int($0.components.seconds) })),
        ])
    }
}
