// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Testing

@testable import Gateway

/// What operators have changed by hand, in memory and on disk.
@Suite("Override book") struct OverrideBookTests {
    private let store = MemoryStore()
    private let time = ManualTime()

    private func book() -> OverrideBook { OverrideBook(archive: store, time: time) }
    private func terms(_ by: String = "anna", _ lasts: Duration? = nil) -> OrderTerms {
        OrderTerms(by: by, lasts: lasts)
    }

    @Test("One of each holds at a time, with who ordered it, since when, and until when")
    func put() {
        let book = book()
        let now = time.wallMilliseconds()
        #expect(book.put(.breaker, "erp", "forced-open", terms()))
        time.advance(by: .seconds(5))
        #expect(book.put(.breaker, "erp", "disarmed", terms("ben", .seconds(90))))
        #expect(book.put(.breaker, "", "disarmed", terms()))
        #expect(book.put(.tool, "erp", "disabled", terms()))
        #expect(book.all.count == 3)
        #expect(
            book[.breaker, "erp"]
                == Override(
                    kind: .breaker, subject: "erp", value: "disarmed", since: now + 5_000, by: "ben",
                    until: now + 95_000))
        #expect(book[.breaker, ""]?.until == nil)
        #expect(book[.rateLimit, ""] == nil)
        #expect(book.of(.breaker).map(\.subject) == ["", "erp"])
        #expect(book.remove(Override.Key(kind: .breaker, subject: "erp"))?.by == "ben")
        #expect(book.remove(Override.Key(kind: .breaker, subject: "erp")) == nil)
        #expect(book.of(.breaker).map(\.subject) == [""])
    }

    @Test("They are listed the oldest first, and of one moment by name")
    func order() {
        let book = book()
        for name in ["c", "a", "b"] { #expect(book.put(.tool, name, "disabled", terms())) }
        time.advance(by: .milliseconds(1))
        #expect(book.put(.tool, "0", "disabled", terms()))
        #expect(book.all.map(\.subject) == ["a", "b", "c", "0"])
    }

    @Test("There is a bound, and within it what is there can be changed")
    func bound() {
        let book = book()
        for number in 0..<OverrideBook.overridesMax { #expect(book.put(.tool, "\(number)", "disabled", terms())) }
        #expect(!book.put(.tool, "one more", "disabled", terms()))
        #expect(book.all.count == OverrideBook.overridesMax)
        #expect(book.put(.tool, "7", "disabled", terms("ben")))
        #expect(book[.tool, "7"]?.by == "ben")
        book.remove(Override.Key(kind: .tool, subject: "7"))
        #expect(book.put(.tool, "one more", "disabled", terms()))
    }

    @Test("What was written down is there after a new start, but for a drain")
    func written() async {
        let book = book()
        #expect(book.put(.breaker, "erp", "forced-open", terms()))
        #expect(book.put(.drain, "", "draining", terms()))
        #expect(await book.write())
        #expect(store.overrides().map(\.kind) == [.breaker])
        #expect(self.book().all == book.of(.breaker))
        store.refuse(.unwritable(detail: "the disk is full"))
        #expect(await !book.write())
    }

    @Test("What was over before the start does not come back")
    func overdueAtStart() async {
        let book = book()
        #expect(book.put(.tool, "a", "disabled", terms("anna", .seconds(60))))
        #expect(book.put(.tool, "b", "disabled", terms("anna", .seconds(61))))
        #expect(book.put(.tool, "c", "disabled", terms()))
        #expect(await book.write())
        time.advance(by: .seconds(60))
        #expect(self.book().all.map(\.subject) == ["b", "c"])
    }

    @Test("What is over is taken out once, at its time and not before")
    func overdue() {
        let book = book()
        #expect(book.put(.tool, "a", "disabled", terms("anna", .seconds(60))))
        #expect(book.put(.tool, "b", "disabled", terms("anna", .seconds(61))))
        #expect(book.put(.tool, "c", "disabled", terms()))
        time.advance(by: .milliseconds(59_999))
        #expect(book.takeOverdue() == [])
        time.advance(by: .milliseconds(1))
        #expect(book.takeOverdue().map(\.subject) == ["a"])
        #expect(book.takeOverdue() == [])
        time.advance(by: .seconds(3_600))
        #expect(book.takeOverdue().map(\.subject) == ["b"])
        #expect(book.all.map(\.subject) == ["c"])
    }
}
