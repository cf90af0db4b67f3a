// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import MCPWire

/// What operators order about breakers, limits, tools and draining, and what they have changed by hand.
struct TrafficCalls: Sendable {
    let traffic: any TrafficOrders
    let time: any TimeSource

    var calls: [AdminCall] {
        (breakerCalls + limitCalls + toolCalls + overrideCalls).map { call in
            var call = call
            if call.name == "breaker.enable" { call.isOnlyWith = ("for", "force") }
            return call
        }
    }

    // MARK: Breakers

    private var breakerCalls: [AdminCall] {
        let upstream = AdminField("upstream", .text, "Only this one's breakers.")
        return [
            AdminCall(
                "breaker.list", .get, "/admin/circuit-breaker", "What every breaker does."
            ) { _ throws(AdminRefusal) in
                let facts = traffic.breakers()
                let open = facts.filter { $0.state != "closed" }
                return AdminAnswer(
                    words: "\(Words.count(facts.count, "breaker")), \(open.count) of them not closed",
                    facts: [("breakers", breakers)])
            },
            AdminCall(
                "breaker.enable", .post, "/admin/circuit-breaker/enable",
                "Arms breakers, and opens at once those whose window is over the threshold.",
                body: [
                    upstream,
                    AdminField("force", .flag, "Opens healthy ones too, until somebody undoes it."), .lasts,
                ],
                refusals: [.notFound, .conflict], enable),
            AdminCall(
                "breaker.disable", .post, "/admin/circuit-breaker/disable",
                "Closes breakers and keeps them closed, whatever comes of it.", body: [upstream, .lasts],
                refusals: [.notFound, .conflict], disable),
        ]
    }

    private func enable(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let (upstream, force) = (try order.body.text("upstream"), try order.body.flag("force") ?? false)
        let terms = try order.terms()
        guard force || terms.lasts == nil else {
            throw .bad("\"for\" goes with \"force\": to arm a breaker is how it is anyway, and needs no end.")
        }
        let (opened, isKept): ([String], Bool)
        do throws(OrderRefusal) {
            (opened, isKept) = try await traffic.armBreakers(upstream: upstream, force: force, terms)
        } catch { throw Self.refusal(error) }
        let whose = upstream.map { "the breaker of \($0) is" } ?? "all breakers are"
        let end = terms.lasts.map { "for \(Int($0.milliseconds / 1_000)) s" } ?? "until somebody undoes it"
        let done = force ? "held open " + end : "armed"
        let which = opened.isEmpty ? "none was opened by this" : "opened by this: \(opened.joined(separator: ", "))"
        return AdminAnswer(
            words: "\(whose) \(done); \(which)" + Self.ending(OrderTerms(by: order.who), isKept),
            facts: [("opened", .array(opened.map { .string($0) })), ("breakers", breakers)])
    }

    private func disable(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let (upstream, terms) = (try order.body.text("upstream"), try order.terms())
        let isKept: Bool
        do throws(OrderRefusal) {
            isKept = try await traffic.disarmBreakers(upstream: upstream, terms)
        } catch { throw Self.refusal(error) }
        let whose = upstream.map { "the breaker of \($0) is" } ?? "all breakers are"
        return AdminAnswer(
            words: "\(whose) closed and will not open: calls go to servers that fail, too"
                + Self.ending(terms, isKept),
            facts: [("breakers", breakers)])
    }

    private var breakers: JSONValue { .array(traffic.breakers().map(TrafficFacts.json)) }

    // MARK: Limits

    private var limitCalls: [AdminCall] {
        let path = "/admin/rate-limit"
        return [
            AdminCall("limit.show", .get, path, "How often requests may begin.") { _ throws(AdminRefusal) in
                limit("")
            },
            AdminCall(
                "limit.set", .post, path, "Limits how often requests of all callers together may begin.",
                body: [
                    AdminField(
                        "requests_per_second", .number(0.001...1_000_000), "how many requests a second are taken.",
                        isRequired: true),
                    AdminField(
                        "burst", .count(1...1_000_000),
                        "How many may come at once after a quiet time; as many as in a "
                            + "second when left out."), .lasts,
                ], setLimit),
            AdminCall("limit.undo", .delete, path, "Returns to what the file says.") { order throws(AdminRefusal) in
                let undone = await traffic.undo(Override.Key(kind: .rateLimit, subject: ""), by: order.who)
                return limit(Self.ending(OrderTerms(by: order.who), undone.isKept))
            },
        ]
    }

