// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import Telemetry

/// Writes refused requests to `security.log`: somebody may be trying to get in.
///
/// At most ten lines in ten seconds, so that a flood of such requests does not become a flood of lines; what was left
/// out is counted in the next line.
package struct RefusalLog: Sendable {
    private let log: any SecurityLog
    private let time: any TimeSource
    private let budget: LineBudget

    package init(log: any SecurityLog, time: any TimeSource) {
        self.log = log
        self.time = time
        budget = LineBudget(at: time.now())
    }

    /// Names the header that was refused.
    func note(_ event: String, _ request: HTTPRequest, header: String) {
        note(event, request, facts: [(header, String((request.header(header) ?? "").prefix(200)))])
    }

    /// - Parameter facts: what is known besides the peer and the request's id.
    package func note(_ event: String, _ request: HTTPRequest, facts: [(String, String)]) {
        note(event, facts: request.origin + facts + [(LogKey.requestID, request.id.description)])
    }

    package func note(_ event: String, facts: [(String, String)]) {
        guard let omitted = budget.take(at: time.now()) else { return log.leftOut(event) }
        var facts = facts
        if omitted > 0 { facts.append(("omitted_before", String(omitted))) }
        log.security(event, facts: facts)
    }
}

extension HTTPRequest {
    /// Who is said to have refused requests: the client, where a proxy of ours has said who it is, and then the proxy.
    fileprivate var origin: [(String, String)] {
        if case .forwarded(let address) = sender {
            [("peer", address), ("proxy", peer.text)]
        } else {
            [("peer", peer.text)]
        }
    }
}

extension HTTPPeer {
    package var text: String {
        switch self {
        case .network(let peer): peer.address
        case .local(let uid, let pid): "uid \(uid) pid \(pid)"
        }
    }
}
