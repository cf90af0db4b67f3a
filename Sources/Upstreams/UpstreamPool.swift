// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
package import MCPWire
package import NIOCore
package import Outbound
package import Telemetry

/// All upstream servers. Each is looked after by a task of its own, so that one that is dead or slow delays nobody
/// else.
package final class UpstreamPool: StatusSource {
    package let upstreams: [Upstream]
    private let loops: [any EventLoop]
    private let cadence: Cadence
    /// Over when every upstream has been asked once, at the latest `settle` after `run` began.
    package let settling: Settling

    /// - Parameters:
    ///   - identity: `{"name":…,"version":…}`, what the gateway calls itself.
    ///   - children: how processes of stdio upstreams are started and bounded.
    package init(
        _ settings: [UpstreamSettings], identity: JSONValue, children: ChildSettings, cadence: Cadence = Cadence(),
        group: any EventLoopGroup, archive: (any OffersArchive)? = nil, time: any TimeSource, metrics: MetricsRegistry,
        logs: LogFiles
    ) throws(UpstreamSettingsError) {
        let loops = Array(group.makeIterator())
        let writer = CallWriter(identity: identity)
        let log = logs.logger(component: LogComponent.upstreams)
        var upstreams: [Upstream] = []
        for (index, one) in settings.enumerated() {
            let loop = loops[index % loops.count]
            let place: TransportFactory.Place
            switch one.place {
            case .http(let url, let headers):
                place = .http(
                    try HTTPTransport(
                        url: url, headers: headers, answerBytesMax: one.answerBytesMax, loops: loops, time: time))
            case .stdio(let command):
                place = .stdio {
                    StdioTransport(
                        name: one.name, command: command, settings: children, answerBytesMax: one.answerBytesMax,
                        loop: loop, time: time, log: log)
                }
            }
            let upstream = Upstream(
                settings: one, transports: TransportFactory(place, loop: loop, time: time), writer: writer,
                cadence: cadence, archive: archive, loop: loop, time: time, log: log)
            metrics.gauge(
                .upstreamUp, labels: [("upstream", one.name)],
                read: { upstream.isUp ? 1 : 0 })
            metrics.gauge(
                .upstreamSessions, labels: [("upstream", one.name)], read: { Double(upstream.sides.count) })
            upstreams.append(upstream)
        }
        self.upstreams = upstreams
        self.loops = loops
        self.cadence = cadence
        settling = Settling(expected: settings.count)
    }

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
        let settling = settling
        let timer = loops[0].scheduleTask(in: .nanoseconds(cadence.settle.nanosecondsClamped)) { settling.end() }
        defer { timer.cancel() }
        await withDiscardingTaskGroup { group in
            for upstream in upstreams {
                let name = upstream.name
                upstream.listening.source.bind(updated: { uri in updated(name, uri) })
                group.addTask(executorPreference: LoopExecutor(upstream.loop)) {
                    await upstream.keepUp(settling: settling, changed: changed) { returned(name) }
                }
                group.addTask(executorPreference: LoopExecutor(upstream.loop)) {
                    await upstream.listening.run(upstream)
                }
            }
        }
    }

    package func components() -> [ComponentStatus] { upstreams.map(\.component) }

    /// Looks at every upstream now, instead of when its time has come.
    package func lookNow() { for upstream in upstreams { upstream.wakeUp() } }
}

/// An upstream whose settings cannot work, in words.
package struct UpstreamSettingsError: Error, Sendable {
    package var words: String
}
