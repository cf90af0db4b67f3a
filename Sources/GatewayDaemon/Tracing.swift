// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOPosix
internal import Outbound
internal import Synchronization
internal import Telemetry

/// Records traces as the configuration says, and brings them to its collector.
final class Tracing: Sendable {
    let tracer: Tracer
    private let sender: SpanSender
    /// Where to; nil for nowhere.
    private let address: Place

    /// Shared with the sender, which is one and the same over all reloads.
    private final class Place: Sendable {
        let value: Mutex<String?>
        /// Made when there is something to send.
        private let client = Mutex<WebClient?>(nil)

        init(_ value: String?) { self.value = Mutex(value) }

        func client(_ group: MultiThreadedEventLoopGroup) -> WebClient {
            client.withLock { client in
                let made = client ?? WebClient(group: group)
                client = made
                return made
            }
        }

        func close() async { await client.withLock { $0 }?.close() }
    }

    /// A collector that takes longer is one that is away.
    private static let patience = Duration.seconds(10)

    init(
        _ settings: GatewaySettings.Telemetry, instance: String, group: MultiThreadedEventLoopGroup,
        time: any TimeSource, metrics: MetricsRegistry, logs: LogFiles
    ) {
        tracer = Tracer(time: time, metrics: metrics)
        let place = Place(settings.traces)
        address = place
        sender = SpanSender(
            tracer: tracer, text: OTLPText(version: GatewayVersion.text, instance: instance), metrics: metrics,
            log: logs.logger(component: LogComponent.daemon)
        ) { body in
            guard let address = place.value.withLock({ $0 }) else { return .unwanted }
            let outcome = await place.client(group).post(
                address, contentType: "application/json", body: body, within: Self.patience)
            return Self.meaning(of: outcome)
        }
        change(to: settings)
    }

    /// As OTLP says: these may be sent again, others never.
    private static func meaning(of outcome: WebClient.Outcome) -> SpanSender.Outcome {
        switch outcome {
        case .answered(200...299): .taken
        case .answered(let status) where [429, 502, 503, 504].contains(status):
            .later("it answers with status \(status)")
        case .answered(let status): .refused("it answers with status \(status)")
        case .failed(let words): .later(words)
        }
    }

    func change(to settings: GatewaySettings.Telemetry) {
        address.value.withLock { $0 = settings.traces }
        tracer.change(ratio: settings.collector == nil ? nil : settings.sampleRatio)
    }

    /// Until its task is cancelled; then sends what is left.
    func run() async {
        await sender.run()
        // Its task is cancelled by now, and closing has to wait for the connections.
        await Task { await address.close() }.value
    }
}
