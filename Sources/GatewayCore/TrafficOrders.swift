// Licensed under the Apache License 2.0; see LICENSE.

/// So many a second, and so many at once after a quiet time.
package struct RateLimit: Sendable, Equatable {
    /// A thousandth to a million.
    package var perSecond: Double
    package var burst: Int

    package init(perSecond: Double, burst: Int) {
        self.perSecond = perSecond
        self.burst = burst
    }

    /// What it says of itself: `10/s, burst 20`.
    package var words: String { "\(Self.text(perSecond))/s, burst \(burst)" }

    /// Without a fraction where there is none.
    package static func text(_ number: Double) -> String {
        number == number.rounded() && number.magnitude < 1e15 ? String(Int64(number)) : String(number)
    }
}

/// What a breaker does now, for operators.
package struct BreakerFacts: Sendable {
    package var upstream: String
    /// nil for the breaker of the whole upstream.
    package var tool: String?
    /// `closed` (traffic flows), `open`, `half-open`.
    package var state: String
    package var isArmed: Bool
    package var isForced: Bool
    /// In its window.
    package var calls: Int
    package var failures: Int
    package var slow: Int
    /// From when on one call may try; nil while traffic flows or an operator holds it open.
    package var nextProbe: Duration?

    package init(
        upstream: String, tool: String?, state: String, isArmed: Bool, isForced: Bool, calls: Int, failures: Int,
        slow: Int, nextProbe: Duration?
    ) {
        self.upstream = upstream
        self.tool = tool
        self.state = state
        self.isArmed = isArmed
        self.isForced = isForced
        self.calls = calls
        self.failures = failures
        self.slow = slow
        self.nextProbe = nextProbe
    }
}

/// One owner of tools, for operators.
package struct OwnerFacts: Sendable {
    package var name: String
    package var prefix: String
    /// `wasm` or `upstream`.
    package var route: String
    package var isReachable: Bool
    package var tools: Int
    /// 0 for an owner whose calls are not counted, having no cap.
    package var inFlight: Int
    /// Calls that wait for their turn.
    package var waiting: Int

    package init(
        name: String, prefix: String, route: String, isReachable: Bool, tools: Int, inFlight: Int, waiting: Int
    ) {
        self.name = name
        self.prefix = prefix
        self.route = route
        self.isReachable = isReachable
        self.tools = tools
        self.inFlight = inFlight
        self.waiting = waiting
    }
}

/// One tool as clients know it, for operators.
package struct ToolSummary: Sendable {
    package var name: String
    package var owner: String
    package var route: String
    package var title: String?
    package var isEnabled: Bool
    /// `fail`, `queue` or `stale`.
    package var offline: String
    package var isIdempotent: Bool

    package init(
        name: String, owner: String, route: String, title: String?, isEnabled: Bool, offline: String,
        isIdempotent: Bool
    ) {
        self.name = name
        self.owner = owner
        self.route = route
        self.title = title
        self.isEnabled = isEnabled
        self.offline = offline
        self.isIdempotent = isIdempotent
    }
}

/// What went on in the last minute.
package struct TrafficPulse: Sendable, Equatable {
    /// Over how long it counts, in seconds.
    package var seconds: Double
    package var calls: Int
    /// By the table of errors in the contract: their upstream failed, or the gateway had no room.
    package var failed: Int
    package var limited: Int
    /// Milliseconds; nil without calls.
    package var p50: Double?
    package var p95: Double?

    package init(seconds: Double, calls: Int, failed: Int, limited: Int, p50: Double?, p95: Double?) {
        self.seconds = seconds
        self.calls = calls
        self.failed = failed
        self.limited = limited
        self.p50 = p50
        self.p95 = p95
    }
}

/// Why an order was not carried out, in words.
package struct OrderRefusal: Error, Sendable {
    package var words: String
    /// What it is about is not there.
    package var isMissing: Bool

    package init(words: String, isMissing: Bool = false) {
        self.words = words
        self.isMissing = isMissing
    }
}

/// Who orders, and for how long it holds.
package struct OrderTerms: Sendable {
    package var by: String
    /// nil until somebody undoes it.
    package var lasts: Duration?

    package init(by: String, lasts: Duration? = nil) {
        self.by = by
        self.lasts = lasts
    }
}

/// The orders of operators about traffic, and what is in force. Each order is in force when its call returns; the
/// answer of those that are kept over a restart says whether they could be written down.
package protocol TrafficOrders: Sendable {
    func breakers() -> [BreakerFacts]
    /// Arms breakers, and opens those whose window is over the threshold, however few calls are in it.
    ///
    /// - Parameters:
    ///   - upstream: nil for all.
    ///   - force: opens healthy ones too, until somebody undoes it.
    /// - Returns: the upstreams whose breakers were opened by this.
    func armBreakers(
        upstream: String?, force: Bool, _ terms: OrderTerms
    ) async throws(OrderRefusal) -> (opened: [String], isKept: Bool)
    /// Closes breakers and keeps them closed, whatever comes of it.
    func disarmBreakers(upstream: String?, _ terms: OrderTerms) async throws(OrderRefusal) -> Bool

    /// What holds now, and what the file says.
    func rateLimit() -> (now: RateLimit?, file: RateLimit?)
    func setRateLimit(_ limit: RateLimit, _ terms: OrderTerms) async -> Bool

    func owners() -> [OwnerFacts]
    func tools() -> [ToolSummary]
    func setTool(_ name: String, isEnabled: Bool, _ terms: OrderTerms) async throws(OrderRefusal) -> Bool

    /// Takes nothing new from here on, or takes it again.
    func setDraining(_ isDraining: Bool, _ terms: OrderTerms) async
    var isDraining: Bool { get }
    var callsInFlight: Int { get }

    func overrides() -> [Override]
    /// Undoes one, or all. Returns what was undone.
    func undo(_ key: Override.Key?, by: String) async -> (undone: [Override], isKept: Bool)

    func pulse() -> TrafficPulse
}
