// Licensed under the Apache License 2.0; see LICENSE.

import DurableStore
import MCPWire
import Testing

@testable import GatewayDaemon

@Suite struct DoctorTests {
    @Test func `the worst comes first, and of equals what was looked at first`() {
        let findings = [
            Finding(.well, "a", "1"), Finding(.attention, "b", "2"), Finding(.urgent, "c", "3"),
            Finding(.note, "d", "4"),
            Finding(.attention, "e", "5"),
        ]
        #expect(findings.ranked.map(\.area) == ["c", "b", "e", "d", "a"])
        #expect(!findings.areWell)
        #expect([findings[0], findings[3]].areWell, "a note needs nobody")
    }

    @Test(arguments: [
        ([Finding.Rank.well, .note], "nothing found that needs anybody"), ([.attention], "1 thing to look at today"),
        ([.urgent, .urgent], "2 urgent findings"),
        ([.urgent, .attention], "1 urgent finding, 1 more to look at today"),
    ])
    func `it all comes to one sentence`(_ ranks: [Finding.Rank], _ words: String) {
        #expect(ranks.map { Finding($0, "a", "w") }.summary == words)
    }

    @Test func `what is well is counted, and shown when asked for`() {
        let findings = [Finding(.attention, "disk", "low", next: "df -h"), Finding(.well, "port", "answers")]
        let short = Doctor.answer(findings, showsAll: false)
        #expect(short.screen(isColoured: false).contains("!   disk  low\n          → df -h\n"))
        #expect(short.screen(isColoured: false).hasSuffix("1 more looked at and well (--all shows them)"))
        #expect(!short.screen(isColoured: false).contains("answers") && !short.isGood)
        #expect(Doctor.answer(findings, showsAll: true).screen(isColoured: false).contains("ok  port  answers"))
    }

    @Test func `lines of both logs and both formats are read`() throws {
        let text = try #require(
            LogLook.line(
                "2026-11-23 18:20:01.123Z warning gateway: call failed detail=\"a=b c\" tool=x request_id=1"))
        #expect(text.time == "2026-11-23 18:20:01.123" && text.level == "warning" && text.message == "call failed")
        let info = try #require(LogLook.line("2026-11-23 18:20:01.123Z info  daemon: serving address=1"))
        #expect(info.level == "info" && info.message == "serving")
        let json = try #require(
            LogLook.line(
                #"{"timestamp":"2026-11-23 18:20:01.123Z","level":"error","component":"x","message":"it broke"}"#))
        #expect(json.time == text.time && json.level == "error" && json.message == "it broke")
        let security = try #require(
            LogLook.line("security 2026-11-23 18:20:01.123Z admin_call who=uid what=status status=200"))
        #expect(security.level == "security" && security.message == "admin_call" && security.time == text.time)
        for bad in ["", "x", "{", "{}", "a b c"] { #expect(LogLook.line(bad[...])?.message ?? "" == "") }
    }

    @Test(arguments: [
        ("http://127.0.0.1:80/mcp", true), ("http://localhost/mcp", true), ("http://[::1]:8080/mcp", true),
        ("https://user@127.0.0.1/", true), ("https://erp.example/mcp", false),
        ("http://10.0.0.1:80?x=http://127.0.0.1", false),
        ("http://[fd00::1]/", false), ("http://127.0.0.1.example/", false), ("nonsense", false),
    ])
    func `what is on this machine is told from what needs a network`(_ url: String, _ isHere: Bool) throws {
        var upstream = try #require(
            SettingsFixture("[upstreams.a]\nurl = \"http://a/\"").load().settings?.upstreams.first)
        upstream.transport = .http(url: url, headers: [])
        #expect(upstream.isOfThisMachine == isHere)
    }

    @Test func `the queue lasts as long as its places and its bytes do`() throws {
        var settings = try #require(SettingsFixture("").load().settings)
        settings.storage.queueItemsMax = 1_000
        settings.storage.queueBytesMax = 1 << 20
        func hours(_ rate: Double, waiting: Int = 0, bytes: Double? = nil) -> Double? {
            OfflineReadiness.Supply(settings: settings, waiting: waiting, callsPerHour: rate, bytesPerCall: bytes).hours
        }
        #expect(hours(0) == nil)
        #expect(hours(10) == 100)
        #expect(hours(10, waiting: 900) == 10)
        #expect(hours(10, waiting: 2_000) == 0)
        #expect(hours(10, bytes: 10_485.76) == 10, "bytes run out first")
        #expect(hours(10, waiting: 50, bytes: 10_485.76) == 5)
    }

    @Test func `a drill counts what was stored, kept and refused`() {
        let calls = [
            JournalFacts.Calls(tool: "a", upstream: "u", route: "queue", status: "queued", count: 3),
            JournalFacts.Calls(tool: "a", upstream: "u", route: "upstream", status: "refused", count: 9),
            JournalFacts.Calls(tool: "b", upstream: "u", route: "upstream", status: "ok", count: 2),
            JournalFacts.Calls(tool: "c", upstream: "u", route: "upstream", status: "failed", count: 1),
        ]
        let answer = OfflineDrill.answer(calls, sent: (3, 0, 1.5), seconds: 60, wasEnded: false)
        let json = try? JSONValue.parse(answer.json)
        #expect(
            json?["stored"]?.intValue == 3 && json?["kept_answers"]?.intValue == 2 && json?["refused"]?.intValue == 1)
        #expect(!answer.isGood && answer.complaints.count == 1)
        #expect(answer.screen(isColoured: false).contains("3 of 3 stored calls sent within 1.5 s after it"))
        #expect(OfflineDrill.answer([], sent: (0, 0, 0), seconds: 5, wasEnded: true).isGood)
    }
}
