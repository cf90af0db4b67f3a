// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

extension WallTime {
    /// Reads what `text(milliseconds:)` wrote, exactly; also what SQLite's `datetime()` gives, for rows that were
    /// changed by hand. Nil for anything else.
    package static func milliseconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count == 19 || bytes.count == 23 else { return nil }
        func number(_ range: Range<Int>) -> Int64? {
            var value: Int64 = 0
            for byte in bytes[range] {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                value = value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
            return value
        }
        let marks: [(Int, UInt8)] = [
            (4, UInt8(ascii: "-")), (7, UInt8(ascii: "-")), (10, UInt8(ascii: " ")), (13, UInt8(ascii: ":")),
            (16, UInt8(ascii: ":")),
        ]
        guard marks.allSatisfy({ bytes[$0.0] == $0.1 }) else { return nil }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 60
        else { return nil }
        var fraction: Int64 = 0
        if bytes.count == 23 {
            guard bytes[19] == UInt8(ascii: "."), let read = number(20..<23) else { return nil }
            fraction = read
        }
        let clock = (hour * 3_600 + minute * 60 + second) * 1_000 + fraction
        return days(year: year, month: month, day: day) * 86_400_000 + clock
    }

    /// Days since 1970-01-01, counted in 400-year cycles that begin on 1 March.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
