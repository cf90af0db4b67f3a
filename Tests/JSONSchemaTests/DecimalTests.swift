// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@testable import JSONSchema

@Suite("Values") struct DecimalTests {
    /// In rising order; those in one row are the same number.
    static let order: [[String]] = [
        ["-1e999999999999"], ["-123456789012345678901234567890"], ["-12345678901234567890"], ["-10", "-1e1", "-10.0"],
        ["-9.99"], ["-1"], ["-0.001", "-1e-3", "-1E-03"], ["0", "-0", "0.0", "0e5", "-0.000"], ["1e-20"],
        ["0.1", "0.10", "1e-1", "0.01e1"], ["0.11"], ["1", "1.0", "1.000000000000000000000000", "0.1e1", "10e-1"],
        ["9007199254740992"], ["9007199254740993", "9007199254740993.0"], ["999999999999999999"],
        ["1000000000000000000", "1e18", "1E+18"], ["1000000000000000001"], ["1000000000000000001.5"],
        ["18446744073709551616"], ["1e400"], ["1e999999999999"],
    ]

    @Test("numbers are ordered and equal as they are in mathematics")
    func orders() {
        for (left, leftRow) in Self.order.enumerated() {
            for (right, rightRow) in Self.order.enumerated() {
                for a in leftRow {
                    for b in rightRow {
                        #expect((Decimal(a) == Decimal(b)) == (left == right), "\(a), \(b)")
                        #expect((Decimal(a) < Decimal(b)) == (left < right), "\(a), \(b)")
                    }
                }
            }
            #expect(Set(leftRow.map { Decimal($0) }).count == 1)
        }
    }

    @Test("short numbers agree with the arithmetic of the machine", arguments: [1, 2, 3, 7, 10, 25, 48])
    func agrees(_ divisor: Int) {
        for a in stride(from: -5000, through: 5000, by: 37) {
            #expect(Decimal(String(a)).isMultiple(of: Decimal(String(divisor))) == (a % divisor == 0), "\(a)")
            #expect(Decimal("\(a)e-2").isMultiple(of: Decimal("\(divisor)e-2")) == (a % divisor == 0), "\(a)")
            #expect(Decimal("\(a)e-1").isInteger == (a % 10 == 0), "\(a)")
            for b in stride(from: -5000, through: 5000, by: 501) {
                #expect((Decimal(String(a)) < Decimal(String(b))) == (a < b), "\(a), \(b)")
            }
        }
    }

    @Test(
        "counts are read from any spelling",
        arguments: [
            ("0", 0), ("7", 7), ("7.0", 7), ("7e2", 700), ("0.7e1", 7), ("9223372036854775807", Int.max),
            ("9223372036854775808", Int.max), ("1e30", Int.max), ("-1", nil), ("0.5", nil), ("-0", 0),
        ] as [(String, Int?)])
    func counts(_ text: String, _ count: Int?) {
        #expect(Decimal(text).count == count)
    }

    @Test("equal values have equal hashes, whatever their spelling and order")
    func hashes() throws {
        let pairs = [
            (#"{"a":1,"b":[2,{"c":null,"d":true}]}"#, #"{"b":[2.0,{"d":true,"c":null}],"a":1e0}"#),
            ("[0,-0]", "[-0.0,0]"),
            (#""\u00e9""#, "\"\u{e9}\""),
        ]
        for (left, right) in pairs {
            let values = Set([SameJSON(try parse(left)), SameJSON(try parse(right))])
            #expect(values.count == 1, "\(left)")
        }
        let different = ["[]", "{}", "0", "false", "null", "\"\"", "\"0\"", "[[]]", "[0]", #"{"a":{}}"#, #"{"a":[]}"#]
        #expect(Set(try different.map { SameJSON(try parse($0)) }).count == different.count)
    }
}
