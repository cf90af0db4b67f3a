// Licensed under the Apache License 2.0; see LICENSE.

/// Reads from the kernel how much memory and CPU this process may use and uses.
///
/// Nothing is kept between readings but what the quota had counted: `docker update`, `systemctl set-property` and the
/// machine's administrator change limits, and move processes, while they run. Both versions of control groups are
/// known, also mixed and as containers see them. Never fails: strange contents are as good as none. A reading opens
/// some twenty small files of the kernel, which takes some 0.4 ms; they never wait for a disk.
package struct LoadReader: Sendable {
    /// A longer file is taken for none.
    package static let fileBytesMax = 64 << 10

    /// What the smallest quota had counted.
    private struct Throttling {
        let directory: String
        let periods: Int
        let throttled: Int
    }

    private let contents: @Sendable (String) -> [UInt8]?
    private let onlineCores: @Sendable () -> Int
    private let ticksPerSecond: Int
    private var throttling: Throttling?

    /// Where version 1 writes that there is no limit: a number that no machine has.
    private static let unlimitedBytes = 1 << 60

    /// - Parameters:
    ///   - read: the contents of a file at an absolute path, nil when it cannot be read or is longer than
    ///     `fileBytesMax`.
    ///   - onlineCores: how many cores the machine has switched on.
    ///   - ticksPerSecond: the unit of the times in `/proc/self/stat`.
    package init(
        read: @escaping @Sendable (String) -> [UInt8]?, onlineCores: @escaping @Sendable () -> Int,
        ticksPerSecond: Int = 100
    ) {
        contents = read
        self.onlineCores = onlineCores
        self.ticksPerSecond = max(ticksPerSecond, 1)
    }

    package mutating func take() -> LoadReading {
        let membership = text("/proc/self/cgroup")
        let status = text("/proc/self/status")
        var reading = LoadReading(
            residentBytes: status?.figure("VmRSS"), cpuCores: Double(cores(status)), cpuSeconds: cpuSeconds())
        let machine = machineMemory()
        let group = branch("memory", membership).flatMap {
            groupMemory($0, below: machine.total ?? Self.unlimitedBytes)
        }
        reading.memoryUsedBytes = group?.used ?? machine.used
        reading.memoryLimitBytes = group?.limit ?? machine.total
        reading.memoryIsOfGroup = group != nil
        let quota = branch("cpu", membership).flatMap { cpuQuota($0) }
        if let quota { reading.cpuCores = min(reading.cpuCores, quota.cores) }
        reading.throttledShare = throttledShare(in: quota?.directory)
        return reading
    }

    private func text(_ path: String) -> KernelText? { contents(path).map(KernelText.init) }

    private func branch(_ controller: String, _ membership: KernelText?) -> GroupBranch? {
        membership.flatMap { GroupBranch.find(controller, membership: $0, read: contents) }
    }

    // MARK: Memory

    private func machineMemory() -> (used: Int?, total: Int?) {
        let text = text("/proc/meminfo")
        guard let total = text?.figure("MemTotal") else { return (nil, nil) }
        return (text?.figure("MemAvailable").map { total - min($0, total) }, total)
    }

    /// Of the limits in force the one with the fewest bytes left, which is the one that a growing process hits first. A
    /// group around ours may be full of others while ours is not.
    private func groupMemory(_ branch: GroupBranch, below total: Int) -> (used: Int, limit: Int)? {
        let names =
            branch.isUnified
            ? (limit: "memory.max", usage: "memory.current", droppable: "inactive_file")
            : (limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", droppable: "total_inactive_file")
        var tightest: (used: Int, limit: Int)?
        for directory in branch.directories {
            guard let limit = text("\(directory)/\(names.limit)")?.number, limit < total,
                let usage = text("\(directory)/\(names.usage)")?.number
            else { continue }
            // Page cache counts as used until somebody needs the memory.
            let droppable = text("\(directory)/memory.stat")?.figure(names.droppable) ?? 0
            let used = usage - min(usage, droppable)
            if let tightest, tightest.limit - min(tightest.used, tightest.limit) <= limit - min(used, limit) {
                continue
            }
            tightest = (used, limit)
        }
        return tightest
    }

    // MARK: CPU

    /// Those that are on and that the scheduler may use for us, which `taskset` and a group's `cpuset` narrow. Counted,
    /// not matched: the list may name cores that are off or could yet be added, and in some containers the numbers of
    /// one list are not those of the other.
    private func cores(_ status: KernelText?) -> Int {
        let online = max(onlineCores(), 1)
        guard let allowed = status?.listLength("Cpus_allowed_list"), allowed > 0 else { return online }
        return min(allowed, online)
    }

    private func cpuSeconds() -> Double? {
        // The name of the program is in brackets and may hold blanks and brackets: count the fields behind the last.
        guard let bytes = contents("/proc/self/stat"), let bracket = bytes.lastIndex(of: UInt8(ascii: ")")) else {
            return nil
        }
        let fields = KernelText.words(bytes[(bracket + 1)...])
        guard fields.count > 12, let user = KernelText.number(fields[11]), let system = KernelText.number(fields[12])
        else { return nil }
        return (Double(user) + Double(system)) / Double(ticksPerSecond)
    }

    /// The smallest of the quotas in force.
    private func cpuQuota(_ branch: GroupBranch) -> (cores: Double, directory: String)? {
        var tightest: (cores: Double, directory: String)?
        for directory in branch.directories {
            guard let (quota, period) = quotaAndPeriod(in: directory, isUnified: branch.isUnified), quota > 0,
                period > 0
            else { continue }
            let cores = Double(quota) / Double(period)
            if let tightest, tightest.cores <= cores { continue }
            tightest = (cores, directory)
        }
        return tightest
    }

    /// Both in microseconds: so much of CPU time in so much of time.
    private func quotaAndPeriod(in directory: String, isUnified: Bool) -> (quota: Int, period: Int)? {
        if isUnified {
            guard let words = text("\(directory)/cpu.max")?.words, words.count > 1,
                let quota = KernelText.number(words[0]), let period = KernelText.number(words[1])
            else { return nil }
            return (quota, period)
        }
        guard let quota = text("\(directory)/cpu.cfs_quota_us")?.number,
            let period = text("\(directory)/cpu.cfs_period_us")?.number
        else { return nil }
        return (quota, period)
    }

    /// - Parameter directory: of the group whose quota is the smallest.
    private mutating func throttledShare(in directory: String?) -> Double? {
        let before = throttling
        throttling = directory.flatMap { directory in
            guard let text = text("\(directory)/cpu.stat"), let periods = text.figure("nr_periods"),
                let throttled = text.figure("nr_throttled")
            else { return nil }
            return Throttling(directory: directory, periods: periods, throttled: throttled)
        }
        // Another group counts for itself, and one that was made anew begins at nothing.
        guard let before, let throttling, before.directory == throttling.directory,
            throttling.periods >= before.periods, throttling.throttled >= before.throttled
        else { return nil }
        let periods = throttling.periods - before.periods
        return periods == 0 ? 0 : min(Double(throttling.throttled - before.throttled) / Double(periods), 1)
    }
}
