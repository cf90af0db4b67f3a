// Licensed under the Apache License 2.0; see LICENSE.

import HostLoad
import Resilience
import Testing

@Suite struct CPUReadingTests {
    private func cores(_ host: ScriptedHost) -> Double {
        var reader = host.reader
        return reader.take().cpuCores
    }

    @Test("its own time is user and system time, counted behind a program's name of any kind")
    func seconds() {
        let host = ScriptedHost()
        var reader = host.reader
        #expect(reader.take().cpuSeconds == 15)
        for text in ["3645 (mcp-gateway) S 1 2", "", ")", "3645 mcp-gateway S 1 3645 3645 0 -1 0 0 0 0 0 5 5 0 0"] {
            host.set("/proc/self/stat", text)
            #expect(reader.take().cpuSeconds == nil, "\(text)")
        }
    }

    @Test(
        "without a quota all cores that are on and allowed are ours",
        arguments: [("0-3", 4), ("0,2", 2), ("0-239", 4), ("7", 1), ("strange", 4)])
    func allowed(_ list: String, _ wanted: Double) {
        let host = ScriptedHost()
        host.set("/proc/self/status", "Cpus_allowed_list:\t\(list)\n")
        #expect(cores(host) == wanted)
    }

    static let quotas: [(own: String, around: String, wanted: Double)] = [
        ("50000 100000", "max 100000", 0.5), ("max 100000", "150000 100000", 1.5), ("200000 100000", "50000 50000", 1),
        ("max 100000", "max 100000", 4), ("900000 100000", "max 100000", 4), ("0 100000", "max 100000", 4),
        ("100000 0", "max 100000", 4), ("100000", "", 4), ("99999999999999999999 100000", "100000 100000", 1),
        ("-1 100000", "x y", 4),
    ]

    @Test("the smallest quota counts, wherever it is set", arguments: quotas)
    func quota(_ own: String, _ around: String, _ wanted: Double) {
        let host = ScriptedHost()
        host.join("0::/mcp.slice/g.service")
        host.addGroup("")
        host.addGroup("/mcp.slice", ["cpu.max": around])
        host.addGroup("/mcp.slice/g.service", ["cpu.max": own])
        #expect(cores(host) == wanted)
    }

    @Test(
        "version 1, under each of the names that its tree is mounted by",
        arguments: [
            ("cpu,cpuacct", "/cpu,cpuacct"), ("cpu,cpuacct", "/cpu"), ("cpuacct,cpu", "/cpu"), ("cpu", "/cpu"),
        ])
    func versionOne(_ listed: String, _ mount: String) {
        let host = ScriptedHost()
        host.join("7:cpuset:/", "2:cpuacct:/", "4:\(listed):/docker/4f1d")
        host.addOldGroup("/cpuset", ["cpu.cfs_quota_us": "1", "cpu.cfs_period_us": "100000"])
        host.addOldGroup(mount, ["cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"])
        host.addOldGroup("\(mount)/docker/4f1d", ["cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"])
        #expect(cores(host) == 1.5)
        // `docker update --cpus` raises it, and takes it away.
        host.set("/sys/fs/cgroup\(mount)/docker/4f1d/cpu.cfs_quota_us", "200000\n")
        #expect(cores(host) == 2)
        host.set("/sys/fs/cgroup\(mount)/docker/4f1d/cpu.cfs_quota_us", "-1\n")
        #expect(cores(host) == 4)
    }

    private func count(_ host: ScriptedHost, _ directory: String, _ periods: Int, _ throttled: Int) {
        host.set(
            "/sys/fs/cgroup\(directory)/cpu.stat",
            "usage_usec 5\nuser_usec 3\nnr_periods \(periods)\nnr_throttled \(throttled)\nthrottled_usec 9\n"
        )
    }