    private func setLimit(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let rate = try order.body.number("requests_per_second", 0.001...1_000_000) ?? 1
        let burst = try order.body.number("burst", 1...1_000_000)
        guard burst.map({ $0 == $0.rounded() }) ?? true else { throw .bad("\"burst\" must be a whole number.") }
        let terms = try order.terms()
        let limit = RateLimit(perSecond: rate, burst: Int(burst ?? max(1, rate.rounded(.up))))
        let isKept = await traffic.setRateLimit(limit, terms)
        return self.limit(Self.ending(terms, isKept))
    }

    private func limit(_ ending: String) -> AdminAnswer {
        let (now, file) = traffic.rateLimit()
        let order = traffic.overrides().first { $0.kind == .rateLimit }
        let words = now.map { "at most \($0.words), of all callers together" } ?? "no limit of all callers together"
        return AdminAnswer(
            words: words + (order == nil ? ", as the file says" : ", by order") + ending,
            facts: [
                ("requests_per_second", now.map { .number(RateLimit.text($0.perSecond)) } ?? .null),
                ("burst", now.map { .integer($0.burst) } ?? .null),
                ("file", file.map(TrafficFacts.json) ?? .null),
                ("override", order.map(TrafficFacts.json) ?? .null),
            ])
    }

    // MARK: Tools

    private var toolCalls: [AdminCall] {
        [
            AdminCall("tools.list", .get, "/admin/tools", "All tools, also those that are taken out.") {
                _ throws(AdminRefusal) in
                let tools = traffic.tools()
                let out = tools.count { !$0.isEnabled }
                return AdminAnswer(
                    words: "\(Words.count(tools.count, "tool"))" + (out > 0 ? ", \(out) taken out" : ""),
                    facts: [("tools", .array(tools.map(TrafficFacts.json)))])
            },
            AdminCall(
                "tools.disable", .post, "/admin/tools/{name}/disable",
                "Takes a tool out: it is not listed, and calls of it are refused.", body: [.lasts],
                refusals: [.notFound, .conflict]
            ) { order throws(AdminRefusal) in try await setTool(order, isEnabled: false) },
            AdminCall(
                "tools.enable", .post, "/admin/tools/{name}/enable", "Takes a tool in again.", refusals: [.notFound]
            ) { order throws(AdminRefusal) in try await setTool(order, isEnabled: true) },
        ]
    }

    private func setTool(_ order: AdminOrder, isEnabled: Bool) async throws(AdminRefusal) -> AdminAnswer {
        let terms = isEnabled ? OrderTerms(by: order.who) : try order.terms()
        let isKept: Bool
        do throws(OrderRefusal) {
            isKept = try await traffic.setTool(order.place, isEnabled: isEnabled, terms)
        } catch { throw Self.refusal(error) }
        let state = isEnabled ? "in service" : "taken out: it is not listed, and calls of it are refused"
        return AdminAnswer(
            words: "\(order.place) is \(state)" + Self.ending(terms, isKept),
            facts: [("tool", .string(order.place)), ("enabled", .bool(isEnabled))])
    }

    // MARK: Draining and everything that was changed by hand

    private var overrideCalls: [AdminCall] {
        [
            AdminCall(
                "drain.begin", .post, "/admin/drain",
                "Takes no new calls, says so in /health, and lets those that run end.", body: [.lasts]
            ) { order throws(AdminRefusal) in
                await traffic.setDraining(true, try order.terms())
                return drain()
            },
            AdminCall("drain.show", .get, "/admin/drain", "Whether new calls are taken.") { _ throws(AdminRefusal) in
                drain()
            },
            AdminCall("drain.end", .delete, "/admin/drain", "Takes new calls again.") { order throws(AdminRefusal) in
                await traffic.setDraining(false, OrderTerms(by: order.who))
                return drain()
            },
            AdminCall("overrides.list", .get, "/admin/overrides", "Everything that was changed by hand.") {
                _ throws(AdminRefusal) in overrides("")
            },
            AdminCall(
                "overrides.undo", .delete, "/admin/overrides", "Undoes one of them, or all.",
                query: [
                    AdminField(
                        "what", .choice(Override.Kind.allCases.map(\.rawValue)), "Only this kind; all when left out."),
                    AdminField("subject", .text, "Only that of this upstream or tool."),
                ], undo),
        ]
    }

