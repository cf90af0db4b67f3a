// Licensed under the Apache License 2.0; see LICENSE.

internal import CHost
internal import GatewayCore
internal import Glibc
internal import HTTPListener

/// What the machine and its files say: room, memory, clock, certificate.
struct MachineLook: Sendable {
    let settings: GatewaySettings
    let isRunning: Bool
    /// What it says of its listener's certificate, in seconds since 1970.
    let certificateExpires: Int?
    let commands: NextCommands
    let time: SystemTime

    var findings: [Finding] { disks + memory + clock + certificate + setAside }

    // MARK: Room

    private var disks: [Finding] {
        var seen: Set<UInt> = []
        return [("the database", settings.storage.directory), ("the logs", settings.log.directory)].flatMap {
            what, path in
            disk(what, path, &seen)
        }
    }

    private func disk(_ what: String, _ path: String, _ seen: inout Set<UInt>) -> [Finding] {
        var room = statvfs()
        guard unsafe statvfs(path, &room) == 0 else {
            let reason = errno
            return [
                Finding(
                    reason == ENOENT && !isRunning ? .note : .attention, "disk",
                    "\(path) of \(what) cannot be looked at: \(SystemText.of(reason))", next: "ls -ld \(path)")
            ]
        }
        guard seen.insert(UInt(room.f_fsid)).inserted else { return [] }
        let free = Double(room.f_bavail) * Double(room.f_frsize)
        let share = room.f_blocks == 0 ? 1 : free / (Double(room.f_blocks) * Double(room.f_frsize))
        let nodes = room.f_files == 0 ? 1 : Double(room.f_favail) / Double(room.f_files)
        let words = "\(NumberText.of(bytes: free)) (\(NumberText.percent(share))) free at \(path)"
        let next = "df -h \(path); du -xh --max-depth=2 \(path) | sort -h | tail -5"
        if free < Self.bytesNeeded {
            let loss = path == settings.storage.directory ? "calls can no longer be stored" : "nothing can be logged"
            return [Finding(.urgent, "disk", "\(words): \(loss)", next: next)]
        }
        if nodes < 0.02 {
            return [
                Finding(
                    .attention, "disk", "only \(NumberText.percent(nodes)) of the inodes are free at \(path)",
                    next: "df -i \(path)")
            ]
        }
        if share < 0.05 || free < Self.bytesComfortable {
            return [Finding(.attention, "disk", words, next: next)]
        }
        return [Finding(.well, "disk", words)]
    }

    /// What the store keeps back, and what `/health` calls low.
    private static let bytesNeeded = 16.0 * 1_048_576
    private static let bytesComfortable = 200_000_000.0

    private var memory: [Finding] {
        guard let text = Self.text("/proc/meminfo") else { return [] }
        func kibibytes(_ name: String) -> Double? {
            text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
                .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Double($0) }
        }
        guard let total = kibibytes("MemTotal"), let available = kibibytes("MemAvailable"), total > 0 else { return [] }
        let words =
            "\(NumberText.of(bytes: available * 1_024)) (\(NumberText.percent(available / total))) of this machine's "
            + "memory can be had"
        guard available / total < 0.1 else { return [Finding(.well, "memory", words)] }
        return [
            Finding(
                available / total < 0.03 ? .urgent : .attention, "memory", words, next: "ps aux --sort=-rss | head -5")
        ]
    }

    // MARK: Time

    /// A clock that is wrong makes tokens, certificates and schedules wrong.
    private var clock: [Finding] {
        let year = WallTime.text(milliseconds: time.wallMilliseconds()).prefix(4)
        guard year >= "2026" else {
            return [
                Finding(
                    .urgent, "clock", "this machine thinks that it is the year \(year)", next: "timedatectl; date")
            ]
        }
        let wrong = csystem_clock_error_ms()
        guard wrong < 0 else { return [Finding(.well, "clock", "set by a time server, within \(wrong) ms")] }
        return [
            Finding(
                .note, "clock", "nothing keeps this machine's clock right, as far as the kernel knows",
                next: "timedatectl status")
        ]
    }

    // MARK: Files

    private var certificate: [Finding] {
        // What cannot be used has been said of the configuration.
        guard let end = certificateExpires ?? settings.server.tls.flatMap({ try? $0.room().validUntil }) else {
            return []
        }
        let left = end - Int(time.wallMilliseconds() / 1_000)
        let words =
            left <= 0
            ? "that of the listener has run out: clients refuse to connect"
            : "that of the listener is good for \(AgeText.of(seconds: left))"
        guard left < 14 * 86_400 else { return [Finding(.well, "certificate", words)] }
        return [
            Finding(
                left < 86_400 ? .urgent : .attention, "certificate",
                words + "; put a new one in its place, which a \(isRunning ? "reload" : "start") takes up",
                next: isRunning ? commands.reload : commands.start)
        ]
    }

    /// What the gateway has taken out of the way.
    private var setAside: [Finding] {
        let directory = settings.storage.directory
        let names = Self.names(in: directory).filter { $0.hasSuffix(".corrupt") }
        guard !names.isEmpty else { return [] }
        return [
            Finding(
                .attention, "storage",
                "damaged files were set aside, to be deleted once nobody needs them: "
                    + "\(names.prefix(3).joined(separator: ", "))"
                    + (names.count > 3 ? " and \(names.count - 3) more" : ""),
                next: "ls -l \(directory)/*.corrupt")
        ]
    }

    static func names(in directory: String) -> [String] {
        guard let open = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(open) }
        var names: [String] = []
        while let entry = unsafe readdir(open), names.count < 10_000 {
            names.append(
                unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
                    unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
                })
        }
        return names.sorted()
    }

    static func bytes(_ path: String) -> Int? {
        var entry = stat()
        return unsafe stat(path, &entry) == 0 ? Int(entry.st_size) : nil
    }

    /// Seconds since 1970 at which a file was written last.
    static func changedAt(_ path: String) -> Int? {
        var entry = stat()
        return unsafe stat(path, &entry) == 0 ? Int(entry.st_mtim.tv_sec) : nil
    }

    private static func text(_ path: String) -> String? {
        // Without it there is one finding less.
        (try? SettingsFiles.machine.read(path, 64 << 10)).map { String(decoding: $0, as: UTF8.self) }
    }
}
