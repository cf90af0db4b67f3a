// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import NIOCore
internal import Outbound
internal import Telemetry

/// What every upstream of a pool is fitted with.
struct UpstreamFittings: Sendable {
    let loops: [any EventLoop]
    let writer: CallWriter
    let children: ChildSettings
    let cadence: Cadence
    let archive: (any OffersArchive)?
    let time: any TimeSource
    let metrics: MetricsRegistry
    let log: Logger

    /// Makes one. Nothing is opened or started by that.
    ///
    /// - Parameters:
    ///   - index: its place in the configuration; neighbours live on different loops.
    ///   - known: what one with this name and other settings had.
    func make(_ settings: UpstreamSettings, at index: Int, known: Offers?) throws(UpstreamSettingsError) -> Upstream {
        let loop = loops[index % loops.count]
        let (children, time, log) = (children, time, log)
        let place: TransportFactory.Place
        switch settings.place {
        case .http(let url, let headers):
            place = .http(
                try HTTPTransport(
                    url: url, headers: headers, answerBytesMax: settings.answerBytesMax, loops: loops, time: time))
        case .stdio(let command):
            place = .stdio {
                StdioTransport(
                    name: settings.name, command: command, settings: children, answerBytesMax: settings.answerBytesMax,
                    loop: loop, time: time, log: log)
            }
        }
        return Upstream(
            settings: settings, transports: TransportFactory(place, loop: loop, time: time), writer: writer,
            cadence: cadence, archive: archive, known: known, loop: loop, time: time, log: log)
    }

    /// Shows it among the metrics, in the place of one with the same name.
    func show(_ upstream: Upstream) {
        let labels = Self.labels(upstream.name)
        metrics.gauge(.upstreamUp, labels: labels, read: { upstream.isUp ? 1 : 0 })
        metrics.gauge(.upstreamSessions, labels: labels, read: { Double(upstream.sides.count) })
        metrics.counter(.upstreamRestarts, labels: labels, read: { Double(upstream.restartCount) })
    }

    func hide(_ name: String) {
        metrics.remove(.upstreamUp, labels: Self.labels(name))
        metrics.remove(.upstreamSessions, labels: Self.labels(name))
        metrics.remove(.upstreamRestarts, labels: Self.labels(name))
    }

    private static func labels(_ name: String) -> [(String, String)] { [("upstream", name)] }
}
