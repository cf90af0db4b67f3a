// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HostLoad
import Testing

@Suite struct LoadWatchTests {
    /// A gateway in a group with 1 GiB, on a machine with more.
    struct Bench {
        let host = ScriptedHost()
        let time = ManualTime()
        let watch: LoadWatch
        private let group = "/system.slice/mcp-gateway.service"

        init() {
            host.join("0::\(group)")
            host.addGroup("")
            host.addGroup(group, ["memory.max": "1073741824", "cpu.max": "200000 100000"])
            host.use(group, mebibytes: 412)
            watch = LoadWatch(reader: host.reader, time: time)
        }

        @discardableResult
        func look(mebibytes: Int) -> [LoadChange] {
            host.use(group, mebibytes: mebibytes)
            time.advance(by: .seconds(1))
            return watch.look()
        }

        func setLimit(_ text: String) { host.set("/sys/fs/cgroup\(group)/memory.max", text + "\n") }

        /// So much of two cores for so many seconds, a look after each.
        func calculate(_ share: Double, seconds: Int, from start: Double) -> [LoadChange] {
            (1...seconds).flatMap { second in
                host.spend(seconds: start + Double(second) * 2 * share)
                host.set(
                    "/sys/fs/cgroup\(group)/cpu.stat", "nr_periods \(second * 10)\nnr_throttled \(second * 4)\n")
                return look(mebibytes: 412)
            }
        }

        func component(_ name: String) throws -> ComponentStatus {
            try #require(watch.components().first { $0.name == name })
        }
    }

    @Test("before the first look nothing is known and nothing is short")
    func fresh() throws {
        let bench = Bench()
        #expect(bench.watch.pressure == .none && bench.watch.reading == nil && !bench.watch.isBusy)
        #expect(bench.watch.components().map(\.name) == ["memory", "cpu"])
        for component in bench.watch.components() {
            #expect(component.status == .healthy && component.detail == "not looked at yet" && !component.isVital)
        }
    }

    static let levels: [(mebibytes: Int, pressure: Pressure, detail: String)] = [
        (412, .none, "412 MiB of 1.0 GiB (40 %) of the memory limit, 120 MiB resident"),
        (
            870, .high,
            "memory is getting short: 870 MiB of 1.0 GiB (85 %) of the memory limit, 120 MiB resident: caches are "
                + "dropped"
        ),
        (
            940, .severe,
            "memory is short: 940 MiB of 1.0 GiB (92 %) of the memory limit, 120 MiB resident: caches are dropped, and "
                + "calls that can wait are stored"
        ),
        (
            1_000, .critical,
            "memory is nearly used up: 1000 MiB of 1.0 GiB (98 %) of the memory limit, 120 MiB resident: new calls are "
                + "refused; raise the limit (systemctl set-property, docker update --memory) or find what grows"
        ),
    ]

    @Test("health says how much is used, what is done about it, and what to do", arguments: levels)
    func memoryWords(_ mebibytes: Int, _ pressure: Pressure, _ detail: String) throws {
        let bench = Bench()
        let changes = bench.look(mebibytes: mebibytes)
        #expect(changes == (pressure == .none ? [] : [.memory(from: .none, to: pressure)]))
        #expect(bench.watch.pressure == pressure)
        let component = try bench.component("memory")
        #expect(component.detail == detail)
        #expect(component.status == (pressure == .none ? .healthy : .degraded))
        #expect(component.checkedAt == bench.time.wallMilliseconds())
    }

