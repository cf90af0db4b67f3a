// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@testable import GatewayDaemon

/// What `status` shows.
@Suite struct StatusScreenTests {
    /// An answer of `/admin/status`; each test replaces what it is about.
    private static func status(_ changes: (String, String)...) throws -> JSONValue {
        var text = """
            {"words":"healthy","status":"healthy","version":"1.2.3","uptime_seconds":7300.5,"in_flight":4,\
            "draining":false,"last_minute":{"calls":1234,"failed":3,"limited":0,"calls_per_second":20.567,\
            "p50_ms":12.3,"p95_ms":1800.0},"queue":{"items":{"queued":2,"unknown":0},"waiting":2,\
            "oldest_age_seconds":180},"load":{"cpu_share":0.123,"cores":4.0,"resident_bytes":83886080,\
            "memory_used_bytes":1073741824,"memory_limit_bytes":2147483648},"upstreams":[{"name":"erp",\
            "prefix":"erp","status":"healthy","detail":"7 tools","tools":7,"in_flight":1,"waiting":0,"stored":2,\
            "breakers":[{"upstream":"erp","tool":null,"state":"closed","armed":true,"forced":false}]}],\
            "components":[{"name":"server","status":"healthy","detail":"accepting calls"},\
            {"name":"upstream:erp","status":"healthy","detail":"7 tools"}],"overrides":[]}
            """
        for (old, new) in changes {
            try #require(text.contains(old))
            text.replace(old, with: new)
        }
        return try JSONValue.parse(text)
    }

    private static func plain(_ status: JSONValue, showsAll: Bool = false) -> [String] {
        StatusScreen.lines(status, showsAll: showsAll).map(\.plain)
    }

