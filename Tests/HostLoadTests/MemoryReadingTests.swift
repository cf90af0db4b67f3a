// Licensed under the Apache License 2.0; see LICENSE.

import HostLoad
import Testing

@Suite struct MemoryReadingTests {
    private func expect(
        _ reading: LoadReading, used: Int?, limit: Int?, isOfGroup: Bool,
        at location: SourceLocation = #_sourceLocation
    ) {
        #expect(reading.memoryUsedBytes == used, sourceLocation: location)
        #expect(reading.memoryLimitBytes == limit, sourceLocation: location)
        #expect(reading.memoryIsOfGroup == isOfGroup, sourceLocation: location)
    }

    private func take(_ host: ScriptedHost) -> LoadReading {
        var reader = host.reader
        return reader.take()
    }

    private func expectMachine(_ host: ScriptedHost, at location: SourceLocation = #_sourceLocation) {
        expect(take(host), used: 2.gibibytes, limit: 8.gibibytes, isOfGroup: false, at: location)
    }

    @Test("without groups it is the machine's memory that counts, page cache left out")
    func machine() {
        let host = ScriptedHost()
        expectMachine(host)
        #expect(take(host).residentBytes == 120.mebibytes)
        host.remove("/proc/self/cgroup")
        expectMachine(host)
    }

    @Test("a group with a limit counts for itself, without the page cache that can be dropped")
    func ownLimit() {
        let host = ScriptedHost()
        host.join("0::/system.slice/mcp-gateway.service")
        host.addGroup("")
        host.addGroup("/system.slice", ["memory.max": "max"])
        host.addGroup("/system.slice/mcp-gateway.service", ["memory.max": "1073741824"])
        host.use("/system.slice/mcp-gateway.service", mebibytes: 412)
        expect(take(host), used: 412.mebibytes, limit: 1.gibibytes, isOfGroup: true)
        #expect(take(host).memoryShare == 412.0 / 1_024)
    }

    @Test("a limit of a group around ours holds for us, with all that others use of it")
    func limitOfParent() {
        let host = ScriptedHost()
        host.join("0::/mcp.slice/run-r1.scope")
        host.addGroup("")
        host.addGroup("/mcp.slice", ["memory.max": "1073741824"])
        host.addGroup("/mcp.slice/run-r1.scope", ["memory.max": "max"])
        host.use("/mcp.slice", mebibytes: 900)
        host.use("/mcp.slice/run-r1.scope", mebibytes: 100)
        expect(take(host), used: 900.mebibytes, limit: 1.gibibytes, isOfGroup: true)
    }

    @Test("of several limits that one counts which a growing process would hit first")
    func tightest() {
        let host = ScriptedHost()
        host.join("0::/a/b")
        host.addGroup("")
        host.addGroup("/a", ["memory.max": "\(4.gibibytes)"])
        host.addGroup("/a/b", ["memory.max": "\(1.gibibytes)"])
        host.use("/a", mebibytes: 3_000)
        host.use("/a/b", mebibytes: 100)
        expect(take(host), used: 100.mebibytes, limit: 1.gibibytes, isOfGroup: true)
        host.use("/a", mebibytes: 4_000)
        expect(take(host), used: 4_000.mebibytes, limit: 4.gibibytes, isOfGroup: true)
    }

    @Test(
        "limits that do not bind are no limits",
        arguments: ["max", "8589934592", "17179869184", "18446744073709551616"])
    func noLimit(_ limit: String) {
        let host = ScriptedHost()
        host.join("0::/a")
        host.addGroup("")
        host.addGroup("/a", ["memory.max": limit])
        host.use("/a", mebibytes: 100)
        expectMachine(host)
    }

    @Test("a limit that is changed while running counts from the next reading on, and so does a move")
    func changes() {
        let host = ScriptedHost()
        var reader = host.reader
        host.join("0::/a")
        for directory in ["", "/a", "/b"] { host.addGroup(directory, ["memory.max": "max"]) }
        host.use("/a", mebibytes: 100)
        host.use("/b", mebibytes: 300)
        #expect(!reader.take().memoryIsOfGroup)
        host.set("/sys/fs/cgroup/a/memory.max", "2147483648\n")
        expect(reader.take(), used: 100.mebibytes, limit: 2.gibibytes, isOfGroup: true)
        host.set("/sys/fs/cgroup/b/memory.max", "1073741824\n")
        host.join("0::/b")
        expect(reader.take(), used: 300.mebibytes, limit: 1.gibibytes, isOfGroup: true)
        host.set("/sys/fs/cgroup/b/memory.max", "max\n")
        #expect(!reader.take().memoryIsOfGroup)
    }

