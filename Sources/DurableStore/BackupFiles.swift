// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// When daily backups are made and how many are kept.
package struct BackupSettings: Sendable, Equatable {
    /// Local time at which today's backup is made again.
    package var hour: Int
    package var minute: Int
    package var kept: Int

    package init(hour: Int = 3, minute: Int = 30, kept: Int = 7) {
        precondition((0..<24).contains(hour) && (0..<60).contains(minute) && kept > 0, "a time of day and a count")
        self.hour = hour
        self.minute = minute
        self.kept = kept
    }

    /// From `HH:MM`; nil for anything else.
    package init?(at text: String, kept: Int = 7) {
        let bytes = Array(text.utf8)
        let isDigits = bytes.enumerated().allSatisfy { $0.offset == 2 || (0x30...0x39).contains($0.element) }
        guard bytes.count == 5, isDigits, bytes[2] == UInt8(ascii: ":"), let hour = Int(text.prefix(2)),
            let minute = Int(text.suffix(2)), (0..<24).contains(hour), (0..<60).contains(minute), kept > 0
        else { return nil }
        self.init(hour: hour, minute: minute, kept: kept)
    }
}

/// Days as `date` prints them: by the time zone of the process (`TZ`, or the machine's).
enum LocalDay {
    private struct Day {
        var year: Int
        var month: Int
        var day: Int
    }

    private static func day(_ wallMilliseconds: Int64) -> Day {
        var seconds = time_t(wallMilliseconds / 1_000)
        var parts = unsafe tm()
        tzset()
        _ = unsafe localtime_r(&seconds, &parts)
        return unsafe Day(year: Int(parts.tm_year), month: Int(parts.tm_mon), day: Int(parts.tm_mday))
    }

    /// `20261123`
    static func name(_ wallMilliseconds: Int64) -> String {
        let day = day(wallMilliseconds)
        return String((day.year + 1_900) * 10_000 + (day.month + 1) * 100 + day.day)
    }

    /// When it is that time on the day of a moment, or `days` later. A time that the clock skips that day counts as
    /// one that comes a little later.
    static func moment(hour: Int, minute: Int, on wallMilliseconds: Int64, plus days: Int = 0) -> Int64 {
        let day = day(wallMilliseconds)
        var parts = unsafe tm()
        unsafe parts.tm_year = Int32(day.year)
        unsafe parts.tm_mon = Int32(day.month)
        unsafe parts.tm_mday = Int32(day.day + days)
        unsafe parts.tm_hour = Int32(hour)
        unsafe parts.tm_min = Int32(minute)
        unsafe parts.tm_isdst = -1
        return Int64(unsafe mktime(&parts)) * 1_000
    }
}

/// The daily backups of a storage directory.
struct BackupFiles {
    let directory: String

    func path(wallMilliseconds: Int64) -> String { directory + "/queue-\(LocalDay.name(wallMilliseconds)).db" }

    /// Whether today's is missing, or older than the time of day at which it is to be made again.
    func isDue(_ settings: BackupSettings, wallMilliseconds now: Int64) -> Bool {
        guard let made = Self.madeAt(path(wallMilliseconds: now)) else { return true }
        let again = LocalDay.moment(hour: settings.hour, minute: settings.minute, on: now)
        return now >= again && made < again
    }

    /// When to look again at the latest.
    func next(_ settings: BackupSettings, wallMilliseconds now: Int64) -> Int64 {
        let again = LocalDay.moment(hour: settings.hour, minute: settings.minute, on: now)
        let midnight = LocalDay.moment(hour: 0, minute: 0, on: now, plus: 1)
        return again > now ? min(again, midnight) : midnight
    }

    /// Wall milliseconds of what a backup holds: its file carries that time.
    static func madeAt(_ path: String) -> Int64? {
        var entry = stat()
        guard unsafe lstat(path, &entry) == 0 else { return nil }
        return Int64(entry.st_mtim.tv_sec) * 1_000 + Int64(entry.st_mtim.tv_nsec) / 1_000_000
    }

    /// The newest daily backup, and the wall milliseconds of what it holds.
    var newest: (name: String, madeAt: Int64)? { dated.last }

    /// The names of all of them, the newest last.
    var daily: [String] { dated.map(\.name) }

    private var dated: [(name: String, madeAt: Int64)] {
        StorageFiles.names(in: directory).filter(Self.isDaily)
            .compactMap { name in Self.madeAt(directory + "/" + name).map { (name, $0) } }.sorted { $0.1 < $1.1 }
    }

    static func isDaily(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard bytes.count == 17, name.hasPrefix("queue-"), name.hasSuffix(".db") else { return false }
        return bytes[6..<14].allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    /// Removes the oldest beyond the count, and what a crash has left of unfinished ones and of those that somebody was
    /// to fetch. Nothing else is touched.
    func rotate(kept: Int, wallMilliseconds now: Int64) {
        let names = StorageFiles.names(in: directory)
        for name in names.filter(Self.isDaily).dropLast(kept) { _ = unsafe unlink(directory + "/" + name) }
        for name in names
        where name.hasSuffix(Backup.draftTail) && Self.isDaily(String(name.dropLast(Backup.draftTail.count))) {
            StorageFiles.remove(directory + "/" + name)
        }
        let fetched = [BackupFetch.tail, BackupFetch.tail + Backup.draftTail]
        for name in names where fetched.contains(where: { name.hasSuffix($0) }) {
            let path = directory + "/" + name
            if let made = Self.madeAt(path), now - made > BackupFetch.staleAfter { StorageFiles.remove(path) }
        }
    }
}
