// Licensed under the Apache License 2.0; see LICENSE.

package import HTTPListener

/// Who sees more than a stranger, and who may give orders: somebody on this machine, as one of `admin.local`.
///
/// A request counts as local when it comes over the control socket, or from a loopback address by a program of a user
/// who is let in, was not forwarded by a proxy, and was not sent by a page of elsewhere. A plain proxy on the same
/// machine looks local in everything but its user, so the user is what decides.
package struct OperatorDoor: Sendable {
    private let isPublic: Bool
    private let local: LocalUsers
    private let owner: @Sendable (NetworkPeer) -> UInt32?

    /// - Parameters:
    ///   - isPublic: strangers may see health and metrics too. They may not give orders.
    ///   - local: whose programs are let in.
    ///   - owner: the user of the program at the other end, who has to be one of these; asked last, and once a request.
    package init(
        isPublic: Bool, local: LocalUsers,
        owner: @escaping @Sendable (NetworkPeer) -> UInt32? = { SocketOwners.machine.owner(of: $0) }
    ) {
        self.isPublic = isPublic
        self.local = local
        self.owner = owner
    }

    /// Who asks. The texts are for the log: a stranger is not told how close to the door it came.
    enum Visitor: Sendable, Equatable {
        case local(who: String)
        case stranger(why: String)
    }

    private static let forwardingHeaders = ["forwarded", "x-real-ip", "via"]

    /// Whether health and metrics are shown in full.
    func admits(_ request: HTTPRequest) -> Bool {
        if isPublic { return true }
        if case .local = visitor(request) { return true }
        return false
    }

    /// The cheap questions first: strangers from elsewhere cost nothing.
    func visitor(_ request: HTTPRequest) -> Visitor {
        switch request.peer {
        // The kernel let it in: the socket and its folder are the gateway's user's and group's.
        case .local(let uid, let pid): return .local(who: "uid \(uid) pid \(pid)")
        case .network(let peer):
            guard peer.isLoopback else { return .stranger(why: "not from this machine") }
            if let sign = Self.signOfAnother(request) { return .stranger(why: sign) }
            guard let uid = owner(peer) else { return .stranger(why: "its user cannot be found") }
            guard local.contains(uid) else { return .stranger(why: "uid \(uid) is not in admin.local") }
            return .local(who: "uid \(uid) port \(peer.port)")
        }
    }

    /// What says that somebody else is behind this request.
    private static func signOfAnother(_ request: HTTPRequest) -> String? {
        for name in forwardingHeaders where request.header(name) != nil { return "forwarded by a proxy (\(name))" }
        if request.hasHeader(beginningWith: "x-forwarded-") { return "forwarded by a proxy (x-forwarded)" }
        if request.header("origin") != nil { return "sent by a page (origin)" }
        let site = request.header("sec-fetch-site")
        guard site == nil || site == "none" || site == "same-origin" else { return "sent by a page (sec-fetch-site)" }
        // The listener may be told to accept other names; an operator on the box types a loopback one.
        guard OriginGuard.isLoopback(OriginGuard.withoutPort(request.header("host") ?? "")) else {
            return "its host is no loopback name"
        }
        return nil
    }
}