    @Test(
        "a container finds its own group at the root of the mount, whatever path the host calls it by",
        arguments: ["/", "/docker/4f1d", "/../system.slice/docker-4f1d.scope", "/docker/4f1d (deleted)"])
    func container(_ path: String) {
        let host = ScriptedHost()
        host.join("0::\(path)")
        host.addGroup("", ["memory.max": "1073741824"])
        host.use("", mebibytes: 412)
        // Of a Docker inside this container; not ours.
        host.addGroup("/docker", ["memory.max": "4194304"])
        host.use("/docker", mebibytes: 1)
        host.addGroup("/system.slice/docker-4f1d.scope", ["memory.max": "4194304"])
        expect(take(host), used: 412.mebibytes, limit: 1.gibibytes, isOfGroup: true)
    }

    private static let oldUse = [
        "memory.usage_in_bytes": "\(500.mebibytes)",
        "memory.stat": "cache 2473984\ninactive_file 4096\ntotal_cache 92274688\ntotal_inactive_file 92274688",
    ]

    @Test("version 1: a limit at ours or around it, where a huge number means none", arguments: [true, false])
    func versionOne(_ isOwn: Bool) {
        let host = ScriptedHost()
        host.join(
            "12:cpu,cpuacct:/docker/4f1d", "5:memory:/docker/4f1d", "1:name=systemd:/docker/4f1d", "not a line",
            "3:memory")
        let none = "9223372036854771712"
        let others = ["memory.usage_in_bytes": "\(7.gibibytes)"]
        host.addOldGroup("/memory", others.merging(["memory.limit_in_bytes": none]) { $1 })
        for (directory, hasLimit) in [("/memory/docker", !isOwn), ("/memory/docker/4f1d", isOwn)] {
            let limit = ["memory.limit_in_bytes": hasLimit ? "1073741824" : none]
            host.addOldGroup(directory, Self.oldUse.merging(limit) { $1 })
        }
        expect(take(host), used: 412.mebibytes, limit: 1.gibibytes, isOfGroup: true)
    }

    @Test("version 1 in a container: its own group is the root of the mount")
    func versionOneContainer() {
        let host = ScriptedHost()
        host.join("5:memory:/docker/4f1d")
        host.addOldGroup("/memory", Self.oldUse.merging(["memory.limit_in_bytes": "1073741824"]) { $1 })
        expect(take(host), used: 412.mebibytes, limit: 1.gibibytes, isOfGroup: true)
    }

    @Test("both versions at once: each kind of limit is in one of them, and is looked for there")
    func hybrid() {
        let host = ScriptedHost()
        host.join("4:memory:/system.slice/g", "1:cpu:/", "0::/system.slice/g")
        host.addOldGroup("/memory")
        host.addOldGroup("/memory/system.slice/g", Self.oldUse.merging(["memory.limit_in_bytes": "1073741824"]) { $1 })
        host.addGroup("/unified")
        host.addGroup(
            "/unified/system.slice/g", ["memory.max": "4096", "memory.current": "4096", "cpu.max": "1 100000"])
        expect(take(host), used: 412.mebibytes, limit: 1.gibibytes, isOfGroup: true)
        #expect(take(host).cpuCores == 4)
        // The second version has what the first does not list, wherever it is mounted.
        host.join("1:cpu:/", "0::/system.slice/g")
        host.set("/sys/fs/cgroup/unified/system.slice/g/memory.max", "2097152\n")
        expect(take(host), used: 4_096, limit: 2.mebibytes, isOfGroup: true)
    }

    @Test("more page cache than use, and a limit of nothing, are no reason to break")
    func oddFigures() {
        let host = ScriptedHost()
        host.join("0::/a")
        host.addGroup("")
        host.addGroup("/a", ["memory.max": "0", "memory.current": "4096", "memory.stat": "inactive_file 8192"])
        expect(take(host), used: 0, limit: 0, isOfGroup: true)
        #expect(take(host).memoryShare == 1)
        // Without knowing how much of it is page cache all counts; without knowing what is used nothing does.
        host.addGroup("/a", ["memory.max": "4096", "memory.stat": "anon 1"])
        expect(take(host), used: 4_096, limit: 4_096, isOfGroup: true)
        host.addGroup("/a", ["memory.current": "much"])
        expectMachine(host)
    }

    @Test("a machine whose memory is not told leaves the group's; an old kernel tells only how much there is")
    func noMachine() {
        let host = ScriptedHost()
        host.set("/proc/meminfo", "MemTotal: 8388608 kB\nMemFree: 1 kB\n")
        expect(take(host), used: nil, limit: 8.gibibytes, isOfGroup: false)
        #expect(take(host).memoryShare == nil)
        host.remove("/proc/meminfo")
        expect(take(host), used: nil, limit: nil, isOfGroup: false)
        host.addGroup("", ["memory.max": "1073741824"])
        host.use("", mebibytes: 412)
        expect(take(host), used: 412.mebibytes, limit: 1.gibibytes, isOfGroup: true)
    }

    @Test("nothing at all to read is a reading too")
    func nothing() {
        #expect(take(ScriptedHost([:])) == LoadReading(cpuCores: 4))
    }
}
