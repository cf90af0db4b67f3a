// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Telemetry

/// What the connections of one event loop share: their list, the clock tick, the rules for new requests.
final class LoopContext: @unchecked Sendable {
    // Confined to `loop`; needs no lock.
    let loop: any EventLoop
    let executor: LoopExecutor
    private var connections: [ObjectIdentifier: HTTPConnection] = [:]
    private var ticker: RepeatedTask?
    private(set) var dateLine: String = ""
    private let time: any TimeSource
    private let metrics: MetricsRegistry
    /// For requests that begin now.
    private(set) var rules: LoopRules
    private let idHigh = UInt64.random(in: .min ... .max)
    private var idCounter = UInt64.random(in: .min ... .max)

    init(loop: any EventLoop, time: any TimeSource, rules: HTTPRules, metrics: MetricsRegistry) {
        self.loop = loop
        executor = LoopExecutor(loop)
        self.time = time
        self.metrics = metrics
        self.rules = LoopRules(rules, metrics)
    }

    func now() -> Moment { time.now() }

    /// Unique, not secret: a counter put through a mixing function, so that ids do not look alike in a log.
    func nextRequestID() -> RequestID {
        idCounter &+= 0x9e37_79b9_7f4a_7c15
        var mixed = idCounter
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return RequestID(high: idHigh, low: mixed ^ (mixed >> 31))
    }

    func add(_ connection: HTTPConnection) {
        if connections.isEmpty { startTicking() }
        connections[ObjectIdentifier(connection)] = connection
    }

    func remove(_ connection: HTTPConnection) {
        connections[ObjectIdentifier(connection)] = nil
        if connections.isEmpty {
            ticker?.cancel()
            ticker = nil
        }
    }

    /// Connections between two requests follow at once, so that nobody holds on to routes of yesterday.
    func change(to next: HTTPRules) {
        guard next.edition > rules.edition else { return }
        rules = LoopRules(next, metrics)
        for connection in connections.values { connection.follow() }
    }

    var all: [HTTPConnection] { Array(connections.values) }

    /// One tick a second looks after every connection's patience and the `Date` header; without connections nothing
    /// ticks.
    private func startTicking() {
        dateLine = HTTPDate.text(milliseconds: time.wallMilliseconds())
        ticker = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { [self] _ in
            dateLine = HTTPDate.text(milliseconds: time.wallMilliseconds())
            let now = time.now()
            for connection in connections.values { connection.checkPatience(at: now) }
        }
    }
}

/// The `Date` header's form (RFC 9110, 5.6.7).
enum HTTPDate {
    static func text(milliseconds: Int64) -> String {
        let text = WallTime.text(milliseconds: milliseconds)
        let parts = text.split { $0 == "-" || $0 == " " || $0 == "." }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let day = Int(milliseconds / 86_400_000) % 7
        let month = (Int(parts[1]) ?? 1) - 1
        return "\(days[day]), \(parts[2]) \(months[month]) \(parts[0]) \(parts[3]) GMT"
    }
}
