// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOSSL
internal import Synchronization

/// What secure connections to one server begin with. Made when the first one is opened: a machine without CA
/// certificates keeps this server away, and neither the others nor the gateway.
final class ClientTLS: Sendable {
    private let context = Mutex<NIOSSLContext?>(nil)

    /// Tried again by the next attempt where it cannot be made. Reads the machine's CA certificates, some milliseconds.
    func ready() throws(CallFailure) -> NIOSSLContext {
        do {
            return try context.withLock { context in
                let made = try context ?? NIOSSLContext(configuration: .makeClientConfiguration())
                context = made
                return made
            }
        } catch {
            throw .unavailable(
                detail: "TLS failed to be set up (\(error)): this machine may have no CA certificates; "
                    + "apt-get install ca-certificates")
        }
    }
}
