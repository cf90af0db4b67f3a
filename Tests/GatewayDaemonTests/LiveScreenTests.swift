// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import MCPWire
import Testing

@testable import GatewayDaemon

/// What `top` writes to a terminal.
@Suite struct LiveScreenTests {
    private static func lines(_ texts: String...) -> [ScreenLine] { texts.map { ScreenLine($0) } }

    @Test func `the first screen is written as a whole, the same one not again`() {
        var screen = LiveScreen(isColoured: false)
        let first = screen.frame(Self.lines("a", "b"), rows: 24, columns: 80)
        #expect(first == "\u{1b}[H\u{1b}[2J\u{1b}[1;1Ha\u{1b}[K\u{1b}[2;1Hb\u{1b}[K")
        #expect(screen.frame(Self.lines("a", "b"), rows: 24, columns: 80) == "")
    }

    @Test func `only a changed line is written`() {
        var screen = LiveScreen(isColoured: false)
        _ = screen.frame(Self.lines("a", "b", "c"), rows: 24, columns: 80)
        #expect(screen.frame(Self.lines("a", "x", "c"), rows: 24, columns: 80) == "\u{1b}[2;1Hx\u{1b}[K")
    }

    @Test func `lines that are gone are wiped out`() {
        var screen = LiveScreen(isColoured: false)
        _ = screen.frame(Self.lines("a", "b", "c"), rows: 24, columns: 80)
        #expect(screen.frame(Self.lines("a"), rows: 24, columns: 80) == "\u{1b}[2;1H\u{1b}[J")
        #expect(screen.frame(Self.lines("a", "b"), rows: 24, columns: 80) == "\u{1b}[2;1Hb\u{1b}[K")
    }

    @Test func `another size begins anew, and so does a screen that was forgotten`() {
        var screen = LiveScreen(isColoured: false)
        _ = screen.frame(Self.lines("a"), rows: 24, columns: 80)
        #expect(screen.frame(Self.lines("a"), rows: 25, columns: 80).hasPrefix("\u{1b}[H\u{1b}[2J"))
        screen.forget()
        #expect(screen.frame(Self.lines("a"), rows: 25, columns: 80).hasPrefix("\u{1b}[H\u{1b}[2J"))
    }

    @Test func `lines end at the edge, where nothing is wiped out`() {
        var screen = LiveScreen(isColoured: false)
        #expect(screen.frame(Self.lines("abcdef"), rows: 2, columns: 4) == "\u{1b}[H\u{1b}[2J\u{1b}[1;1Habcd")
    }

    @Test func `too many lines end with how many there would be`() {
        var screen = LiveScreen(isColoured: false)
        let frame = screen.frame(Self.lines("a", "b", "c", "d"), rows: 3, columns: 80)
        #expect(frame.contains("b") && !frame.contains("Hc") && frame.contains("… 2 lines more"))
        #expect(screen.frame(Self.lines("a", "b"), rows: 0, columns: 80) == "\u{1b}[H\u{1b}[2J")
    }

    @Test func `a colour does not count as a column`() {
        var line = ScreenLine("ab", .good)
        line.append("cd", .bad)
        #expect(line.text(columns: 3, isColoured: true) == "\u{1b}[32mab\u{1b}[0m\u{1b}[31mc\u{1b}[0m")
        #expect(line.text(columns: 2, isColoured: true) == "\u{1b}[32mab\u{1b}[0m")
        #expect(line.text(columns: 3, isColoured: false) == "abc")
    }

    @Test(arguments: [
        ("q", LiveEvent.end), ("Q", .end), ("\u{3}", .end), ("\u{4}", .end), ("xyzq", .end), (" ", .redraw),
        ("\u{c}", .redraw), ("\u{1b}[A", .timeIsOver), ("x", .timeIsOver), ("", .timeIsOver),
    ])
    func `keys mean what they say`(_ keys: String, _ event: LiveEvent) {
        #expect(LiveKeys.event(of: Array(keys.utf8)) == event)
    }
}

/// What `top` shows.
@Suite struct LiveViewTests {
    private static func status(rate: Double) throws -> JSONValue {
        try JSONValue.parse(
            #"{"status":"healthy","version":"1","last_minute":{"calls":1,"calls_per_second":\#(rate)}}"#)
    }

    private static let noon = Moment(nanoseconds: 5_000_000_000)

    private static func rate(_ view: LiveView, columns: Int = 80) -> String? {
        view.lines(trouble: nil, at: noon, wall: 0, columns: columns).map(\.plain).first { $0.hasPrefix("rate") }
    }

    @Test func `the rate is a bar for each answer`() throws {
        var view = LiveView(interval: .seconds(2), hasBlocks: false)
        for rate in [0.0, 4, 8] { view.take(try Self.status(rate: rate), at: Self.noon) }
        #expect(Self.rate(view) == "rate       _+@ up to 8/s")
    }

    @Test func `a quiet gateway has low bars, and not more than fit`() throws {
        var view = LiveView(interval: .seconds(2), hasBlocks: true)
        for _ in 0..<1_000 { view.take(try Self.status(rate: 0), at: Self.noon) }
        let line = try #require(Self.rate(view, columns: 60))
        #expect(line.count == 60 && line.contains("▁▁▁") && line.hasSuffix(" up to 0/s"))
        #expect(Self.rate(view, columns: 1)?.contains("▁") == true)
    }

    @Test func `the first line says when it was and how to end it`() throws {
        var view = LiveView(interval: .seconds(2), hasBlocks: true)
        view.take(try Self.status(rate: 1), at: Self.noon)
        let first = view.lines(trouble: nil, at: Self.noon, wall: 3_723_000, columns: 80)[0].plain
        #expect(first.hasPrefix("mcp-gateway 1: healthy") && first.hasSuffix("01:02:03 UTC, every 2s, q ends"))
        #expect(first.count == 80)
    }

    @Test func `a gateway that is gone is told first, with what it last said`() throws {
        var view = LiveView(interval: .seconds(2), hasBlocks: true)
        view.take(try Self.status(rate: 1), at: Moment(nanoseconds: 0))
        let lines = view.lines(trouble: "no gateway is running here", at: Self.noon, wall: 0, columns: 80)
        #expect(lines[0].plain == "no gateway is running here")
        #expect(lines[1].plain.hasSuffix("5 s ago:"))
        #expect(lines[3].plain.hasPrefix("mcp-gateway 1: healthy"))
    }
}
