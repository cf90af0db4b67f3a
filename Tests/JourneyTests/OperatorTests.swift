// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing
import Upstreams

/// What operators and strangers see of the gateway.
@Suite("Operators") struct OperatorTests {
    @Test("An upstream that is away makes the gateway degraded, never unhealthy")
    func degraded() async throws {
        let away = try await ScriptedUpstream.start(.modern, isAway: true)
        let there = try await ScriptedUpstream.start(.legacy(.v2025_06_18, hasSessions: true))
        try await withHouse(HousePlan(["away": away, "there": there]), waits: false) { house in
            try await wait(for: "one that is there, one that is not: \(house.pool.components())") {
                house.component("there")?.status == .healthy
                    && house.component("away")?.detail.contains("connection refused") == true
            }
            try await house.client { client async throws in
                let answer = try await client.ask(RequestText.http("GET", "/health"))
                #expect(answer.status == 200)
                #expect(answer.json?["status"]?.stringValue == "degraded")
                let components = answer.json?["components"]?.arrayValue ?? []
                let byName = components.map { "\($0["name"]?.stringValue ?? "") \($0["status"]?.stringValue ?? "")" }
                #expect(byName == ["server healthy", "upstream:away unhealthy", "upstream:there healthy"])
                #expect(components.last?["detail"]?.stringValue == "2025-06-18 over http, 1 tools")
                #expect(try await client.ask(RequestText.http("HEAD", "/health"), toHead: true).status == 200)
                #expect(try await client.ask(RequestText.http("POST", "/health")).status == 405)
                try await away.comeBack()
                try await house.untilAllAreUp()
                let healed = try await client.ask(RequestText.http("GET", "/health"))
                #expect(healed.json?["status"]?.stringValue == "healthy")
            }
        }
        await away.goAway()
        await there.goAway()
    }

    static let strangers: [(String, String)] = [
        ("x-forwarded-for", "10.0.0.1"), ("X-Forwarded-Anything", "x"), ("forwarded", "for=10.0.0.1"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "10.0.0.1"), ("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site"),
    ]

    @Test("Whoever comes through a proxy or from a page sees the status only", arguments: strangers)
    func stranger(_ name: String, _ value: String) async throws {
        try await withHouse(HousePlan()) { house in
            try await house.client { client async throws in
                let health = try await client.ask(RequestText.http("GET", "/health", headers: [(name, value)]))
                #expect(health.status == 200)
                #expect(health.text == #"{"status":"healthy"}"#)
                let metrics = try await client.ask(RequestText.http("GET", "/metrics", headers: [(name, value)]))
                #expect(metrics.status == 403)
                #expect(metrics.refusal?.code == "operators_only")
            }
        }
    }

    @Test("Calls are counted by tool and outcome, and each has one row with the id of its answer")
    func traces() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await ClientKind.modern.begin(client)
                var ids: [String?] = []
                for _ in 0..<3 { ids.append(try await client.ask(asker.call("up__echo")).header("x-request-id")) }
                let rows = house.plan.journal.calls.filter { $0.method == "tools/call" }
                #expect(rows.map { "\($0.requestID)" } == ids)
                #expect(rows.allSatisfy { $0.tool == "up__echo" && $0.upstream == "up" && $0.status == "ok" })
                #expect(rows.allSatisfy { $0.route == "upstream" && $0.caller == "anonymous" })
                let metrics = try await client.ask(RequestText.http("GET", "/metrics")).text
                #expect(metrics.contains(#"mcp_tool_calls_total{tool="up__echo",route="upstream",outcome="ok"} 3"#))
                #expect(metrics.contains(#"mcp_upstream_up{upstream="up"} 1"#))
                #expect(metrics.contains(#"mcp_requests_total{method="tools/call"} 3"#))
                #expect(metrics.contains("http_request_duration_seconds_bucket{path=\"/mcp\",le=\"2\"}"))
            }
        }
        await upstream.goAway()
    }

    @Test("No secret of the configuration is seen by a client or in health and metrics")
    func secrets() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        upstream.answerCalls { _ in .json("", status: 401) }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await ClientKind.modern.begin(client)
                let texts = [
                    try await client.ask(asker.call("up__echo")).text, try await client.ask(asker.list()).text,
                    try await client.ask(RequestText.http("GET", "/health")).text,
                    try await client.ask(RequestText.http("GET", "/metrics")).text,
                ]
                #expect(upstream.calls.first?.header("authorization") == "Bearer of-up")
                for text in texts { #expect(!text.contains("of-up")) }
                #expect(texts.first?.contains("refuses our credentials") == true)
            }
        }
        await upstream.goAway()
    }
}
