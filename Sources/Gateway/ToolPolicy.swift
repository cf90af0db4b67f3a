// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import Resilience

/// What may be done with a tool's calls besides sending them on.
package struct ToolPolicy: Sendable, Equatable {
    /// What becomes of a call while the tool's owner is away.
    package enum Offline: String, Sendable {
        /// It is answered in words that say so.
        case fail
        /// It is stored and sent later.
        case queue
        /// The last known answer is given again.
        case stale
    }

    package var offline = Offline.fail
    /// How long a stored call is worth being sent.
    package var expires = Duration.seconds(86_400)
    /// Sending it twice does no harm.
    package var isIdempotent = false
    /// Stored calls of one caller to one owner go out highest first.
    package var priority = 0
    /// How long an answer may be given again without asking the owner; nil for not at all.
    package var cache: Duration?
    /// Within this time equal arguments of one client mean the same call; nil for never.
    package var dedupe: Duration?

    /// How often it may be called; nil for as often as anybody likes.
    package var rate: RateLimit?
    /// Calls of it under way at one time; nil for as many as there are.
    package var inFlightMax: Int?
    /// A breaker of its own, besides its owner's.
    package var breaker: Breaker.Settings?
    /// After this time without an answer a second call goes out beside the first; nil for never. Only for tools that
    /// may be called twice.
    package var hedge: Duration?

    package init() {}

    /// The operator's word, not the server's: sending it twice does no harm, or its answers may be given again, which
    /// only makes sense for what changes nothing.
    var isRepeatable: Bool { isIdempotent || cache != nil || offline == .stale }

    /// What stands before the tool is the same; anything else may differ.
    func hasSameGate(as other: ToolPolicy) -> Bool {
        rate == other.rate && inFlightMax == other.inFlightMax && breaker == other.breaker
    }

    static let plain = ToolPolicy()
}
