// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import Telemetry

/// Files that somebody has taken away without a word.
@Suite("Log files that are taken away") struct LostPlaceTests {
    private let house = RotationHouse()

    private func look(_ files: LogFiles, after seconds: Int) {
        house.time.advance(by: .seconds(seconds))
        files.lookAfter()
    }

    @Test("Removed with their folder they are there again within a minute, and say so")
    func removed() throws {
        let files = try house.open()
        house.write(0..<1, to: files)
        for name in ["app.log", "security.log"] { unlink(house.path(name)) }
        rmdir(house.scratch.logs)
        look(files, after: 29)
        look(files, after: 1)
        // A rotation by others may be about to send USR2.
        #expect(!house.exists("app.log"))
        look(files, after: 30)
        house.write(1..<2, to: files)
        files.security(SecurityEvent.authFailure)
        let lines = house.read("app.log").split(separator: "\n")
        #expect(lines.count == 2 && lines[0].contains("warning daemon: logging failed for a minute"))
        #expect(house.read("security.log").hasPrefix("auth "))
        for _ in 0..<4 { look(files, after: 30) }
        #expect(house.read("app.log").split(separator: "\n").count == 2)
    }

    @Test("Moved away and told of in time, they are left alone", arguments: [false, true])
    func rotated(_ isMade: Bool) throws {
        let files = try house.open()
        house.write(0..<2, to: files)
        #expect(rename(house.path("app.log"), house.path("app.log.1")) == 0)
        if isMade { house.place("", at: "app.log") }
        look(files, after: 30)
        try files.reopen()
        house.write(2..<3, to: files)
        for _ in 0..<3 { look(files, after: 30) }
        #expect(house.read("app.log.1") == house.lines(0..<2))
        #expect(house.read("app.log") == house.lines(2..<3))
        #expect(house.read("security.log").isEmpty)
    }

    @Test("When they cannot be opened anew the lines go where they went, and it is tried again")
    func refused() throws {
        let files = try house.open()
        #expect(rename(house.path("app.log"), house.path("app.log.1")) == 0)
        mkdir(house.path("app.log"), 0o750)
        for _ in 0..<6 { look(files, after: 30) }
        house.write(0..<1, to: files)
        let lines = house.read("app.log.1").split(separator: "\n")
        #expect(lines.count == 2 && lines[0].contains("warning daemon: logging fails"))
        rmdir(house.path("app.log"))
        look(files, after: 30)
        house.write(1..<2, to: files)
        #expect(house.read("app.log").hasSuffix(house.line(1)))
        #expect(house.read("app.log").contains("opened anew"))
    }
}
