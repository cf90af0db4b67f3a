// Licensed under the Apache License 2.0; see LICENSE.

extension SettingsKey {
    /// Every key that the gateway knows, built or to come, in the order in which people read about them.
    static let all: [SettingsKey] =
        server + tls + admin + storage + cache + log + telemetry + limits + auth + wasm + upstreams + tools + later

    static func later(_ path: String, _ why: String) -> SettingsKey {
        SettingsKey(path, .text, .none, why, isBuilt: false)
    }

    private static let server: [SettingsKey] = [
        SettingsKey("server", .section, .none, "The one listener that clients talk to."),
        SettingsKey(
            "server.listen", .address, .text("127.0.0.1:8080"),
            "Address and port; `:8080` is every address of the machine. Changes at a restart."),
        SettingsKey("server.path", .route, .text("/mcp"), "Where MCP clients point."),
        SettingsKey(
            "server.max_connections", .count(1...100_000), .number(1_024),
            "Beyond this only health and metrics are served, on sixteen more connections; further ones are closed."),
        SettingsKey(
            "server.max_body", .size(1_024...(256 << 20)), .text("4MiB"),
            "A longer request is refused with 413 before it is read."),
        SettingsKey(
            "server.request_timeout", .duration(.milliseconds(100)...(.seconds(3_600))), .text("60s"),
            "The longest a call may take, whatever its tool allows."),
        SettingsKey(
            "server.header_timeout", .duration(.milliseconds(100)...(.seconds(600))), .text("10s"),
            "In this time the whole request, head and body, has to have arrived; a client that drips is cut off."),
        SettingsKey(
            "server.shutdown_grace", .duration(.seconds(0)...(.seconds(600))), .text("10s"),
            "How long calls in flight may finish after TERM."),
        SettingsKey(
            "server.allowed_hosts", .texts, .empty,
            """
            Names clients may use in `Host`; empty means the loopback names and the listen address. Stops DNS \
            rebinding.
            """
        ),
        SettingsKey(
            "server.allowed_origins", .texts, .empty,
            "Web pages that may call, such as `https://app.example`; empty means pages of the machine itself."),
        SettingsKey(
            "server.compact_tools", .flag, .flag(false),
            "Clients see two tools, `search_tools` and `call_tool`, instead of all: for fleets with hundreds."),
        SettingsKey(
            "server.reload_probation", .duration(.seconds(0)...(.seconds(3_600))), .text("60s"),
            """
            After a reload: how long calls are watched. When clearly more of them fail, or they take clearly longer, \
            the reload is taken back. `0s` watches nothing.
            """
        ),
        SettingsKey(
            "server.trusted_proxies", .texts, .empty,
            """
            Proxies in front of the gateway: addresses, or networks such as `10.0.0.0/8`. What they say in \
            `X-Forwarded-For`, else in `Forwarded`, is the address whose limits a request counts against; from others \
            these headers mean nothing.
            """
        ),
    ]

    private static let tls: [SettingsKey] = [
        SettingsKey(
            "server.tls", .section, .none,
            """
            TLS 1.2 and 1.3 on that listener, instead of plain HTTP. A reload takes what is new in the files, for new \
            connections.
            """
        ),
        SettingsKey(
            "server.tls.certificate", .file, .required,
            "The listener's certificate in PEM form, and behind it those that have signed it."),
        SettingsKey(
            "server.tls.key", .file, .required,
            "The certificate's key in PEM form, without a passphrase. Nobody but the gateway's user has to read it."),
        SettingsKey(
            "server.tls.client_ca", .file, .derived("clients are not asked"),
            "Who has to have signed the certificates that clients show, in PEM form. They may show none."),
        SettingsKey(
            "server.tls.require_client_certificate", .flag, .flag(false),
            "Clients without a certificate of client_ca are refused."),
    ]

