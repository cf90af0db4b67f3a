// Licensed under the Apache License 2.0; see LICENSE.

package import Access
package import GatewayCore
package import HTTPListener
internal import Synchronization
package import Telemetry

/// Finds out who makes a request, and turns away who may not call. The same for every transport over HTTP; sockets of
/// this machine are guarded by the rights of their files.
package final class CallerDoor: Sendable {
    package enum Mode: Int, Sendable {
        /// Everybody who reaches the address is the anonymous caller; a token that is shown gives a name all the same.
        case open
        /// Only who shows a token of the role `call`.
        case token
    }

    private let mode: Atomic<Int>
    private let desk: TokenDesk?
    private let refusals: RefusalLog
    private let failures: Counter

    package init(
        mode: Mode, desk: TokenDesk?, log: any SecurityLog, metrics: MetricsRegistry, time: any TimeSource
    ) {
        self.mode = Atomic(mode.rawValue)
        self.desk = desk
        refusals = RefusalLog(log: log, time: time)
        failures = metrics.counter(.authFailures)
    }

    /// In force for the next request.
    package func change(to mode: Mode) { self.mode.store(mode.rawValue, ordering: .relaxed) }

    /// Who it is; nil when the request was refused, and answered.
    func caller(of request: HTTPRequest, _ exchange: HTTPExchange) -> Caller? {
        let isOpen = mode.load(ordering: .relaxed) == Mode.open.rawValue
        let headers = request.headers("authorization")
        if isOpen, headers.isEmpty || desk == nil { return .anonymous }
        guard let desk else {
            refuse(
                exchange, .unauthorized, "no_tokens", "This gateway asks for tokens and has none to compare with.",
                why: "no tokens are loaded")
            return nil
        }
        switch desk.look(at: headers, from: request.peerAddress, isLocal: request.isFromThisMachine) {
        case .visitor(let visitor) where visitor.may(.call): return Caller(name: visitor.name)
        case .visitor where isOpen: return .anonymous
        case .visitor(let visitor):
            refuse(
                exchange, .forbidden, "role_missing", "This token has not the role call, which using tools needs.",
                why: "token \(visitor.name) has no role call")
        // What is meant for something behind us, or in front of us, is no reason to turn somebody away.
        case .nothing where isOpen, .wrong where isOpen, .refused where isOpen: return .anonymous
        case .nothing:
            refuse(
                exchange, .unauthorized, "token_missing",
                "This gateway asks for a token: Authorization: Bearer TOKEN. Its operator makes one with mcp-gateway "
                    + "token new.", why: "no token")
        case .wrong:
            failures.increment()
            refuse(
                exchange, .unauthorized, "token_refused",
                "The token is not one of this gateway, or is revoked or expired. Ask its operator for another one.",
                why: "a token that is not good")
        case .refused(let rest):
            failures.increment()
            let seconds = max(1, Int((rest.milliseconds / 1_000).rounded(.up)))
            refuse(
                exchange, .tooManyRequests, "too_many_failures",
                "Too many wrong tokens came from this address. Try again in \(seconds) s.",
                why: "too many wrong tokens", headers: [("retry-after", String(seconds))])
        }
        return nil
    }

    /// A token that is not good was shown at the operators' door: counted and written down as at this one.
    package func noteWrongToken(of request: HTTPRequest, why: String) {
        failures.increment()
        // The first part of the path is a name of ours, the rest may be anything.
        let place = request.path.dropFirst().prefix { $0 != "/" }
        refusals.note(SecurityEvent.authFailure, request, facts: [("path", "/\(place)"), ("detail", why)])
    }

    private func refuse(
        _ exchange: HTTPExchange, _ status: HTTPStatus, _ code: String, _ words: String, why: String,
        headers: [(String, String)] = []
    ) {
        refusals.note(SecurityEvent.authFailure, exchange.request, facts: [("detail", why)])
        let challenge = status == .unauthorized ? [("www-authenticate", "Bearer realm=\"mcp-gateway\"")] : []
        exchange.refuse(status, code: code, words, headers: headers + challenge)
    }
}
