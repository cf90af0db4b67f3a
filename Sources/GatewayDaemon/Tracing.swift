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

    /// Shared with the sender, which outlives no reload.
    private final class Place: Sendable {
        let value: Mutex<String?>
        init(_ value: String?) { self.value = Mutex(value) }
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
            guard let address = place.value.withLock({ $0 }) else { return .refused("nothing is recorded any more") }
            let client = WebClient(group: group)
            let outcome = await client.post(
                address, contentType: "application/json", body: body, within: Self.patience)
            await client.close()
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
    func run() async { await sender.run() }
}
