// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Resilience

/// What would become of a call of one tool, step by step, from the same tables that decide a real one.
enum Explanation {
    static func of(_ name: String, catalogue: Catalogue) -> JSONValue {
        let snapshot = catalogue.current
        guard let found = snapshot.routes.tool(name) else { return unknown(name, snapshot, catalogue) }
        var steps: [(key: String, value: JSONValue)] = [
            ("tool", .string(name)), ("verdict", "allowed"),
            ("route", .string(found.backend.route)), ("owner", .string(found.backend.name)),
            ("name_at_owner", .string(found.target)),
        ]
        if snapshot.index != nil { steps.append(("listed", "only through search_tools (compact mode)")) }
        if let tool = found.tool {
            steps.append(("arguments_checked", .bool(tool.input != nil)))
            steps.append(("output_checked", .bool(tool.output != nil)))
            if !tool.headers.isEmpty {
                steps.append(("headers", .array(tool.headers.map { .string("Mcp-Param-\($0.name)") })))
            }
        }
        if found.backend.route == "wasm" { return .object(steps) }
        let policy = found.policy
        steps.append(("offline", .string(policy.offline.rawValue)))
        if policy.offline == .queue {
            steps.append(("stored_for", .string(Words.seconds(policy.expires))))
            steps.append(("priority", .number(String(policy.priority))))
        }
        steps.append(("idempotent", .bool(policy.isIdempotent)))
        if let cache = policy.cache { steps.append(("cached_for", .string(Words.seconds(cache)))) }
        if let dedupe = policy.dedupe { steps.append(("deduped_within", .string(Words.seconds(dedupe)))) }
        if let breaker = found.owner.breaker?.status {
            steps.append(("breaker", .string(breaker.state.rawValue)))
        }
        steps.append(("reachable", .bool(found.backend.isReachable)))
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

    private static func unknown(_ name: String, _ snapshot: Snapshot, _ catalogue: Catalogue) -> JSONValue {
        var steps: [(key: String, value: JSONValue)] = [("tool", .string(name)), ("verdict", "unknown")]
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
