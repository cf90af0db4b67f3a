// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Glibc
package import NIOCore
internal import NIOHTTP1
internal import NIOPosix
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

/// An HTTP/1.1 server on one address: a TCP port, one that somebody else has opened, or a Unix socket. Rooms hang
/// routes on it; it decides nothing else.
package final class HTTPListener: Sendable {
    package enum Address: Sendable, Equatable {
        case tcp(host: String, port: Int)
        case unix(path: String)
        /// A TCP socket that is bound and listens already. It is the listener's from here on, also when the start is
        /// refused.
        case inherited(descriptor: Int32)
    }

    /// Whom a listener is for. Metrics call it so.
    package enum Kind: String, Sendable {
        case everybody = "public"
        /// Operators, over the network.
        case admin
        /// The programs of operators on this machine.
        case control
    }

    /// Writes a line that somebody should look at, with its facts.
    package typealias Warning = @Sendable (_ words: String, _ facts: [(String, String)]) -> Void

    /// The port it really has; nil on a Unix socket.
    package let port: Int?
    private let channel: any Channel
    /// nil on a Unix socket.
    private let socket: ListeningSocket?
    private let site: HTTPSite
    private let loops: [LoopContext]

    private init(channel: any Channel, socket: ListeningSocket?, site: HTTPSite, loops: [LoopContext]) {
        self.channel = channel
        self.socket = socket
        self.site = site
        self.loops = loops
        port = channel.localAddress?.port
    }

    /// Binds and serves. Throws what the system says about the address, as `IOError`.
    ///
    /// - Parameters:
    ///   - guardian: checks `Host` and `Origin` on every route; nil on a Unix socket.
    ///   - entrance: of no meaning on a Unix socket.
    ///   - security: takes what the guardian refused.
    ///   - warn: takes what operators of the listener should know; must return at once.
    package static func start(
        _ address: Address, kind: Kind = .everybody, router: Router, limits: HTTPLimits, guardian: OriginGuard?,
        entrance: HTTPEntrance = HTTPEntrance(), group: any EventLoopGroup, time: any TimeSource,
        metrics: MetricsRegistry, security: (any SecurityLog)? = nil, warn: @escaping Warning = { _, _ in }
    ) async throws -> HTTPListener {
        let kind = if case .unix = address { Kind.control } else { kind }
        let site = HTTPSite(
            kind: kind, entrance: kind == .control ? HTTPEntrance() : entrance,
            refusals: security.map { RefusalLog(log: $0, time: time) },
            failedHandshakes: security.map { RefusalLog(log: $0, time: time) },
            shed: ShedLog(metrics: metrics, time: time, warn: warn))
        let rules = site.rules(router: router, limits: limits, guardian: guardian)
        metrics.gauge(.connections, labels: [("listener", kind.rawValue)]) { Double(site.connectionCount) }
        let loops = group.makeIterator().map { LoopContext(loop: $0, time: time, rules: rules, metrics: metrics) }
        let contexts = Dictionary(uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.loop), $0) })

        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: ListeningSocket.waitingMax)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 << 10, high: 256 << 10))
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                guard let loop = contexts[ObjectIdentifier(channel.eventLoop)] else { return channel.close() }
                let place = site.admit(channel, connectionsMax: loop.rules.limits.connectionsMax)
                guard place != .none else { return channel.close() }
                return Self.peer(of: channel).flatMapThrowing { peer in
                    let pipeline = channel.pipeline.syncOperations
                    let tls = loop.rules.entrance.tls
                    if let tls { try pipeline.addHandler(tls.handler()) }
                    try pipeline.addHandler(
                        ByteToMessageHandler(
                            HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes), maximumBufferSize: 1 << 20))
                    let connection = HTTPConnection(
                        site: site, loop: loop, peer: peer, isReserved: place == .reserved, isEncrypted: tls != nil)
                    try pipeline.addHandler(connection)
                }
            }
        let (channel, socket) = try await open(address, bootstrap)
        return HTTPListener(channel: channel, socket: socket, site: site, loops: loops)
    }

    private static func open(
        _ address: Address, _ bootstrap: ServerBootstrap
    ) async throws -> (any Channel, ListeningSocket?) {
        let socket: ListeningSocket
        switch address {
        case .tcp(let host, let port): socket = try ListeningSocket(host: host, port: port)
        case .inherited(let descriptor): socket = ListeningSocket(owning: descriptor)
        case .unix(let path):
            return (try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get(), nil)
        }
        let channel = try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .withBoundSocket(socket.copy()).get()
        // A bound socket is given NIO's usual queue of 128, whatever the options say.
        socket.lengthenQueue()
        return (channel, socket)
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

    /// Lends a descriptor of the socket that listens, for handing it on, and closes it afterwards. nil on a Unix
    /// socket, and once the address is closed.
    package func withListeningDescriptor<Result>(_ body: (Int32) throws -> Result) rethrows -> Result? {
        // No descriptor to be had means that there is nothing to hand on.
        guard let descriptor = try? socket?.copy() else { return nil }
        defer { close(descriptor) }
        return try body(descriptor)
    }

    /// Leaves the address to whoever else holds the socket: takes no connection from now on, so that those who come
    /// wait for the next gateway, and closes our copies. Connections that are here already are served one more request.
    /// Returns when each of them has said what it came for, after half a second at the latest. Does nothing on a Unix
    /// socket.
    package func leaveQueue() async {
        guard socket != nil else { return }
        site.leave()
        // A channel that is closed already takes nothing.
        try? await channel.setOption(.autoRead, value: false).get()
        // What it has taken is being set up, once on the connection's loop and once on its own. A channel that closes
        // in between would drop it.
        await onEachLoop { _ in 0 }
        try? await channel.eventLoop.submit {}.get()
        await closeAddress()
        let clock = ContinuousClock()
        let end = clock.now + Self.firstWordsMax
        // Twice, so that a request that has just come is under way and not only read.
        var quietLooks = 0
        while quietLooks < 2, clock.now < end {
            let expected = await onEachLoop { loop in loop.all.count { $0.isExpected } }
            quietLooks = expected == 0 ? quietLooks + 1 : 0
            // Cancellation only ends the waiting early.
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// How long a connection that was just taken may take to begin its request when the gateway stops.
    private static let firstWordsMax: Duration = .milliseconds(500)

    /// Has new requests judged and served otherwise, those on connections that are open already as well. A request
    /// whose head has come ends as it began, and no connection is closed: beyond a lower number of them only operators
    /// are served until enough have left, and those that began with another certificate, or without one, go on so.
    /// Returns when it is in force on every loop.
    ///
    /// - Parameter entrance: nil leaves it as it is.
    package func change(
        router: Router, limits: HTTPLimits, guardian: OriginGuard?, entrance: HTTPEntrance? = nil
    ) async {
        let rules = site.rules(router: router, limits: limits, guardian: guardian, entrance: entrance)
        await onEachLoop { loop in
            loop.change(to: rules)
            return 0
        }
    }

    /// Takes nothing new (health says 503, everything else is refused), lets the running answers finish for `grace`,
    /// ends the work on those that are left, half a second before anything is cut, then closes the address.
    ///
    /// - Parameter ending: called before work is ended.
    package func stop(grace: Duration, ending: @Sendable () -> Void = {}) async {
        site.drain()
        if await !isQuiet(within: grace) {
            ending()
            await onEachLoop { loop in
                for connection in loop.all { connection.endWork() }
                return 0
            }
            _ = await isQuiet(within: Self.lastWords)
        }
        await closeAddress()
        await onEachLoop { loop in
            for connection in loop.all { connection.cutOff() }
            return 0
        }
    }

    private static let lastWords = Duration.milliseconds(500)

    private func isQuiet(within grace: Duration) async -> Bool {
        let clock = ContinuousClock()
        let end = clock.now + grace
        while await busyConnections() > 0 {
            guard clock.now < end else { return false }
            // Cancellation only ends the waiting early.
            try? await Task.sleep(for: .milliseconds(20))
        }
        return true
    }

    private func closeAddress() async {
        // Closing a listener that is closed already is what we want, so what close says is of no interest.
        _ = try? await channel.close().get()
        socket?.close()
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
