// Licensed under the Apache License 2.0; see LICENSE.

import HostLoad
import Synchronization

/// A machine made of texts, which a test changes while it is watched: 8 GiB of memory, 2 of them used, and four cores.
final class ScriptedHost: Sendable {
    private let files: Mutex<[String: [UInt8]]>

    init(_ files: [String: String] = ScriptedHost.bare) { self.files = Mutex(files.mapValues { Array($0.utf8) }) }

    /// Sees the texts as they are when it reads.
    var reader: LoadReader {
        LoadReader(read: { path in self.files.withLock { $0[path] } }, onlineCores: { 4 })
    }

    var paths: [String] { files.withLock { $0.keys.sorted() } }

    func set(_ path: String, _ text: String?) { files.withLock { $0[path] = text.map { Array($0.utf8) } } }

    func set(_ path: String, bytes: [UInt8]) { files.withLock { $0[path] = bytes } }

    func remove(_ path: String) { files.withLock { $0[path] = nil } }

    /// Puts the process into groups: one line for each tree, as in `/proc/self/cgroup`.
    func join(_ lines: String...) { set("/proc/self/cgroup", lines.map { $0 + "\n" }.joined()) }

    /// A group of version 2. `directory` is below the mount; empty for its root.
    func addGroup(_ directory: String, _ texts: [String: String] = [:]) {
        set("/sys/fs/cgroup\(directory)/cgroup.controllers", "cpuset cpu io memory pids\n")
        for (name, text) in texts { set("/sys/fs/cgroup\(directory)/\(name)", text + "\n") }
    }

    /// A group of version 1. `directory` begins with the mount of its tree: `/memory`, `/cpu,cpuacct`.
    func addOldGroup(_ directory: String, _ texts: [String: String] = [:]) {
        set("/sys/fs/cgroup\(directory)/cgroup.clone_children", "0\n")
        for (name, text) in texts { set("/sys/fs/cgroup\(directory)/\(name)", text + "\n") }
    }

    /// Sets what a group of version 2 uses, with 88 MiB of it page cache.
    func use(_ directory: String, mebibytes: Int) {
        set("/sys/fs/cgroup\(directory)/memory.current", "\((mebibytes + 88) << 20)\n")
        set("/sys/fs/cgroup\(directory)/memory.stat", Self.stat)
    }

    /// CPU time since the process began.
    func spend(seconds: Double) {
        let ticks = Int(seconds * 100)
        set("/proc/self/stat", Self.processStat(user: ticks - ticks / 4, system: ticks / 4))
    }

    static let bare = [
        "/proc/meminfo": """
        MemTotal:        8388608 kB
        MemFree:          524288 kB
        MemAvailable:    6291456 kB
        Buffers:            3476 kB
        Cached:          5490148 kB
        HugePages_Total:       0
        Hugepagesize:       2048 kB

        """,
        "/proc/self/status": """
        Name:\tmcp-gateway
        Umask:\t0022
        State:\tR (running)
        VmPeak:\t  512000 kB
        VmRSS:\t  122880 kB
        RssAnon:\t   90112 kB
        Threads:\t12
        Cpus_allowed:\tf
        Cpus_allowed_list:\t0-3
        Mems_allowed_list:\t0

        """,
        "/proc/self/stat": processStat(user: 1_234, system: 266),
        "/proc/self/cgroup": "0::/\n",
    ]

    /// The program's name holds what would mislead somebody who counts fields from the front.
    static func processStat(user: Int, system: Int) -> String {
        "3645 (mcp ) R 7 (x) S 1 3645 3645 0 -1 4194560 51200 0 12 0 \(user) \(system) 0 0 20 0 13 0 94438 524288000 "
            + "30720 18446744073709551615 1 1 0 0 0 0 0 4096 17642 0 0 0 17 2 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    }

    static let stat = """
        anon 301989888
        file 188743680
        kernel 16777216
        file_mapped 40960
        inactive_anon 1601536
        inactive_file 92274688
        active_file 96468992
        workingset_refault_file 619

        """
}

extension Int {
    var mebibytes: Int { self << 20 }
    var gibibytes: Int { self << 30 }
}
