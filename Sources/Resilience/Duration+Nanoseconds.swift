// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

extension Duration {
    /// For arithmetic of our own: a negative duration is zero, one beyond 292 years is 292 years.
    var nanosecondsUnsigned: UInt64 { UInt64(clamping: nanosecondsClamped) }
}
