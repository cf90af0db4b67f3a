// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Logging
import Testing

@testable import Telemetry

@Suite("Changing the logs while they are written")
struct ChangeTests {
    let scratch = Scratch()
    let other = Scratch()

    private func open(_ edit: (inout LogSettings) -> Void = { _ in }) throws -> LogFiles {
        var settings = LogSettings(directory: scratch.logs)
        edit(&settings)
        return try LogFiles(settings, time: StoppedTime())
    }

    /// How many descriptors of this process are open below a path.
    private func descriptors(below path: String) -> Int {
        (0..<1_024).count { number in
            var target = [CChar](repeating: 0, count: 512)
            let length = readlink("/proc/self/fd/\(number)", &target, target.count)
            guard length > 0 else { return false }
            return String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self).hasPrefix(path)
        }
    }

    @Test("level, format and directory change at once, also for loggers that were handed out before")
    func follows() throws {
        let files = try open()
        let logger = files.logger(component: "daemon")
        logger.info("one")
        logger.debug("unseen")
        try files.change(LogSettings(directory: other.logs, level: .debug, format: .json))
        logger.debug("two")
        files.security(SecurityEvent.authFailure)
        #expect(scratch.read("app.log") == "1970-01-01 00:00:00.000Z info  daemon: one\n")
        #expect(scratch.read("security.log") == "")
        #expect(other.read("app.log").hasPrefix("{\"timestamp\""))
        #expect(other.read("app.log").contains("\"message\":\"two\""))
        #expect(other.read("security.log").hasPrefix("auth "))
        #expect(other.mode("/app.log") == 0o640)
        #expect((descriptors(below: scratch.path), descriptors(below: other.path)) == (0, 2))
        try files.change(LogSettings(directory: other.logs, level: .warning))
        logger.info("unseen")
        logger.warning("three")
        #expect(other.read("app.log").hasSuffix("warning daemon: three\n"))
        #expect(!other.read("app.log").contains("unseen"))
        #expect(descriptors(below: other.path) == 2)
    }

    @Test("a logger whose own level was set keeps it")
    func ownLevel() throws {
        let files = try open()
        var loud = files.logger(component: "loud")
        loud.logLevel = .trace
        try files.change(LogSettings(directory: scratch.logs, level: .critical))
        loud.trace("heard")
        #expect(scratch.read("app.log").contains("heard"))
    }

    @Test(
        "a directory that cannot be used is refused in words, and nothing changes",
        arguments: ["/proc/nowhere/log", "occupied"])
    func refused(_ place: String) throws {
        let files = try open()
        let logger = files.logger(component: "daemon")
        // Where the second file cannot be made, the first one was.
        mkdir(other.path + "/log", 0o750)
        mkdir(other.logs, 0o750)
        mkdir(other.logs + "/security.log", 0o750)
        defer { rmdir(other.logs + "/security.log") }
        let directory = place == "occupied" ? other.logs : place
        let error = #expect(throws: LogFilesError.self) {
            try files.change(LogSettings(directory: directory, level: .trace, format: .json))
        }
        #expect(error?.text.contains(directory == other.logs ? directory : "/proc/nowhere") == true)
        #expect((files.level, files.format) == (.info, .text))
        logger.trace("unseen")
        logger.info("still here")
        files.security(SecurityEvent.authFailure)
        #expect(scratch.read("app.log") == "1970-01-01 00:00:00.000Z info  daemon: still here\n")
        #expect(scratch.read("security.log").hasPrefix("auth "))
        #expect(descriptors(below: other.path) == 0)
    }

    @Test("without a directory nothing is written, and a rotation later finds the one in force")
    func elsewhere() throws {
        let files = try open()
        let logger = files.logger(component: "daemon")
        try files.change(LogSettings(directory: nil))
        logger.info("to nobody")
        try files.reopen()
        #expect(descriptors(below: scratch.path) == 0)
        try files.change(LogSettings(directory: other.logs))
        #expect(rename("\(other.logs)/app.log", "\(other.logs)/app.log.1") == 0)
        try files.reopen()
        logger.info("found")
        #expect(scratch.read("app.log") == "")
        #expect(other.read("app.log.1") == "")
        #expect(other.read("app.log").hasSuffix("found\n"))
        #expect(files.droppedLines == 0)
    }

    @Test("no line is lost or torn while the directory changes to and fro")
    func lossless() async throws {
        let files = try open()
        let places = [other.logs, scratch.logs]
        let (writers, lines) = (4, 500)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<writers {
                group.addTask {
                    let logger = files.logger(component: "writer")
                    for line in 0..<lines { logger.info("line", metadata: ["n": "\(writer)-\(line)"]) }
                }
            }
            group.addTask {
                for round in 0..<100 { try files.change(LogSettings(directory: places[round % 2])) }
            }
            try await group.waitForAll()
        }
        let found = (scratch.read("app.log") + other.read("app.log")).split(separator: "\n")
        #expect(found.count == writers * lines)
        #expect(Set(found).count == writers * lines)
        #expect(found.allSatisfy { $0.hasPrefix("1970-01-01 00:00:00.000Z info  writer: line n=") })
        #expect(files.droppedLines == 0)
    }

    @Test("the copy for the journal begins and ends with the settings")
    func copy() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let files = try LogFiles(LogSettings(directory: nil), time: StoppedTime())
            let logger = files.logger(component: "daemon")
            logger.info("alone before")
            try files.change(LogSettings(directory: nil, copy: .standardOutput))
            logger.info("copied")
            try files.change(LogSettings(directory: nil))
            logger.info("alone after")
        }
        let text = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        #expect(text.contains("daemon: copied\n"))
        #expect(!text.contains("alone"))
    }

    @Test("level and format fit into one byte and come back", arguments: Logger.Level.allCases, LogFormat.allCases)
    func shape(_ level: Logger.Level, _ format: LogFormat) {
        let shape = LogShape(level: level, format: format)
        #expect(LogShape(byte: shape.byte) == shape)
    }
}
