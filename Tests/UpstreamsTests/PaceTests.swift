// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@testable import Upstreams

/// When a server that asked to slow down may be asked again.
@Suite("Pace") struct PaceTests {
    private static func at(_ seconds: Int) -> Moment { Moment(nanoseconds: 0) + .seconds(seconds) }

    @Test("A pause lasts as long as the server said, and is kept in mind until it has answered something else")
    func named() {
        var pace = Pace()
        #expect(pace.rest(at: Self.at(0)) == nil && !pace.isOn)
        pace.slowDown(for: .seconds(3), sent: Self.at(9), at: Self.at(10))
        #expect(pace.rest(at: Self.at(10)) == .seconds(3))
        #expect(
            pace.refusal(at: Self.at(11) + .milliseconds(1))
                == .overloaded(detail: "its server asks to slow down", retryAfter: 2))
        #expect(pace.refusal(at: Self.at(13)) == nil)
        #expect(pace.isOn)
        // On its way when the server asked: says nothing about now.
        pace.answered(sent: Self.at(12))
        #expect(pace.isOn)
        pace.answered(sent: Self.at(13))
        #expect(pace == Pace())
    }

    @Test("Without a time it is a second, which doubles up to a minute while the server goes on asking")
    func doubling() {
        var pace = Pace()
        var now = Self.at(100)
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            pace.slowDown(for: nil, sent: now, at: now)
            #expect(pace.rest(at: now) == .seconds(seconds))
            now = now + .seconds(seconds)
        }
        pace.answered(sent: now)
        pace.slowDown(for: nil, sent: now, at: now)
        #expect(pace.rest(at: now) == .seconds(1))
    }

    @Test("Of requests that were under way together only the first doubles the pause, and the longest time counts")
    func together() {
        var pace = Pace()
        for _ in 0..<5 { pace.slowDown(for: nil, sent: Self.at(9), at: Self.at(10)) }
        #expect(pace.until == Self.at(11))
        pace.slowDown(for: .seconds(7), sent: Self.at(9), at: Self.at(10))
        pace.slowDown(for: .seconds(2), sent: Self.at(9), at: Self.at(10))
        #expect(pace.until == Self.at(17))
        pace.slowDown(for: nil, sent: Self.at(17), at: Self.at(17))
        #expect(pace.until == Self.at(19))
    }

    @Test("No server shuts itself off for longer than ten minutes")
    func bound() {
        var pace = Pace()
        pace.slowDown(for: .seconds(1 << 32), sent: Self.at(0), at: Self.at(0))
        #expect(pace.until == Self.at(600))
    }

    /// Status, `Retry-After`, `Date`, what it means: nil for no wish, else the seconds or none.
    struct Head: Sendable, CustomTestStringConvertible {
        let status: Int
        var retryAfter: String?
        var date: String?
        let isWish: Bool
        var seconds: Int?
        var testDescription: String { "\(status) \(retryAfter ?? "-") \(date ?? "-")" }
    }

    /// 2025-06-15 15:06:40 UTC.
    private static let wall: Int64 = 1_750_000_000_000

    static let heads: [Head] = [
        Head(status: 200, retryAfter: "5", isWish: false), Head(status: 500, retryAfter: "5", isWish: false),
        Head(status: 503, isWish: false), Head(status: 429, isWish: true),
        Head(status: 503, retryAfter: "5", isWish: true, seconds: 5),
        Head(status: 429, retryAfter: "120", isWish: true, seconds: 120),
        Head(status: 503, retryAfter: "soon", isWish: true), Head(status: 429, retryAfter: "", isWish: true),
        Head(status: 429, retryAfter: "0", isWish: true), Head(status: 429, retryAfter: "-3", isWish: true),
        Head(status: 429, retryAfter: "1.5", isWish: true),
        Head(status: 429, retryAfter: "99999999999999999999", isWish: true, seconds: 1 << 32),
        Head(status: 429, retryAfter: "Sun, 15 Jun 2025 15:07:00 GMT", isWish: true, seconds: 20),
        Head(status: 429, retryAfter: "Sun, 15 Jun 2025 15:06:00 GMT", isWish: true),
        // The server's clock need not be ours.
        Head(
            status: 429, retryAfter: "Sun, 15 Jun 2025 12:00:09 GMT", date: "Sun, 15 Jun 2025 12:00:00 GMT",
            isWish: true, seconds: 9),
        Head(
            status: 429, retryAfter: "Sun, 15 Jun 2025 15:06:50 GMT", date: "yesterday", isWish: true, seconds: 10),
    ]

    @Test("What a head says about slowing down", arguments: heads)
    func head(_ one: Head) {
        let wish = SlowDown(status: one.status, retryAfter: one.retryAfter, date: one.date, wall: Self.wall)
        #expect((wish != nil) == one.isWish)
        #expect(wish?.named == one.seconds.map { .seconds($0) })
    }

    @Test(
        "A date is read in each form that HTTP has had",
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sat, 29 Feb 2020 23:59:59 GMT", 1_583_020_799), ("Sat, 01 Jan 2000 00:00:00 GMT", 946_684_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799), ("Friday, 01-Jan-69 00:00:00 GMT", 3_124_224_000),
        ] as [(String, Int64)])
    func dates(_ text: String, _ seconds: Int64) { #expect(HTTPDate.seconds(text) == seconds) }

    @Test(
        "What is no date is none",
        arguments: [
            "", "tomorrow", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08::37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 19940 08:49:37 GMT",
        ])
    func noDates(_ text: String) { #expect(HTTPDate.seconds(text) == nil) }
}
