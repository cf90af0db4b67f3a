// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Outbound
import Telemetry

@testable import Upstreams

/// A pool of upstreams that is looked after until the test closes it.
final class PoolBench: Sendable {
    let pool: UpstreamPool
    let time: ManualTime
    let metrics = MetricsRegistry()
    let returned = Collected<String>()
    private let care: Task<Void, Never>

    /// - Parameter settle: long, so that nothing is over because a machine is busy.
    init(
        _ settings: [UpstreamSettings], settle: Duration = .seconds(60), time: ManualTime = ManualTime(runs: true),
        logs: LogFiles? = nil
    ) throws {
        self.time = time
        var cadence = Cadence()
        cadence.attemptsApart = .milliseconds(2)
        cadence.pauseMax = .milliseconds(15)
        cadence.patience = .seconds(45)
        cadence.settle = settle
        cadence.parting = .milliseconds(1)
        let pool = try UpstreamPool(
            settings, identity: ["name": "gw", "version": "1"], children: ChildSettings(), cadence: cadence,
            group: TestLoop.group, time: time, metrics: metrics, logs: try logs ?? silentLogs(time))
        self.pool = pool
        let returned = returned
        care = Task { await pool.run(changed: {}, returned: { returned.add($0) }) }
    }

    /// A pool with one upstream, which is there.
    static func up(
        _ upstream: ScriptedUpstream, timeout: Duration = .seconds(30)
    ) async throws -> (bench: PoolBench, up: Upstream) {
        let bench = try PoolBench([.scripted("up", upstream, timeout: timeout)])
        return (bench, try await bench.there("up"))
    }

    /// The upstream of this name, as soon as it is there.
    func there(_ name: String) async throws -> Upstream {
        try await wait(forValue: "\(name): \(pool.components())") {
            pool.upstreams.first { $0.name == name && $0.isUp }
        }
    }

    /// Rings until the condition holds.
    func look(for what: String, until condition: () -> Bool) async throws {
        try await wait(for: "\(what): \(pool.components())") {
            pool.lookNow()
            return condition()
        }
    }

    func component(_ name: String) -> ComponentStatus? {
        pool.components().first { $0.name == "upstream:\(name)" }
    }

    var metricsText: String { String(decoding: metrics.render(), as: UTF8.self) }

    func close() async {
        care.cancel()
        await care.value
    }
}

extension Upstream {
    /// One call of the tool `echo`, on the upstream's own loop; nil for an answer.
    func echo(
        for conversation: RecordingConversation? = nil, logLevel: LogLevel? = nil
    ) async throws -> CallFailure? {
        var call = try RoutedCall.of(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up__echo","arguments":{}}}"#,
            tool: "echo", loop: loop)
        call.conversation = conversation
        call.wishes.logLevel = logLevel
        let ready = call
        return try await Task(executorPreference: LoopExecutor(loop)) { () -> CallFailure? in
            do throws(CallFailure) {
                _ = try await self.call(ready)
                return nil
            } catch {
                return error
            }
        }.soon("the end of a call")
    }
}

extension UpstreamSettings {
    static func scripted(
        _ name: String, _ upstream: ScriptedUpstream, timeout: Duration = .seconds(30), token: String = "t"
    ) -> UpstreamSettings {
        UpstreamSettings(
            name: name, place: .http(url: upstream.url, headers: [("authorization", token)]), timeout: timeout)
    }
}
