// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

/// Where a client goes on after a break, and how long it waits before.
@Suite("Place in an event stream") struct EventStreamPlaceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let text: String
        var id: String?
        var retry: Int?
        var testDescription: String { text.debugDescription }
    }

    static let cases: [Case] = [
        Case(text: ""),
        Case(text: "data: a\n\n"),
        Case(text: "id: 7\ndata: a\n\n", id: "7"),
        Case(text: "id: 7\n\n", id: "7"),
        Case(text: "id: 7\r\ndata: \r\n\r\n", id: "7"),
        Case(text: "id: a\n\nid: b\n\ndata: c\n\n", id: "b"),
        Case(text: "id:  two words \n\n", id: " two words "),
        Case(text: "id: 7\n\nid\n\n", id: ""),
        Case(text: "id: 7\n\nid: 8\u{0}\n\n", id: "7"),
        Case(text: "ID: 7\n\n"),
        Case(text: "id: \u{e9}-1:2\n\n", id: "\u{e9}-1:2"),
        Case(text: ": id: 7\n\n"),
        Case(text: "retry: 0\n\n", retry: 0),
        Case(text: "retry: 1500\n", retry: 1_500),
        Case(text: "retry:250\r\n", retry: 250),
        Case(text: "retry: 10\nretry: 20\n\n", retry: 20),
        Case(text: "retry: 10\nretry: soon\n\n", retry: 10),
        Case(text: "retry: 10\nretry: -5\n\n", retry: 10),
        Case(text: "retry: 10\nretry: 1.5\n\n", retry: 10),
        Case(text: "retry: 10\nretry: 5 \n\n", retry: 10),
        Case(text: "retry: 10\nretry: +5\n\n", retry: 10),
        Case(text: "retry: 10\nretry: \u{665}\n\n", retry: 10),
        Case(text: "retry: 999999999\n\n", retry: 999_999_999),
        Case(text: "retry: 10\nretry: 99999999999999999999999\n\n", retry: 10),
        Case(text: "id: 0-3\nretry: 250\ndata: \n\n", id: "0-3", retry: 250),
    ]

    @Test("the place is known after every piece, however the stream is cut", arguments: cases)
    func place(_ expected: Case) throws {
        let bytes = Array(expected.text.utf8)
        for cut in 0...bytes.count {
            var parser = EventStreamParser(eventBytesMax: 1_000)
            _ = try parser.feed(Array(bytes[..<cut]).span)
            _ = try parser.feed(Array(bytes[cut...]).span)
            #expect(parser.id == expected.id, "cut at \(cut)")
            #expect(parser.retryMilliseconds == expected.retry, "cut at \(cut)")
        }
    }

    @Test("an event carries the place it leaves a client at, and later ones without an id the same")
    func eventsCarryIt() throws {
        var parser = EventStreamParser(eventBytesMax: 1_000)
        let text = Array("id: 1\n\ndata: a\n\nid: 2\ndata: b\n\ndata: c\n\n".utf8)
        #expect(try parser.feed(text.span).map(\.id) == ["1", "2", "2"])
    }

    @Test("a priming event, which has an id and empty data, is an event without words")
    func priming() throws {
        var parser = EventStreamParser(eventBytesMax: 1_000)
        let events = try parser.feed(Array("id: 3-0\r\ndata: \r\n\r\n".utf8).span)
        #expect(events.map(\.id) == ["3-0"])
        #expect(events.map(\.data) == [[]])
        #expect(parser.id == "3-0")
    }
}
