// Licensed under the Apache License 2.0; see LICENSE.

internal import NIOCore
internal import Synchronization
internal import Telemetry

/// What all connections of a listener share.
final class HTTPSite: Sendable {
    private let kind: HTTPListener.Kind
    private let refusals: RefusalLog?
    /// Apart from the others, so that a flood of the one leaves no line of the other out.
    private let failedHandshakes: RefusalLog?
    private let shed: ShedLog
    private let connections = Atomic<Int>(0)
    private let stage = Atomic<Stage>(.open)
    private let latest: Mutex<(edition: Int, entrance: HTTPEntrance)>

    init(
        kind: HTTPListener.Kind, entrance: HTTPEntrance, refusals: RefusalLog?, failedHandshakes: RefusalLog?,
        shed: ShedLog
    ) {
        self.kind = kind
        self.shed = shed
        self.refusals = refusals
        self.failedHandshakes = failedHandshakes
        latest = Mutex((0, entrance))
    }

    /// Rules that take the place of all that were made before.
    ///
    /// - Parameter entrance: nil for that of the former rules.
    func rules(
        router: Router, limits: HTTPLimits, guardian: OriginGuard?, entrance: HTTPEntrance? = nil
    ) -> HTTPRules {
        let latest = latest.withLock { latest in
            latest = (latest.edition + 1, entrance ?? latest.entrance)
            return latest
        }
        return HTTPRules(
            router: router, limits: limits, guardian: guardian, entrance: latest.entrance, edition: latest.edition)
    }

    /// Somebody who could not begin to speak TLS with us, perhaps for want of a certificate.
    func noteHandshake(of peer: HTTPPeer, _ why: String) {
        failedHandshakes?.note(SecurityEvent.tlsRefused, facts: [("peer", peer.text), (LogKey.detail, why)])
    }

    enum Place { case ordinary, reserved, none }

    /// The way to the end of a listener.
    private enum Stage: UInt8, AtomicRepresentable {
        case open
        /// Requests are served, and each is the last of its connection.
        case leaving
        /// Requests are refused, but for those of operators.
        case draining
    }

    /// Counts a connection for as long as its channel is open.
    func admit(_ channel: any Channel, connectionsMax: Int) -> Place {
        channel.closeFuture.whenComplete { _ in self.connections.subtract(1, ordering: .relaxed) }
        let count = connections.add(1, ordering: .relaxed).newValue
        if count <= connectionsMax { return .ordinary }
        if count <= connectionsMax + 16 { return .reserved }
        shed.note(connectionsMax: connectionsMax)
        return .none
    }

    /// Whether an answer is the last of its connection.
    var isDraining: Bool { stage.load(ordering: .relaxed) != .open }

    private var refusesNew: Bool { stage.load(ordering: .relaxed) == .draining }

    var connectionCount: Int { connections.load(ordering: .relaxed) }

    /// From now on each answer is the last of its connection. Nothing after `drain`.
    func leave() { _ = stage.compareExchange(expected: .open, desired: .leaving, ordering: .relaxed) }

    /// From now on only operators are served.
    func drain() { stage.store(.draining, ordering: .relaxed) }

    struct Refusal {
        let status: HTTPStatus
        let code: String
        let message: String
        var headers: [(String, String)] = []
    }

    /// What is wrong with a request before any route sees it; nil when nothing is.
    ///
    /// - Parameters:
    ///   - rules: those the request began with; `path` is an index of their router.
    ///   - knownHost: the Host they found right last on this connection.
    func refusal(
        of request: HTTPRequest, by rules: LoopRules, path: Int, isReserved: Bool, knownHost: inout String?
    ) -> Refusal? {
        if request.headers("host").count > 1 {
            return Refusal(
                status: .badRequest, code: "bad_http", message: "A request has one Host header; this one has several.")
        }
        if let guardian = rules.guardian {
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
        guard path < rules.router.entries.count else {
            return Refusal(
                status: .notFound, code: "not_found",
                message: kind == .admin
                    ? "There is nothing at this path; this address is for operators, MCP is served at another one."
                    : "There is nothing at this path; MCP is served at /mcp.")
        }
        if refusesNew, !rules.router.entries[path].isForOperators {
            shed.count()
            return Refusal(
                status: .unavailable, code: "draining",
                message: "This gateway is stopping and takes nothing new. Try again shortly, or another one.",
                headers: [("retry-after", "5")])
        }
        if isReserved, !rules.router.entries[path].isForOperators {
            shed.note(connectionsMax: rules.limits.connectionsMax)
            return Refusal(
                status: .unavailable, code: "too_many_connections",
                message: "All \(rules.limits.connectionsMax) connections are in use (server.max_connections). "
                    + "Try again shortly.",
                headers: [("retry-after", "1")])
        }
        return nil
    }
}
