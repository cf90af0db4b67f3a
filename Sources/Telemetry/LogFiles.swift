// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Glibc
package import Logging
import Synchronization

/// Why the log files cannot be used, in words.
package struct LogFilesError: Error, CustomStringConvertible {
    package let text: String
    package var description: String { text }
}

/// Who takes the lines of `security.log`.
package protocol SecurityLog: Sendable {
    /// Writes one line that begins with `kind`. `event` is one of `SecurityEvent`; no secret may be among the facts.
    func security(_ event: String, kind: SecurityKind, facts: [(String, String)])
    /// It happened, and there are too many lines about such things already.
    func leftOut(_ event: String)
}

extension SecurityLog {
    package func leftOut(_ event: String) {}

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
/// counted, and the next one is tried again; the file that lacks lines says how many as soon as it takes one again, and
/// those of `security.log` go to the copy meanwhile. A directory that is missing is made (0750). A file that would grow
/// beyond its limit is put aside, and a new one begun, before the line is written; that costs the caller, and whoever
/// writes meanwhile, a few renames. When it does not work out, the old file grows on, the other file says so once, and
/// it is tried again a minute later. Safe to use from every thread; a line costs one system call for the file and one
/// or two for the copy.
package final class LogFiles: LogOutput, SecurityLog {
    private struct Open: Sendable {
        var directory: String?
        var app: LogFile?
        var security: LogFile?
        var copy: LogSink?
        var rotation: LogRotation
        /// Lines of before the files were opened, such as what the start found in the database.
        private var early: [[UInt8]] = []
        private static let earlyMax = 1_000

        init(directory: String?, rotation: LogRotation) {
            self.directory = directory
            self.rotation = rotation
        }

        /// To be called when the files are open.
        mutating func writeEarly(at now: Moment) -> [LineFate] {
            let lines = early
            early = []
            return lines.map { write($0, to: .app, at: now) }
        }

        mutating func write(_ line: [UInt8], to name: LogName, at now: Moment?) -> LineFate {
            let rotation = rotation
            switch name {
            case .app:
                if app == nil, directory != nil, early.count < Self.earlyMax { early.append(line) }
                return app?.write(line, by: rotation, at: now) ?? .whole
            case .security:
                guard let fate = security?.write(line, by: rotation, at: now) else {
                    return LineFate(isWhole: copy?.write(line) ?? true)
                }
                // Somebody may be trying to get in: such a line is not to be lost for want of space.
                if !fate.isWhole, !fate.needsTime { _ = copy?.write(line) }
                return fate
            }
        }

        /// Whether one of the files is not where its name leads.
        var hasLostItsPlace: Bool { app?.isInPlace == false || security?.isInPlace == false }

        mutating func put(_ pair: Pair) { (app, security) = (pair.app, pair.security) }
    }

    /// Both files of one directory, just opened.
    private struct Pair: Sendable {
        let app: LogFile
        let security: LogFile
    }

    /// What is counted of one file.
    private final class Tally: Sendable {
        let dropped = Counter()
        let rotated = Counter()
        let refused = Counter()
        /// Lines that the file lacks and has not said so yet.
        let missing = Atomic(0)
        /// Why, as a number of the system's; 0 where nobody read.
        let refusal = Atomic<Int32>(0)
    }

    private let time: any TimeSource
    private let open: Mutex<Open>
    /// A `LogShape`, read at every log statement. Written under the lock of `open`.
    private let shape: Atomic<UInt8>
    private let appTally = Tally()
    private let securityTally = Tally()
    private let copyDropped = Counter()
    /// When the files were looked for last, and whether they were not in place then.
    private let watch: Mutex<(looked: Moment, isAway: Bool, isReported: Bool)>
    private static let looksApart = Duration.seconds(30)
    private let events = Dictionary(uniqueKeysWithValues: SecurityEvent.all.map { ($0, Counter()) })

    /// - Parameter opensFiles: false leaves the files alone until `reopen()`, for a process that may have to leave
    ///   without a trace.
    package init(_ settings: LogSettings, time: any TimeSource, opensFiles: Bool = true) throws(LogFilesError) {
        self.time = time
        watch = Mutex((time.now(), false, false))
        shape = Atomic(LogShape(level: settings.level, format: settings.format).byte)
        var files = Open(directory: settings.directory, rotation: LogRotation(settings))
        if let directory = settings.directory, opensFiles { files.put(try Self.openBoth(in: directory)) }
        Self.put(settings.copy, into: &files)
        self.open = Mutex(files)
    }

    deinit { open.withLock { Self.close([$0.app, $0.security]) } }

    package var level: Logger.Level { LogShape(byte: shape.load(ordering: .relaxed)).level }
    package var format: LogFormat { LogShape(byte: shape.load(ordering: .relaxed)).format }

    /// Changes level and format for all loggers at once.
    package func apply(level: Logger.Level, format: LogFormat) {
        open.withLock { _ in shape.store(LogShape(level: level, format: format).byte, ordering: .relaxed) }
    }

    /// Has everything follow new settings, for loggers that were handed out before as well. No line is lost: files of
    /// another directory are open before the former ones are closed. When they cannot be opened this throws, and
    /// nothing has changed except that directories may have been made. Waits for the disk when the directory is another
    /// one.
    package func change(_ next: LogSettings) throws(LogFilesError) {
        let byte = LogShape(level: next.level, format: next.format).byte
        while true {
            let base = open.withLock { $0.directory }
            var pair: Pair?
            if base != next.directory, let directory = next.directory { pair = try Self.openBoth(in: directory) }
            let former = open.withLock { [pair] files -> [LogFile?]? in
                guard files.directory == base else { return nil }
                defer {
                    if base != next.directory {
                        (files.directory, files.app, files.security) = (next.directory, nil, nil)
                        if let pair { files.put(pair) }
                    }
                    Self.put(next.copy, into: &files)
                    files.rotation = LogRotation(next)
                    shape.store(byte, ordering: .relaxed)
                }
                return base == next.directory ? [] : [files.app, files.security]
            }
            if let former { return Self.close(former) }
            // Somebody else has changed the directory meanwhile.
            Self.close([pair?.app, pair?.security])
        }
    }

    /// A logger for one part of the house.
    package func logger(component: String) -> Logger { logger(component: component, time: time) }

    package func write(_ line: [UInt8]) {
        let (file, copy) = open.withLock { files in
            (files.write(line, to: .app, at: nil), files.copy?.write(line) ?? true)
        }
        if !copy { copyDropped.increment() }
        settle(file, of: line, in: .app)
    }

    package func leftOut(_ event: String) { events[event]?.increment() }

    package func security(_ event: String, kind: SecurityKind, facts: [(String, String)]) {
        events[event]?.increment()
        let line = LogLine.security(
            word: kind.rawValue, milliseconds: time.wallMilliseconds(), event: event, facts: facts)
        settle(open.withLock { $0.write(line, to: .security, at: nil) }, of: line, in: .security)
    }

    /// Writes a line that needs the time, which is read without the lock, and counts what has become of it.
    private func settle(_ first: LineFate, of line: [UInt8], in name: LogName) {
        var fate = first
        if fate.needsTime {
            let now = time.now()
            fate = open.withLock { $0.write(line, to: name, at: now) }
        }
        note(fate, of: name)
    }

    private func note(_ fate: LineFate, of name: LogName) {
        let tally = tally(of: name)
        if !fate.isWhole {
            tally.dropped.increment()
            tally.missing.add(1, ordering: .relaxed)
            tally.refusal.store(fate.refusal, ordering: .relaxed)
        } else if tally.missing.load(ordering: .relaxed) > 0 {
            tellMissing(of: name)
        }
        for descriptor in fate.closes { Glibc.close(descriptor) }
        switch fate.rotation {
        case nil: break
        case .done: tally.rotated.increment()
        case .refused(let words):
            tally.refused.increment()
            if let words { report(words, of: name) }
        }
    }

    /// Says in the other file why this one keeps growing.
    private func report(_ words: String, of name: LogName) {
        let detail = words + "; until then lines go to the old file, and it is tried again every minute"
        switch name {
        case .app:
            security(SecurityEvent.logKeepsGrowing, facts: [(LogKey.file, name.file), (LogKey.detail, detail)])
        case .security:
            logger(component: LogComponent.daemon).warning(
                "a log file is over its size limit and could not be put aside",
                metadata: [LogKey.file: "\(name.file)", LogKey.detail: "\(detail)"])
        }
    }

    /// The file takes lines again: it says itself how many it lacks.
    private func tellMissing(of name: LogName) {
        let tally = tally(of: name)
        let count = tally.missing.exchange(0, ordering: .relaxed)
        // Somebody else has said it.
        guard count > 0 else { return }
        let before = tally.dropped.value
        let number = tally.refusal.load(ordering: .relaxed)
        let why = number == 0 ? "nobody read it" : SystemError.text(number)
        switch name {
        case .app:
            logger(component: LogComponent.daemon).warning(
                "lines were lost: writing the log file failed; look at the space where it is",
                metadata: [LogKey.file: "\(name.file)", LogKey.count: "\(count)", LogKey.detail: "\(why)"])
        case .security:
            security(
                SecurityEvent.logLinesMissing,
                facts: [(LogKey.file, name.file), (LogKey.count, String(count)), (LogKey.detail, why)])
        }
        // Not even that could be written: they are still to be told of.
        if tally.dropped.value > before { tally.missing.add(count, ordering: .relaxed) }
    }

    private func tally(of name: LogName) -> Tally {
        switch name {
        case .app: appTally
        case .security: securityTally
        }
    }

    /// Opens both files anew under their names, after somebody has moved the old ones away. When that fails the old
    /// ones stay in use.
    package func reopen() throws(LogFilesError) {
        guard let directory = open.withLock({ $0.directory }) else { return }
        let pair = try Self.openBoth(in: directory)
        let now = time.now()
        let (unused, fates) = open.withLock { files -> ([LogFile?], [LineFate]) in
            // A change to another directory came in between: its files are new.
            guard files.directory == directory else { return ([pair.app, pair.security], []) }
            let former = [LogFile.renew(&files.app, by: pair.app), LogFile.renew(&files.security, by: pair.security)]
            return (former, files.writeEarly(at: now))
        }
        Self.close(unused)
        for fate in fates { note(fate, of: .app) }
    }

    /// Opens the files anew when somebody has moved or removed them and has not said so: a log that nobody can find is
    /// none. To be called every second or so. It looks twice a minute, and acts when they are away at the second look
    /// as well, so that a rotation by others has time to send USR2.
    package func lookAfter() {
        let now = time.now()
        let isDue = watch.withLock { watch in
            guard now.since(watch.looked) >= Self.looksApart else { return false }
            watch.looked = now
            return true
        }
        guard isDue else { return }
        let isAway = open.withLock { $0.hasLostItsPlace }
        let wasAway = watch.withLock { watch in
            defer { watch.isAway = isAway }
            return watch.isAway
        }
        guard isAway, wasAway else { return }
        let log = logger(component: LogComponent.daemon)
        do throws(LogFilesError) {
            try reopen()
            watch.withLock { ($0.isAway, $0.isReported) = (false, false) }
            log.warning(
                """
                logging failed for a minute: log files were moved or removed, and are opened anew; whoever moves them \
                should send USR2 to the gateway
                """)
        } catch {
            let isReported = watch.withLock { watch in
                defer { watch.isReported = true }
                return watch.isReported
            }
            if isReported { return }
            log.warning(
                """
                logging fails: log files were moved or removed and cannot be opened anew; it is tried again every \
                half minute
                """, metadata: [LogKey.detail: "\(error.text)"])
        }
    }

    /// Lines that could not be written since the start, files and copy together.
    package var droppedLines: Int {
        Int(appTally.dropped.value + securityTally.dropped.value + copyDropped.value)
    }

    /// Adds the number of dropped lines and of rotations, by file.
    package func register(in registry: MetricsRegistry) {
        let dropped = [("app", appTally.dropped), ("security", securityTally.dropped), ("copy", copyDropped)]
        for (name, counter) in dropped {
            registry.counter(MetricName.logDropped, labels: [("file", name)]) { Double(counter.value) }
        }
        for (event, counter) in events {
            registry.counter(.securityEvents, labels: [("event", event)]) { Double(counter.value) }
        }
        for name in LogName.allCases {
            let tally = tally(of: name)
            for (outcome, counter) in [("done", tally.rotated), ("refused", tally.refused)] {
                registry.counter(
                    MetricName.logRotations, labels: [("file", name.rawValue), ("outcome", outcome)]
                ) { Double(counter.value) }
            }
        }
    }

    private static func openBoth(in directory: String) throws(LogFilesError) -> Pair {
        try makeDirectory(directory)
        let app = try LogFile(opening: directory + "/" + LogName.app.file)
        do {
            return Pair(app: app, security: try LogFile(opening: directory + "/" + LogName.security.file))
        } catch {
            app.close()
            throw error
        }
    }

    private static func put(_ copy: LogCopy, into files: inout Open) {
        let descriptor: Int32? =
            switch copy {
            case .none: nil
            case .standardOutput: STDOUT_FILENO
            case .standardError: STDERR_FILENO
            }
        // One that stays knows whether its last line was cut.
        if descriptor == files.copy?.descriptor { return }
        files.copy = descriptor.map { LogSink(descriptor: $0, isFile: false) }
    }

    private static func close(_ files: [LogFile?]) {
        for file in files { file?.close() }
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
}
