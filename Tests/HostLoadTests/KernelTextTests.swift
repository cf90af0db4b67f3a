// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import HostLoad

@Suite struct KernelTextTests {
    static let numbers: [(String, Int?)] = [
        ("1073741824\n", 1_073_741_824), ("0", 0), ("9223372036854771712\n", 9_223_372_036_854_771_712),
        ("9223372036854775807", .max), ("9223372036854775808", nil), ("18446744073709551616\n", nil), ("max\n", nil),
        ("-1\n", nil), ("", nil), ("\n", nil), ("12x", nil), ("0x10", nil), ("1.5", nil), ("\u{FF11}", nil),
        ("\u{0}", nil),
    ]

    @Test("a figure is a whole number from 0 up to what fits, and nothing else is one", arguments: numbers)
    func number(_ text: String, _ wanted: Int?) {
        #expect(KernelText(bytes: Array(text.utf8)).number == wanted)
    }

    static let figures: [(String, Int?)] = [
        ("MemTotal:  24684092 kB\n", 24_684_092 * 1_024), ("MemTotal 5\n", 5),
        ("MemTotalX: 7 kB\nMemTotal: 8 kB", 8_192),
        ("XMemTotal: 7 kB\n", nil), ("MemTotal:\n", nil), ("MemTotal: max\n", nil), ("MemTotal", nil), ("", nil),
        ("MemTotal: 9007199254740992 kB", nil), ("MemTotal: 9223372036854775807 B", .max),
        ("\n\nMemTotal:\t1 kB", 1_024),
        ("MemTotal: -5 kB", nil), ("Other: MemTotal: 5", nil),
    ]

    @Test("a figure is found by its whole name at the beginning of a line, in bytes", arguments: figures)
    func figure(_ text: String, _ wanted: Int?) {
        #expect(KernelText(bytes: Array(text.utf8)).figure("MemTotal") == wanted)
    }

    static let lists: [(String, Int?)] = [
        ("0-3", 4), ("0", 1), ("0-3,8,10-11", 7), ("0-239", 240), ("3-0", nil), ("", nil), ("0-", nil), ("-3", nil),
        ("0,,1", nil), ("0-1-2", nil), ("0-99999999999", nil), ("a", nil),
    ]

    @Test("a list of cores is counted, and a strange one is none", arguments: lists)
    func list(_ text: String, _ wanted: Int?) {
        let bytes = Array("Cpus_allowed:\tf\nCpus_allowed_list:\t\(text)\nMems_allowed_list:\t0\n".utf8)
        #expect(KernelText(bytes: bytes).listLength("Cpus_allowed_list") == wanted)
    }
}
