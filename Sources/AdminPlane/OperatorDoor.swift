// Licensed under the Apache License 2.0; see LICENSE.

internal import HTTPListener

/// Who sees more than a stranger: somebody on this machine, or everybody where the configuration says so.
///
/// A request counts as local when it comes from a loopback address (or over the control socket, where the kernel names the user),
/// was not forwarded by a proxy, and was not sent by a page of elsewhere.
package struct OperatorDoor: Sendable {
    private let isPublic: Bool
    private let ownUser: UInt32

    /// - Parameters:
    ///   - isPublic: strangers may see health and metrics too.
    ///   - ownUser: the user the gateway runs as; it and root are let in by the control socket.
    package init(isPublic: Bool, ownUser: UInt32) {
        self.isPublic = isPublic
        self.ownUser = ownUser
    }

    private static let forwardingHeaders = [
        "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via",
    ]

    func admits(_ request: HTTPRequest) -> Bool { isPublic || isLocal(request) }

    private func isLocal(_ request: HTTPRequest) -> Bool {
        switch request.peer {
        case .local(let uid, _): return uid == 0 || uid == ownUser
        case .network(_, let isLoopback):
            guard isLoopback else { return false }
            for name in Self.forwardingHeaders where request.header(name) != nil { return false }
            if request.header("origin") != nil { return false }
            let site = request.header("sec-fetch-site")
            guard site == nil || site == "none" || site == "same-origin" else { return false }
            // The listener may be told to accept other names; an operator on the box types a loopback one.
            return OriginGuard.isLoopback(OriginGuard.withoutPort(request.header("host") ?? ""))
        }
    }
}
