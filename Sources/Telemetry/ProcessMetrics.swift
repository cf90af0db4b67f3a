// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// What the kernel knows about this process.
package enum ProcessMetrics {
    /// Adds the four `process_…` numbers that Prometheus dashboards expect. Each is read anew at every `render`.
    package static func register(in registry: MetricsRegistry) {
        registry.gauge(MetricName.processResidentMemory) { Double(residentBytes()) }
        registry.counter(MetricName.processCPU) { cpuSeconds() }
        registry.gauge(MetricName.processOpenFiles) { Double(openFiles()) }
        let started = startSeconds()
        registry.gauge(MetricName.processStartTime) { started }
    }

    /// Memory of this process that is in RAM now, in bytes; 0 where `/proc` cannot be read.
    package static func residentBytes() -> Int {
        let fields = words(ofFile: "/proc/self/statm")
        guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// User and system time of all threads so far, in seconds.
    package static func cpuSeconds() -> Double {
        var usage = rusage()
        guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    /// Open file descriptors, without the one that is needed to count them.
    package static func openFiles() -> Int {
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { unsafe closedir(directory) }
        var entries = 0
        while unsafe readdir(directory) != nil { entries += 1 }
        return max(0, entries - 3)
    }

    /// Seconds since 1970 at which the process began.
    static func startSeconds() -> Double {
        // The name of the program is in brackets and may hold blanks: count the fields behind the last bracket.
        let line = String(decoding: contents(ofFile: "/proc/self/stat"), as: UTF8.self)
        guard let bracket = line.lastIndex(of: ")") else { return 0 }
        let fields = line[bracket...].split(separator: " ")
        let boot = String(decoding: contents(ofFile: "/proc/stat"), as: UTF8.self)
            .split(separator: "\n").first { $0.hasPrefix("btime ") }
        guard fields.count > 20, let ticks = Double(fields[20]), let boot, let base = Double(boot.dropFirst(6)) else {
            return 0
        }
        return base + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func words(ofFile path: String) -> [String] {
        String(decoding: contents(ofFile: path), as: UTF8.self).split(separator: " ").map(String.init)
    }

    /// The first 64 KiB of a small file of the kernel.
    private static func contents(ofFile path: String) -> [UInt8] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var out: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while out.count < 65_536 {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            out.append(contentsOf: chunk[..<count])
        }
        return out
    }
}
