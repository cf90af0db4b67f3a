// Licensed under the Apache License 2.0; see LICENSE.

package import Logging

/// What the logs are like.
package struct LogSettings: Sendable, Equatable {
    /// The most rotated files that may be kept of each log.
    package static let filesKeptMax = 100

    /// Where `app.log` and `security.log` are; nil writes no files.
    package var directory: String?
    package var level: Logger.Level
    package var format: LogFormat
    /// Who besides the file gets the lines of `app.log`: the journal reads standard output.
    package var copy: LogCopy
    /// In bytes: a file that would grow beyond this is put aside, and a new one is begun.
    package var rotateBytes: Int
    /// How many rotated files are kept of each log, 1 to `filesKeptMax`.
    package var filesKept: Int

    package init(
        directory: String?, level: Logger.Level = .info, format: LogFormat = .text, copy: LogCopy = .none,
        rotateBytes: Int = 64 << 20, filesKept: Int = 7
    ) {
        self.directory = directory
        self.level = level
        self.format = format
        self.copy = copy
        self.rotateBytes = rotateBytes
        self.filesKept = filesKept
    }
}

package enum LogCopy: Sendable {
    case none, standardOutput, standardError
}

/// Level and format in one byte, so that both change at once, and that a log statement which writes nothing costs one
/// load without a lock.
struct LogShape: Sendable, Equatable {
    var level: Logger.Level
    var format: LogFormat

    private static let json: UInt8 = 0x80

    init(level: Logger.Level, format: LogFormat) {
        self.level = level
        self.format = format
    }

    init(byte: UInt8) {
        format = byte & Self.json == 0 ? .text : .json
        level =
            switch byte & ~Self.json {
            case 0: .trace
            case 1: .debug
            case 2: .info
            case 3: .notice
            case 4: .warning
            case 5: .error
            default: .critical
            }
    }

    var byte: UInt8 {
        let rank: UInt8 =
            switch level {
            case .trace: 0
            case .debug: 1
            case .info: 2
            case .notice: 3
            case .warning: 4
            case .error: 5
            case .critical: 6
            }
        return format == .json ? rank | Self.json : rank
    }
}