    private static let admin: [SettingsKey] = [
        SettingsKey("admin", .section, .none, "The operator's side."),
        SettingsKey(
            "admin.public_metrics", .flag, .flag(false),
            "Whether /metrics answers everybody, not only callers on the machine itself."),
        SettingsKey(
            "admin.control_socket", .socket,
            .place(installed: "/run/mcp-gateway/control.sock", checkout: "var/run/control.sock"),
            "Unix socket through which the verbs talk to the daemon; at most 107 bytes long."),
        SettingsKey(
            "admin.local", .texts, .texts(["root", "self"]),
            """
            Whose programs on this machine may use the admin routes and see all of /health: names of users, `@group` \
            for its members, `self` for the user the gateway runs as. Looked up at the start and at each reload.
            """
        ),
        SettingsKey(
            "admin.require_token", .flag, .flag(false),
            "Closes the admin routes, and all of /health, to callers without a token; the control socket stays open."),
        SettingsKey(
            "admin.listen", .address, .derived("none"),
            """
            A second address that serves operators only: /health, /metrics and /admin, under the same rules as on the \
            first, and never MCP. No TLS, so a private one. Changes at a restart.
            """
        ),
    ]

    private static let cache: [SettingsKey] = [
        SettingsKey("cache", .section, .none, "Answers of tools that may be given again."),
        SettingsKey(
            "cache.max_bytes", .size((64 << 10)...(1 << 40)), .text("64MiB"),
            "What they may take on disk; an eighth of it in memory. The oldest make room."),
    ]

    private static let log: [SettingsKey] = [
        SettingsKey("log", .section, .none, "What is written down."),
        SettingsKey(
            "log.directory", .madeDirectory, .place(installed: "/var/log/mcp-gateway", checkout: "var/log/mcp-gateway"),
            "Holds app.log."),
        SettingsKey(
            "log.level", .choice(GatewaySettings.Log.Level.allCases.map(\.rawValue), later: []), .text("info"),
            "The least important message that is written."),
        SettingsKey(
            "log.format", .choice(GatewaySettings.Log.Format.allCases.map(\.rawValue), later: []), .text("text"),
            "`text` for people, `json` for log shippers."),
        SettingsKey(
            "log.slow_call", .duration(.milliseconds(1)...(.seconds(3_600))), .text("2s"),
            "A call that takes longer is logged with the word `slow`."),
        SettingsKey(
            "log.request_rows", .count(1...100_000), .number(500),
            "Calls a second that each get a row in `request_log`; above, rows are sampled, failures kept longest."
        ),
        SettingsKey(
            "log.stdout", .flag, .flag(true), "Whether the log also goes to standard output, and so to the journal."),
        SettingsKey(
            "log.rotate_at", .size((1 << 20)...(16 << 30)), .text("64MiB"),
            "Size at which the gateway itself begins a new log file; the one before is app.log.1."),
        SettingsKey("log.files_kept", .count(1...100), .number(7), "How many files before the present one are kept."),
    ]

    private static let limits: [SettingsKey] = [
        SettingsKey("limits", .section, .none, "How much is let in."),
        SettingsKey(
            "limits.max_in_flight", .count(1...100_000), .number(1_024),
            "Calls being carried out at one time; one more is answered \"busy\" at once."),
        SettingsKey(
            "limits.max_waiting", .count(0...10_000), .number(256),
            "Calls that may wait for their turn when as many run as may. Who would wait too long is refused at once."),
        SettingsKey(
            "limits.max_wait", .duration(.milliseconds(10)...(.seconds(600))), .text("2s"),
            "The longest that a call may wait for its turn, here and before an upstream."),
        SettingsKey(
            "limits.requests_per_second", .perSecond(0.001...1_000_000), .derived("no limit"),
            "How many requests of all callers together may begin in a second."),
        SettingsKey(
            "limits.burst", .count(1...1_000_000), .derived("as many as in a second"),
            "How many of them may begin at once after a quiet time."),
        SettingsKey("limits.per_caller", .section, .none, "The same for each caller: by token, else by address."),
        SettingsKey(
            "limits.per_caller.requests_per_second", .perSecond(0.001...1_000_000), .derived("no limit"),
            "How many requests of one caller may begin in a second."),
        SettingsKey(
            "limits.per_caller.burst", .count(1...1_000_000), .derived("as many as in a second"),
            "How many of them may begin at once after a quiet time."),
    ]

