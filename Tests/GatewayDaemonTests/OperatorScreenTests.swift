// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@testable import GatewayDaemon

/// What people at a terminal read about queue and storage.
@Suite struct OperatorScreenTests {
    @Test(arguments: [
        (-3, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (3_600, "1 h"), (172_799, "47 h"),
        (172_800, "2 days"),
    ])
    func `ages are words`(_ seconds: Int, _ words: String) {
        #expect(AgeText.of(seconds: seconds) == words)
    }

    @Test func `columns are as wide as their widest text and no text leaves its line`() {
        var table = ScreenTable(["#ID", "NAME"])
        table.add(["7", "a\u{1b}[2J\nb"])
        table.add(["1234", ""])
        let lines = table.text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 3)
        #expect(lines.first == "  ID  NAME")
        #expect(lines[1].hasPrefix("   7  a"))
        #expect(lines.last == "1234")
        #expect(!table.text.contains("\u{1b}"))
    }

    private static let answer = """
        {"words":"1 call to be sent","notes":NOTES,"counts":{"oldest_age_seconds":7300},"items":[{"id":9,\
        "status":"queued","upstream":"erp","tool":"erp__order","caller":"anna","age_seconds":180,"attempts":2,\
        "last_error":null}],"next_before":NEXT}
        """

    private static func answer(notes: String, next: String) throws -> JSONValue {
        try JSONValue.parse(answer.replacing("NOTES", with: notes).replacing("NEXT", with: next))
    }

    @Test func `what waits for a person stands first`() throws {
        let screen = QueueScreen.list(try Self.answer(notes: #"["2 calls may have been carried out"]"#, next: "9"))
        let lines = screen.split(separator: "\n")
        #expect(lines.first == "! 2 calls may have been carried out")
        #expect(lines.contains("the oldest that waits is 2 h old"))
        #expect(lines.contains(" 9  queued  erp       erp__order  anna    3 min     2"))
        #expect(lines.last == "older ones: mcp-gateway queue list --before 9")
    }

    @Test func `a quiet queue says nothing that is not so`() throws {
        let screen = QueueScreen.list(try Self.answer(notes: "[]", next: "null"))
        #expect(screen.hasPrefix("1 call to be sent\n"))
        #expect(!screen.contains("!") && !screen.contains("older ones"))
    }

    @Test func `an unknown call comes with what to do`() throws {
        let unknown = QueueScreen.one(try JSONValue.parse(#"{"id":7,"status":"unknown","age_seconds":60}"#))
        #expect(unknown.contains("mcp-gateway queue retry 7"))
        #expect(unknown.contains("age              1 min"))
        let failed = QueueScreen.one(try JSONValue.parse(#"{"id":7,"status":"failed"}"#))
        #expect(!failed.contains("queue retry"))
    }

    @Test(arguments: [
        ("failed,unknown", "failed%2Cunknown"), ("a b&c=ü", "a%20b%26c%3D%C3%BC"), ("a.b-c_d", "a.b-c_d"),
    ])
    func `a text for a query cannot become more of it`(_ text: String, _ escaped: String) {
        #expect(ControlClient.escaped(text) == escaped)
    }

    @Test func `a client without a gateway says that none runs`() throws {
        let client = ControlClient(socketPath: "/nonexistent/control.sock")
        #expect(!client.isAnswered)
        do throws(StartError) {
            _ = try client.queueShow(1)
            Issue.record("somebody answered")
        } catch {
            #expect(error.words.contains("no gateway is running here"))
        }
    }
}

/// Whom `admin.local` lets in.
@Suite struct LocalSettingsTests {
    @Test func `root and the gateway's own user are let in when nothing is said`() throws {
        #expect(try #require(SettingsFixture("").load().settings).admin.local == ["root", "self"])
        let empty = try #require(SettingsFixture("[admin]\nlocal = []").load().settings)
        #expect(empty.admin.local == [])
    }

    @Test func `names that nobody has are warned of and stop nothing`() {
        let outcome = SettingsFixture("[admin]\nlocal = [\"root\", \"no such user\", \"@no such group\"]").load(
            strict: true)
        #expect(outcome.settings?.admin.local == ["root", "no such user", "@no such group"])
        #expect(outcome.problems.map(\.severity) == [.warning, .warning])
        for words in ["no user \"no such user\"", "no group \"no such group\""] {
            #expect(outcome.problems.count { $0.message.contains(words) } == 1)
        }
    }
}
