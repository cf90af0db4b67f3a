// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import NIOCore
import NIOPosix
import Outbound
import Synchronization
import Testing

/// Where the probe is: beside the test runner.
let probe: String = {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes {
        readlink("/proc/self/exe", $0.bindMemory(to: CChar.self).baseAddress!, 4096)
    }
    let path = String(decoding: buffer[..<max(count, 0)], as: UTF8.self)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        + "/OutboundProbe"
}()

let environment = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/"]

func settings(_ change: (inout ChildSettings) -> Void = { _ in }) -> ChildSettings {
    var settings = ChildSettings(
        keeperExecutable: probe, endOfInputGrace: .milliseconds(50), stopGrace: .milliseconds(200),
        closedOutputGrace: .milliseconds(50))
    change(&settings)
    return settings
}

func shell(_ script: String) -> ChildCommand {
    ChildCommand(executable: "sh", arguments: ["-c", script], environment: environment)
}

/// Everything a child has said, asked for by tests that wait for it.
final class Ear: Sendable {
    private let events = Mutex<[ChildEvent]>([])

    func hear(_ event: ChildEvent) { events.withLock { $0.append(event) } }

    var lines: [String] {
        events.withLock { $0.compactMap { if case .line(let line) = $0 { String(buffer: line) } else { nil } } }
    }
    var errors: [String] {
        events.withLock { $0.compactMap { if case .stderr(let line) = $0 { line } else { nil } } }
    }
    var ends: [ChildExit] {
        events.withLock { $0.compactMap { if case .ended(let exit) = $0 { exit } else { nil } } }
    }

    /// The end, once it has come.
    func end() async throws -> ChildExit {
        try await until("the child ends") { !self.ends.isEmpty }
        return try #require(ends.first)
    }
}

struct TooLate: Error { var what: String }

/// Asks again and again until it is so, at most 20 seconds.
func until(_ what: String, _ isSo: () -> Bool) async throws {
    let clock = ContinuousClock()
    let deadline = clock.now + .seconds(20)
    while !isSo() {
        guard clock.now < deadline else { throw TooLate(what: what) }
        try await Task.sleep(for: .milliseconds(2))
    }
}

func start(_ command: ChildCommand, _ settings: ChildSettings = settings()) async throws -> (ChildProcess, Ear) {
    let ear = Ear()
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let child = try await ChildProcess.start(command, settings: settings, on: loop) { ear.hear($0) }
    return (child, ear)
}

/// Whether there is such a process; one that has ended and is not reaped yet does not count.
func lives(_ pid: Int32) -> Bool {
    guard kill(pid, 0) == 0, let stat = contents("/proc/\(pid)/stat") else { return false }
    guard let state = stat.split(separator: ")").last?.split(separator: " ").first else { return false }
    return state != "Z" && state != "X"
}

func contents(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = read(descriptor, &bytes, bytes.count)
    return count >= 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
}

/// The probe as a child of the test itself, without a keeper above it.
struct BareProbe {
    let pid: Int32
    let output: Int32

    init(_ mode: String) throws {
        var pipe: [Int32] = [-1, -1]
        #expect(Glibc.pipe(&pipe) == 0)
        for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipe[1], 1)
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(probe), strdup(mode), nil]
        defer { for argument in arguments { free(argument) } }
        var pid: Int32 = 0
        let problem = posix_spawn(&pid, probe, &actions, nil, &arguments, environ)
        close(pipe[1])
        guard problem == 0 else {
            close(pipe[0])
            throw TooLate(what: "the probe was started")
        }
        self.pid = pid
        output = pipe[0]
        _ = fcntl(output, F_SETFL, O_NONBLOCK)
    }

    /// Reads until `count` lines are there or the probe's output ends. Waits without holding a thread.
    func lines(_ count: Int) async throws -> [String] {
        var text: [UInt8] = []
        try await until("the probe has spoken") {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let got = read(output, &bytes, bytes.count)
            if got > 0 { text += bytes[..<got] }
            return got == 0 || text.count { $0 == UInt8(ascii: "\n") } >= count
        }
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    func end(signal: Int32) {
        kill(pid, signal)
        waitpid(pid, nil, 0)
        close(output)
    }
}
