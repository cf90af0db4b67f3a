// Licensed under the Apache License 2.0; see LICENSE.

/// How much memory and CPU this process may use and uses, at one moment. What could not be read is nil.
package struct LoadReading: Sendable, Equatable {
    /// Of all that share the limit below, without page cache that can be dropped at once.
    package var memoryUsedBytes: Int?
    /// The limit of the control group that would be hit first, where one is lower than what the machine has; else the
    /// memory of the machine.
    package var memoryLimitBytes: Int?
    /// Whether both are of a control group: then its limit can be raised.
    package var memoryIsOfGroup: Bool
    /// Memory of this process alone that is in RAM.
    package var residentBytes: Int?
    /// How many cores it may use: those it may run on, or the quota of its control groups where that is less.
    package var cpuCores: Double
    /// User and system time of all its threads so far.
    package var cpuSeconds: Double?
    /// In how many of the quota's periods since the last reading the group was held back, 0 to 1. Nil without a quota
    /// and at the first reading.
    package var throttledShare: Double?

    package init(
        memoryUsedBytes: Int? = nil, memoryLimitBytes: Int? = nil, memoryIsOfGroup: Bool = false,
        residentBytes: Int? = nil, cpuCores: Double, cpuSeconds: Double? = nil, throttledShare: Double? = nil
    ) {
        self.memoryUsedBytes = memoryUsedBytes
        self.memoryLimitBytes = memoryLimitBytes
        self.memoryIsOfGroup = memoryIsOfGroup
        self.residentBytes = residentBytes
        self.cpuCores = cpuCores
        self.cpuSeconds = cpuSeconds
        self.throttledShare = throttledShare
    }

    /// Above 1 for as long as a limit is lower than what was used when it was set.
    package var memoryShare: Double? {
        guard let memoryUsedBytes, let memoryLimitBytes else { return nil }
        // A limit of nothing is used up, whatever is used.
        return memoryLimitBytes > 0 ? Double(memoryUsedBytes) / Double(memoryLimitBytes) : 1
    }
}
