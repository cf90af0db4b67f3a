// Licensed under the Apache License 2.0; see LICENSE.

/// Dates in headers (RFC 9110, 5.6.7), without any formatter library.
enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Seconds since 1970 UTC; nil for what is no date. Takes the form of today and the two old ones that a recipient
    /// has to know: `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
    static func seconds(_ text: String) -> Int64? {
        let parts = text.prefix(64).split { $0 == " " || $0 == "," || $0 == "-" }.map(String.init)
        switch parts.count {
        case 6 where parts[5] == "GMT": return seconds(day: parts[1], month: parts[2], year: parts[3], time: parts[4])
        case 5: return seconds(day: parts[2], month: parts[1], year: parts[4], time: parts[3])
        default: return nil
        }
    }

    private static func seconds(day: String, month: String, year: String, time: String) -> Int64? {
        let clock = time.split(separator: ":", omittingEmptySubsequences: false).map { number(String($0), upTo: 60) }
        guard clock.count == 3, let hour = clock[0], hour < 24, let minute = clock[1], minute < 60,
            let second = clock[2], let day = number(day, upTo: 31), day > 0,
            let month = months.firstIndex(of: month), var year = number(year, upTo: 9_999)
        else { return nil }
        if year < 100 { year += year < 70 ? 2_000 : 1_900 }
        return days(year: year, month: Int64(month) + 1, day: day) * 86_400 + hour * 3_600 + minute * 60 + second
    }

    private static func number(_ text: String, upTo max: Int64) -> Int64? {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Int64(text).flatMap { $0 <= max ? $0 : nil }
    }

    /// Days since 1970-01-01 in the Gregorian calendar, counted in 400-year cycles that begin on 1 March. Years from 0.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year + 399 : year + 400
        let yearOfEra = shifted % 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        // The cycle begins 400 years before the year 0, which lies 719 468 days before 1970.
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return (shifted / 400 - 1) * 146_097 + dayOfEra - 719_468
    }
}
