// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// From which size on a log file is put aside, and how many of those are kept: `app.log.1` is the youngest of them.
///
/// Renames only, each of them within one directory; nothing is copied or packed. Whoever calls this holds the lock of
/// the log, so at most a hundred names are looked at and as many renamed or removed, and what would take longer is
/// left to the caller: the space of a removed file is freed when its descriptor is closed.
struct LogRotation: Sendable, Equatable {
    /// A file is not made larger than this, unless a single line is.
    let bytesMax: Int
    /// 1 to `LogSettings.filesKeptMax`.
    let kept: Int

    init(_ settings: LogSettings) {
        bytesMax = max(settings.rotateBytes, 1)
        kept = min(max(settings.filesKept, 1), LogSettings.filesKeptMax)
    }

    /// Moves the file and those before it up by one number, up to the first number that is free; when none is, the
    /// oldest is removed. What a former attempt has moved is thus not moved again. Throws in words, and then nothing
    /// is lost except the oldest.
    ///
    /// - Parameter removed: gets descriptors of removed files, for the caller to close.
    func putAside(_ path: String, removed: inout [Int32]) throws(LogFilesError) {
        var free = 1
        while free <= kept, try Self.isFile(Self.name(path, free)) { free += 1 }
        if free > kept {
            free = kept
            let oldest = Self.name(path, free)
            guard Self.remove(oldest, &removed) else { throw Self.refusal("cannot remove \(oldest)") }
        }
        for number in stride(from: free - 1, through: 0, by: -1) {
            let (old, new) = (Self.name(path, number), Self.name(path, number + 1))
            guard rename(old, new) == 0 else { throw Self.refusal("cannot rename \(old) to \(new)") }
        }
    }

    /// Gives the file that was put aside its name back.
    func takeBack(_ path: String) {
        // When even that is refused, lines go to the file under its new name until USR2, and none is lost.
        _ = rename(Self.name(path, 1), path)
    }

    /// Removes what is beyond the number kept, after that number was made smaller.
    func removeSurplus(_ path: String, removed: inout [Int32]) {
        var number = kept + 1
        while number <= LogSettings.filesKeptMax {
            let surplus = Self.name(path, number)
            // What cannot be removed, or is no file, ends this; nothing of ours is behind it.
            guard let isFile = try? Self.isFile(surplus), isFile, Self.remove(surplus, &removed) else { return }
            number += 1
        }
    }

    private static func name(_ path: String, _ number: Int) -> String { number == 0 ? path : "\(path).\(number)" }

    /// Whether there is a file. What is something else was not put there by us: it is neither moved nor removed.
    private static func isFile(_ path: String) throws(LogFilesError) -> Bool {
        var entry = stat()
        if unsafe lstat(path, &entry) != 0 {
            if errno == ENOENT { return false }
            throw refusal("cannot look at \(path)")
        }
        guard entry.st_mode & S_IFMT == S_IFREG else {
            throw LogFilesError(text: "\(path) is not a file and stands in the way; move it elsewhere")
        }
        return true
    }

    private static func remove(_ path: String, _ removed: inout [Int32]) -> Bool {
        // Held open until the lock is free: giving back the space of a large file takes its time.
        let held = unsafe Glibc.open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
        if held >= 0 { removed.append(held) }
        return unlink(path) == 0
    }

    private static func refusal(_ what: String) -> LogFilesError {
        LogFilesError(text: "\(what): \(SystemError.text(errno)); give the gateway's user the right to write there")
    }
}
