// Licensed under the Apache License 2.0; see LICENSE.

/// Wall-clock time as people and SQLite read it, without any formatter library.
public enum WallTime {
    /// `YYYY-MM-DD HH:MM:SS.SSS` in UTC: the form of every timestamp in the database and the logs. It sorts as text and
    /// compares rightly with SQLite's `datetime('now')`.
    public static func text(milliseconds: Int64) -> String {
        // Years 1 to 9999: what four digits can say.
        let clamped = min(max(milliseconds, -62_135_596_800_000), 253_402_300_799_999)
        let (days, rest) = floorDivide(clamped, 86_400_000)
        let (year, month, day) = civil(days: days)
        var out: [UInt8] = []
        out.reserveCapacity(23)
        digits(year, 4, &out)
        out.append(UInt8(ascii: "-"))
        digits(month, 2, &out)
        out.append(UInt8(ascii: "-"))
        digits(day, 2, &out)
        out.append(UInt8(ascii: " "))
        digits(Int(rest / 3_600_000), 2, &out)
        out.append(UInt8(ascii: ":"))
        digits(Int(rest / 60_000 % 60), 2, &out)
        out.append(UInt8(ascii: ":"))
        digits(Int(rest / 1_000 % 60), 2, &out)
        out.append(UInt8(ascii: "."))
        digits(Int(rest % 1_000), 3, &out)
        return String(decoding: out, as: UTF8.self)
    }

    private static func floorDivide(_ value: Int64, _ by: Int64) -> (Int64, Int64) {
        var (quotient, remainder) = value.quotientAndRemainder(dividingBy: by)
        if remainder < 0 { (quotient, remainder) = (quotient - 1, remainder + by) }
        return (quotient, remainder)
    }

    private static func digits(_ value: Int, _ width: Int, _ out: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<width { divisor *= 10 }
        while divisor > 0 {
            out.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }

    /// Gregorian date of a day count since 1970-01-01, by counting in 400-year cycles that begin on 1 March.
    private static func civil(days: Int64) -> (Int, Int, Int) {
        let shifted = days + 719_468
        let (era, dayOfEra) = floorDivide(shifted, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (Int(year), Int(month), Int(day))
    }
}
