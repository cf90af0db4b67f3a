// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Synchronization
package import Telemetry

/// Bounds of one listener.
package struct HTTPLimits: Sendable {
    /// Longest request body, in bytes.
    package var bodyBytesMax: Int
    /// Connections served at once; sixteen more are taken for operators only.
    package var connectionsMax: Int
    /// How long a client may take to send one whole request.
    package var receiveTimeout: Duration
    /// How long a kept-alive connection may stay silent.
    package var idleTimeout: Duration

    package init(bodyBytesMax: Int, connectionsMax: Int, receiveTimeout: Duration, idleTimeout: Duration = .seconds(75))
    {
        self.bodyBytesMax = bodyBytesMax
        self.connectionsMax = connectionsMax
        self.receiveTimeout = receiveTimeout
        self.idleTimeout = idleTimeout
    }
}

/// What all connections of a listener share.
final class HTTPSite: Sendable {
    let router: Router
    let limits: HTTPLimits
    /// nil on the control socket, which no web page can reach.
    private let guardian: OriginGuard?
    private let refusals: RefusalLog?
    private let connections = Atomic<Int>(0)
    private let draining = Atomic<Bool>(false)

    init(router: Router, limits: HTTPLimits, guardian: OriginGuard?, refusals: RefusalLog?) {
        self.refusals = refusals
        self.router = router
        self.limits = limits
        self.guardian = guardian
    }

    enum Place { case ordinary, reserved, none }

    /// Counts a connection for as long as its channel is open.
    func admit(_ channel: any Channel) -> Place {
        channel.closeFuture.whenComplete { _ in self.connections.subtract(1, ordering: .relaxed) }
        let count = connections.add(1, ordering: .relaxed).newValue
        if count <= limits.connectionsMax { return .ordinary }
        return count <= limits.connectionsMax + 16 ? .reserved : .none
    }

    var isDraining: Bool { draining.load(ordering: .relaxed) }

    var connectionCount: Int { connections.load(ordering: .relaxed) }

    func drain() { draining.store(true, ordering: .relaxed) }

    struct Refusal {
        let status: HTTPStatus
        let code: String
        let message: String
        var headers: [(String, String)] = []
    }

    /// What is wrong with a request before any route sees it; nil when nothing is.
    ///
    /// - Parameter knownHost: the Host found right last on this connection.
    func refusal(of request: HTTPRequest, path: Int, isReserved: Bool, knownHost: inout String?) -> Refusal? {
        if request.headers("host").count > 1 {
            return Refusal(
                status: .badRequest, code: "bad_http", message: "A request has one Host header; this one has several.")
        }
        if let guardian {
            let host = request.header("host")
            let origin = request.header("origin")
            let isKnown = origin == nil && host != nil && host == knownHost
            switch isKnown ? .allowed : guardian.judge(host: host, origin: origin) {
            case .allowed: knownHost = host
            case .badHost:
                refusals?.note(SecurityEvent.hostRefused, request, header: "host")
                return Refusal(
                    status: .misdirected, code: "host_not_allowed",
                    message:
                        "The Host header does not name this gateway. Add the name to server.allowed_hosts if it should."
                )
            case .badOrigin:
                refusals?.note(SecurityEvent.originRefused, request, header: "origin")
                return Refusal(
                    status: .forbidden, code: "origin_not_allowed",
                    message:
                        "Pages of this origin may not send requests. Add it to server.allowed_origins if they should."
                )
            }
        }
        guard path < router.entries.count else {
            return Refusal(
                status: .notFound, code: "not_found", message: "There is nothing at this path; MCP is served at /mcp.")
        }
        if isDraining, !router.entries[path].isForOperators {
            return Refusal(
                status: .unavailable, code: "draining",
                message: "This gateway is stopping and takes nothing new. Try again shortly, or another one.",
                headers: [("retry-after", "5")])
        }
        if isReserved, !router.entries[path].isForOperators {
            return Refusal(
                status: .unavailable, code: "too_many_connections",
                message:
                    "All \(limits.connectionsMax) connections are in use (server.max_connections). Try again shortly.",
                headers: [("retry-after", "1")])
        }
        return nil
    }
}

