// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import HTTPListener
package import MCPWire
package import NIOCore
import NIOPosix
package import Telemetry

/// An event loop for tests that only need one to exist, and the group it belongs to.
package enum TestLoop {
    package static var group: any EventLoopGroup { .singletonMultiThreadedEventLoopGroup }
    package static var one: any EventLoop { group.next() }
}

extension InboundMessage {
    /// The message that `json` is. Throws what the parser says about it.
    package static func of(_ json: String, _ revision: Revision) throws(WireError) -> InboundMessage {
        let bytes = ByteBuffer(string: json)
        let message = try MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits())
        return InboundMessage(
            bytes: bytes, message: message, revision: revision, caller: .anonymous, requestID: .random(),
            arrivedAt: Moment(nanoseconds: 1_000_000_000), loop: TestLoop.one)
    }
}

extension RoutedCall {
    /// The `tools/call` that `json` is, for the owner's tool `tool`.
    package static func of(_ json: String, tool: String, loop: any EventLoop = TestLoop.one) throws(WireError)
        -> RoutedCall
    {
        let inbound = try InboundMessage.of(json, .modern)
        return RoutedCall(
            target: tool, bytes: inbound.bytes, message: inbound.message, caller: inbound.caller,
            requestID: inbound.requestID, deadline: Deadline(Moment(nanoseconds: .max)), loop: loop)
    }
}

extension Reply {
    /// The JSON text; nil when nothing is answered.
    package var text: String? {
        if case .response(let json, _) = self { String(buffer: json) } else { nil }
    }

    package var json: JSONValue? { text.flatMap { try? JSONValue.parse($0) } }

    package var status: ReplyStatus? {
        if case .response(_, let status) = self { status } else { nil }
    }
}

/// A listener with routes of the test's own, on a random loopback port.
package struct TestSite: Sendable {
    package let listener: HTTPListener
    package let port: Int
    package let time: ManualTime
    package let metrics: MetricsRegistry

    package static func start(
        _ routes: [(path: String, route: any HTTPRoute, isForOperators: Bool)],
        limits: HTTPLimits = HTTPLimits(bodyBytesMax: 10_000, connectionsMax: 100, receiveTimeout: .seconds(60)),
        guardian: OriginGuard? = nil, time: ManualTime = ManualTime(runs: true)
    ) async throws -> TestSite {
        var router = Router()
        for one in routes { router.add(one.path, one.route, isForOperators: one.isForOperators) }
        return try await start(router, limits: limits, guardian: guardian, time: time)
    }

    package static func start(
        _ router: Router,
        limits: HTTPLimits = HTTPLimits(bodyBytesMax: 200_000, connectionsMax: 100, receiveTimeout: .seconds(60)),
        guardian: OriginGuard? = nil, time: ManualTime = ManualTime(runs: true)
    ) async throws -> TestSite {
        let metrics = MetricsRegistry()
        let listener = try await HTTPListener.start(
            .tcp(host: "127.0.0.1", port: 0), router: router, limits: limits, guardian: guardian, group: TestLoop.group,
            time: time, metrics: metrics)
        return TestSite(listener: listener, port: listener.port ?? 0, time: time, metrics: metrics)
    }

    /// The whole text of the metrics.
    package var metricsText: String { String(decoding: metrics.render(), as: UTF8.self) }

    /// Runs `body` and stops the listener.
    package func use<T>(_ body: (TestSite) async throws -> T) async throws -> T {
        do {
            let value = try await body(self)
            await listener.stop(grace: .zero)
            return value
        } catch {
            await listener.stop(grace: .zero)
            throw error
        }
    }

    package func client<T>(_ body: (ScriptedClient) async throws -> T) async throws -> T {
        try await ScriptedClient.with(port: port, body)
    }
}

/// Logs that go nowhere.
package func silentLogs(_ time: any TimeSource = ManualTime()) throws -> LogFiles { try LogFiles.silent(time) }

extension Tracer {
    /// Records nothing.
    package static func silent(_ time: any TimeSource = ManualTime()) -> Tracer {
        Tracer(time: time, metrics: MetricsRegistry())
    }
}
