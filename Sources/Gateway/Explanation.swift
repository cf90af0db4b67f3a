// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Resilience

/// What would become of a call of one tool, step by step, from the same tables that decide a real one.
enum Explanation {
    /// What counts besides the catalogue.
    struct Circumstances {
        /// nil when the clock is not at hand; then a pause is told without its length.
        var now: Moment?
        /// Whose limit is told; nil for nobody's in particular.
        var caller: String?
        var rateOfAll: RateLimit?
        var ratePerCaller: RateLimit?
        var isDraining = false
        /// Calls that can wait are stored instead of being carried out.
        var mustStore = false
        /// Stored calls that wait for an owner.
        var waiting: (String) -> Int = { _ in 0 }
    }

    typealias Step = (key: String, value: JSONValue)

    static func of(
        _ name: String, _ circumstances: Circumstances = Circumstances(), catalogue: Catalogue
    ) -> JSONValue {
        let snapshot = catalogue.current
        guard let found = snapshot.routes.tool(name) else { return unknown(name, snapshot, catalogue) }
        var steps: [Step] = [("tool", .string(name))]
        if circumstances.isDraining {
            steps += [("verdict", "refused"), ("why", "the gateway is being drained and takes no new calls")]
        } else {
            steps.append(("verdict", "allowed"))
        }
        steps += [
            ("route", .string(found.backend.route)), ("owner", .string(found.backend.name)),
            ("name_at_owner", .string(found.target)),
        ]
        if snapshot.index != nil { steps.append(("listed", "only through search_tools (compact mode)")) }
        if let tool = found.tool { steps += checks(tool) }
        steps += rates(found, circumstances)
        let traffic = catalogue.sources.first { $0.owner === found.owner }?.entry.traffic ?? TrafficSettings()
        steps += places(found, traffic)
        guard found.backend.route != "wasm" else { return .object(steps) }
        steps += policy(found.policy, owner: found.backend.name)
        steps += tries(found.policy, traffic)
        steps += state(found, circumstances)
        let outcome = circumstances.isDraining ? "it would be refused" : outcome(found, circumstances)
        steps.append(("now", .string(outcome)))
        steps.append(
            (
                "questions",
                .string(
                    found.backend.asksDuringCalls
                        ? "asked while the call stays open; for clients of 2026-07-28 it is parked meanwhile"
                        : "asked between two rounds of the call")
            ))
        return .object(steps)
    }

    // MARK: What the configuration says

    private static func checks(_ tool: ToolFacts) -> [Step] {
        var steps: [Step] = [
            ("arguments_checked", .bool(tool.input != nil)), ("output_checked", .bool(tool.output != nil)),
        ]
        if !tool.headers.isEmpty {
            steps.append(("headers", .array(tool.headers.map { .string("Mcp-Param-\($0.name)") })))
        }
        return steps
    }

    /// How often it may be called.
    private static func rates(_ found: Destination, _ circumstances: Circumstances) -> [Step] {
        var steps: [Step] = []
        if let limit = circumstances.rateOfAll { steps.append(("limit_of_all", .string(limit.words))) }
        if let limit = circumstances.ratePerCaller {
            let whose = circumstances.caller ?? "each"
            steps.append(("limit_of_caller", .string("\(whose): \(limit.words)")))
        } else if let caller = circumstances.caller {
            steps.append(("limit_of_caller", .string("\(caller): none")))
        }
        if let limit = found.policy.rate { steps.append(("limit_of_tool", .string(limit.words))) }
        return steps
    }

    /// How many may run at one time, and how many do.
    private static func places(_ found: Destination, _ traffic: TrafficSettings) -> [Step] {
        func words(_ max: Int, _ turnstile: Turnstile?) -> JSONValue {
            let waiting = turnstile?.waiting ?? 0
            return .string("\(turnstile?.running ?? 0) of \(max)" + (waiting > 0 ? ", \(waiting) wait" : ""))
        }
        var steps: [Step] = []
        if let max = traffic.inFlightMax {
            steps.append(("in_flight_of_owner", words(max, found.owner.traffic?.turnstile)))
        }
        if let max = found.policy.inFlightMax { steps.append(("in_flight_of_tool", words(max, found.gate?.turnstile))) }
        return steps
    }

    private static func policy(_ policy: ToolPolicy, owner: String) -> [Step] {
        var steps: [Step] = [("offline", .string(policy.offline.rawValue))]
        if policy.offline == .queue {
            steps.append(("stored_in", .string("the queue on disk, among the calls for \(owner)")))
            steps.append(("stored_for", .string(Words.seconds(policy.expires))))
            steps.append(("priority", .number(String(policy.priority))))
        }
        steps.append(("idempotent", .bool(policy.isIdempotent)))
        if let cache = policy.cache { steps.append(("cached_for", .string(Words.seconds(cache)))) }
        if let dedupe = policy.dedupe { steps.append(("deduped_within", .string(Words.seconds(dedupe)))) }
        return steps
    }