/// An HTTP/1.1 server on one address: a TCP port or a Unix socket. Rooms hang routes on it; it decides nothing else.
package final class HTTPListener: Sendable {
    package enum Address: Sendable, Equatable {
        case tcp(host: String, port: Int)
        case unix(path: String)
    }

    /// The port it really has; nil on a Unix socket.
    package let port: Int?
    private let channel: any Channel
    private let site: HTTPSite
    private let loops: [LoopContext]

    private init(channel: any Channel, site: HTTPSite, loops: [LoopContext]) {
        self.channel = channel
        self.site = site
        self.loops = loops
        port = channel.localAddress?.port
    }

    /// Binds and serves. Throws what the system says about the address.
    ///
    /// - Parameters:
    ///   - guardian: checks `Host` and `Origin` on every route; nil on a Unix socket.
    ///   - security: takes what the guardian refused.
    package static func start(
        _ address: Address, router: Router, limits: HTTPLimits, guardian: OriginGuard?, group: any EventLoopGroup,
        time: any TimeSource, metrics: MetricsRegistry, security: (any SecurityLog)? = nil
    ) async throws -> HTTPListener {
        let site = HTTPSite(
            router: router, limits: limits, guardian: guardian,
            refusals: security.map { RefusalLog(log: $0, time: time) })
        let kind = if case .unix = address { "control" } else { "public" }
        metrics.gauge(.connections, labels: [("listener", kind)]) { Double(site.connectionCount) }
        let labels = HTTPMetrics(registry: metrics, paths: router.entries.map(\.label) + ["other"])
        let loops = group.makeIterator().map { LoopContext(loop: $0, time: time, metrics: labels) }
        let contexts = Dictionary(uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.loop), $0) })

        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1_024)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 << 10, high: 256 << 10))
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                let place = site.admit(channel)
                guard place != .none, let loop = contexts[ObjectIdentifier(channel.eventLoop)] else {
                    return channel.close()
                }
                return Self.peer(of: channel).flatMapThrowing { peer in
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(
                        ByteToMessageHandler(
                            HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes), maximumBufferSize: 1 << 20))
                    try pipeline.addHandler(
                        HTTPConnection(site: site, loop: loop, peer: peer, isReserved: place == .reserved))
                }
            }
        let channel: any Channel
        switch address {
        case .tcp(let host, let port):
            channel =
                try await bootstrap
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .bind(host: host, port: port).get()
        case .unix(let path):
            channel = try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        }
        return HTTPListener(channel: channel, site: site, loops: loops)
    }

    private static func peer(of channel: any Channel) -> EventLoopFuture<HTTPPeer> {
        if let address = channel.remoteAddress, let text = address.ipAddress {
            let own = channel.localAddress
            return channel.eventLoop.makeSucceededFuture(
                .network(
                    NetworkPeer(
                        address: text, port: address.port ?? 0, ownAddress: own?.ipAddress ?? "",
                        ownPort: own?.port ?? 0)))
        }
        return PeerCredentials.of(channel).map { .local(uid: $0.uid, pid: $0.pid) }
    }

    /// Takes nothing new (health says 503, everything else is refused), lets the running answers finish for `grace`,
    /// then closes the address and cuts what is left.
    package func stop(grace: Duration) async {
        site.drain()
        let clock = ContinuousClock()
        let end = clock.now + grace
        while clock.now < end, await busyConnections() > 0 {
            // Cancellation only ends the waiting early.
            try? await Task.sleep(for: .milliseconds(20))
        }
        // Closing a listener that is closed already is what we want, so what close says is of no interest.
        _ = try? await channel.close().get()
        await onEachLoop { loop in
            for connection in loop.all { connection.cutOff() }
            return 0
        }
    }

    private func busyConnections() async -> Int {
        await onEachLoop { loop in loop.all.count { $0.isBusy } }
    }

    @discardableResult
    private func onEachLoop(_ body: @escaping @Sendable (LoopContext) -> Int) async -> Int {
        var sum = 0
        // A loop that is gone has no connections.
        for loop in loops { sum += (try? await loop.loop.submit { body(loop) }.get()) ?? 0 }
        return sum
    }
}
