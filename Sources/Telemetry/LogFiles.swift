// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Glibc
package import Logging
import Synchronization

/// What the logs are like.
package struct LogSettings: Sendable {
    /// Where `app.log` and `security.log` are; nil writes no files.
    package var directory: String?
    package var level: Logger.Level
    package var format: LogFormat
    /// Who besides the file gets the lines of `app.log`: the journal reads standard output.
    package var copy: LogCopy

    package init(
        directory: String?, level: Logger.Level = .info, format: LogFormat = .text, copy: LogCopy = .none
    ) {
        self.directory = directory
        self.level = level
        self.format = format
        self.copy = copy
    }
}

package enum LogCopy: Sendable {
    case none, standardOutput, standardError
}

/// Why the log files cannot be used, in words.
package struct LogFilesError: Error, CustomStringConvertible {
    package let text: String
    package var description: String { text }
}

/// Who takes the lines of `security.log`.
package protocol SecurityLog: Sendable {
    /// Writes one line that begins with `kind`. `event` is one of `SecurityEvent`; no secret may be among the facts.
    func security(_ event: String, kind: SecurityKind, facts: [(String, String)])
}

extension SecurityLog {
    /// Events about credentials begin their line with `auth`, all others with `security`.
    package func security(_ event: String, facts: [(String, String)] = []) {
        security(event, kind: event.hasPrefix("auth") ? .auth : .security, facts: facts)
    }
}

/// The first word of a line in `security.log`.
package enum SecurityKind: String, Sendable {
    case security, auth
}

/// Owns `app.log` and `security.log` (0640, appended to, one `write` a line) and the copy for the journal.
///
/// Writing never fails for the caller: when the disk is full or nobody reads the copy, the line is dropped and
/// counted, and the next one is tried again. A directory that is missing is made (0750). Safe to use from every
/// thread; a line costs one system call for the file and one or two for the copy.
package final class LogFiles: LogOutput, SecurityLog {
    private struct Open: Sendable {
        var app: LogSink?
        var security: LogSink?
        var copy: LogSink?
    }

    private let directory: String?
    private let time: any TimeSource
    private let open: Mutex<Open>
    private let settings: Mutex<(level: Logger.Level, format: LogFormat)>
    private let appDropped = Counter()
    private let securityDropped = Counter()
    private let copyDropped = Counter()

    /// - Parameter opensFiles: false leaves the files alone until `reopen()`, for a process that may have to leave
    ///   without a trace.
    package init(_ settings: LogSettings, time: any TimeSource, opensFiles: Bool = true) throws(LogFilesError) {
        self.directory = settings.directory
        self.time = time
        self.settings = Mutex((settings.level, settings.format))
        var files = Open()
        if let directory = settings.directory, opensFiles {
            try Self.makeDirectory(directory)
            files.app = LogSink(descriptor: try Self.openFile(directory + "/app.log"), isFile: true)
            files.security = LogSink(descriptor: try Self.openFile(directory + "/security.log"), isFile: true)
        }
        switch settings.copy {
        case .none: break
        case .standardOutput: files.copy = LogSink(descriptor: STDOUT_FILENO, isFile: false)
        case .standardError: files.copy = LogSink(descriptor: STDERR_FILENO, isFile: false)
        }
        self.open = Mutex(files)
    }

    deinit {
        open.withLock { files in
            for sink in [files.app, files.security] where sink != nil { close(sink?.descriptor ?? -1) }
        }
    }

    package var level: Logger.Level { settings.withLock { $0.level } }
    package var format: LogFormat { settings.withLock { $0.format } }

    /// Changes level and format for all loggers at once (a reload).
    package func apply(level: Logger.Level, format: LogFormat) {
        settings.withLock { $0 = (level, format) }
    }

    /// A logger for one part of the house.
    package func logger(component: String) -> Logger { logger(component: component, time: time) }

    package func write(_ line: [UInt8]) {
        let (file, copy) = open.withLock { files in
            (files.app?.write(line) ?? true, files.copy?.write(line) ?? true)
        }
        if !file { appDropped.increment() }
        if !copy { copyDropped.increment() }
    }

    package func security(_ event: String, kind: SecurityKind, facts: [(String, String)]) {
        let line = LogLine.security(
            word: kind.rawValue, milliseconds: time.wallMilliseconds(), event: event, facts: facts)
        let written = open.withLock { files in
            if files.security == nil { return files.copy?.write(line) ?? true }
            return files.security?.write(line) ?? true
        }
        if !written { securityDropped.increment() }
    }

    /// Opens both files anew under their names, after somebody has moved the old ones away. When that fails the old
    /// ones stay in use.
    package func reopen() throws(LogFilesError) {
        guard let directory else { return }
        try Self.makeDirectory(directory)
        let app = try Self.openFile(directory + "/app.log")
        let security: Int32
        do {
            security = try Self.openFile(directory + "/security.log")
        } catch {
            close(app)
            throw error
        }
        let old = open.withLock { files in
            defer {
                files.app = LogSink(descriptor: app, isFile: true)
                files.security = LogSink(descriptor: security, isFile: true)
            }
            return [files.app, files.security]
        }
        for sink in old { close(sink?.descriptor ?? -1) }
    }

    /// Lines that could not be written since the start, files and copy together.
    package var droppedLines: Int { Int(appDropped.value + securityDropped.value + copyDropped.value) }

    /// Adds the number of dropped lines, by file.
    package func register(in registry: MetricsRegistry) {
        for (name, counter) in [("app", appDropped), ("security", securityDropped), ("copy", copyDropped)] {
            registry.counter(MetricName.logDropped, labels: [("file", name)]) { Double(counter.value) }
        }
    }

    private static func makeDirectory(_ path: String) throws(LogFilesError) {
        var made = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: false) {
            made += (made.isEmpty && part.isEmpty) ? "/" : (made.isEmpty || made.hasSuffix("/") ? "" : "/") + part
            if unsafe mkdir(made, 0o750) != 0, errno != EEXIST, errno != EISDIR, errno != EROFS, errno != EACCES {
                throw LogFilesError(text: "cannot make the log directory \(made): \(SystemError.text(errno))")
            }
        }
    }

    private static func openFile(_ path: String) throws(LogFilesError) -> Int32 {
        let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_CREAT | O_NOCTTY
        let made = unsafe Glibc.open(path, flags | O_EXCL, 0o640)
        if made >= 0 {
            // The umask may have taken the group's right to read.
            fchmod(made, 0o640)
            return made
        }
        let found = unsafe Glibc.open(path, flags, 0o640)
        guard found >= 0 else {
            let reason = SystemError.text(errno)
            throw LogFilesError(
                text: "cannot write the log file \(path): \(reason); give the gateway's user the right to write there, "
                    + "or set log.directory to another place")
        }
        return found
    }
}
