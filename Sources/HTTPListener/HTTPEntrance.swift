// Licensed under the Apache License 2.0; see LICENSE.

/// What is between a listener and its clients on the network.
package struct HTTPEntrance: Sendable {
    /// nil for plain HTTP.
    package var tls: ServerTLS?
    package var proxies: TrustedProxies

    package init(tls: ServerTLS? = nil, proxies: TrustedProxies = TrustedProxies()) {
        self.tls = tls
        self.proxies = proxies
    }
}
