// Licensed under the Apache License 2.0; see LICENSE.

package import Access
package import HTTPListener

/// Who sees more than a stranger, and who may give orders: somebody with a token for it, or somebody on this machine,
/// as one of `admin.local`.
///
/// A request counts as local when it comes over the control socket, or from a loopback address by a program of a user
/// who is let in, was not forwarded by a proxy, and was not sent by a page of elsewhere. A plain proxy on the same
/// machine looks local in everything but its user, so the user is what decides.
package struct OperatorDoor: Sendable {
    private let isPublic: Bool
    private let local: LocalUsers
    private let requiresToken: Bool
    private let tokens: TokenDesk?
    private let owner: @Sendable (NetworkPeer) -> UInt32?
    private let wrongToken: @Sendable (HTTPRequest, String) -> Void

    /// - Parameters:
    ///   - isPublic: strangers may see health and metrics too. They may not give orders.
    ///   - local: whose programs are let in.
    ///   - requiresToken: nobody is let in without a token but by the control socket.
    ///   - owner: the user of the program at the other end, who has to be one of these; asked last, and once a request.
    ///   - wrongToken: told of each request that shows a token that is not good, and why; must return at once.
    package init(
        isPublic: Bool, local: LocalUsers, requiresToken: Bool = false, tokens: TokenDesk? = nil,
        owner: @escaping @Sendable (NetworkPeer) -> UInt32?,
        wrongToken: @escaping @Sendable (_ request: HTTPRequest, _ why: String) -> Void = { _, _ in }
    ) {
        self.wrongToken = wrongToken
        self.isPublic = isPublic
        self.local = local
        self.requiresToken = requiresToken
        self.tokens = tokens
        self.owner = owner
    }

    /// Who asks. The texts are for the log: a stranger is not told how close to the door it came.
    enum Visitor: Sendable, Equatable {
        case operating(who: String)
        /// May look, and order nothing.
        case observing(who: String)
        /// - Parameter hasToken: it showed one that is not good, so that another one may help.
        case stranger(why: String, hasToken: Bool = false)

        var why: String {
            switch self {
            case .operating(let who): who
            case .observing(let who): "\(who) has no role admin"
            case .stranger(let why, _): why
            }
        }

        var mayTryAgain: Bool { if case .stranger(_, hasToken: true) = self { true } else { false } }
    }

    private static let forwardingHeaders = ["forwarded", "x-real-ip", "via"]

    /// Whether health and metrics are shown in full.
    func admits(_ request: HTTPRequest) -> Bool {
        if isPublic { return true }
        if case .stranger = visitor(request) { return false }
        return true
    }

    /// The cheap questions first: strangers from elsewhere cost nothing.
    func visitor(_ request: HTTPRequest) -> Visitor {
        switch request.peer {
        // The kernel let it in: the socket and its folder are the gateway's user's and group's.
        case .local(let uid, let pid): return .operating(who: "uid \(uid) pid \(pid)")
        case .network(let peer):
            if let shown = shown(request) { return shown }
            guard peer.isLoopback else { return .stranger(why: "not from this machine") }
            if requiresToken { return .stranger(why: "admin.require_token asks for a token") }
            if let sign = Self.signOfAnother(request) { return .stranger(why: sign) }
            guard let uid = owner(peer) else { return .stranger(why: "its user cannot be found") }
            guard local.contains(uid) else { return .stranger(why: "uid \(uid) is not in admin.local") }
            return .operating(who: "uid \(uid) port \(peer.port)")
        }
    }

    /// Who shows a token; nil when none is shown. A wrong one is not made good by coming from this machine.
    private func shown(_ request: HTTPRequest) -> Visitor? {
        guard let tokens else { return nil }
        switch tokens.look(
            at: request.headers("authorization"), from: request.peerAddress, isLocal: request.isFromThisMachine)
        {
        case .nothing: return nil
        case .visitor(let visitor) where visitor.may(.admin): return .operating(who: "token \(visitor.name)")
        case .visitor(let visitor) where visitor.may(.observe): return .observing(who: "token \(visitor.name)")
        case .visitor(let visitor): return .stranger(why: "token \(visitor.name) has no role observe or admin")
        case .wrong: return wrong(request, "a token that is not good")
        case .refused: return wrong(request, "too many wrong tokens")
        }
    }

    private func wrong(_ request: HTTPRequest, _ why: String) -> Visitor {
        wrongToken(request, why)
        return .stranger(why: "its token is not good", hasToken: true)
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