    private static let auth: [SettingsKey] = [
        SettingsKey("auth", .section, .none, "Who may call."),
        SettingsKey(
            "auth.mode", .choice(["none", "token"], later: ["oauth"]), .text("none"),
            """
            `none` lets everybody in who reaches the address, and so goes with a loopback address only. `token` asks \
            for a token of the role call (`mcp-gateway token new`).
            """
        ),
        SettingsKey(
            "auth.allow_anonymous", .flag, .flag(false),
            "Says that mode `none` on an address that others can reach is meant."),
        later("auth.issuer", "Who signs the tokens."),
        later("auth.audience", "For whom the tokens have to be meant."),
        later("auth.jwks_url", "Where the issuer's keys are."),
        later("auth.scopes", "What a token has to allow."),
        later("auth.roles", "Which claims make which role."),
    ]

    private static let wasm: [SettingsKey] = [
        SettingsKey("wasm", .section, .none, "The sandbox in which modules run."),
        SettingsKey(
            "wasm.library", .file,
            .derived(
                "vendor/lib/libwasmtime.so of the checkout, beside the program, /usr/lib/mcp-gateway/libwasmtime.so"),
            "The wasmtime library. Without it the gateway serves its upstreams and says so in /health."),
        SettingsKey(
            "wasm.cache", .madeDirectory, .derived("wasm-cache in storage.directory"),
            "Compiled modules, so that a start takes milliseconds; may be deleted at any time."),
        SettingsKey(
            "wasm.workers", .count(0...64), .number(0), "Threads that run modules; 0 means one for each core."),
        SettingsKey(
            "wasm.max_waiting", .count(0...100_000), .number(1_024),
            "Calls that may wait for a worker; one more is answered \"busy\" at once."),
    ]

