// Licensed under the Apache License 2.0; see LICENSE.

internal import HTTPListener

/// Who sees more than a stranger: somebody on this machine, or everybody where the configuration says so.
///
/// A request counts as local when it comes from a loopback address (or over the control socket, where the kernel names
/// the user), was not forwarded by a proxy, and was not sent by a page of elsewhere.
package struct OperatorDoor: Sendable {
    private let isPublic: Bool

    /// - Parameter isPublic: strangers may see health and metrics too.
    package init(isPublic: Bool) { self.isPublic = isPublic }

    private static let forwardingHeaders = ["forwarded", "x-real-ip", "via"]

    func admits(_ request: HTTPRequest) -> Bool { isPublic || isLocal(request) }

    private func isLocal(_ request: HTTPRequest) -> Bool {
        switch request.peer {
        // The kernel let it in: the socket and its folder are the gateway's user's and group's.
        case .local: return true
        case .network(_, let isLoopback):
            guard isLoopback else { return false }
            for name in Self.forwardingHeaders where request.header(name) != nil { return false }
            if request.hasHeader(beginningWith: "x-forwarded-") { return false }
            if request.header("origin") != nil { return false }
            let site = request.header("sec-fetch-site")
            guard site == nil || site == "none" || site == "same-origin" else { return false }
            // The listener may be told to accept other names; an operator on the box types a loopback one.
            return OriginGuard.isLoopback(OriginGuard.withoutPort(request.header("host") ?? ""))
        }
    }
}
