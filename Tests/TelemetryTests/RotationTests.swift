// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Logging
import Testing

@testable import Telemetry

@Suite("Rotation of the log files")
struct RotationTests {
    private let house = RotationHouse()

    @Test("a file that would outgrow its limit is put aside, and the youngest ones are kept")
    func keeps() throws {
        let files = try house.open()
        house.write(0..<10, to: files)
        #expect(house.read("app.log") == house.lines(0..<10))
        #expect(!house.exists("app.log.1"))
        house.write(10..<65, to: files)
        #expect(house.read("app.log") == house.lines(60..<65))
        #expect(house.read("app.log.1") == house.lines(50..<60))
        #expect(house.read("app.log.2") == house.lines(40..<50))
        #expect(house.read("app.log.3") == house.lines(30..<40))
        #expect(!house.exists("app.log.4"))
        #expect((house.scratch.mode("/app.log"), house.scratch.mode("/app.log.1")) == (0o640, 0o640))
        #expect(!house.exists("security.log.1"))
        #expect((house.rotations("done"), house.rotations("refused")) == (6, 0))
        #expect(house.rotations("done", of: "security") == 0)
        #expect(files.droppedLines == 0)
    }

    @Test("security.log is rotated by itself")
    func security() throws {
        let files = try house.open()
        for _ in 0..<40 { files.security(SecurityEvent.authFailure) }
        let all = ["security.log.3", "security.log.2", "security.log.1", "security.log"].map(house.read).joined()
        #expect(house.exists("security.log.1"))
        #expect(all.split(separator: "\n").count == 40)
        #expect(house.rotations("done", of: "security") == 1)
        #expect(!house.exists("app.log.1"))
    }

    @Test("a line that is longer than the limit has a file of its own, and is whole")
    func long() throws {
        let files = try house.open()
        let long = String(repeating: "x", count: 3_000) + "\n"
        for _ in 0..<2 { files.write(Array(long.utf8)) }
        house.write(0..<1, to: files)
        #expect(house.read("app.log.2") == long)
        #expect(house.read("app.log.1") == long)
        #expect(house.read("app.log") == house.line(0))
    }

    @Test("what the file held when it was opened counts")
    func counts() throws {
        house.place(house.lines(0..<9), at: "app.log")
        let files = try house.open()
        house.write(9..<11, to: files)
        #expect(house.read("app.log.1") == house.lines(0..<10))
        #expect(house.read("app.log") == house.line(10))
    }

    @Test("files move up to the first free number only")
    func gap() throws {
        house.place("two", at: "app.log.2")
        let files = try house.open()
        house.write(0..<11, to: files)
        #expect(house.read("app.log.1") == house.lines(0..<10))
        #expect(house.read("app.log.2") == "two")
        #expect(!house.exists("app.log.3"))
    }

    @Test("size and number change at run time; what is too many goes with the next rotation")
    func changes() throws {
        let files = try house.open { $0.filesKept = 6 }
        house.write(0..<75, to: files)
        #expect(house.exists("app.log.6"))
        try files.change(LogSettings(directory: house.scratch.logs, rotateBytes: 2_000, filesKept: 2))
        house.write(75..<90, to: files)
        #expect(house.read("app.log") == house.lines(70..<90))
        #expect(house.exists("app.log.6"))
        house.write(90..<91, to: files)
        #expect(house.read("app.log.1") == house.lines(70..<90))
        #expect(house.read("app.log.2") == house.lines(60..<70))
        #expect((3...7).allSatisfy { !house.exists("app.log.\($0)") })
        // A limit that the file is beyond already takes effect with the next line.
        house.write(91..<95, to: files)
        try files.change(LogSettings(directory: house.scratch.logs, rotateBytes: 200, filesKept: 2))
        house.write(95..<96, to: files)
        #expect(house.read("app.log") == house.line(95))
        #expect(house.read("app.log.1") == house.lines(90..<95))
    }

    enum Disturbance: CaseIterable { case none, reopening, changing }

    @Test("no line of many writers is lost, torn or out of order", arguments: Disturbance.allCases)
    func lossless(_ disturbance: Disturbance) async throws {
        let kept = LogSettings.filesKeptMax
        let settings = LogSettings(directory: house.scratch.logs, rotateBytes: 4_096, filesKept: kept)
        let files = try house.open { $0 = settings }
        let (writers, count) = (8, 400)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<writers {
                group.addTask {
                    let logger = files.logger(component: "writer")
                    for number in 0..<count {
                        logger.info("line", metadata: ["n": "\(writer)-\(number)"])
                        if number % 4 == 0 {
                            files.security(SecurityEvent.authFailure, facts: [("n", "\(writer)-\(number / 4)")])
                        }
                    }
                }
            }
            group.addTask {
                for round in 0..<300 {
                    var next = settings
                    next.rotateBytes = round % 2 == 0 ? 3_072 : 4_096
                    switch disturbance {
                    case .none: return
                    case .reopening: try files.reopen()
                    case .changing: try files.change(next)
                    }
                    await Task.yield()
                }
            }
            try await group.waitForAll()
        }
        let prefix = "1970-01-01 00:00:00.000Z"
        try expect("app.log", start: "\(prefix) info  writer: line n=", writers: writers, count: count)
        try expect("security.log", start: "auth \(prefix) auth_failure n=", writers: writers, count: count / 4)
        #expect(files.droppedLines == 0)
        #expect((house.rotations("refused"), house.rotations("refused", of: "security")) == (0, 0))
        house.write(0..<1, to: files)
        #expect(house.read("app.log").hasSuffix(house.line(0)))
    }

    /// Reads a file and those put aside from the oldest line to the youngest.
    private func expect(_ name: String, start: String, writers: Int, count: Int) throws {
        let aside = (1...LogSettings.filesKeptMax).map { "\(name).\($0)" }.filter(house.exists)
        #expect(aside.count > 3)
        var seen = [Int](repeating: 0, count: writers)
        for file in aside.reversed() + [name] {
            let text = house.read(file)
            #expect(text.utf8.count <= 4_096 && text.hasSuffix("\n"))
            for line in text.split(separator: "\n") {
                try #require(line.hasPrefix(start))
                let parts = line.dropFirst(start.count).split(separator: "-").compactMap { Int($0) }
                try #require(parts.count == 2 && seen.indices.contains(parts[0]))
                #expect(seen[parts[0]] == parts[1])
                seen[parts[0]] += 1
            }
        }
        #expect(seen == [Int](repeating: count, count: writers))
    }
}