    private static let upstreams: [SettingsKey] =
        [
            SettingsKey("upstreams", .section, .none, "MCP servers behind the gateway, one table for each."),
            SettingsKey(
                "upstreams.*", .section, .none, "NAME is letters, digits, `-` and `_`, at most 40; not `gateway`."),
            SettingsKey(
                "upstreams.*.url", .link, .derived("this or command"),
                "A server spoken to over HTTP; credentials go into headers, not in here."),
            SettingsKey(
                "upstreams.*.headers", .map, .empty, "Sent with each request; the values are treated as secrets."),
            SettingsKey(
                "upstreams.*.command", .text, .derived("this or url"),
                "A program spoken to over its standard input and output; a bare name is looked for in PATH."),
            SettingsKey("upstreams.*.args", .texts, .empty, "Its arguments, handed over as they are."),
            SettingsKey(
                "upstreams.*.env", .map, .empty, "Added to its environment; the values are treated as secrets."),
            SettingsKey(
                "upstreams.*.cwd", .directory, .derived("the gateway's own"),
                "The directory in which the program starts."),
            SettingsKey(
                "upstreams.*.prefix", .prefix, .derived("NAME"),
                "Tools are shown as `prefix__tool`; \"\" shows the names as they are."),
            SettingsKey(
                "upstreams.*.timeout", .duration(.milliseconds(100)...(.seconds(3_600))), .text("30s"),
                "The longest one call to it may take."),
            SettingsKey(
                "upstreams.*.allow_tools", .texts, .empty,
                "Only tools whose own name fits one of these patterns are shown (`*` any run, `?` one character)."),
            SettingsKey(
                "upstreams.*.deny_tools", .texts, .empty,
                "Tools whose own name fits one of these patterns are not shown."),
            SettingsKey(
                "upstreams.*.max_in_flight", .count(1...100_000), .number(256),
                "Calls to it that may run at one time, so that a slow one starves nobody else."),
            SettingsKey(
                "upstreams.*.max_waiting", .count(0...10_000), .number(256),
                "Calls that may wait for their turn before it, at most limits.max_wait."),
            SettingsKey("upstreams.*.tools", .section, .none, "Single tools of it, one table for each."),
            SettingsKey("upstreams.*.tools.*", .section, .none, "TOOL is the tool's own name at its server."),
            SettingsKey(
                "upstreams.*.tools.*.name", .text, .derived("TOOL"), "What it is called here, before the prefix."),
            SettingsKey("upstreams.*.tools.*.title", .text, .derived("its own"), "Its title for people."),
            SettingsKey(
                "upstreams.*.tools.*.description", .text, .derived("its own"),
                "What models read about it; a sharper text makes for better calls."),
            SettingsKey(
                "upstreams.*.tools.*.offline", .choice(["fail", "queue", "stale"], later: []), .text("fail"),
                """
                What becomes of a call while its server is away: an answer that says so, the call is stored and sent \
                later, or the last known answer is given again.
                """
            ),
            SettingsKey(
                "upstreams.*.tools.*.expires", .duration(.seconds(1)...(.seconds(365 * 86_400))), .text("24h"),
                "How long a stored call is worth being sent."),
            SettingsKey(
                "upstreams.*.tools.*.idempotent", .flag, .flag(false),
                "Whether it is safe to send twice. Only then a call whose answer was lost is sent again."),
            SettingsKey(
                "upstreams.*.tools.*.priority", .count(-100...100), .number(0),
                "Stored calls of one caller to one server go out highest first."),
            SettingsKey(
                "upstreams.*.tools.*.cache", .duration(.seconds(1)...(.seconds(30 * 86_400))), .derived("not at all"),
                "How long an answer may be given again without asking its server."),
            SettingsKey(
                "upstreams.*.tools.*.dedupe", .duration(.seconds(1)...(.seconds(86_400))), .derived("not at all"),
                "Within this time a second call with the same arguments is taken for the first one, sent again."),
            SettingsKey(
                "upstreams.*.tools.*.rate", .rate, .derived("no limit"),
                "How often it may be called, such as `10/s`, `30/m` or `100/h`."),
            SettingsKey(
                "upstreams.*.tools.*.max_in_flight", .count(1...100_000), .derived("as many as there are"),
                "Calls of it that may run at one time; one more is answered \"busy\" at once."),
            SettingsKey(
                "upstreams.*.tools.*.hedge", .duration(.milliseconds(10)...(.seconds(60))), .derived("never"),
                """
                After this time without an answer a second call goes out beside the first, and the better one counts. \
                Only for tools that may be called twice, by idempotent, cache or a stale answer.
                """
            ),
        ] + breaker("upstreams.*.tools.*.", "A breaker for this tool alone, besides that of its upstream.") + [
            SettingsKey(
                "upstreams.*.retry", .section, .none, "Calls that are safe to repeat, tried again when they fail."),
            SettingsKey(
                "upstreams.*.retry.attempts", .count(1...10), .number(1),
                """
                How often one call is tried in all. Only what was not sent, or may be sent twice, is tried again; and \
                no more than a tenth of all calls.
                """
            ),
            SettingsKey(
                "upstreams.*.retry.backoff", .duration(.milliseconds(1)...(.seconds(5))), .text("100ms"),
                "The pause before the second try; doubles, and chance takes up to half of it."),
        ] + breaker("upstreams.*.", "When to stop calling a server that fails.")

