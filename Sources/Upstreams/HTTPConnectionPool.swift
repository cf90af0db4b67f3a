// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import MCPWire
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL

/// The kept-alive connections to one upstream on one event loop.
final class HTTPConnectionPool: @unchecked Sendable {
    // Confined to `loop`; needs no lock.
    private let address: UpstreamAddress
    private let tls: ClientTLS?
    private let limits: WireLimits
    private let loop: any EventLoop
    private let time: any TimeSource
    private var idle: [HTTPUpstreamConnection] = []
    private var open: [ObjectIdentifier: HTTPUpstreamConnection] = [:]
    private var connecting = 0
    private var ticker: RepeatedTask?

    /// Most connections at once; the gateway's own limit on calls comes first in practice.
    private static let connectionsMax = 1_024
    /// Common servers close a silent connection after five seconds. Ours must be gone before, or a call meets a closing
    /// door.
    private static let idleMax = Duration.seconds(4)
    private static let connectPatience = Duration.seconds(5)

    init(address: UpstreamAddress, tls: ClientTLS?, limits: WireLimits, loop: any EventLoop, time: any TimeSource) {
        self.address = address
        self.tls = tls
        self.limits = limits
        self.loop = loop
        self.time = time
    }

    /// The connection used last, which is the least likely to be closed by the other side; a new one when none is idle.
    func take(deadline: Deadline) async throws(CallFailure) -> HTTPUpstreamConnection {
        loop.assertInEventLoop()
        while let connection = idle.popLast() {
            if connection.isUsable { return connection }
        }
        guard open.count + connecting < Self.connectionsMax else {
            throw .overloaded(
                detail: "\(Self.connectionsMax) connections to its server are in use already", retryAfter: 1)
        }
        connecting += 1
        defer { connecting -= 1 }
        return try await connect(deadline: deadline)
    }

    private func connect(deadline: Deadline) async throws(CallFailure) -> HTTPUpstreamConnection {
        let patience = min(Self.connectPatience, deadline.remaining(at: time.now()))
        let tls = try tls?.ready()
        let address = address
        let connection = HTTPUpstreamConnection(pool: self, limits: limits, time: time)
        let bootstrap = ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            // A stream that is silent for hours must notice that its server is gone.
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 30)
            .channelOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 10)
            .channelOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
            .connectTimeout(.nanoseconds(patience.nanosecondsClamped))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        // An address literal is no name that a server could be asked for.
                        let isLiteral = (try? SocketAddress(ipAddress: address.host, port: 0)) != nil
                        let name = isLiteral ? nil : address.host
                        try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name))
                    }
                    let wire = RequestBytes()
                    try pipeline.addHandler(wire)
                    try pipeline.addHandler(
                        ByteToMessageHandler(
                            HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .drop)
                        ))
                    connection.wire = wire
                    try pipeline.addHandler(connection)
                }
            }
        if tls != nil { connection.secured = loop.makePromise() }
        let ends = time.now() + patience
        do {
            _ = try await bootstrap.connect(host: address.host, port: address.port).get()
        } catch {
            // Nobody waits for that any more.
            connection.secured?.fail(error)
            throw .unavailable(detail: "cannot connect to \(address.authority): \(ConnectWords.of(error))")
        }
        if let secured = connection.secured { try await handshake(secured, connection, Deadline(ends)) }
        guard connection.isUsable else {
            throw .unavailable(detail: "\(address.authority) closed the connection at once")
        }
        open[ObjectIdentifier(connection)] = connection
        startTicking()
        return connection
    }

    /// Nothing was sent before the handshake is done, so whatever ends it leaves no doubt about a call.
    private func handshake(
        _ secured: EventLoopPromise<Void>, _ connection: HTTPUpstreamConnection, _ deadline: Deadline
    ) async throws(CallFailure) {
        let patience = TimeAmount.nanoseconds(deadline.remaining(at: time.now()).nanosecondsClamped)
        let timer = loop.scheduleTask(in: patience) { secured.fail(ChannelError.connectTimeout(patience)) }
        defer { timer.cancel() }
        do {
            try await secured.futureResult.get()
        } catch {
            connection.close()
            // The library says no more of it than that.
            let isRefused = "\(error)".contains("CERTIFICATE_VERIFY_FAILED")
            let look = "openssl s_client -connect \(address.host):\(address.port)"
            let words =
                "the handshake failed: "
                + (isRefused
                    ? "its certificate is not accepted (expired, or of an issuer that this machine does not trust; "
                        + "\(look) shows it)"
                    : ConnectWords.of(error))
            throw .unavailable(detail: "no secure connection to \(address.authority): \(words)")
        }
    }

    /// Sends something whose answer does not matter.
    func sendAside(_ bytes: ByteBuffer) {
        let deadline = Deadline(time.now() + Self.connectPatience)
        Task(executorPreference: LoopExecutor(loop)) {
            do throws(CallFailure) {
                _ = try await self.take(deadline: deadline).exchange(bytes, id: nil, deadline: deadline)
            } catch {
                // It was a courtesy; the server will find out by itself.
            }
        }
    }

    // MARK: Called by connections

    func giveBack(_ connection: HTTPUpstreamConnection) { idle.append(connection) }

    func forget(_ connection: HTTPUpstreamConnection) {
        open[ObjectIdentifier(connection)] = nil
        idle.removeAll { $0 === connection }
    }

    /// One tick for all deadlines and idle times, only while there are connections: a timer for each call would cost
    /// more than the call's own bookkeeping.
    private func startTicking() {
        guard ticker == nil else { return }
        ticker = loop.scheduleRepeatedTask(initialDelay: .milliseconds(25), delay: .milliseconds(25)) { [self] task in
            let now = time.now()
            for connection in open.values { connection.tick(at: now, idleMax: Self.idleMax) }
            guard open.isEmpty else { return }
            task.cancel()
            ticker = nil
        }
    }

    func close() async {
        // Submitting fails only when the loop is gone, and the connections with it.
        try? await loop.submit { for connection in self.open.values { connection.close() } }.get()
    }
}

enum ConnectWords {
    private static let late = "timeout: no answer to the attempt"

    /// What a connection attempt came to, for operators.
    static func of(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            if let first = error.connectionErrors.first { return of(first.error) }
            if error.dnsAError != nil || error.dnsAAAAError != nil { return "the name cannot be resolved" }
        }
        if let error = error as? IOError {
            switch error.errnoCode {
            case ECONNREFUSED: return "connection refused"
            case ETIMEDOUT: return late
            case ENETUNREACH, EHOSTUNREACH: return "no network route"
            case ECONNRESET, EPIPE: return "the server reset the connection"
            default: return "\(error)"
            }
        }
        if let error = error as? ChannelError, case .connectTimeout = error { return late }
        return "\(error)"
    }
}
