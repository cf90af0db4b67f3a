// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import NIOCore
import Telemetry
import Testing

/// Answers when the gate opens.
private struct GatedRoute: HTTPRoute {
    let gate: Gate

    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        await gate.pass()
        exchange.answer(.ok, .text, ByteBuffer(string: "done"))
    }
}

/// Answers at once.
private struct QuickRoute: HTTPRoute {
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        exchange.answer(.ok, .text, ByteBuffer(string: "quick"))
    }
}

/// Two listeners of one gateway, for everybody and for operators, share numbers and nothing else.
@Suite("Kinds of listeners") struct KindTests {
    private let metrics = MetricsRegistry()

    private func listener(
        _ kind: HTTPListener.Kind, _ router: Router, connectionsMax: Int
    ) async throws -> HTTPListener {
        try await HTTPListener.start(
            .tcp(host: "127.0.0.1", port: 0), kind: kind, router: router,
            limits: HTTPLimits(bodyBytesMax: 100, connectionsMax: connectionsMax, receiveTimeout: .seconds(60)),
            guardian: nil, group: TestLoop.group, time: ManualTime(runs: true), metrics: metrics)
    }

    private func holds(_ text: String) -> Bool { String(decoding: metrics.render(), as: UTF8.self).contains(text) }

    private func get(_ path: String) -> String { RequestText.http("GET", path) }

    @Test("When the one for everybody is full, the one for operators is not, and each counts its own connections")
    func apart() async throws {
        let gate = Gate()
        var router = Router()
        router.add("/wait", GatedRoute(gate: gate))
        var operators = Router()
        operators.add("/health", QuickRoute(), isForOperators: true)
        let open = try await listener(.everybody, router, connectionsMax: 1)
        let admin = try await listener(.admin, operators, connectionsMax: 1)
        let port = try #require(open.port)
        try await ScriptedClient.with(port: port) { busy async throws in
            try await busy.send(get("/wait"))
            try await wait(for: "the connection") { holds("mcp_connections{listener=\"public\"} 1\n") }
            try await ScriptedClient.with(port: port) { late async throws in
                #expect(try await late.ask(get("/wait")).refusal?.code == "too_many_connections")
            }
            try await ScriptedClient.with(port: try #require(admin.port)) { first async throws in
                #expect(try await first.ask(get("/health")).text == "quick")
                #expect(holds("mcp_connections{listener=\"admin\"} 1\n"))
                // Its own places beyond the ordinary ones, as every route here is for operators.
                try await ScriptedClient.with(port: try #require(admin.port)) { second async throws in
                    let answer = try await second.ask(get("/health"))
                    #expect(answer.text == "quick")
                    #expect(answer.header("connection") == "close")
                }
            }
            gate.open()
            #expect(try await busy.answer().text == "done")
        }
        await open.stop(grace: .zero)
        await admin.stop(grace: .zero)
    }

    @Test("Whoever looks for MCP at the operators' address is told that it is elsewhere")
    func elsewhere() async throws {
        let admin = try await listener(.admin, Router(), connectionsMax: 10)
        try await ScriptedClient.with(port: try #require(admin.port)) { client async throws in
            let answer = try await client.ask(get("/mcp"))
            #expect(answer.status == 404)
            #expect(answer.refusal?.words.contains("for operators") == true)
        }
        await admin.stop(grace: .zero)
    }
}