    private func drain() -> AdminAnswer {
        let (isDraining, running) = (traffic.isDraining, traffic.callsInFlight)
        return AdminAnswer(
            words: isDraining
                ? "draining: \(Words.count(running, "call")) still run, new ones are refused" : "new calls are taken",
            facts: [("draining", .bool(isDraining)), ("in_flight", .integer(running))])
    }

    private func undo(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        var keys: [Override.Key?] = [nil]
        let subject = order.query.text("subject")
        if let what = order.query.text("what") {
            guard let kind = Override.Kind(rawValue: what) else {
                let known = Override.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw .bad("\"what\" is no kind of override; there are \(known).")
            }
            keys = traffic.overrides().filter { $0.kind == kind && (subject == nil || $0.subject == subject) }
                .map(\.key)
        } else if let subject {
            keys = traffic.overrides().filter { $0.subject == subject }.map(\.key)
        }
        var undone: [Override] = []
        var isKept = true
        for key in keys {
            let one = await traffic.undo(key, by: order.who)
            undone += one.undone
            isKept = isKept && one.isKept
        }
        let which = undone.map(TrafficFacts.words).joined(separator: "; ")
        let words = undone.isEmpty ? "there was nothing to undo" : "undone: \(which)"
        return overrides(words + Self.ending(OrderTerms(by: order.who), isKept))
    }

    private func overrides(_ words: String) -> AdminAnswer {
        let all = traffic.overrides()
        let now = all.isEmpty ? "nothing is changed by hand" : all.map(TrafficFacts.words).joined(separator: "; ")
        return AdminAnswer(
            words: words.isEmpty ? now : words, facts: [("overrides", .array(all.map(TrafficFacts.json)))])
    }

    // MARK: Words

    private static func ending(_ terms: OrderTerms, _ isKept: Bool) -> String {
        let end = terms.lasts.map { ", for \(Int($0.milliseconds / 1_000)) s" } ?? ""
        return end + (isKept ? "" : "; it could not be written to the database, so that a restart forgets it")
    }

    private static func refusal(_ error: OrderRefusal) -> AdminRefusal {
        error.isMissing
            ? AdminRefusal(.notFound, "not_found", error.words) : AdminRefusal(.conflict, "not_possible", error.words)
    }
}

/// What is in force, as JSON.
enum TrafficFacts {
    static func json(_ breaker: BreakerFacts) -> JSONValue {
        .object([
            ("upstream", .string(breaker.upstream)), ("tool", breaker.tool.map { .string($0) } ?? .null),
            ("state", .string(breaker.state)), ("armed", .bool(breaker.isArmed)), ("forced", .bool(breaker.isForced)),
            ("calls", .integer(breaker.calls)), ("failures", .integer(breaker.failures)),
            ("slow", .integer(breaker.slow)),
            ("next_probe_seconds", breaker.nextProbe.map { .seconds($0.milliseconds / 1_000) } ?? .null),
        ])
    }

    static func json(_ limit: RateLimit) -> JSONValue {
        .object([
            ("requests_per_second", .number(RateLimit.text(limit.perSecond))), ("burst", .integer(limit.burst)),
        ])
    }

    static func json(_ tool: ToolSummary) -> JSONValue {
        .object([
            ("name", .string(tool.name)), ("owner", .string(tool.owner)), ("route", .string(tool.route)),
            ("title", tool.title.map { .string($0) } ?? .null), ("enabled", .bool(tool.isEnabled)),
            ("offline", .string(tool.offline)), ("idempotent", .bool(tool.isIdempotent)),
        ])
    }

    static func json(_ one: Override) -> JSONValue {
        .object([
            ("what", .string(one.kind.rawValue)), ("subject", one.subject.isEmpty ? .null : .string(one.subject)),
            ("value", .string(one.value)), ("since", .string(WallTime.text(milliseconds: one.since))),
            ("by", .string(one.by)),
            ("until", one.until.map { .string(WallTime.text(milliseconds: $0)) } ?? .null),
        ])
    }

    static func words(_ one: Override) -> String {
        let subject = one.subject.isEmpty ? "" : " of \(one.subject)"
        let end = one.until.map { " until \(WallTime.text(milliseconds: $0)) UTC" } ?? ""
        return "\(one.kind.rawValue)\(subject): \(one.value)\(end)"
    }
}
