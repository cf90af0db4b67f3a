// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Access

@Suite("Token book")
struct TokenBookTests {
    let bench = TokenBench()
    let now = TokenBench.now

    @Test("a token that was made is known at once, and to the next process")
    func roundTrip() throws {
        let book = try bench.book()
        let (token, secret) = try book.add(name: "erp@north", roles: [.admin, .call], expiresAt: now + 5, now: now)
        let visitor = Visitor(name: "erp@north", roles: [.call, .admin], tokenID: token.id)
        #expect(book.visitor(secret) == visitor)
        #expect(book.all() == [token])
        let later = try bench.book()
        #expect(later.visitor(secret) == visitor)
        #expect(later.all() == [token])
        #expect((token.createdAt, token.expiresAt) == (now, now + 5))
        #expect(later.warning == nil)
    }

    @Test("a secret has the promised form, and no two are alike")
    func form() throws {
        let book = try bench.book()
        let secrets = try (0..<20).map { try book.add("caller\($0)").secret }
        #expect(Set(secrets).count == 20)
        for secret in secrets { #expect(secret.wholeMatch(of: /mcpgw_[0-9a-f]{8}_[A-Za-z0-9_-]{43}/) != nil) }
    }

    @Test("opening a book makes nothing, and without a file nobody is let in")
    func nothingThere() throws {
        let book = try bench.book()
        #expect(book.all().isEmpty)
        #expect(book.visitor(TokenSecret.make(id: "00000000")) == nil)
        #expect(!bench.exists(bench.folder))
        #expect(try book.refreshIfChanged() == false)
    }

    @Test("only the whole secret of its own token opens")
    func wrongSecrets() throws {
        let book = try bench.book()
        let (first, secret) = try book.add("first")
        let (second, _) = try book.add("second")
        let last = secret.hasSuffix("A") ? "B" : "A"
        let wrong = [
            "", "mcpgw_", String(secret.dropLast()), String(secret.dropLast()) + last, secret + "A", " " + secret,
            String(secret.dropFirst()), secret.uppercased(), TokenSecret.make(id: first.id),
            TokenSecret.make(id: "ffffffff"), "mcpgw_\(second.id)" + secret.dropFirst(14),
            secret + String(repeating: "A", count: 100_000),
        ]
        for text in wrong { #expect(book.visitor(text) == nil) }
        #expect(book.visitor(secret)?.name == "first")
    }

    @Test("a revoked token is refused by the time the call returns", arguments: [true, false])
    func revoke(byName: Bool) throws {
        let book = try bench.book()
        let (token, secret) = try book.add("leaver")
        let (_, other) = try book.add("stayer")
        #expect(try book.revoke(byName ? "leaver" : token.id) == token)
        #expect(book.visitor(secret) == nil)
        #expect(book.visitor(other)?.name == "stayer")
        #expect(try bench.book().visitor(secret) == nil)
        #expect(throws: AccessError.unknown) { try book.revoke(token.id) }
        #expect(throws: AccessError.unknown) { try book.revoke("leaver") }
    }

    @Test("a name is meant by its bytes, not by what looks the same")
    func kelvin() throws {
        let book = try bench.book()
        _ = try book.add("Kim")
        #expect(throws: AccessError.unknown) { try book.revoke("\u{212A}im") }
        #expect(book.all().map(\.name) == ["Kim"])
    }

    @Test("a token ends with the millisecond it was given")
    func expiry() throws {
        let book = try bench.book()
        let secret = try book.add("guest", expiresAt: now + 1_000).secret
        #expect(book.visitor(secret, now: now + 999)?.name == "guest")
        #expect(book.visitor(secret, now: now + 1_000) == nil)
        #expect(book.visitor(secret, now: .max) == nil)
        #expect(book.all().map { $0.hasExpired(at: now + 1_000) } == [true])
        #expect(throws: AccessError.self) { try book.add("late", expiresAt: now) }
        let forEver = try book.add("resident").secret
        #expect(book.visitor(forEver, now: .max)?.name == "resident")
    }

    static let badNames = [
        "", "a b", "a\nb", "#a", "é", "K\u{212A}", "a/b", "a,b", String(repeating: "a", count: 65), "deadbeef",
        "anonymous", "mcpgw_deadbeef",
    ]

    @Test("a name that cannot be is refused in words, and nothing is written", arguments: badNames)
    func badName(_ name: String) throws {
        let book = try bench.book()
        do {
            _ = try book.add(name)
            Issue.record("it was taken")
        } catch AccessError.refused(let words) {
            #expect(words.contains("a name") || words.contains("the name"))
        }
        #expect(bench.text == nil)
    }

    @Test(
        "a name that can be is taken",
        arguments: ["a", "A.b_c@d-9", String(repeating: "z", count: 64), "deadbee", "DEADBEEF", "-", "123456789"])
    func goodName(_ name: String) throws {
        let secret = try bench.book().add(name).secret
        #expect(try bench.book().visitor(secret)?.name == name)
    }

    @Test("a token without a role is refused")
    func noRole() throws {
        let book = try bench.book()
        #expect(throws: AccessError.self) { try book.add(name: "a", roles: [], expiresAt: nil, now: now) }
        #expect(book.all().isEmpty)
    }

    @Test("a name is given once, and again when its token was revoked or has expired")
    func duplicates() throws {
        let book = try bench.book()
        let first = try book.add("erp", expiresAt: now + 10).secret
        #expect(throws: AccessError.nameTaken("erp")) { try book.add("erp") }
        #expect(book.visitor(first) != nil)
        let second = try book.add(name: "erp", roles: [.call], expiresAt: nil, now: now + 10).secret
        #expect(book.all().count == 1)
        _ = try book.revoke("erp")
        let third = try book.add("erp").secret
        #expect([first, second, third].map { book.visitor($0) != nil } == [false, false, true])
    }

    @Test("admin may observe, but not call; the others may what they say")
    func roles() {
        func may(_ roles: Set<Role>) -> [Bool] {
            Role.allCases.map(Visitor(name: "a", roles: roles, tokenID: "00000000").may)
        }
        #expect(may([.call]) == [true, false, false])
        #expect(may([.observe]) == [false, true, false])
        #expect(may([.admin]) == [false, true, true])
        #expect(may([.call, .admin]) == [true, true, true])
    }

    @Test("neither the secret nor its digest is in any text made of a token, nor the secret in the file")
    func silence() throws {
        let book = try bench.book()
        let (token, secret) = try book.add("quiet")
        var digest: [UInt8] = []
        token.digest.writeHex(to: &digest)
        var dumped = ""
        dump(token, to: &dumped)
        dump(book.all(), to: &dumped)
        let texts = [String(describing: token), String(reflecting: token), "\(token)", dumped]
        for text in texts {
            #expect(text.contains("quiet"))
            #expect(!text.contains(secret.suffix(43)))
            #expect(!text.contains(String(decoding: digest, as: UTF8.self)))
            #expect(!text.contains("SIMD"))
        }
        let text = try #require(bench.text)
        #expect(text.contains(String(decoding: digest, as: UTF8.self)))
        #expect(!text.contains(secret.suffix(43)))
    }

    @Test("finds each of as many tokens as there may be, and takes no more than that")
    func thousands() throws {
        let count = TokenList.tokensMax
        let made = (0..<count).map { number in
            let digits = String(number + 4_096, radix: 16)
            let id = String(repeating: "0", count: 8 - digits.count) + digits
            let expires = number < 2 ? String(now + 60_000) : "-"
            return TokenBench.line(id: id, name: "caller-\(number)", expires: expires)
        }
        bench.put(made.map(\.line).joined())
        let book = try bench.book()
        #expect(book.all().count == count)
        for number in made.indices where book.visitor(made[number].secret)?.name != "caller-\(number)" {
            Issue.record("caller-\(number) is not known")
        }
        #expect(throws: AccessError.full(max: count)) { try book.add("one-more") }
        // When two have expired there is room again.
        let secret = try book.add(name: "one-more", roles: [.call], expiresAt: nil, now: now + 60_000).secret
        #expect(book.visitor(secret, now: now + 60_000)?.name == "one-more")
        #expect(book.all().count == count - 1)
        bench.put(made.map(\.line).joined() + TokenBench.line(id: "ffffffff", name: "too-many").line)
        #expect(throws: AccessError.self) { try bench.book() }
    }
}
