// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Testing

@testable import Access

/// A gateway and a verb beside it have a book each on the same file.
@Suite("Token books that share a file")
struct TokenSharingTests {
    let bench = TokenBench()

    @Test("what one changes the other takes up when it looks, and not before")
    func twoBooks() throws {
        let (gateway, verb) = (try bench.book(), try bench.book())
        let (token, secret) = try verb.add("erp")
        #expect(gateway.visitor(secret) == nil)
        #expect(try gateway.refreshIfChanged() == true)
        #expect(gateway.visitor(secret)?.name == "erp")
        #expect(try gateway.refreshIfChanged() == false)
        #expect(try verb.refreshIfChanged() == false)
        _ = try verb.revoke(token.id)
        #expect(gateway.visitor(secret) != nil)
        #expect(try gateway.refreshIfChanged() == true)
        #expect(gateway.visitor(secret) == nil)
    }

    @Test("each reads again before it changes, so neither loses what the other did")
    func rereads() throws {
        let (one, other) = (try bench.book(), try bench.book())
        _ = try one.add("a")
        _ = try other.add("b")
        _ = try one.add("c")
        #expect(throws: AccessError.nameTaken("c")) { try other.add("c") }
        _ = try other.revoke("a")
        #expect(Set(other.all().map(\.name)) == ["b", "c"])
        try one.reload()
        #expect(one.all() == other.all())
    }

    @Test("two that change at the same time lose nothing")
    func atOnce() async throws {
        let books = [try bench.book(), try bench.book()]
        let counts = await withTaskGroup(of: Int.self) { group in
            for (number, book) in books.enumerated() {
                group.addTask { (0..<12).filter { (try? book.add("caller-\(number)-\($0)")) != nil }.count }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(counts == [12, 12])
        #expect(try bench.book().all().count == 24)
    }

    @Test("while one changes the file no other can, in this process or the next")
    func alone() throws {
        let (one, other) = (TokenFile(directory: bench.directory), TokenFile(directory: bench.directory, lockTries: 1))
        func expectBusy() {
            #expect(throws: AccessError.busy(file: one.path)) { try other.change({ _ in }, install: { _ in }) }
        }
        var isInstalled = false
        try one.change { _ in
            expectBusy()
        } install: { _ in
            expectBusy()
            isInstalled = true
        }
        #expect(isInstalled)
        try other.change({ _ in }, install: { _ in })
    }

    @Test("whoever was reading the file when a token was revoked does not bring it back")
    func revokedWhileReading() throws {
        let book = try bench.book()
        let secret = try book.add("leaver").secret
        let turn = book.draw()
        let former = try book.file.read()
        _ = try book.revoke("leaver")
        book.install(former, turn: turn)
        #expect(book.visitor(secret) == nil)
        // What is read from now on counts.
        bench.put(String(decoding: former.list.bytes, as: UTF8.self))
        try book.reload()
        #expect(book.visitor(secret)?.name == "leaver")
    }

    @Test("the lock of another process is waited for, but not for ever, and nothing is changed meanwhile")
    func busy() throws {
        let book = try TokenBook(file: TokenFile(directory: bench.directory, lockTries: 2))
        _ = try book.add("before")
        let former = bench.text
        let lock = open(bench.path + ".lock", O_RDWR | O_CLOEXEC)
        #expect(flock(lock, LOCK_EX | LOCK_NB) == 0)
        #expect(throws: AccessError.busy(file: bench.path)) { try book.add("meanwhile") }
        #expect(throws: AccessError.busy(file: bench.path)) { try book.revoke("before") }
        #expect(bench.text == former)
        // Reading needs no lock.
        #expect(try bench.book().all().map(\.name) == ["before"])
        close(lock)
        _ = try book.add("after")
        #expect(Set(book.all().map(\.name)) == ["before", "after"])
    }

    @Test("a file that a package puts there or takes away is taken up")
    func appears() throws {
        let book = try bench.book()
        let (line, secret) = TokenBench.line(id: "0badcafe", name: "packaged", roles: "observe,admin")
        bench.put(line)
        #expect(try book.refreshIfChanged() == true)
        #expect(book.visitor(secret) == Visitor(name: "packaged", roles: [.observe, .admin], tokenID: "0badcafe"))
        unlink(bench.path)
        #expect(try book.refreshIfChanged() == true)
        #expect(book.visitor(secret) == nil)
        #expect(try book.refreshIfChanged() == false)
    }
}
