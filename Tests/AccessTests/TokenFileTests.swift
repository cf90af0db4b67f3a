// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Testing

@testable import Access

@Suite("Token file")
struct TokenFileTests {
    let bench = TokenBench()

    private static let zeros = String(repeating: "0", count: 64)
    private static let good = "0badcafe erp call 1750000000000 - \(zeros)"

    @Test("file, lock and directory are the owner's alone, whatever the file was before")
    func modes() throws {
        let book = try bench.book()
        _ = try book.add("a")
        #expect(bench.mode(bench.folder) & 0o777 == 0o700)
        #expect(bench.mode(bench.path) == 0o600)
        #expect(bench.mode(bench.path + ".lock") == 0o600)
        #expect(!bench.exists(bench.path + ".new"))
        chmod(bench.path, 0o640)
        #expect(try book.refreshIfChanged() == true)
        #expect(book.warning?.contains("640") == true)
        #expect(book.warning?.contains(bench.path) == true)
        _ = try book.add("b")
        #expect(bench.mode(bench.path) == 0o600)
        #expect(book.warning == nil)
    }

    @Test("a file that everybody may write to is refused", arguments: [mode_t(0o602), 0o646, 0o666])
    func writable(_ mode: mode_t) throws {
        let (line, _) = TokenBench.line(id: "0badcafe", name: "stranger")
        bench.put(line, mode: mode)
        #expect(throws: AccessError.self) { try bench.book() }
        chmod(bench.path, 0o600)
        #expect(try bench.book().all().map(\.name) == ["stranger"])
    }

    @Test("what is no file is refused without waiting for it")
    func noFile() throws {
        mkdir(bench.folder, 0o700)
        mkfifo(bench.path, 0o600)
        #expect(throws: AccessError.unusable(what: bench.path, detail: "it is no file")) { try bench.book() }
        unlink(bench.path)
        mkdir(bench.path, 0o700)
        #expect(throws: AccessError.unusable(what: bench.path, detail: "it is no file")) { try bench.book() }
        rmdir(bench.path)
        symlink("elsewhere", bench.path)
        #expect(throws: AccessError.self) { try bench.book() }
        #expect(throws: AccessError.self) { try bench.book().add("a") }
        #expect(!bench.exists(bench.folder + "/elsewhere"))
    }

