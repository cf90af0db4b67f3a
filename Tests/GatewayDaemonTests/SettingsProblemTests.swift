// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import GatewayDaemon

@Suite struct SettingsProblemTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let text: String
        let problems: [String]

        init(_ name: String, _ text: String, _ problems: String...) {
            testDescription = name
            self.text = text
            self.problems = problems
        }
    }

    static let mistakes: [Case] = [
        Case(
            "A typing error is answered with the nearest key", "[server]\nlisen = \"x\"",
            "2: server.lisen: unknown key; did you mean \"listen\"?"),
        Case("A swapped pair of letters is near", "[sevrer]\n", "1: sevrer: unknown key; did you mean \"server\"?"),
        Case(
            "A key of another section is sent there", "[log]\nmax_body = \"1MiB\"",
            "2: log.max_body: unknown key; it belongs in [server]"),
        Case(
            "The word of desktop clients is understood", "[mcpServers.x]\nurl = \"http://a/\"",
            "1: mcpServers: unknown key; did you mean \"upstreams\"?"),
        Case(
            "A key far from all gets the list", "[limits]\nzzzzzz = 1",
            "2: limits.zzzzzz: unknown key; known here: max_in_flight, max_waiting, max_wait, requests_per_second, "
                + "burst, per_caller"),
        Case(
            "A number where a time belongs", "[server]\n\nrequest_timeout = 60",
            """
            3: server.request_timeout: this is a whole number; a time with its unit in quotes, such as \"30s\", \
            \"5m\" or \"100ms\", would be right
            """
        ),
        Case(
            "A time without unit", "[server]\nrequest_timeout = \"60\"",
            """
            2: server.request_timeout: \"60\" cannot be used here; right would be a time with its unit in \
            quotes, such as \"30s\", \"5m\" or \"100ms\"
            """
        ),
        Case(
            "A time out of bounds", "[storage]\nretention = \"1s\"",
            "2: storage.retention: 1s is out of bounds; 1h to 3650d would be right"),
        Case(
            "A size out of bounds", "[server]\nmax_body = \"1GB\"",
            "2: server.max_body: 1GB is out of bounds; 1KiB to 256MiB would be right"),
        Case(
            "A count out of bounds", "[server]\nmax_connections = 0",
            "2: server.max_connections: 0 is out of bounds; 1 to 100000 would be right"),
        Case(
            "A flag in quotes", "[log]\nstdout = \"yes\"",
            "2: log.stdout: this is a text; true or false, without quotes, would be right"),
        Case("A section that is a value", "log = 3", "1: log: this is a whole number; a table would be right"),
        Case(
            "A choice nearly right", "[log]\nlevel = \"warn\"",
            """
            2: log.level: \"warn\" is none of \"trace\", \"debug\", \"info\", \"notice\", \"warning\", \
            \"error\"; did you mean \"warning\"?
            """
        ),
        Case(
            "A choice to come", "[storage]\nengine = \"postgres\"",
            "2: storage.engine: \"postgres\" is known, but not built yet in this version; \"sqlite\" would be right"),
        Case(
            "A section to come", "[alerts]\np95 = 1.0",
            """
            1: alerts: known, but not built yet in this version (Thresholds, people and channels of the gateway's own \
            watch); remove it
            """
        ),
        Case(
            "A list of tables to come", "[[policy]]\nwho = 1\n[[policy]]",
            "1: policy: known, but not built yet in this version (Who may call which tools); remove it"),
        Case(
            "An open address without callers' names", "[server]\nlisten = \"192.0.2.1:80\"",
            """
            2: server.listen: 192.0.2.1:80 can be reached from other machines while auth.mode \"none\" lets \
            everybody call; listen on \"127.0.0.1:80\", or write allow_anonymous = true in [auth] if that is \
            meant
            """
        ),
        Case(
            "A route of the gateway's own", "[server]\npath = \"/admin/mcp\"",
            "2: server.path: /admin is the gateway's own; another path would be right, such as \"/mcp\""),
        Case(
            "A home directory", "[storage]\ndirectory = \"~/mcp\"",
            "2: storage.directory: ~ is a word of the shell; \"${HOME}/mcp\" would be right"),
        Case(
            "A directory that is a file", "[log]\ndirectory = \"/srv/units.wasm\"",
            "2: log.directory: /srv/units.wasm is there and not a directory; another path would be right"),
        Case(
            "A control character", "[log]\ndirectory = \"/a\\u0007\"",
            "2: log.directory: there are control characters in this text; a path in quotes would be right"),
        Case(
            "An upstream without an address", "[upstreams.a]",
            "1: upstreams.a: neither url nor command is given; url = \"https://…\" or command = \"…\" would be right"),
        Case(
            "An upstream with two addresses", "[upstreams.a]\ncommand = \"python3\"\nurl = \"http://a/\"",
            "3: upstreams.a.url: url (line 3) and command (line 2) exclude each other; keep one of them"),
        Case(
            "An effect cannot be answered from what was kept",
            """
            [upstreams.a]
            url = "http://a/"
            tools."t" = { offline = "queue", cache = "1m" }
            """,
            """
            3: upstreams.a.tools.t.cache: a call that has an effect cannot be answered from what was kept; \
            remove cache, or offline = "queue"
            """),
        Case(
            "A share is a number up to one", "[upstreams.a]\nurl = \"http://a/\"\ncircuit_breaker = { failures = 1.5 }",
            "3: upstreams.a.circuit_breaker.failures: 1.5 is out of bounds; 0.01 to 1.0 would be right"),
        Case(
            "A share without quotes", "[upstreams.a]\nurl = \"http://a/\"\ncircuit_breaker = { failures = \"half\" }",
            """
            3: upstreams.a.circuit_breaker.failures: this is a text; a number from 0.01 to 1.0, without quotes, such \
            as 0.5, would be right
            """),
        Case(
            "A time of day has two digits each", "[storage]\nbackup_at = \"3:30\"",
            """
            2: storage.backup_at: "3:30" cannot be used here; right would be a time of day in quotes, such as \
            "03:30"
            """
        ),
        Case(
            "Arguments without a command", "[upstreams.a]\nurl = \"http://a/\"\nargs = []",
            "3: upstreams.a.args: args goes with command, and this upstream has a url; remove it"),
        Case(
            "Credentials in an address", "[upstreams.a]\nurl = \"http://u:p@a/\"",
            """
            2: upstreams.a.url: a user or password in the address ends up in logs; put it into headers = { \
            Authorization = \"…\" }
            """
        ),
        Case(
            "A port that is none", "[upstreams.a]\nurl = \"http://a:99999/\"",
            """
            2: upstreams.a.url: the address names no host, or a port that is none; \"http://host:8081/mcp\" \
            would be right
            """
        ),
        Case(
            "A header of the gateway's own",
            "[upstreams.a]\nurl = \"http://a/\"\n\n[upstreams.a.headers]\nHOST = \"b\"",
            "5: upstreams.a.headers.HOST: the gateway writes this header itself; remove it"),
        Case(
            "An element of a list", "[upstreams.a]\ncommand = \"python3\"\nargs = [\n  \"a\", # one\n  3,\n]",
            "5: upstreams.a.args[1]: this is a whole number; a text in quotes would be right"),
        Case(
            "A program that is not there", "[upstreams.a]\ncommand = \"nosuch\"",
            "2: upstreams.a.command: warning: no program \"nosuch\" in PATH; install it, or write its whole path"),
        Case(
            "The gateway's own name", "[upstreams.gateway]\nurl = \"http://a/\"",
            "1: upstreams.gateway: this name is the gateway's own; another one would be right"),
        Case(
            "A name clients cannot use", "[upstreams.\"a b\"]\nurl = \"http://a/\"",
            "1: upstreams.\"a b\": not a name clients can use; 1 to 40 letters, digits, - and _ would be right"),
        Case(
            "One prefix twice",
            "[upstreams.a]\nurl = \"http://a/\"\nprefix = \"p\"\n[tools.p]\nmodule = \"/srv/units.wasm\"",
            "4: tools.p: the prefix \"p\" is taken by upstreams.a.prefix on line 3; give one of them another prefix"),
        Case(
            "One name twice",
            "[upstreams.a]\nurl = \"http://a/\"\n[tools.a]\nmodule = \"/srv/units.wasm\"\nprefix = \"b\"",
            "3: tools.a: upstreams.a on line 1 has this name already; rename one"),
        Case(
            "A prefix with the mark inside", "[upstreams.a]\nurl = \"http://a/\"\nprefix = \"x__y\"",
            """
            3: upstreams.a.prefix: two underscores part prefix and tool, so \"x__y\" is ambiguous; prefix = \
            \"x_y\" would be right
            """
        ),
        Case(
            "A tool without a module", "[tools.a]",
            "1: tools.a: no module is given; module = \"a.wasm\" would be right, the path of the file"),
        Case(
            "A module from afar", "[tools.a]\nmodule = \"oci://r/x\"",
            """
            2: tools.a.module: oci:// references are known, but not built yet in this version; the path of a \
            local file would be right
            """
        ),
        Case(
            "A module that is not there", "[tools.a]\nmodule = \"x.wasm\"",
            "2: tools.a.module: warning: there is no file /etc/gw/x.wasm; make it, or mend the path"),
        Case(
            "A grant to come", "tools.a = { module = \"/srv/units.wasm\", allow = { hosts = [] } }",
            """
            1: tools.a.allow.hosts: known, but not built yet in this version (Servers that the module may call); \
            remove it
            """
        ),
        Case(
            "A grant of nothing",
            "[tools.a]\nmodule = \"/srv/units.wasm\"\n[tools.a.allow.directories]\n\"/data\" = \":ro\"",
            "4: tools.a.allow.directories.\"/data\": no directory is named; \"/srv/data:ro\" would be right"),
        Case(
            "A limit never reached",
            "[server]\nrequest_timeout = \"5s\"\n[upstreams.a]\nurl = \"http://a/\"\ntimeout = \"9s\"",
            "5: upstreams.a.timeout: warning: never reached: server.request_timeout ends each call after 5s"),
        Case(
            "A digest too short", "[tools.a]\nmodule = \"/srv/units.wasm\"\nsha256 = \"abc\"",
            "3: tools.a.sha256: \"abc\" cannot be used here; right would be 64 hexadecimal digits in quotes"),
    ]

    @Test("Each mistake is named with its line, its key and what would be right", arguments: mistakes)
    func single(_ it: Case) {
        #expect(SettingsFixture(it.text).problems() == it.problems)
    }

    static let slips: [Case] = [
        Case(
            "No value in a list", "a = [\n}]",
            "2: this is not TOML (column 1): a value is expected here; a text in quotes would be right"),
        Case(
            "No key", "[.a]",
            "1: this is not TOML (column 2): a key is expected here; letters, digits, - and _ would be right"),
        Case(
            "A table left open, and what follows from it", "a = { b = 1\nc = 2\n}",
            "1: this is not TOML (column 12): in inline table: expected key or closing '}', saw '\\n'"),
        Case(
            "A text without quotes", "[server]\ntimeout = 30s",
            "2: this line is not TOML (column 11): a text needs quotes; \"30s\" would be right"),
        Case(
            "A colon for the equals sign", "[server]\nlisten: \"a\"",
            "2: this line is not TOML (column 7): between a key and its value stands =, not :"),
        Case(
            "A quote left open", "\n[server]\nlisten = \"a\n",
            "3: this line is not TOML (column 12): the closing quote is missing"),
        Case(
            "A bracket left open", "[server\nlisten = \"a\"",
            "1: this line is not TOML (column 8): a table is written [name], and the closing bracket is missing"),
        Case(
            "A capital letter", "[log]\nstdout = True",
            "2: this line is not TOML (column 10): true and false are written small"),
        Case(
            "Quotes of a text program", "[server]\nlisten = “x”",
            "2: this line is not TOML (column 10): these are typographic quotes; \" would be right"),
        Case(
            "A key given twice", "[server]\npath = \"/a\"\npath = \"/b\"",
            "3: server.path: already set on line 2; each key and each table stands once"),
        Case(
            "A table given twice", "[server]\n[log]\n[server]",
            "3: server: already set on line 1; each key and each table stands once"),
        Case(
            "No value", "[log]\nlevel =\n",
            "2: this line is not TOML (column 8): there is no value after =; remove the line, or give one"),
        Case(
            "A control character", "a = \"x\u{1}\"",
            "1: this line is not TOML (column 7): there is a control character in it; retype the line"),
        Case(
            "A zero byte", "a = 1\nb = \"x\u{0}y\"",
            "2: there is a zero byte in this line; configuration is plain UTF-8 text"),
        Case(
            "A zero byte in disguise", "a = 1\nb = \"x\\u0000y\"",
            "2: the escape for a zero byte is not allowed here; configuration is plain text"),
        Case(
            "Deep lists", "a = " + String(repeating: "[", count: 5_000),
            "1: values nested deeper than 32; no key of this gateway needs that"),
        Case(
            "Deep tables", "a = " + String(repeating: "{a=", count: 5_000),
            "1: values nested deeper than 32; no key of this gateway needs that"),
        Case(
            "A deep key", "x = 1\n" + String(repeating: "a.", count: 5_000) + "a = 1",
            "2: a key of more than 16 parts; no key of this gateway has that many"),
        Case(
            "A deep header", "[" + String(repeating: "a.", count: 5_000) + "a]",
            "1: a key of more than 16 parts; no key of this gateway has that many"),
    ]

    @Test("A text that is not TOML is told where, and what was probably meant", arguments: slips)
    func syntax(_ it: Case) {
        #expect(SettingsFixture(it.text).problems() == it.problems)
    }

    @Test func `all problems come at once, in the order of the file`() {
        let text = """
            [tools.units]
            module = "/srv/units.wasm"
            memory = "lots"
            [server]
            pth = "/x"
            listen = "nowhere"
            [upstreams.a]
            """
        let lines = SettingsFixture(text).load().problems.map(\.line)
        #expect(lines == [3, 5, 6, 7])
    }

    @Test func `bytes that are not UTF-8 are refused with their line`() {
        var fixture = SettingsFixture("")
        fixture.texts["/etc/gw/gateway.toml"] = Array("a = 1\nb = \"".utf8) + [0xff, 0x22]
        #expect(fixture.problems() == ["2: this line is not UTF-8 text; save the file as UTF-8"])
    }

    @Test func `a file that is too long or absent is refused`() {
        var fixture = SettingsFixture("")
        fixture.texts["/etc/gw/gateway.toml"] = Array(repeating: UInt8(ascii: "#"), count: (1 << 20) + 1)
        #expect(
            fixture.problems() == [
                " cannot read this file: it has more than 1048576 bytes; give the path of a TOML file"
            ])
        fixture.texts["/etc/gw/gateway.toml"] = nil
        #expect(fixture.problems() == [" cannot read this file: there is no such file; give the path of a TOML file"])
    }

    @Test func `a file of nonsense stays a short answer`() {
        let text = (0..<5_000).map { "k\($0) = 1\n" }.joined()
        let problems = SettingsFixture(text).load().problems
        #expect(problems.count == SettingsReport.problemsMax + 1)
        #expect(problems.last?.message == "and 4900 more; mend the first ones and check again")
        let many = (0..<20_001).map { "k\($0) = 1\n" }.joined()
        #expect(
            SettingsFixture(many).problems() == ["20001: more than 20000 keys in one file; split it, or remove some"])
    }

    @Test func `no text whatever stops the check itself`() {
        let pieces = [
            "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\"", "'", "\"\"\"", "'''", "#", "\n", "\\", "\\u0041", " ",
            "a",
            "server", "upstreams", "tools", "1", "true", "\r\n", "\u{feff}", "é", "${", "}", "*", "1979-05-27", "nan",
        ]
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        for _ in 0..<3_000 {
            let text = (0..<next(24)).map { _ in pieces[next(pieces.count)] }.joined()
            let outcome = SettingsFixture(text).load(strict: true)
            #expect(outcome.hasErrors == (outcome.settings == nil), "\(text.debugDescription)")
        }
    }
}
