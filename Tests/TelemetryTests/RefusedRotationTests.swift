// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import Telemetry

@Suite("Rotation that others get in the way of")
struct RefusedRotationTests {
    private let house = RotationHouse()

    @Test("a directory in the way: the old file grows on, it is said once, and tried again a minute later")
    func refused() throws {
        let files = try house.open()
        mkdir(house.path("app.log.1"), 0o750)
        house.write(0..<25, to: files)
        #expect(house.read("app.log") == house.lines(0..<25))
        #expect(house.rotations("refused") == 1)
        house.time.advance(by: .seconds(60))
        house.write(25..<30, to: files)
        #expect(house.rotations("refused") == 2)
        let said = house.read("security.log")
        #expect(said.split(separator: "\n").count == 1)
        #expect(said.hasPrefix("security 1970-01-01 00:00:00.000Z log_keeps_growing file=app.log detail="))
        #expect(said.contains("\(house.path("app.log.1")) is not a file"))
        // The obstacle is gone, the minute is not over.
        rmdir(house.path("app.log.1"))
        house.time.advance(by: .milliseconds(59_999))
        house.write(30..<31, to: files)
        #expect(house.read("app.log") == house.lines(0..<31))
        house.time.advance(by: .milliseconds(1))
        house.write(31..<32, to: files)
        #expect(house.read("app.log.1") == house.lines(0..<31))
        #expect(house.read("app.log") == house.lines(31..<32))
        #expect((house.rotations("done"), house.rotations("refused")) == (1, 2))
        // A new series of refusals is said again.
        unlink(house.path("app.log.1"))
        mkdir(house.path("app.log.1"), 0o750)
        house.write(32..<45, to: files)
        #expect(house.read("security.log").split(separator: "\n").count == 2)
        #expect(files.droppedLines == 0)
    }

    @Test("what is in the way of security.log is said in app.log; both in the way end in two lines")
    func both() throws {
        let files = try house.open { $0.rotateBytes = 300 }
        for name in ["app.log.1", "security.log.1"] { mkdir(house.path(name), 0o750) }
        for _ in 0..<20 {
            files.security(SecurityEvent.authFailure)
            house.write(0..<1, to: files)
        }
        let (app, security) = (house.read("app.log"), house.read("security.log"))
        #expect(app.split(separator: "\n").count { $0.contains("warning daemon: a log file is over its size") } == 1)
        #expect(app.contains("file=security.log"))
        #expect(app.split(separator: "\n").count == 21)
        #expect(security.split(separator: "\n").count { $0.contains("log_keeps_growing file=app.log") } == 1)
        #expect(security.split(separator: "\n").count == 21)
        #expect((house.rotations("refused"), house.rotations("refused", of: "security")) == (1, 1))
        #expect(files.droppedLines == 0)
    }

    @Test("when the new file cannot be opened, the old one keeps its name and takes the lines")
    func cannotOpen() async {
        await #expect(processExitsWith: .success) {
            let house = RotationHouse()
            let files = try house.open()
            house.write(0..<40, to: files)
            // The next descriptor that would be given out is beyond the limit.
            var limit = rlimit()
            #expect(getrlimit(__rlimit_resource_t(7), &limit) == 0)
            let former = limit
            let next = dup(STDOUT_FILENO)
            close(next)
            limit.rlim_cur = rlim_t(next)
            #expect(setrlimit(__rlimit_resource_t(7), &limit) == 0)
            house.write(40..<45, to: files)
            limit = former
            #expect(setrlimit(__rlimit_resource_t(7), &limit) == 0)
            #expect(house.read("app.log") == house.lines(30..<45))
            #expect(!house.exists("app.log.1"))
            #expect(house.read("app.log.2") == house.lines(20..<30))
            #expect((house.rotations("done"), house.rotations("refused")) == (3, 1))
            house.time.advance(by: .seconds(60))
            house.write(45..<46, to: files)
            #expect(house.read("app.log.1") == house.lines(30..<45))
            #expect(house.read("app.log.2") == house.lines(20..<30))
            #expect(house.read("app.log") == house.lines(45..<46))
            #expect(files.droppedLines == 0)
        }
    }

    @Test("what others have rotated is not rotated again; after USR2 the size counts anew", arguments: [false, true])
    func outside(_ isMade: Bool) throws {
        let files = try house.open()
        house.write(0..<9, to: files)
        #expect(rename(house.path("app.log"), house.path("app.log.1")) == 0)
        if isMade { house.place("", at: "app.log") }
        house.write(9..<15, to: files)
        #expect(house.read("app.log.1") == house.lines(0..<15))
        #expect(!house.exists("app.log.2"))
        #expect(house.exists("app.log") == isMade)
        #expect(house.read("security.log").contains("send USR2"))
        try files.reopen()
        house.write(15..<25, to: files)
        #expect(house.read("app.log") == house.lines(15..<25))
        #expect(house.read("app.log.1") == house.lines(0..<15))
        house.write(25..<26, to: files)
        #expect(house.read("app.log") == house.lines(25..<26))
        #expect(house.read("app.log.1") == house.lines(15..<25))
        #expect(house.read("app.log.2") == house.lines(0..<15))
    }

    @Test("a file that others have cut short is not put aside before it is full again")
    func cut() throws {
        let files = try house.open()
        house.write(0..<10, to: files)
        #expect(truncate(house.path("app.log"), 0) == 0)
        house.write(10..<20, to: files)
        #expect(house.read("app.log") == house.lines(10..<20))
        #expect(!house.exists("app.log.1"))
        house.write(20..<21, to: files)
        #expect(house.read("app.log.1") == house.lines(10..<20))
    }

    @Test("a link in the place of the file is followed and never renamed")
    func link() throws {
        house.place("", at: "security.log.1")
        #expect(symlink(house.path("security.log.1"), house.path("app.log")) == 0)
        let files = try house.open()
        house.write(0..<15, to: files)
        #expect(house.read("security.log.1") == house.lines(0..<15))
        #expect(!house.exists("app.log.1"))
        #expect(house.rotations("refused") == 1)
    }

    @Test("a device in the place of the file has no size, and nothing is tried")
    func device() throws {
        house.place("", at: "security.log")
        #expect(symlink("/dev/null", house.path("app.log")) == 0)
        let files = try house.open()
        house.write(0..<50, to: files)
        #expect((house.rotations("done"), house.rotations("refused")) == (0, 0))
        #expect(files.droppedLines == 0)
    }
}
