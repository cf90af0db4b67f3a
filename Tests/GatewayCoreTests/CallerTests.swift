// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@Suite struct CallerTests {
    @Test(
        "a request id is 32 hexadecimal digits, high half first",
        arguments: [
            (UInt64(0), UInt64(0), "00000000000000000000000000000000"),
            (1, 2, "00000000000000010000000000000002"),
            (.max, .max, "ffffffffffffffffffffffffffffffff"),
            (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, "0123456789abcdeffedcba9876543210"),
        ])
    func writesRequestIDs(_ high: UInt64, _ low: UInt64, _ text: String) {
        let id = RequestID(high: high, low: low)
        #expect(id.description == text)
        var out = Array("id=".utf8)
        id.write(to: &out)
        #expect(out == Array("id=\(text)".utf8))
    }

    @Test("random request ids do not meet")
    func doNotMeet() {
        let ids = Set((0..<1_000).map { _ in RequestID.random() })
        #expect(ids.count == 1_000)
        #expect(ids.allSatisfy { $0.description.utf8.count == 32 })
    }

    @Test("everybody without authentication is one caller")
    func anonymousIsOne() {
        #expect(Caller.anonymous == Caller(name: "anonymous"))
        #expect(Caller.anonymous != Caller(name: "somebody"))
    }
}
