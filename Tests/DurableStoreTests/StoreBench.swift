// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Logging
import Synchronization
import Telemetry

@testable import DurableStore

/// Time that moves only when a test says so.
final class TestTime: TimeSource {
    private let wall: Mutex<Int64>
    private let nanoseconds = Mutex<UInt64>(1)

    init(wall: Int64 = 1_795_458_001_123) { self.wall = Mutex(wall) }

    func now() -> Moment { Moment(nanoseconds: nanoseconds.withLock { $0 }) }
    func wallMilliseconds() -> Int64 { wall.withLock { $0 } }

    func advance(seconds: Int64) {
        wall.withLock { $0 += seconds * 1_000 }
        nanoseconds.withLock { $0 += UInt64(seconds) * 1_000_000_000 }
    }

    /// Somebody sets the wall clock.
    func step(seconds: Int64) { wall.withLock { $0 += seconds * 1_000 } }
}

/// A storage directory of its own and what is needed to open stores in it.
final class StoreBench: Sendable {
    let root: String
    let time = TestTime()

    /// `inMemory` is for tests that take many thousand steps and ask nothing of the disk.
    init(inMemory: Bool = false) {
        let place = inMemory && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var name = Array("\(place)/store-test-XXXXXX".utf8CString)
        root = name.withUnsafeMutableBufferPointer { room in
            room.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nonexistent"
        }
    }

    deinit { _ = StoreBench.run(["/bin/rm", "-rf", root]) }

    var directory: String { root + "/lib/mcp" }
    var database: String { directory + "/queue.db" }

    func settings(rowsPerSecond: Int = 500, rowsMax: Int = 200_000) -> StoreSettings {
        StoreSettings(directory: directory, requestRowsPerSecond: rowsPerSecond, rowsMax: rowsMax)
    }

    func open(
        _ settings: StoreSettings? = nil, metrics: MetricsRegistry = MetricsRegistry()
    ) throws(StoreError) -> DurableStore {
        try DurableStore.open(settings ?? self.settings(), time: time, log: Self.silent, metrics: metrics)
    }

    static var silent: Logger {
        Logger(label: "test") { (_: String) -> any LogHandler in SwiftLogNoOpLogHandler() }
    }

    func call(_ milliseconds: Double = 1.5, status: String = "ok", tool: String? = "units__convert") -> CallRecord {
        CallRecord(
            wallMilliseconds: time.wallMilliseconds(), method: "tools/call", tool: tool, upstream: nil, route: "wasm",
            status: status, responseMilliseconds: milliseconds, caller: "anonymous", requestID: .random())
    }

    func error(_ message: String) -> ErrorRecord {
        ErrorRecord(
            wallMilliseconds: time.wallMilliseconds(), errorType: "upstream_away", message: message,
            component: "upstreams", requestID: RequestID(high: 1, low: 2))
    }

    /// What a second reader sees in the database, or in a copy of it.
    func number(_ sql: String, in path: String? = nil) throws -> Int64? {
        try Connection(path: path ?? database).integer(sql)
    }

    func files(_ below: String = "") -> [String] {
        Self.run(["/usr/bin/find", directory + below, "-printf", "%P %m %s %T@\\n"]).output
            .split(separator: "\n").map(String.init).sorted()
    }

    func mode(_ name: String) -> UInt32 {
        var entry = stat()
        return stat(directory + name, &entry) == 0 ? entry.st_mode & 0o7777 : 0
    }

    func exists(_ name: String) -> Bool { access(directory + "/" + name, F_OK) == 0 }

    /// Copies one file as `cp` does.
    func copy(_ from: String, _ to: String) {
        _ = Self.run(["/bin/cp", from, to])
    }

    func overwrite(_ path: String, at offset: Int, with bytes: [UInt8]) {
        let file = Glibc.open(path, O_WRONLY | O_CREAT, 0o660)
        defer { close(file) }
        _ = pwrite(file, bytes, bytes.count, off_t(offset))
    }

    /// Runs a program to its end.
    static func run(_ words: [String]) -> (status: Int32, output: String) {
        guard let child = Child(words) else { return (-1, "") }
        return child.finish()
    }

    /// Asks again until it is so, for at most ten seconds.
    static func eventually(_ isSo: () throws -> Bool) async rethrows -> Bool {
        let end = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < end {
            if try isSo() { return true }
            await Task.yield()
            usleep(5_000)
        }
        return try isSo()
    }
}

/// A program that runs beside the test.
struct Child {
    let pid: pid_t
    private let output: Int32

    init?(_ words: [String]) {
        // One at a time, so that no child inherits the pipe of another.
        let made = Self.spawning.withLock { _ in Self.spawn(words) }
        guard let made else { return nil }
        (pid, output) = made
    }

    private static let spawning = Mutex(())

    private static func spawn(_ words: [String]) -> (pid: pid_t, output: Int32)? {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, words[0], &actions, nil, &arguments, environ)
        close(ends[1])
        guard code == 0 else {
            close(ends[0])
            return nil
        }
        return (pid, ends[0])
    }

    /// The first bytes it prints.
    func firstWord() -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = read(output, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    func finish() -> (status: Int32, output: String) {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(output, &buffer, buffer.count), count > 0 { text += buffer[..<count] }
        close(output)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        let code = status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
        return (code, String(decoding: text, as: UTF8.self))
    }
}
