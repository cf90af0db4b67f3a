// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@Suite struct WallTimeTests {
    /// Computed with another calendar library.
    static let known: [(Int64, String)] = [
        (-62_135_596_800_000, "0001-01-01 00:00:00.000"),
        (-12_219_247_503_211, "1582-10-15 12:34:56.789"),
        (-11_670_998_399_999, "1600-02-29 00:00:00.001"),
        (-2_203_891_200_001, "1900-02-28 23:59:59.999"),
        (-2_203_891_200_000, "1900-03-01 00:00:00.000"),
        (-2_077_725_171_991, "1904-02-29 06:07:08.009"),
        (-1, "1969-12-31 23:59:59.999"),
        (-86_400_000, "1969-12-31 00:00:00.000"),
        (0, "1970-01-01 00:00:00.000"),
        (1, "1970-01-01 00:00:00.001"),
        (68_255_999_999, "1972-02-29 23:59:59.999"),
        (946_684_799_999, "1999-12-31 23:59:59.999"),
        (946_684_800_000, "2000-01-01 00:00:00.000"),
        (951_739_200_000, "2000-02-28 12:00:00.000"),
        (951_825_600_000, "2000-02-29 12:00:00.000"),
        (951_868_800_000, "2000-03-01 00:00:00.000"),
        (978_307_199_999, "2000-12-31 23:59:59.999"),
        (1_000_000_000_000, "2001-09-09 01:46:40.000"),
        (1_677_628_799_999, "2023-02-28 23:59:59.999"),
        (1_677_628_800_000, "2023-03-01 00:00:00.000"),
        (1_709_212_455_160, "2024-02-29 13:14:15.160"),
        (1_735_689_599_999, "2024-12-31 23:59:59.999"),
        (1_735_689_600_000, "2025-01-01 00:00:00.000"),
        (1_785_229_811_120, "2026-07-28 09:10:11.120"),
        (2_147_483_647_999, "2038-01-19 03:14:07.999"),
        (2_147_483_648_000, "2038-01-19 03:14:08.000"),
        (4_107_542_399_999, "2100-02-28 23:59:59.999"),
        (4_107_542_400_000, "2100-03-01 00:00:00.000"),
        (4_294_967_295_000, "2106-02-07 06:28:15.000"),
        (13_574_563_200_000, "2400-02-29 00:00:00.000"),
        (253_402_300_799_999, "9999-12-31 23:59:59.999"),
    ]

    @Test("known points in time are written as everybody else writes them", arguments: known)
    func writes(_ milliseconds: Int64, _ text: String) {
        #expect(WallTime.text(milliseconds: milliseconds) == text)
    }

    @Test("day follows day for eight hundred years")
    func countsDays() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        var (year, month, day) = (1600, 1, 1)
        for index in Int64(0)..<292_194 {
            let text = WallTime.text(milliseconds: (index - 135_140) * 86_400_000)
            let expected = "\(year)-\(month < 10 ? "0" : "")\(month)-\(day < 10 ? "0" : "")\(day) 00:00:00.000"
            if text != expected {
                Issue.record("\(text) instead of \(expected)")
                return
            }
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            day += 1
            if day > lengths[month - 1] + (month == 2 && isLeap ? 1 : 0) { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
        #expect(year == 2400)
    }

    @Test("later is greater, as text too")
    func sortsAsText() {
        var earlier = WallTime.text(milliseconds: -62_135_596_800_000)
        for step in 1...1_990 {
            let later = WallTime.text(milliseconds: -62_135_596_800_000 + Int64(step) * 157_788_123_457)
            #expect(earlier.utf8.lexicographicallyPrecedes(later.utf8))
            earlier = later
        }
    }
}
