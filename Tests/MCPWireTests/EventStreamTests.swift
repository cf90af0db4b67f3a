// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@Suite struct EventStreamTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var text: String
        /// Name, data and id of each event.
        var events: [[String?]]
        var testDescription: String { text.debugDescription }
    }

    static let cases: [Case] = [
        Case(text: "", events: []),
        Case(text: "data: a", events: []),
        Case(text: "data: a\n", events: []),
        Case(text: "data: a\n\n", events: [["message", "a", nil]]),
        Case(text: "data:a\r\n\r\n", events: [["message", "a", nil]]),
        Case(text: "data:a\r\r", events: [["message", "a", nil]]),
        Case(text: "data:  a \n\n", events: [["message", " a ", nil]]),
        Case(text: "data\n\n", events: [["message", "", nil]]),
        Case(text: "data:\ndata:\n\n", events: [["message", "\n", nil]]),
        Case(text: "data: a\ndata: b\r\ndata: c\r\n\n", events: [["message", "a\nb\nc", nil]]),
        Case(text: "event: note\ndata: {\"a\":\"b:c\"}\n\n", events: [["note", "{\"a\":\"b:c\"}", nil]]),
        Case(text: "event: note\n\ndata: a\n\n", events: [["message", "a", nil]]),
        Case(text: ": comment\n\n:\n\ndata: a\n: b\n\n", events: [["message", "a", nil]]),
        Case(
            text: "id: 7\nretry: 10\ndata: a\n\ndata: b\n\n", events: [["message", "a", "7"], ["message", "b", "7"]]),
        Case(
            text: "id: 1\nid: 2\u{0}\ndata: a\n\nid\ndata: b\n\n",
            events: [["message", "a", "1"], ["message", "b", ""]]),
        Case(text: "\u{feff}data: a\n\n\u{feff}data: b\n\n", events: [["message", "a", nil]]),
        Case(text: "Data: a\ndatax: b\n data: c\n\n", events: []),
        Case(text: "\n\n\r\r\n\ndata: \u{e9}\u{1f600}\n\n\n\n", events: [["message", "\u{e9}\u{1f600}", nil]]),
        Case(
            text: "data: 0123456789abcdef0123456789abcdef\r\n\r\ndata: 2\n\n",
            events: [["message", "0123456789abcdef0123456789abcdef", nil], ["message", "2", nil]]),
    ]

    @Test("a stream has the same events however it is cut", arguments: cases)
    func takesApart(_ expected: Case) throws {
        let bytes = Array(expected.text.utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let events = try read([Array(bytes[..<first]), Array(bytes[first..<second]), Array(bytes[second...])])
                #expect(events == expected.events, "cut at \(first) and \(second)")
            }
        }
        #expect(try read(bytes.map { [$0] }) == expected.events, "byte by byte")
    }

    @Test("an event up to the limit is taken, and an endless one is refused", arguments: [100, 1_000])
    func boundsEvents(_ limit: Int) throws {
        let fitting = Array("data: \(String(repeating: "x", count: limit))\n\n".utf8)
        #expect(try read([fitting], limit).count == 1)
        #expect(try read(fitting.map { [$0] }, limit).count == 1)
        for text in [
            "data: \(String(repeating: "x", count: limit + 17))", String(repeating: "data: xxx\n", count: limit),
        ] {
            #expect(throws: WireError.self) { try read([Array(text.utf8)], limit) }
            #expect(throws: WireError.self) { try read(text.utf8.map { [$0] }, limit) }
        }
        // The limit is for one event, not for the stream.
        #expect(try read([Array(String(repeating: "data: xxx\n\n", count: limit).utf8)], limit).count == limit)
    }

    private func read(_ pieces: [[UInt8]], _ limit: Int = 1_000) throws(WireError) -> [[String?]] {
        var parser = EventStreamParser(eventBytesMax: limit)
        var events: [[String?]] = []
        for piece in pieces {
            for event in try parser.feed(piece.span) {
                events.append([event.name, String(decoding: event.data, as: UTF8.self), event.id])
            }
        }
        return events
    }
}
