// Licensed under the Apache License 2.0; see LICENSE.

extension LoadChange {
    /// A constant line for the log. Whoever looks for trouble with memory finds the word in it.
    package var message: String {
        switch self {
        case .memory(_, to: .none): "memory is enough again"
        case .memory(_, to: .high): "memory is getting short"
        case .memory(_, to: .severe): "memory is short"
        case .memory(_, to: .critical): "memory is nearly used up"
        case .cpu(isBusy: true): "the CPU is busy"
        case .cpu(isBusy: false): "the CPU is no longer busy"
        }
    }
}

extension LoadReading {
    /// - Parameter isKnown: whether there is a reading of memory to judge by, be it not quite the last one.
    func memoryDetail(_ pressure: Pressure, isKnown: Bool) -> String {
        guard isKnown else {
            return "how much memory is used cannot be read, so nothing is held back when it gets short; "
                + "/proc/meminfo or a control group with a limit has to be readable"
        }
        switch pressure {
        case .none: return memoryUse
        case .high: return "memory is getting short: \(memoryUse): caches are dropped"
        case .severe:
            return "memory is short: \(memoryUse): caches are dropped, and calls that can wait are stored"
        case .critical:
            let advice =
                memoryIsOfGroup
                ? "raise the limit (systemctl set-property, docker update --memory)" : "give the machine more of it"
            return "memory is nearly used up: \(memoryUse): new calls are refused; \(advice) or find what grows"
        }
    }

    private var memoryUse: String {
        guard let used = memoryUsedBytes, let limit = memoryLimitBytes, let share = memoryShare else {
            return "how much is used could not be read just now"
        }
        let whole = memoryIsOfGroup ? "the memory limit" : "the machine's memory"
        let resident = residentBytes.map { ", \(Words.bytes($0)) resident" } ?? ""
        return "\(Words.bytes(used)) of \(Words.bytes(limit)) (\(Words.percent(share))) of \(whole)\(resident)"
    }

    /// - Parameter share: of the allowed cores, nil while not known.
    func cpuDetail(share: Double?, isBusy: Bool) -> String {
        guard let share else {
            return "\(Words.cores(cpuCores)) may be used; how much of it is used is not known yet"
        }
        var use = "\(Words.percent(share)) of \(Words.cores(cpuCores))"
        if let throttledShare, throttledShare > 0 {
            use += ", held back in \(Words.percent(throttledShare)) of the quota's periods"
        }
        guard isBusy else { return use }
        return "the CPU is busy: \(use); raise the quota where there is one (systemctl set-property CPUQuota=, "
            + "docker update --cpus), send fewer calls, or find what calculates"
    }
}

/// Figures as people read them.
enum Words {
    /// `412 MiB`, `1.0 GiB`: rounded down, with a tenth from a GiB on.
    static func bytes(_ count: Int) -> String {
        for (unit, name) in [(1 << 40, "TiB"), (1 << 30, "GiB")] where count >= unit {
            return "\(count / unit).\(count % unit * 10 / unit) \(name)"
        }
        for (unit, name) in [(1 << 20, "MiB"), (1 << 10, "KiB")] where count >= unit {
            return "\(count / unit) \(name)"
        }
        return "\(count) bytes"
    }

    /// Whole ones. More than tenfold is said to be tenfold: figures that wrong are no matter of precision.
    static func percent(_ share: Double) -> String { "\(Int((min(max(share, 0), 10) * 100).rounded())) %" }

    /// `1 core`, `2 cores`, `0.25 cores`.
    static func cores(_ count: Double) -> String {
        let hundredths = Int((min(max(count, 0), 1_000_000) * 100).rounded())
        let (whole, rest) = hundredths.quotientAndRemainder(dividingBy: 100)
        if rest == 0 { return whole == 1 ? "1 core" : "\(whole) cores" }
        return "\(whole).\(rest % 10 == 0 ? "\(rest / 10)" : rest < 10 ? "0\(rest)" : "\(rest)") cores"
    }
}
