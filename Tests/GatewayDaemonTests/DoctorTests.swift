// Licensed under the Apache License 2.0; see LICENSE.

import DurableStore
import GatewayCore
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

    private static func supply(
        _ rate: Double, waiting: Int = 0, ofOne: Int = 0, most: Int? = nil, bytes: Double? = nil
    ) throws -> QueueSupply {
        var settings = try #require(SettingsFixture("").load().settings)
        settings.storage.queueItemsMax = 1_000
        settings.storage.queueBytesMax = 1 << 20
        settings.storage.queuePerCallerMax = most
        return QueueSupply(
            terms: OutageTerms(settings), waiting: waiting, waitingOfOne: ofOne, callsPerHour: rate, shareOfOne: 0.5,
            bytesPerCall: bytes)
    }

    @Test func `the queue lasts as long as its places and its bytes do`() throws {
        #expect(try Self.supply(0).hours == nil)
        #expect(try Self.supply(10).hours == 100)
        #expect(try Self.supply(10, waiting: 900).hours == 10)
        #expect(try Self.supply(10, waiting: 2_000).hours == 0)
        #expect(try Self.supply(10, bytes: 10_485.76).hours == 10, "bytes run out first")
        #expect(try Self.supply(10, waiting: 50, bytes: 10_485.76).hours == 5)
    }

    @Test func `what one caller may have ends first where most calls are one caller's`() throws {
        let soon = try Self.supply(10, waiting: 30, ofOne: 20, most: 25)
        #expect(soon.hours == 1 && !soon.isFull)
        #expect(soon.words.contains("max_queue_per_caller"))
        let full = try Self.supply(10, waiting: 30, ofOne: 25, most: 25)
        #expect(full.isFull && full.words.contains("further ones of that caller are refused now"))
        #expect(try Self.supply(0, waiting: 1_000).words.hasSuffix("full now, further ones are refused"))
        #expect(try Self.supply(0, waiting: 1).words.contains("so it will not fill soon"))
    }

    @Test func `what a gateway tells of an outage is read as it was meant`() throws {
        var terms = OutageTerms(
            try #require(
                SettingsFixture(
                    """
                    [upstreams.a]
                    url = "http://127.0.0.1:1/"
                    tools.x = { offline = "queue", expires = "2h" }
                    [upstreams.b]
                    url = "https://b.example/"
                    """
                ).load().settings))
        #expect(terms.local == ["a"] && terms.firstExpiry == .seconds(7_200))
        for most in [nil, 7] {
            terms.queuePerCallerMax = most
            #expect(OutageTerms(terms.json) == terms)
        }
        #expect(OutageTerms(JSONValue?.none) == nil)
    }

    @Test(arguments: [
        ("http", "fail", [], 0, OfflineReadiness.Fate.goesOn), ("http", "fail", ["a"], 0, .fails),
        ("http", "queue", ["a"], 0, .stored), ("http", "stale", ["a"], 0, .fails), ("http", "stale", ["a"], 2, .kept),
        ("wasm", "fail", ["a"], 0, .goesOn),
    ])
    func `a server of this machine that is away now does not go on`(
        _ route: String, _ offline: String, _ away: [String], _ kept: Int, _ fate: OfflineReadiness.Fate
    ) {
        var facts = JournalFacts()
        facts.kept["a__x"] = kept
        let tool: JSONValue = .object([
            ("name", .string("a__x")), ("owner", .string("a")), ("route", .string(route)),
            ("offline", .string(offline)),
        ])
        #expect(OfflineReadiness.Line(tool, local: ["a"], away: Set(away), facts).fate == fate)
    }

    private static let commands = NextCommands(configuration: "/srv/my gateway.toml", isManaged: false)

    @Test func `each command names the file that the doctor was given`() {
        #expect(Self.commands.verb("queue list") == "mcp-gateway queue list --config '/srv/my gateway.toml'")
        #expect(Self.commands.start == "mcp-gateway serve --config '/srv/my gateway.toml'")
        let service = NextCommands(configuration: nil, isManaged: true)
        #expect(service.verb("top") == "mcp-gateway top" && service.start == "systemctl start mcp-gateway")
        #expect(NextCommands.quoted("it's") == #"'it'\''s'"#)
    }

    @Test(arguments: [
        (0, false, Finding.Rank.well), (1, false, .well), (17, false, .well), (18, false, .attention),
        (20, false, .urgent), (3, true, .urgent),
    ])
    func `a full queue is urgent, and one that is nearly full is looked at in time`(
        _ waiting: Int, _ isFull: Bool, _ rank: Finding.Rank
    ) throws {
        var terms = OutageTerms(try #require(SettingsFixture("").load().settings))
        terms.queueItemsMax = 20
        #expect(
            GatewayLook.room(waiting: waiting, age: "1 h", terms: terms, isFull: isFull, Self.commands).rank == rank)
    }

    @Test func `tokens that have run out lately are named with what makes them anew`() {
        func token(_ name: String, _ ends: String, isOver: Bool) -> JSONValue {
            .object([
                ("name", .string(name)), ("roles", .array([.string("call"), .string("observe")])),
                ("expires_at", .string(ends)), ("expired", .bool(isOver)),
            ])
        }
        let now: Int64 = 1_795_000_000_000
        func at(_ hours: Int64) -> String { WallTime.text(milliseconds: now + hours * 3_600_000) }
        let found = GatewayLook.tokens(
            [
                token("till", at(-1), isOver: true), token("old", at(-200), isOver: true),
                token("soon", at(5), isOver: false), token("good", at(2_000), isOver: false),
            ], now: now, NextCommands(configuration: nil, isManaged: true))
        #expect(found.map(\.rank) == [.attention, .attention])
        #expect(
            found.map(\.next) == [
                "mcp-gateway token new till --role call --role observe",
                "mcp-gateway token new soon-2 --role call --role observe",
            ])
        let well = GatewayLook.tokens([token("good", at(2_000), isOver: false)], now: now, Self.commands)
        #expect(well.map(\.rank) == [.well])
    }

    @Test func `a drill tells its own order from one that came meanwhile`() {
        func order(_ since: Int64, lasts: Int64, by: String = "uid 0") -> JSONValue {
            .object([
                ("what", .string("circuit-breaker")), ("subject", .string("a")), ("value", .string("forced-open")),
                ("since", .string(WallTime.text(milliseconds: since))), ("by", .string(by)),
                ("until", .string(WallTime.text(milliseconds: since + lasts))),
            ])
        }
        let now: Int64 = 1_795_000_000_000
        let own = order(now, lasts: 60_000)
        var cut = DrillCut("a", lasts: .seconds(60), in: [own])
        cut.look(at: [own])
        #expect(cut.holds && cut.words == nil)
        var changed = cut
        changed.look(at: [order(now + 5, lasts: 60_000, by: "uid 7")])
        #expect(!changed.holds && changed.words?.contains("changed meanwhile by uid 7") == true)
        cut.look(at: [])
        #expect(!cut.holds && cut.words?.contains("was undone meanwhile") == true)
        let other = DrillCut("a", lasts: .seconds(60), in: [order(now, lasts: 600_000)])
        #expect(!other.holds, "one that lasts for another time is another drill's")
    }

    @Test func `a time of a day is the longest that a drill takes`() {
        for good in ["24h", "1d", "30s"] { #expect(OrderWords.lastingADay(good) == OrderWords.lasting(good)) }
        for bad in ["25h", "2d", "soon", "0s"] { #expect(OrderWords.lastingADay(bad) == nil) }
    }

    @Test(arguments: [
        ("there is no file /x.wasm; make it, or mend the path", true, false),
        ("the environment variable A is not set; set it, or write ${A:-default}", true, true),
        ("the environment variable A is not set; set it, or write ${A:-default}", false, false),
        ("cannot read /run/credentials/x: there is no such file", false, true),
        ("this user may not read /k.pem; change its owner or mode", false, true),
    ])
    func `what only the service has is told from what a start would refuse`(
        _ message: String, _ isThere: Bool, _ isBeyondUs: Bool
    ) {
        let problem = SettingsProblem(file: "f", line: 1, key: "k", severity: .error, message: message)
        #expect(Doctor.isBeyondUs(problem, isThere: isThere) == isBeyondUs)
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
        let changed = OfflineDrill.answer([], sent: (0, 0, 0), seconds: 5, wasEnded: true, changes: ["undone"])
        #expect(!changed.isGood && changed.complaints == ["undone"])
    }
}
