// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
package import MCPWire
package import NIOCore
package import Outbound
internal import Synchronization
package import Telemetry

/// All upstream servers. Each is looked after by a task of its own, so that one that is dead or slow delays nobody
/// else.
package final class UpstreamPool: StatusSource {
    private struct State {
        var members: [Member]
        /// Counts changes, so that a plan can tell whether it was made for what is there.
        var changes = 0
        /// Brings those who come later to `run`, while it runs.
        var arrivals: AsyncStream<Upstream>.Continuation?
    }

    private let state: Mutex<State>
    private let fittings: UpstreamFittings
    /// Over when every upstream of the start has been asked once, at the latest `settle` after `run` began. Those who
    /// come later make nobody wait.
    package let settling: Settling

    /// - Parameters:
    ///   - identity: `{"name":…,"version":…}`, what the gateway calls itself.
    ///   - children: how processes of stdio upstreams are started and bounded.
    package init(
        _ settings: [UpstreamSettings], identity: JSONValue, children: ChildSettings, cadence: Cadence = Cadence(),
        group: any EventLoopGroup, archive: (any OffersArchive)? = nil, time: any TimeSource, metrics: MetricsRegistry,
        logs: LogFiles
    ) throws(UpstreamSettingsError) {
        let fittings = UpstreamFittings(
            loops: Array(group.makeIterator()), writer: CallWriter(identity: identity), children: children,
            cadence: cadence, archive: archive, time: time, metrics: metrics,
            log: logs.logger(component: LogComponent.upstreams))
        let plan = try Plan(settings, from: [], changes: 0, fittings)
        for upstream in plan.upstreams { fittings.show(upstream) }
        state = Mutex(State(members: plan.members))
        settling = Settling(expected: settings.count)
        self.fittings = fittings
    }

    /// Those of the configuration that is in force, in its order. Asked from any thread.
    package var upstreams: [Upstream] { members.map(\.upstream) }

    private var members: [Member] { state.withLock { $0.members } }

    /// Looks after every upstream until cancelled; then ends their connections and processes.
    ///
    /// - Parameters:
    ///   - changed: called when some upstream offers something else than before.
    ///   - returned: called with the name of an upstream that answers after it was away, or for the first time.
    ///   - updated: called with the name of an upstream and the URI of a resource of it that has changed.
    package func run(
        changed: @escaping @Sendable () -> Void, returned: @escaping @Sendable (String) -> Void = { _ in },
        updated: @escaping @Sendable (String, String) -> Void = { _, _ in }
    ) async {
        // Holds no more than a reload brings: they are taken at once.
        let (arrivals, continuation) = AsyncStream.makeStream(of: Upstream.self)
        let first = state.withLock { state in
            state.arrivals = continuation
            return state.members.map(\.upstream)
        }
        let settling = settling
        let timer = fittings.loops[0].scheduleTask(in: .nanoseconds(fittings.cadence.settle.nanosecondsClamped)) {
            settling.end()
        }
        defer { timer.cancel() }
        await withDiscardingTaskGroup { group in
            func lookAfter(_ upstream: Upstream, _ settling: Settling?) {
                let name = upstream.name
                upstream.listening.source.bind(updated: { uri in updated(name, uri) })
                group.addTask(executorPreference: LoopExecutor(upstream.loop)) {
                    await upstream.live(settling: settling, changed: changed) { returned(name) }
                }
            }
            for upstream in first { lookAfter(upstream, settling) }
            // Ends when the task is cancelled.
            for await upstream in arrivals { lookAfter(upstream, nil) }
        }
        state.withLock { $0.arrivals = nil }
    }

    package func components() -> [ComponentStatus] { upstreams.map(\.component) }

    /// Looks at every upstream now, instead of when its time has come.
    package func lookNow() { for upstream in upstreams { upstream.wakeUp() } }

    // MARK: Reload

    /// What the pool would become with other settings. Opens and starts nothing, and changes nothing: one that is not
    /// adopted is as if it had never been.
    package func plan(_ settings: [UpstreamSettings]) throws(UpstreamSettingsError) -> Plan {
        let (members, changes) = state.withLock { ($0.members, $0.changes) }
        return try Plan(settings, from: members, changes: changes, fittings)
    }

    /// Puts a plan in force. Upstreams that stay keep connections, sessions and processes. New ones are connected to
    /// from now on. Those that leave get no more calls from whoever asks `upstreams`; calls in flight on them may end,
    /// within the time of a call, and then their connections and processes end as well.
    ///
    /// The plan must be the last one made, for what is there now: one reload at a time.
    package func adopt(_ plan: Plan) {
        let (old, arrivals) = state.withLock { state in
            precondition(plan.changes == state.changes, "a plan is adopted once, before the next one")
            state.changes += 1
            defer { state.members = plan.members }
            return (state.members, state.arrivals)
        }
        for name in plan.removed { fittings.hide(name) }
        for member in plan.members {
            member.upstream.adjust(to: member.settings)
            guard !old.contains(where: { $0.upstream === member.upstream }) else { continue }
            fittings.show(member.upstream)
            arrivals?.yield(member.upstream)
        }
        for member in old where !plan.members.contains(where: { $0.upstream === member.upstream }) {
            member.upstream.leave()
        }
    }
}

/// An upstream whose settings cannot work, in words.
package struct UpstreamSettingsError: Error, Sendable {
    package var words: String
}