    private static func breaker(_ place: String, _ why: String) -> [SettingsKey] {
        [
            SettingsKey(place + "circuit_breaker", .section, .none, why),
            SettingsKey(
                place + "circuit_breaker.failures", .ratio(0.01...1), .ratio(0.5),
                "The part of failed and slow calls at which it opens."),
            SettingsKey(
                place + "circuit_breaker.window", .duration(.seconds(1)...(.seconds(3_600))), .text("30s"),
                "Over which time calls are counted."),
            SettingsKey(
                place + "circuit_breaker.minimum_calls", .count(1...10_000), .number(10),
                "Fewer calls than this in the window open nothing."),
            SettingsKey(
                place + "circuit_breaker.open_for", .duration(.milliseconds(100)...(.seconds(3_600))), .text("15s"),
                "How long it stays open before one call tries; doubles with each failure, to two minutes."),
            SettingsKey(
                place + "circuit_breaker.slow_call", .duration(.milliseconds(10)...(.seconds(3_600))),
                .derived("`timeout`, so that only calls that fail count"),
                """
                A call that takes longer counts as failed; many tools take their time, so say it where it means \
                trouble.
                """
            ),
        ]
    }

    private static let tools: [SettingsKey] = [
        SettingsKey("tools", .section, .none, "WebAssembly modules that the gateway runs itself, one table for each."),
        SettingsKey("tools.*", .section, .none, "NAME as for upstreams; the two share one set of names."),
        SettingsKey("tools.*.module", .file, .required, "The .wasm file."),
        SettingsKey(
            "tools.*.sha256", .digest, .derived("any"),
            "The file's digest, 64 hexadecimal digits; another file is refused."),
        SettingsKey(
            "tools.*.prefix", .prefix, .derived("NAME"),
            "Tools are shown as `prefix__tool`; \"\" shows the names as they are."),
        SettingsKey(
            "tools.*.memory", .size((64 << 10)...(4 << 30)), .text("64MiB"), "The most memory one call may use."),
        SettingsKey(
            "tools.*.timeout", .duration(.milliseconds(1)...(.seconds(600))), .text("2s"),
            "The longest one call may take; then it is stopped wherever it is."),
        SettingsKey(
            "tools.*.output", .size(1_024...(64 << 20)), .text("4MiB"), "The longest answer one call may give."),
        SettingsKey(
            "tools.*.max_in_flight", .count(1...100_000), .derived("as many as there are workers"),
            "Calls of the module that may run or wait for a worker at one time; one more is answered \"busy\"."),
        SettingsKey("tools.*.config", .map, .empty, "Texts that the module can ask for by name; treated as secrets."),
        SettingsKey(
            "tools.*.allow_tools", .texts, .empty, "Only tools of the module that fit one of these patterns are shown."
        ),
        SettingsKey("tools.*.deny_tools", .texts, .empty, "Tools that fit one of these patterns are not shown."),
        SettingsKey("tools.*.tools", .section, .none, "Single tools of the module, one table for each."),
        SettingsKey("tools.*.tools.*", .section, .none, "TOOL is the tool's own name in the module."),
        SettingsKey("tools.*.tools.*.name", .text, .derived("TOOL"), "What it is called here, before the prefix."),
        SettingsKey("tools.*.tools.*.title", .text, .derived("its own"), "Its title for people."),
        SettingsKey("tools.*.tools.*.description", .text, .derived("its own"), "What models read about it."),
        SettingsKey("tools.*.tools.*.rate", .rate, .derived("no limit"), "How often it may be called, such as `10/s`."),
        SettingsKey("tools.*.allow", .section, .none, "What the module may reach. Nothing, unless it stands here."),
        SettingsKey("tools.*.allow.env", .texts, .empty, "Environment variables of the gateway that it may read."),
        SettingsKey(
            "tools.*.allow.directories", .map, .empty,
            "`\"/data\" = \"/srv/data:ro\"`: its own path, and the directory behind it; `:rw` lets it write."),
        SettingsKey("tools.*.allow.clock", .flag, .flag(false), "Whether it sees the real time."),
        SettingsKey("tools.*.allow.random", .flag, .flag(false), "Whether it gets unpredictable numbers."),
        later("tools.*.signed_by", "The key that has to have signed the module."),
        later("tools.*.allow.hosts", "Servers that the module may call."),
    ]

    private static let later: [SettingsKey] = [
        later("alerts", "Thresholds, people and channels of the gateway's own watch."),
        later("policy", "Who may call which tools."),
    ]
}
