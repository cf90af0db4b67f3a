// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Glibc

/// The machine's clocks. The only place that reads them.
package struct SystemTime: TimeSource {
    package init() {}

    package func now() -> Moment {
        var spec = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &spec)
        return Moment(nanoseconds: UInt64(spec.tv_sec) &* 1_000_000_000 &+ UInt64(spec.tv_nsec))
    }

    package func wallMilliseconds() -> Int64 {
        var spec = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &spec)
        return Int64(spec.tv_sec) * 1_000 + Int64(spec.tv_nsec) / 1_000_000
    }
}