    static let damages: [(line: String, word: String)] = [
        ("garbage", "six words"),
        ("0badcafe erp call 1 - \(zeros) more", "six words"),
        ("mcpgw_0badcafe_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "six words"),
        ("0badcaf erp call 1 - \(zeros)", "id"),
        ("0BADCAFE erp call 1 - \(zeros)", "id"),
        ("0badcafe e/rp call 1 - \(zeros)", "name"),
        ("0badcafe anonymous call 1 - \(zeros)", "name"),
        ("0badcafe erp root 1 - \(zeros)", "roles"),
        ("0badcafe erp call, 1 - \(zeros)", "roles"),
        ("0badcafe erp call,call 1 - \(zeros)", "roles"),
        ("0badcafe erp Call 1 - \(zeros)", "roles"),
        ("0badcafe erp call +1 - \(zeros)", "creation"),
        ("0badcafe erp call 99999999999999999999 - \(zeros)", "creation"),
        ("0badcafe erp call 1 never \(zeros)", "end"),
        ("0badcafe erp call 1 -1 \(zeros)", "end"),
        ("0badcafe erp call 1 - \(zeros.dropLast())", "digest"),
        ("0badcafe erp call 1 - \(zeros)0", "digest"),
        ("0badcafe erp call 1 - \(zeros)\r", "digest"),
        ("0badcafe erp call 1 - \(zeros.dropLast())A", "digest"),
        ("  # no comment", "six words"),
        ("0badcafe other call 1 - \(zeros)", "id stands in an earlier"),
        ("00000001 erp call 1 - \(zeros)", "name stands in an earlier"),
    ]

    @Test("one damaged line, and nobody is let in, the file stays, its words are not repeated", arguments: damages)
    func damaged(_ line: String, _ word: String) throws {
        let text = "# ours\n\n" + (word.contains("earlier") ? Self.good : "") + "\n\(line)\n"
        bench.put(text)
        do {
            _ = try bench.book()
            Issue.record("it was taken")
        } catch let error as AccessError {
            guard case .damaged(bench.path, 4, let detail) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(detail.contains(word))
            #expect(error.words.contains("line 4 of \(bench.path)"))
            #expect(!error.words.contains(line))
        }
        #expect(bench.text == text)
    }

    @Test("a file that is damaged later lets nobody new in, is not written to, and is complained of once")
    func damagedLater() throws {
        let book = try bench.book()
        let secret = try book.add("before").secret
        let whole = try #require(bench.text)
        let (line, stranger) = TokenBench.line(id: "0badcafe", name: "stranger")
        let text = whole + line + "half a li"
        bench.put(text)
        #expect(throws: AccessError.self) { try book.refreshIfChanged() }
        #expect(try book.refreshIfChanged() == false)
        #expect(book.trouble?.words.contains("is no token") == true)
        #expect(book.visitor(secret)?.name == "before")
        #expect(book.visitor(stranger) == nil)
        #expect(throws: AccessError.self) { try book.add("after") }
        #expect(throws: AccessError.self) { try book.revoke("before") }
        #expect(throws: AccessError.self) { try book.reload() }
        #expect(bench.text == text)
        bench.put(whole + line)
        #expect(try book.refreshIfChanged() == true)
        #expect(book.trouble == nil)
        #expect(book.visitor(stranger)?.name == "stranger")
    }

    @Test("comments, empty lines and the order of the lines outlive changes")
    func comments() throws {
        let last = TokenBench.line(id: "00000002", name: "last").line
        let first = TokenBench.line(id: "00000001", name: "first").line
        bench.put("# the north – ünicode\n\n\(last)#\n\(first)# end")
        let book = try bench.book()
        _ = try book.add("new")
        _ = try book.revoke("new")
        #expect(bench.text == "# the north – ünicode\n\n\(last)#\n\(first)# end\n")
        _ = try book.revoke("last")
        #expect(bench.text == "# the north – ünicode\n\n#\n\(first)# end\n")
    }

    @Test("a new file says in its first lines what it is")
    func heading() throws {
        _ = try bench.book().add("a")
        #expect(bench.text?.hasPrefix("# Who may use this gateway") == true)
        #expect(bench.text?.split(separator: "\n").count == 3)
    }

    @Test("spaces may be more than one, and the last line may lack its end")
    func loose() throws {
        bench.put(Self.good.replacing(" ", with: "   "))
        #expect(try bench.book().all().map(\.name) == ["erp"])
    }

    @Test("a file above its limit is refused, and not made by us")
    func tooLong() throws {
        let comment = "#" + String(repeating: "x", count: TokenList.bytesMax)
        bench.put(comment + "\n")
        #expect(throws: AccessError.self) { try bench.book() }
        bench.put(comment.dropLast(2) + "\n")
        let book = try bench.book()
        let former = bench.text
        #expect(throws: AccessError.self) { try book.add("a") }
        #expect(bench.text == former)
        #expect(book.all().isEmpty)
    }

    @Test("what a write that was stopped halfway has left does not disturb the next")
    func leftover() throws {
        mkdir(bench.folder, 0o700)
        symlink("elsewhere", bench.path + ".new")
        let secret = try bench.book().add("a").secret
        #expect(try bench.book().visitor(secret)?.name == "a")
        #expect(!bench.exists(bench.folder + "/elsewhere"))
    }

    @Test("a storage directory that is not there is named")
    func noDirectory() throws {
        let book = try TokenBook(directory: bench.directory + "/missing")
        do {
            _ = try book.add("a")
            Issue.record("it was taken")
        } catch {
            #expect(error.words.contains(bench.directory + "/missing/keys cannot be used"))
        }
    }
}
