// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Logging
import Testing

@testable import Telemetry

struct StoppedTime: TimeSource {
    func now() -> Moment { Moment(nanoseconds: 0) }
    func wallMilliseconds() -> Int64 { 0 }
}

/// A directory of its own that goes away with the test.
final class Scratch {
    let path: String

    init() {
        var name = Array("/tmp/telemetry-test-XXXXXX".utf8CString)
        path = name.withUnsafeMutableBufferPointer { room in
            room.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nonexistent"
        }
    }

    deinit {
        for file in ["app.log", "security.log"] {
            remove("\(logs)/\(file)")
            for number in 1...LogSettings.filesKeptMax { remove("\(logs)/\(file).\(number)") }
        }
        for directory in ["/log/deep", "/log", ""] { rmdir(path + directory) }
    }

    var logs: String { path + "/log/deep" }

    func read(_ name: String) -> String {
        let file = open("\(logs)/\(name)", O_RDONLY)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let count = Glibc.read(file, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    func mode(_ name: String) -> UInt32 {
        var entry = stat()
        return stat("\(logs)\(name)", &entry) == 0 ? entry.st_mode & 0o7777 : 0
    }
}

@Suite("Log files")
struct LogFilesTests {
    @Test("files and missing directories are made with the promised modes")
    func modes() throws {
        let scratch = Scratch()
        let files = try LogFiles(LogSettings(directory: scratch.logs), time: StoppedTime())
        files.logger(component: "daemon").info("listening", metadata: ["port": "8080"])
        files.security(SecurityEvent.authFailure, facts: [("peer", "127.0.0.1"), ("detail", "no\nsuch token")])
        files.security(SecurityEvent.originRefused, facts: [("path", "/admin/drain")])
        #expect(scratch.mode("/app.log") == 0o640)
        #expect(scratch.mode("/security.log") == 0o640)
        #expect(scratch.mode("") & 0o777 == 0o750)
        #expect(scratch.read("app.log") == "1970-01-01 00:00:00.000Z info  daemon: listening port=8080\n")
        #expect(
            scratch.read("security.log") == """
                auth 1970-01-01 00:00:00.000Z auth_failure peer=127.0.0.1 detail="no\\nsuch token"
                security 1970-01-01 00:00:00.000Z origin_refused path=/admin/drain

                """)
    }

    @Test("after a rotation the lines go to the new file")
    func reopens() throws {
        let scratch = Scratch()
        let files = try LogFiles(LogSettings(directory: scratch.logs), time: StoppedTime())
        let logger = files.logger(component: "daemon")
        logger.info("one")
        #expect(rename("\(scratch.logs)/app.log", "\(scratch.logs)/app.log.1") == 0)
        logger.info("two")
        try files.reopen()
        logger.info("three")
        #expect(scratch.read("app.log.1").split(separator: "\n").count == 2)
        #expect(scratch.read("app.log").hasSuffix("three\n"))
    }

    @Test("level and format change for loggers that exist")
    func applies() throws {
        let scratch = Scratch()
        let files = try LogFiles(LogSettings(directory: scratch.logs), time: StoppedTime())
        let logger = files.logger(component: "daemon")
        logger.debug("unseen")
        files.apply(level: .debug, format: .json)
        logger.debug("seen")
        #expect(scratch.read("app.log").hasPrefix("{\"timestamp\""))
        #expect(!scratch.read("app.log").contains("unseen"))
    }

    @Test("a full disk costs lines, which are counted, and nothing else")
    func full() throws {
        let scratch = Scratch()
        mkdir(scratch.path + "/log", 0o750)
        mkdir(scratch.logs, 0o750)
        #expect(symlink("/dev/full", "\(scratch.logs)/app.log") == 0)
        let files = try LogFiles(LogSettings(directory: scratch.logs), time: StoppedTime())
        let registry = MetricsRegistry()
        files.register(in: registry)
        for _ in 0..<3 { files.logger(component: "daemon").info("lost") }
        #expect(files.droppedLines == 3)
        #expect(String(decoding: registry.render(), as: UTF8.self).contains("lines_dropped_total{file=\"app\"} 3\n"))
        unlink("\(scratch.logs)/app.log")
        try files.reopen()
        for word in ["kept", "too"] { files.logger(component: "daemon").info("\(word)") }
        // What is missing is said once, where it is missing.
        let lines = scratch.read("app.log").split(separator: "\n")
        #expect(lines.count == 3 && lines[0].hasSuffix("kept") && lines[2].hasSuffix("too"))
        #expect(lines[1].contains("warning daemon: lines were lost: writing the log file failed"))
        #expect(lines[1].contains("count=3 detail=\"No space left on device\" file=app.log"))
    }

    @Test("a line that was cut takes the next one with it neither at a start nor when files are opened anew")
    func torn() throws {
        let scratch = Scratch()
        let files = try LogFiles(LogSettings(directory: scratch.logs), time: StoppedTime())
        func cut() {
            let file = Glibc.open("\(scratch.logs)/app.log", O_WRONLY | O_APPEND)
            _ = Glibc.write(file, "half a li", 9)
            close(file)
        }
        files.logger(component: "daemon").info("first")
        cut()
        try files.reopen()
        files.logger(component: "daemon").info("second")
        cut()
        try LogFiles(LogSettings(directory: scratch.logs), time: StoppedTime()).logger(component: "daemon").info(
            "third")
        let ends = scratch.read("app.log").split(separator: "\n", omittingEmptySubsequences: false).map { $0.suffix(9) }
        #expect(
            ends.map { $0.split(separator: " ").last.map(String.init) } == [
                "first", "li", "second", "li", "third", nil,
            ])
    }

