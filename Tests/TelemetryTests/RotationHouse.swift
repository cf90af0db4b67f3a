// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Synchronization
import Testing

@testable import Telemetry

/// A clock that is moved by hand.
final class MovedTime: TimeSource {
    private let elapsed = Mutex(Duration.zero)

    func advance(by duration: Duration) { elapsed.withLock { $0 += duration } }
    func now() -> Moment { Moment(nanoseconds: 1) + elapsed.withLock { $0 } }
    func wallMilliseconds() -> Int64 { 0 }
}

/// A directory with logs of which ten lines fill a file, and three more are kept.
struct RotationHouse {
    let scratch = Scratch()
    let time = MovedTime()
    let registry = MetricsRegistry()

    func open(_ edit: (inout LogSettings) -> Void = { _ in }) throws -> LogFiles {
        var settings = LogSettings(directory: scratch.logs, rotateBytes: 1_000, filesKept: 3)
        edit(&settings)
        let files = try LogFiles(settings, time: time)
        files.register(in: registry)
        return files
    }

    /// 100 bytes with a number.
    func line(_ number: Int) -> String {
        let start = "line \(number) "
        return start + String(repeating: ".", count: 99 - start.utf8.count) + "\n"
    }

    func write(_ numbers: Range<Int>, to files: LogFiles) {
        for number in numbers { files.write(Array(line(number).utf8)) }
    }

    func lines(_ numbers: Range<Int>) -> String { numbers.map(line).joined() }

    func path(_ name: String) -> String { "\(scratch.logs)/\(name)" }

    func read(_ name: String) -> String { scratch.read(name) }

    func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

    func place(_ text: String, at name: String) {
        mkdir(scratch.path + "/log", 0o750)
        mkdir(scratch.logs, 0o750)
        let file = Glibc.open(path(name), O_WRONLY | O_CREAT | O_TRUNC, 0o640)
        #expect(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
        close(file)
    }

    func rotations(_ outcome: String, of file: String = "app") -> Int? {
        let start = "mcp_log_rotations_total{file=\"\(file)\",outcome=\"\(outcome)\"} "
        return String(decoding: registry.render(), as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix(start) }.flatMap { Int($0.dropFirst(start.count)) }
    }
}
