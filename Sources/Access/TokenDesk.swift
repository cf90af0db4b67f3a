// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// Looks at the credentials of requests: one book, and one brake for all the doors that ask it.
package final class TokenDesk: Sendable {
    package enum Verdict: Sendable, Equatable {
        /// None was shown.
        case nothing
        case visitor(Visitor)
        /// Not ours, revoked, expired, or no token at all. With how long the address is refused from here on, if it is.
        case wrong(refusedFor: Duration?)
        /// Too many wrong ones came from this address lately; what it shows now is not looked at.
        case refused(for: Duration)
    }

    package let book: TokenBook
    private let brake = Mutex(FailureBrake())
    private let time: any TimeSource
    private let lockedOut: @Sendable (String, Duration) -> Void

    /// - Parameter lockedOut: told when an address is refused from here on, and for how long; must return at once.
    package init(
        book: TokenBook, time: any TimeSource,
        lockedOut: @escaping @Sendable (_ address: String, _ length: Duration) -> Void = { _, _ in }
    ) {
        self.book = book
        self.time = time
        self.lockedOut = lockedOut
    }

    /// - Parameters:
    ///   - headers: every `Authorization` of the request.
    ///   - address: where it comes from.
    ///   - isLocal: from this machine, which is never refused unseen.
    package func look(at headers: [String], from address: String, isLocal: Bool) -> Verdict {
        guard let header = headers.first else { return .nothing }
        let now = time.now()
        if let rest = brake.withLock({ $0.refusal(of: address, isLocal: isLocal, at: now) }) {
            return .refused(for: rest)
        }
        // Of two nobody knows which one counts.
        if headers.count == 1, let bearer = Bearer.token(in: header),
            let visitor = book.visitor(bearer: bearer, now: time.wallMilliseconds())
        {
            brake.withLock { $0.succeed(address) }
            return .visitor(visitor)
        }
        let refusedFor = brake.withLock { $0.fail(address, isLocal: isLocal, at: now) }
        if let refusedFor { lockedOut(address, refusedFor) }
        return .wrong(refusedFor: refusedFor)
    }
}
