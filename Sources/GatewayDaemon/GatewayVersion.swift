// Licensed under the Apache License 2.0; see LICENSE.

package enum GatewayVersion {
    /// Kept equal to the newest heading of CHANGELOG.md by a test.
    package static let text = "0.5.0"
}