    @Test("the share of periods in which the quota held us back is that since the last reading")
    func throttled() {
        let host = ScriptedHost()
        host.join("0::/a/b")
        host.addGroup("")
        host.addGroup("/a", ["cpu.max": "100000 100000"])
        host.addGroup("/a/b", ["cpu.max": "max 100000"])
        // Only where the quota is anything is counted for it.
        count(host, "/a/b", 0, 0)
        count(host, "/a", 1_000, 900)
        var reader = host.reader
        #expect(reader.take().throttledShare == nil)
        count(host, "/a", 1_010, 904)
        #expect(reader.take().throttledShare == 0.4)
        #expect(reader.take().throttledShare == 0)
        count(host, "/a", 1_020, 904)
        #expect(reader.take().throttledShare == 0)
        count(host, "/a", 5, 5)
        #expect(reader.take().throttledShare == nil)
        count(host, "/a", 15, 10)
        #expect(reader.take().throttledShare == 0.5)
        count(host, "/a", 25, 9)
        #expect(reader.take().throttledShare == nil)
    }

    @Test("another quota counts anew, and none counts nothing")
    func throttledElsewhere() {
        let host = ScriptedHost()
        host.join("0::/a/b")
        host.addGroup("")
        host.addGroup("/a", ["cpu.max": "100000 100000"])
        host.addGroup("/a/b", ["cpu.max": "max 100000"])
        count(host, "/a", 10, 0)
        count(host, "/a/b", 500, 500)
        var reader = host.reader
        _ = reader.take()
        host.set("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n")
        #expect(reader.take().throttledShare == nil)
        count(host, "/a/b", 510, 501)
        #expect(reader.take().throttledShare == 0.1)
        for directory in ["/a", "/a/b"] { host.set("/sys/fs/cgroup\(directory)/cpu.max", "max 100000\n") }
        #expect(reader.take().throttledShare == nil)
        host.set("/sys/fs/cgroup/a/cpu.max", "100000 100000\n")
        host.set("/sys/fs/cgroup/a/cpu.stat", "nr_periods many\n")
        #expect(reader.take().throttledShare == nil)
    }

    @Test("whatever the files hold, a reading comes of it, and its figures make sense", arguments: 0..<200)
    func garbage(_ seed: UInt64) {
        let host = ScriptedHost()
        host.join("4:memory:/a", "2:cpu,cpuacct:/a", "0::/a/b")
        for directory in ["", "/a", "/a/b"] {
            host.addGroup(directory, ["memory.max": "1073741824", "cpu.max": "150000 100000"])
            host.use(directory, mebibytes: 412)
            count(host, directory, 100, 10)
        }
        host.addOldGroup("/memory/a", ["memory.limit_in_bytes": "1073741824", "memory.usage_in_bytes": "4096"])
        host.addOldGroup("/memory")
        var chance = Chance(seed: seed)
        var reader = host.reader
        for _ in 0..<20 {
            let path = host.paths[Int(chance.below(UInt64(host.paths.count)))]
            host.set(path, bytes: Self.strange(&chance))
            let reading = reader.take()
            #expect(reading.cpuCores > 0 && reading.cpuCores <= 4)
            if let share = reading.memoryShare { #expect(share >= 0) }
            if let seconds = reading.cpuSeconds { #expect(seconds >= 0) }
            if let share = reading.throttledShare { #expect((0...1).contains(share)) }
        }
    }

    /// Pieces of what the kernel writes, in no order, and some bytes of no meaning.
    private static func strange(_ chance: inout Chance) -> [UInt8] {
        let pieces = [
            "max", " ", "\n", ":", "-1", "0", "9223372036854775807", "99999999999999999999", "MemTotal:", "kB",
            "nr_periods ",
            "nr_throttled ", "inactive_file ", "VmRSS:", "Cpus_allowed_list:", "0-9223372036854775807", ")", "(",
            "1:memory:",
            "2:cpu:", "0::", "/", "..", "/a", "\u{0}", "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "\t", ",",
        ]
        var bytes: [UInt8] = []
        for _ in 0..<chance.below(30) {
            if chance.below(8) == 0 {
                bytes.append(UInt8(truncatingIfNeeded: chance.next()))
            } else {
                bytes.append(contentsOf: pieces[Int(chance.below(UInt64(pieces.count)))].utf8)
            }
        }
        return bytes
    }

    @Test("of the machine that runs this test everything can be read")
    func machine() throws {
        var reader = LoadReader.machine
        let reading = reader.take()
        #expect(try #require(reading.residentBytes) > 1.mebibytes)
        #expect(try #require(reading.cpuSeconds) >= 0)
        #expect(try #require(reading.memoryUsedBytes) > 0)
        #expect(try #require(reading.memoryLimitBytes) > 0)
        #expect(reading.cpuCores > 0)
    }
}