    @Test func `a healthy gateway fits on a small screen`() throws {
        #expect(
            Self.plain(try Self.status()) == [
                "mcp-gateway 1.2.3: healthy, up 2 h",
                "",
                "calls      1234 in the last minute (21/s), 3 failed, 0 limited",
                "answers    half within 12 ms, 95 of 100 within 1.8 s",
                "in flight  4",
                "queue      2 calls to be sent, the oldest 3 min old",
                "load       CPU 12 % of 4 cores, memory 1 GiB of 2 GiB (50 %), its own 80 MiB",
                "",
                "UPSTREAM  STATUS   BREAKER  RUN  WAIT  STORED  DETAIL",
                "erp       healthy             1     0       2  7 tools",
            ])
    }

    @Test func `it says at once that nothing new is taken`() throws {
        let lines = Self.plain(try Self.status((#""draining":false"#, #""draining":true"#)))
        #expect(lines.first == "mcp-gateway 1.2.3: healthy, up 2 h, drained: takes no new calls")
    }

    @Test func `components stand there when something is the matter, or when all are asked for`() throws {
        let bad = try Self.status((#""healthy","detail":"accepting calls""#, #""unhealthy","detail":"draining""#))
        let shown = Self.plain(bad).filter { $0.hasPrefix("server") || $0.hasPrefix("upstream:") }
        #expect(shown.count == 1 && shown[0].contains("unhealthy") && shown[0].hasSuffix("draining"))
        let all = Self.plain(try Self.status(), showsAll: true)
        #expect(all.contains { $0.hasPrefix("server ") } && all.contains { $0.hasPrefix("upstream:erp ") })
        #expect(!Self.plain(try Self.status()).contains { $0.hasPrefix("server") })
    }

    @Test func `what waits for a person is told with the verb that shows it`() throws {
        let lines = Self.plain(try Self.status((#""unknown":0"#, #""unknown":2"#)))
        #expect(
            lines.contains {
                $0.hasSuffix("old; 2 to be decided by a person: mcp-gateway queue list")
            })
    }

    @Test(arguments: [
        (#""state":"open","armed":true,"forced":false"#, "open"),
        (#""state":"open","armed":true,"forced":true"#, "open by order"),
        (#""state":"half-open","armed":true,"forced":false"#, "half-open"),
        (#""state":"closed","armed":false,"forced":false"#, "disarmed"),
        (#""state":"closed","armed":true,"forced":false"#, ""),
    ])
    func `a breaker is told of when it does anything but let calls through`(_ now: String, _ words: String) throws {
        let status = try Self.status((#""state":"closed","armed":true,"forced":false"#, now))
        let breakers = try #require(status["upstreams"]?.arrayValue?.first?["breakers"]?.arrayValue)
        #expect(BreakerScreen.words(ofAll: breakers) == words)
        #expect(Self.plain(status).contains { $0.contains("healthy  \(words)") && $0.hasPrefix("erp") })
    }

    @Test func `overrides come with who, since when, and until when`() throws {
        let lines = Self.plain(
            try Self.status(
                (
                    #""overrides":[]"#,
                    """
                    "overrides":[{"what":"tool","subject":"erp__x","value":"disabled",\
                    "since":"2026-01-02 03:04:05.678","by":"uid 0 pid 7","until":null}]
                    """
                )))
        #expect(lines.last == "tool erp__x  disabled  2026-01-02 03:04  no end       uid 0 pid 7")
    }

    @Test func `an answer of which nothing is known is no reason to end`() throws {
        #expect(Self.plain(try JSONValue.parse("{}")).first == "mcp-gateway : ?")
        #expect(!Self.plain(try JSONValue.parse(#"{"load":null,"queue":7,"upstreams":"x","components":[3]}"#)).isEmpty)
    }

    @Test func `nothing that an upstream says moves the cursor`() throws {
        let evil = #"a\u001b[2J\u0007b\r\nc"#
        let status = try Self.status(
            (#""detail":"7 tools""#, #""detail":"\#(evil)""#), (#""name":"erp""#, #""name":"\#(evil)""#),
            (#""version":"1.2.3""#, #""version":"\#(evil)""#),
            (#""status":"healthy","detail":"accepting calls""#, #""status":"\#(evil)","detail":"x""#))
        for line in StatusScreen.lines(status, showsAll: true) {
            #expect(line.plain.unicodeScalars.allSatisfy { $0.value >= 0x20 })
        }
    }

    @Test func `colours are there only when they are wanted`() throws {
        let lines = StatusScreen.lines(try Self.status(), showsAll: true)
        #expect(!lines.text(isColoured: false).contains("\u{1b}"))
        #expect(lines.text(isColoured: true).contains("\u{1b}[32mhealthy\u{1b}[0m"))
    }
}

/// The screens of the verbs that give orders.
@Suite struct VerbScreenTests {
    @Test func `a token's secret stands alone on the last line`() throws {
        let answer = try JSONValue.parse(
            """
            {"secret":"mcpgw_x_y","token":{"id":"0a","name":"anna","roles":["admin","call"],\
            "expires_at":"2026-01-02 03:04:05.678"}}
            """)
        let lines = TokenScreen.made(answer).map(\.plain)
        #expect(lines.last == "mcpgw_x_y")
        #expect(lines.first == "token 0a of anna made: admin, call, good until 2026-01-02 03:04 UTC")
        #expect(lines.count { $0.contains("mcpgw_") } == 1)
    }

    @Test func `an expired token is called so`() throws {
        let list = try JSONValue.parse(
            """
            {"tokens":[{"id":"0a","name":"a","roles":["call"],"created_at":"2026-01-01 00:00:00.000",\
            "expires_at":"2026-01-02 03:04:05.678","expired":true},{"id":"0b","name":"b","roles":["call"],\
            "created_at":"2026-01-01 00:00:00.000","expires_at":null,"expired":false}]}
            """)
        let lines = TokenScreen.list(list).map(\.plain)
        #expect(lines[1].hasSuffix("2026-01-02 03:04, expired"))
        #expect(lines[2].hasSuffix("no end"))
    }

    @Test func `a tool that is taken out is called so`() throws {
        let list = try JSONValue.parse(
            """
            {"tools":[{"name":"a__x","owner":"a","route":"upstream","title":"X","enabled":false,"offline":"fail"},\
            {"name":"w__y","owner":"w","route":"wasm","title":null,"enabled":true,"offline":"fail"}]}
            """)
        let lines = ToolScreen.list(list).map(\.plain)
        #expect(lines[1] == "a__x  a      taken out  fail     X")
        #expect(lines[2] == "w__y  w")
    }

    @Test func `what a reload has changed and what it has not is told apart`() throws {
        let changed = try JSONValue.parse(
            """
            {"changed":["limits.burst","upstreams.erp"],"waits_for_restart":["server.listen"],"probation_seconds":60}
            """)
        let lines = ReloadScreen.lines(changed).map(\.plain)
        #expect(lines[0] == "in force: limits.burst, upstreams.erp")
        #expect(lines[1] == "waits for a restart: server.listen")
        #expect(lines[2].contains("1 min"))
        let same = ReloadScreen.lines(try JSONValue.parse(#"{"changed":[],"probation_seconds":null}"#))
        #expect(same.count == 1 && same[0].plain.contains("nothing to change"))
    }

    @Test func `facts of a tool are not told twice`() throws {
        let tool = try JSONValue.parse(#"{"name":"a__x","owner":"a","title":"X","enabled":true}"#)
        let explanation = try JSONValue.parse(#"{"tool":"a__x","verdict":"allowed","owner":"a","headers":["p","q"]}"#)
        #expect(
            ToolScreen.one(tool, explanation).map(\.plain) == [
                "title    X", "enabled  true", "tool     a__x", "verdict  allowed", "owner    a", "headers  p, q",
            ])
    }

    @Test(arguments: [
        ("30s", "30s"), ("90s", "90s"), ("120s", "2m"), ("30m", "30m"), ("24h", "1d"), ("7d", "7d"), ("0s", nil),
        ("500ms", nil), ("1500ms", nil), ("2000ms", "2s"), ("99999999s", nil), ("", nil), ("30", nil), ("-1s", nil),
        ("x", nil), ("1 h", nil),
    ])
    func `a time that an order can hold is told from others`(_ typed: String, _ words: String?) {
        #expect(OrderWords.lasting(typed) == words)
    }

    @Test(
        arguments: [
            ("10", 10), ("0.5", 0.5), ("10/s", 10), ("30/m", 0.5), ("0", nil), ("0.0001", nil), ("10000000", nil),
            ("1e3", nil), ("", nil), (".", nil), ("nan", nil), ("-1", nil), ("10/x", nil), ("1.2.3", nil),
        ] as [(String, Double?)])
    func `a rate is a number, or one of a unit of time`(_ typed: String, _ rate: Double?) {
        #expect(OrderWords.perSecond(typed) == rate)
    }

    @Test(
        arguments: [
            ("2s", 2_000), ("0.5", 500), ("0.5s", 500), ("500ms", 500), ("1m", 60_000), ("60", 60_000), ("0.4", nil),
            ("61", nil), ("2m", nil), ("", nil), ("s", nil), ("-1", nil), ("inf", nil),
        ] as [(String, Int?)])
    func `an interval has bounds`(_ typed: String, _ milliseconds: Int?) {
        #expect(
            OrderWords.duration(typed, in: LiveStatus.intervals) == milliseconds.map { Duration.milliseconds($0) })
    }
}