    @Test("lines of security.log that find no space go to the copy, and how many it lacks stands there afterwards")
    func fullForSecurity() async {
        await #expect(processExitsWith: .success) {
            let scratch = Scratch()
            mkdir(scratch.path + "/log", 0o750)
            mkdir(scratch.logs, 0o750)
            #expect(symlink("/dev/full", "\(scratch.logs)/security.log") == 0)
            let file = Glibc.open("\(scratch.logs)/app.log.1", O_WRONLY | O_CREAT | O_APPEND, 0o640)
            #expect(dup2(file, STDOUT_FILENO) == STDOUT_FILENO)
            let files = try LogFiles(LogSettings(directory: scratch.logs, copy: .standardOutput), time: StoppedTime())
            for _ in 0..<2 { files.security(SecurityEvent.authFailure, facts: [("peer", "192.0.2.1")]) }
            let line = "auth 1970-01-01 00:00:00.000Z auth_failure peer=192.0.2.1\n"
            func copied() -> Int { scratch.read("app.log.1").split(separator: "\n").count { "\($0)\n" == line } }
            #expect(copied() == 2)
            unlink("\(scratch.logs)/security.log")
            try files.reopen()
            for _ in 0..<2 { files.security(SecurityEvent.authFailure, facts: [("peer", "192.0.2.1")]) }
            let lacks =
                "security 1970-01-01 00:00:00.000Z log_lines_missing file=security.log count=2 "
                + "detail=\"No space left on device\"\n"
            #expect(scratch.read("security.log") == line + lacks + line)
            #expect(copied() == 2)
        }
    }

    @Test("a reader that stops reading does not stop the writer, and later lines are whole")
    func stuckReader() {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        var sink = LogSink(descriptor: ends[1], isFile: false)
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: 5_000) + [0x0A]
        var taken = 0
        while sink.write(line) { taken += 1 }
        #expect(taken >= 5)
        let isTaken = sink.write(line)
        #expect(!isTaken)
        var read: [UInt8] = []
        func drain() {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                var entry = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
                guard poll(&entry, 1, 0) == 1 else { return }
                let count = Glibc.read(ends[0], &buffer, buffer.count)
                guard count > 0 else { return }
                read += buffer[..<count]
            }
        }
        drain()
        let isWritten = sink.write(Array("after\n".utf8))
        #expect(isWritten)
        drain()
        let lines = read.split(separator: 0x0A)
        #expect(lines.last.map { String(decoding: $0, as: UTF8.self) } == "after")
        #expect(lines.count { $0.count == 5_000 } == taken)
    }

    @Test("a directory that cannot be used is refused in words")
    func refused() {
        #expect(throws: LogFilesError.self) {
            _ = try LogFiles(LogSettings(directory: "/proc/nowhere/log"), time: StoppedTime())
        }
    }
}