    @Test("changes are told once, in both directions, and a raised limit ends the need at once")
    func changes() throws {
        let bench = Bench()
        let started = bench.time.wallMilliseconds()
        #expect(bench.look(mebibytes: 412) == [])
        #expect(try bench.component("memory").since == started)
        #expect(bench.look(mebibytes: 1_000) == [.memory(from: .none, to: .critical)])
        let short = bench.time.wallMilliseconds()
        #expect(bench.look(mebibytes: 1_000) == [])
        #expect(bench.look(mebibytes: 900) == [.memory(from: .critical, to: .severe)])
        // Degraded since it became so, whatever the level.
        #expect(try bench.component("memory").since == short)
        bench.setLimit("2147483648")
        #expect(bench.look(mebibytes: 900) == [.memory(from: .severe, to: .none)])
        #expect(try bench.component("memory").since == bench.time.wallMilliseconds())
        #expect(try bench.component("memory").status == .healthy)
        #expect(bench.watch.reading?.memoryLimitBytes == 2.gibibytes)
    }

    @Test("without a limit the machine is spoken of, and there is none to raise")
    func machineWords() throws {
        let bench = Bench()
        bench.setLimit("max")
        bench.look(mebibytes: 412)
        #expect(
            try bench.component("memory").detail
                == "2.0 GiB of 8.0 GiB (25 %) of the machine's memory, 120 MiB resident")
        bench.host.set("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 104857 kB\n")
        bench.look(mebibytes: 412)
        #expect(
            try bench.component("memory").detail
                == "memory is nearly used up: 7.9 GiB of 8.0 GiB (99 %) of the machine's memory, 120 MiB resident: new "
                + "calls are refused; give the machine more of it or find what grows")
    }

    @Test("memory that cannot be read is said to be so, after what was known has become old")
    func unread() throws {
        let bench = Bench()
        bench.look(mebibytes: 1_000)
        for path in bench.host.paths { bench.host.remove(path) }
        #expect(bench.watch.look() == [])
        #expect(bench.watch.pressure == .critical)
        #expect(try bench.component("memory").detail.contains("could not be read just now"))
        bench.time.advance(by: .seconds(31))
        #expect(bench.watch.look() == [.memory(from: .critical, to: .none)])
        #expect(bench.watch.pressure == .none)
        #expect(try bench.component("memory").status == .degraded)
        #expect(try bench.component("memory").detail.hasPrefix("how much memory is used cannot be read, so nothing"))
    }

    @Test("the CPU is healthy until it has been busy for a while, and says how much of what is used")
    func cpu() throws {
        let bench = Bench()
        #expect(bench.look(mebibytes: 412) == [])
        #expect(
            try bench.component("cpu").detail == "2 cores may be used; how much of it is used is not known yet")
        #expect(bench.calculate(0.35, seconds: 20, from: 15) == [])
        #expect(
            try bench.component("cpu").detail == "35 % of 2 cores, held back in 40 % of the quota's periods")
        #expect(try bench.component("cpu").status == .healthy)
        #expect(bench.calculate(1, seconds: 45, from: 29) == [.cpu(isBusy: true)])
        let component = try bench.component("cpu")
        #expect(component.status == .degraded && !component.isVital && bench.watch.isBusy)
        #expect(
            component.detail.hasPrefix("the CPU is busy: 100 % of 2 cores, held back in 40 % of the quota's periods; "))
        #expect(component.detail.contains("docker update --cpus"))
        #expect(try #require(component.since) < component.checkedAt)
        #expect(try bench.component("memory").status == .healthy)
        #expect(bench.calculate(0.1, seconds: 30, from: 119) == [.cpu(isBusy: false)])
        #expect(try bench.component("cpu").status == .healthy)
    }

    @Test("what is logged about memory is found by who greps for it, and what is logged about the CPU is not")
    func messages() {
        var seen: Set<String> = []
        for level in Pressure.allCases {
            let message = LoadChange.memory(from: .none, to: level).message
            #expect(message.contains("memory"))
            seen.insert(message)
        }
        for isBusy in [true, false] {
            let message = LoadChange.cpu(isBusy: isBusy).message
            for word in ["oom", "memory", "resource", "slow", "error", "fail"] { #expect(!message.contains(word)) }
            seen.insert(message)
        }
        #expect(seen.count == 6)
    }
}
