// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc

/// Which of the two files a line belongs into.
enum LogName: String, Sendable, CaseIterable {
    case app, security

    var file: String { rawValue + ".log" }
}

/// What became of one line.
struct LineFate: Sendable {
    enum Rotation: Sendable {
        case done
        /// The words are there the first time only, until a rotation works out again.
        case refused(words: String?)
    }

    /// Whether the file has taken the line from its first byte to its last.
    var isWhole: Bool
    /// Why it has not, as a number of the system's.
    var refusal: Int32 = 0
    /// Nothing was done yet: the line needs a rotation, and that needs to know the time.
    var needsTime = false
    var rotation: Rotation?
    /// Descriptors to close once the lock is free.
    var closes: [Int32] = []

    static let whole = LineFate(isWhole: true)
    static let cut = LineFate(isWhole: false)
}

/// `app.log` or `security.log` while it is open. Belongs to one owner, who holds a lock while writing.
struct LogFile: Sendable {
    /// How long a rotation that did not work out is not tried again.
    static let retryPause = Duration.seconds(60)

    private let path: String
    private var sink: LogSink
    /// A pipe or a device in the file's place does not grow.
    private let isRegular: Bool
    private var retryAt: Moment?
    private var isReported = false

    /// Opens a file to append to it, and makes it (0640) when there is none.
    init(opening path: String) throws(LogFilesError) {
        let descriptor = try Self.open(path)
        var entry = stat()
        isRegular = unsafe fstat(descriptor, &entry) == 0 && entry.st_mode & S_IFMT == S_IFREG
        sink = LogSink(descriptor: descriptor, isFile: true, bytes: isRegular ? Int(entry.st_size) : 0)
        self.path = path
        // A line that was cut, by a full disk or the end of the machine, is not to take the next one with it.
        if isRegular, entry.st_size > 0, !Self.endsLine(path) { _ = sink.write([UInt8(ascii: "\n")]) }
    }

    /// Writes the line; when that would make the file too large, into a new one. A rotation that does not work out
    /// costs no line: the old file takes it.
    ///
    /// - Parameter now: nil for a first try that leaves a line alone when it needs a rotation.
    mutating func write(_ line: [UInt8], by rotation: LogRotation, at now: Moment?) -> LineFate {
        guard outgrows(line, rotation) else {
            let isWhole = sink.write(line)
            return LineFate(isWhole: isWhole, refusal: isWhole ? 0 : sink.refusal)
        }
        guard let now else { return LineFate(isWhole: false, needsTime: true) }
        var fate = LineFate.cut
        if retryAt.map({ now >= $0 }) ?? true {
            recount()
            if outgrows(line, rotation) { fate.rotation = rotate(by: rotation, at: now, closes: &fate.closes) }
        }
        fate.isWhole = sink.write(line)
        if !fate.isWhole { fate.refusal = sink.refusal }
        return fate
    }

    private static func endsLine(_ path: String) -> Bool {
        // It may be open for writing only to us; then nobody can say.
        let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return true }
        defer { Glibc.close(file) }
        var last: UInt8 = 0
        guard lseek(file, -1, SEEK_END) >= 0, unsafe Glibc.read(file, &last, 1) == 1 else { return true }
        return last == UInt8(ascii: "\n")
    }

    /// Whether the path leads to this very file.
    var isInPlace: Bool {
        var named = stat()
        return unsafe stat(path, &named) == 0 && isSame(as: named)
    }

    /// Puts `next`, just opened under the name, in the place of `file`, unless a rotation has given the name to another
    /// one since. Returns the one of the two that is to be closed.
    static func renew(_ file: inout LogFile?, by next: LogFile) -> LogFile? {
        guard file == nil || next.isInPlace else { return next }
        var next = next
        // Since it was opened, lines may have come through the other descriptor.
        next.recount()
        defer { file = next }
        return file
    }

    func close() { _ = Glibc.close(sink.descriptor) }

    private func outgrows(_ line: [UInt8], _ rotation: LogRotation) -> Bool {
        isRegular && sink.bytes > 0 && sink.bytes(after: line) > rotation.bytesMax
    }

    /// Asks the system how large the file is: somebody may have cut it under us, as logrotate does on `copytruncate`.
    private mutating func recount() {
        var entry = stat()
        if unsafe fstat(sink.descriptor, &entry) == 0 { sink.bytes = Int(entry.st_size) }
    }

    private mutating func rotate(by rotation: LogRotation, at now: Moment, closes: inout [Int32]) -> LineFate.Rotation {
        do throws(LogFilesError) {
            try begin(by: rotation, closes: &closes)
            return .done
        } catch {
            defer { isReported = true }
            retryAt = now + Self.retryPause
            return .refused(words: isReported ? nil : error.text)
        }
    }

    /// Puts the file aside and becomes the new one under its name.
    private mutating func begin(by rotation: LogRotation, closes: inout [Int32]) throws(LogFilesError) {
        var named = stat()
        // The name itself counts here: renaming a link would not rename the file.
        guard unsafe lstat(path, &named) == 0, isSame(as: named) else {
            throw LogFilesError(
                text: "\(path) is a link, or somebody has moved the file; after a rotation by others send USR2 to the "
                    + "gateway, and instead of a link set log.directory")
        }
        try rotation.putAside(path, removed: &closes)
        let next: LogFile
        do throws(LogFilesError) {
            next = try LogFile(opening: path)
        } catch {
            rotation.takeBack(path)
            throw error
        }
        rotation.removeSurplus(path, removed: &closes)
        closes.append(sink.descriptor)
        self = next
    }

    private func isSame(as named: stat) -> Bool {
        var own = stat()
        return unsafe fstat(sink.descriptor, &own) == 0 && named.st_dev == own.st_dev && named.st_ino == own.st_ino
    }

    private static func open(_ path: String) throws(LogFilesError) -> Int32 {
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
