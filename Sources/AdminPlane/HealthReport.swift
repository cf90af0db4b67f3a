// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import MCPWire
internal import Synchronization

/// Puts together what the rooms say about themselves. Answers from what is known; asks nobody.
package final class HealthReport: Sendable {
    private let sources: [any StatusSource]
    private let version: String
    private let instance: String
    private let time: any TimeSource
    private let startedAt: Moment
    private let draining = Atomic<Bool>(false)
    private let traffic: (any TrafficOrders)?
    private let stall: @Sendable () -> Duration?

    /// - Parameters:
    ///   - instance: tells this process from others in logs and health.
    ///   - traffic: what operators have changed by hand.
    ///   - stall: for how long an event loop has not turned; nil while all do.
    package init(
        sources: [any StatusSource], version: String, instance: String, traffic: (any TrafficOrders)? = nil,
        stall: @escaping @Sendable () -> Duration? = { nil }, time: any TimeSource
    ) {
        self.stall = stall
        self.traffic = traffic
        self.sources = sources
        self.version = version
        self.instance = instance
        self.time = time
        startedAt = time.now()
    }

    /// From here on nothing new is taken.
    package func drain() { draining.store(true, ordering: .relaxed) }

    package var uptime: Duration { time.now().since(startedAt) }

    package var components: [ComponentStatus] {
        let isDraining = draining.load(ordering: .relaxed) || traffic?.isDraining ?? false
        var detail = isDraining ? "draining: finishing what runs, taking nothing new" : "accepting calls"
        let stall = stall()
        if let stall {
            detail = "an event loop has not turned for \(Int(stall.milliseconds / 1_000)) s: restart the gateway"
        }
        let server = ComponentStatus(
            name: "server", status: isDraining || stall != nil ? .unhealthy : .healthy, detail: detail, isVital: true,
            checkedAt: time.wallMilliseconds())
        return [server] + sources.flatMap { $0.components() }
    }

    /// Unhealthy only when no call can be accepted; anything else that is wrong makes the whole degraded.
    package static func overall(_ components: [ComponentStatus]) -> ComponentStatus.Level {
        if components.contains(where: { $0.isVital && $0.status == .unhealthy }) { return .unhealthy }
        return components.contains { $0.status != .healthy } ? .degraded : .healthy
    }

    /// The body of `/health`.
    ///
    /// - Parameter isFull: with components; strangers get only the status.
    func json(_ components: [ComponentStatus], isFull: Bool) -> [UInt8] {
        let status = JSONValue.string(Self.overall(components).rawValue)
        var out: [UInt8] = []
        guard isFull else {
            JSONValue.object([("status", status)]).write(to: &out)
            return out
        }
        let uptime = uptime.milliseconds / 1_000
        JSONValue.object([
            ("status", status),
            ("version", .string(version)),
            ("instance", .string(instance)),
            ("uptime_seconds", .number(String((uptime * 10).rounded() / 10))),
            ("components", .array(components.map(Self.json))),
            ("overrides", .array((traffic?.overrides() ?? []).map(TrafficFacts.json))),
        ]).write(to: &out)
        return out
    }

    static func json(_ component: ComponentStatus) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("name", .string(component.name)),
            ("status", .string(component.status.rawValue)),
            ("detail", .string(component.detail)),
            ("checked_at", .string(WallTime.text(milliseconds: component.checkedAt))),
        ]
        if let since = component.since { members.append(("since", .string(WallTime.text(milliseconds: since)))) }
        return .object(members)
    }
}