    /// How often it is sent, by the rules of the dispatcher.
    private static func tries(_ policy: ToolPolicy, _ traffic: TrafficSettings) -> [Step] {
        var steps: [Step] = []
        if traffic.attemptsMax > 1 {
            let words: String =
                switch (policy.isRepeatable, policy.offline == .queue) {
                case (true, false): "up to \(traffic.attemptsMax)"
                case (true, true): "up to \(traffic.attemptsMax) once it was sent; stored when it cannot be sent"
                case (false, false): "up to \(traffic.attemptsMax) while it cannot be sent; 1 once it was sent"
                case (false, true): "1; stored when it cannot be sent"
                }
            steps.append(("attempts", .string(words)))
        }
        if let hedge = policy.hedge, policy.isRepeatable {
            steps.append(("hedge", .string("a second one after \(Words.seconds(hedge)) without an answer")))
        }
        return steps
    }

    // MARK: How it is now

    private static func state(_ found: Destination, _ circumstances: Circumstances) -> [Step] {
        var steps: [Step] = []
        if let breaker = found.owner.breaker { steps += state(of: breaker, "breaker") }
        if let breaker = found.gate?.breaker { steps += state(of: breaker, "tool_breaker") }
        if let pause = pause(found, circumstances) { steps.append(("pause", .string(pause))) }
        steps.append(("reachable", .bool(found.backend.isReachable)))
        return steps
    }

    private static func state(of breaker: OwnerBreaker, _ key: String) -> [Step] {
        let status = breaker.status
        var steps: [Step] = [(key, .string(status.state.rawValue))]
        if status.isForced || !status.isArmed {
            steps.append((key + "_order", .string(status.isForced ? "held open by an operator" : "disarmed")))
        } else if status.state != .closed, let next = breaker.facts.nextProbe {
            steps.append((key + "_next_try", .string(next > .zero ? "in \(rounded(next))" : "now")))
        }
        return steps
    }

    /// Its server has asked for one.
    private static func pause(_ found: Destination, _ circumstances: Circumstances) -> String? {
        guard let until = found.backend.refusesUntil else { return nil }
        guard let now = circumstances.now else { return "its server has asked for one" }
        return until > now ? "its server has asked for one, for \(rounded(until.since(now))) more" : nil
    }

    private static func outcome(_ found: Destination, _ circumstances: Circumstances) -> String {
        let obstacle = obstacle(found, circumstances)
        let waiting = circumstances.waiting(found.backend.name)
        switch found.policy.offline {
        case .queue:
            if let obstacle { return "it would be stored, since \(obstacle)" }
            if circumstances.mustStore { return "it would be stored, since memory is short" }
            return waiting > 0
                ? "it would be stored when earlier calls of its caller are (\(waiting) wait); otherwise sent"
                : "it would be sent; stored when that cannot be done"
        case .stale:
            return obstacle.map { "it would be answered from what is kept, if there is something, since \($0)" }
                ?? "it would be sent, or answered from what is kept"
        case .fail:
            return obstacle.map { "it would be answered in words, since \($0)" } ?? "it would be sent"
        }
    }

    /// Why it cannot be sent.
    private static func obstacle(_ found: Destination, _ circumstances: Circumstances) -> String? {
        if found.owner.breaker?.refusesUntil != nil { return "the breaker of \(found.backend.name) is open" }
        if found.gate?.breaker?.refusesUntil != nil { return "the breaker of the tool is open" }
        if pause(found, circumstances) != nil { return "\(found.backend.name) has asked for a pause" }
        return found.backend.isReachable ? nil : "\(found.backend.name) is away"
    }

    private static func rounded(_ duration: Duration) -> String {
        Words.seconds(.seconds((duration.milliseconds / 1_000).rounded(.up)))
    }

    // MARK: Names that lead nowhere

    private static func unknown(_ name: String, _ snapshot: Snapshot, _ catalogue: Catalogue) -> JSONValue {
        if let owner = snapshot.disabled[name] {
            return .object([
                ("tool", .string(name)), ("verdict", "refused"), ("route", .string(owner.backend.route)),
                ("owner", .string(owner.backend.name)),
                ("why", "taken out by an operator; mcp-gateway tools enable takes it in again"),
            ])
        }
        var steps: [Step] = [("tool", .string(name)), ("verdict", "unknown")]
        for (entry, owner) in catalogue.sources {
            for tool in entry.backend.offers().tools {
                let shown = ExposedName.make(
                    prefix: owner.prefix, tool: entry.exposure.edit(for: tool.name)?.name ?? tool.name)
                guard shown == name || tool.name == name else { continue }
                let decision = entry.exposure.filter.decide(tool.name)
                steps.append(("owner", .string(owner.backend.name)))
                steps.append(("why", .string(words(decision, shown))))
                return .object(steps)
            }
        }
        steps.append(("why", "no owner is known to have it"))
        return .object(steps)
    }

    private static func words(_ decision: NameFilter.Decision, _ shown: String) -> String {
        switch decision {
        case .allowed: "it is called \(shown) here, or its definition cannot be used; the log says which"
        case .denied(let pattern): "deny_tools has the pattern \(pattern)"
        case .notAllowed: "allow_tools has no pattern that fits"
        }
    }
}
