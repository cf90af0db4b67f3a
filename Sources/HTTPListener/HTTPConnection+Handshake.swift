// Licensed under the Apache License 2.0; see LICENSE.

internal import NIOCore
internal import NIOSSL
internal import NIOTLS
internal import Telemetry

/// The time before a client of TLS can say anything. What goes wrong then costs its connection, and nothing else.
extension HTTPConnection {
    /// Whether the event is the end of a handshake.
    static func isHandshakeDone(_ event: Any) -> Bool {
        if let event = event as? TLSUserEvent, case .handshakeCompleted = event { true } else { false }
    }

    /// The TLS handler, or the socket, has given up.
    func handshakeFailed(_ error: any Error) {
        // Who leaves without a word was only looking whether somebody is there, as load balancers do.
        let isFailure =
            if let error = error as? NIOSSLError { error != .handshakeFailed(.sslError([.eofDuringHandshake])) } else {
                error is BoringSSLError
            }
        endHandshake(isFailure ? Self.reason(of: error) : nil)
    }

    func handshakeTooSlow() { endHandshake("not done in time") }

    /// - Parameter why: nil when nobody has to know.
    private func endHandshake(_ why: String?) {
        isHandshaking = false
        phase = .closing
        if let why {
            rules.handshakeFailures?.increment()
            site.noteHandshake(of: peer, why)
        }
        context?.close(promise: nil)
    }

    /// The library's own word for it, such as `certificate verify failed`, without its numbers and places.
    private static func reason(of error: any Error) -> String {
        let text = "\(error)"
        guard let mark = text.firstRange(of: "OPENSSL_internal:") else { return "not understood" }
        return text[mark.upperBound...].prefix { $0.isLetter || $0.isNumber || $0 == "_" }.lowercased()
            .replacing("_", with: " ")
    }
}
