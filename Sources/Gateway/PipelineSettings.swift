// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// Settings of the pipeline.
package struct PipelineSettings: Sendable, Equatable {
    /// Calls that may run at once.
    package var inFlightMax: Int
    /// Calls that may wait for their turn, and for how long.
    package var waitingMax = 0
    package var waitMax = Duration.seconds(2)
    /// How often requests may begin; nil for as often as they come.
    package var rate: RateLimit?
    package var ratePerCaller: RateLimit?
    /// The longest a call may take from admission to reply; a tool's own limit may be shorter.
    package var timeout: Duration
    /// A call that takes longer gets a line in the log.
    package var slowCall: Duration
    /// How long the result of a stored call can be asked for.
    package var resultKept: Duration

    package init(
        inFlightMax: Int, timeout: Duration, slowCall: Duration, resultKept: Duration = .seconds(86_400)
    ) {
        self.resultKept = resultKept
        self.inFlightMax = inFlightMax
        self.timeout = timeout
        self.slowCall = slowCall
    }

    var turnstile: Turnstile.Settings {
        Turnstile.Settings(runningMax: inFlightMax, waitingMax: waitingMax, waitMax: waitMax)
    }
}

/// The settings that are in force now. A reload puts others in their place; a call that asks twice may be told two.
final class LiveSettings: Sendable {
    private let state: Mutex<PipelineSettings>

    init(_ settings: PipelineSettings) { state = Mutex(settings) }

    var now: PipelineSettings { state.withLock { $0 } }
    func change(to settings: PipelineSettings) { state.withLock { $0 = settings } }
}
