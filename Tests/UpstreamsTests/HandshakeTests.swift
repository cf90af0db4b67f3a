// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Telemetry
import Testing

@testable import Upstreams

/// How the era of an HTTP upstream is found out.
@Suite("Handshake") struct HandshakeTests {
    enum Outcome: Sendable, Equatable {
        case modern, legacy
        case away(String)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// What the server answers to `server/discover`; it would take `initialize` in any case.
        let answer: @Sendable (RecordedRequest) -> ScriptedAnswer
        let outcome: Outcome
        var testDescription: String { name }

        init(_ name: String, _ outcome: Outcome, _ answer: @escaping @Sendable (RecordedRequest) -> ScriptedAnswer) {
            (self.name, self.outcome, self.answer) = (name, outcome, answer)
        }

        /// A JSON-RPC error with `data`, under an HTTP status.
        init(_ name: String, _ outcome: Outcome, status: Int, code: Int, data: String? = nil) {
            self.init(name, outcome) { request in
                let more = data.map { #","data":\#($0)"# } ?? ""
                let error = #"{"code":\#(code),"message":"m"\#(more)}"#
                return .json(#"{"jsonrpc":"2.0","id":\#(request.id),"error":\#(error)}"#, status: status)
            }
        }

        /// A body that is no JSON-RPC, or none.
        init(_ name: String, _ outcome: Outcome, status: Int, body: String = "") {
            self.init(name, outcome) { _ in .json(body, status: status) }
        }

        init(_ name: String, _ outcome: Outcome, result: String) {
            self.init(name, outcome) { .json(#"{"jsonrpc":"2.0","id":\#($0.id),"result":\#(result)}"#) }
        }
    }

    static let discovered =
        #"{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{}}"#

    static let table: [Case] = [
        Case("a DiscoverResult", .modern, result: discovered),
        Case("a DiscoverResult as an event", .modern) {
            .events(["data: {\"jsonrpc\":\"2.0\",\"id\":\($0.id),\"result\":\(discovered)}\n\n"], ends: true)
        },
        Case(
            "400, -32022, our version", .modern, status: 400, code: -32022, data: #"{"supported":["2026-07-28"]}"#),
        Case(
            "400, -32022, with an old version", .legacy, status: 400, code: -32022,
            data: #"{"supported":["2025-06-18"]}"#),
        Case(
            "400, -32022, with versions nobody knows",
            .away("protocol versions that this gateway does not know: 2031-01-01"),
            status: 400, code: -32022, data: #"{"supported":["2031-01-01"]}"#),
        Case("400, header mismatch", .modern, status: 400, code: -32020),
        Case("400, missing capability", .modern, status: 400, code: -32021),
        Case("400, invalid request", .legacy, status: 400, code: -32600),
        Case("400, invalid params", .legacy, status: 400, code: -32602),
        Case(
            "400, an error without our number", .legacy, status: 400,
            body:
                #"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#
        ),
        Case("400 without a body", .legacy, status: 400),
        Case("400 with a page", .legacy, status: 400, body: "<html>Bad Request</html>"),
        Case("404, no such method", .legacy, status: 404, code: -32601),
        Case("404 without a body", .legacy, status: 404),
        Case("405 without a body", .legacy, status: 405),
        Case("406 with words", .legacy, status: 406, body: "Not Acceptable"),
        Case("422 with other JSON", .legacy, status: 422, body: #"{"detail":[]}"#),
        Case("200, no such method", .legacy, status: 200, code: -32601),
        Case("200, any error", .legacy, status: 200, code: -32000),
        Case("a result without its type", .legacy, result: #"{"supportedVersions":["2026-07-28"]}"#),
        Case("a result without versions", .legacy, result: #"{"resultType":"complete"}"#),
        Case("only old versions", .legacy, result: #"{"resultType":"complete","supportedVersions":["2025-11-25"]}"#),
        Case("an empty result", .legacy, result: "{}"),
        Case("401", .away("refuses our credentials (HTTP status 401)"), status: 401),
        Case("403 with JSON-RPC", .away("refuses our credentials (HTTP status 403)"), status: 403, code: -32000),
        Case("429", .away("asks to slow down"), status: 429),
        Case("429 with JSON-RPC", .away("asks to slow down"), status: 429, code: -32022),
        Case("503 with a time", .away("asks to slow down")) { _ in
            .json(status: 503, headers: [("retry-after", "9")], "")
        },
        Case("500", .away("HTTP status 500"), status: 500),
        Case("503 with JSON-RPC", .away("HTTP status 503"), status: 503, code: -32022),
        Case("a closed connection", .away("closed the connection")) { _ in .closing },
        // To initialize it would answer the same, and that is then the reason.
        Case("another protocol", .legacy) { _ in
            .bytes("220 mail.example ESMTP\r\n\r\n", closes: false)
        },
    ]

    private func handshake(
        _ upstream: ScriptedUpstream, time: ManualTime = ManualTime(runs: true), patience: Duration = .seconds(10),
        _ body: @escaping @Sendable (Handshake) async throws(TransportError) -> Void
    ) async throws(TransportError) {
        let loop = TestLoop.one
        let transport: HTTPTransport
        guard let log = try? silentLogs(time).logger(component: "test") else { throw TransportError(words: "no logs") }
        do {
            transport = try HTTPTransport(
                url: upstream.url, headers: [], answerBytesMax: 1 << 20, loops: [loop], time: time)
        } catch {
            throw TransportError(words: error.words)
        }
        let numbers = NumberSource()
        let link = ServerLink(
            name: "up", transport: transport, isExclusive: false, numbers: numbers, loop: loop, time: time, log: log,
            notice: { _ in })
        let handshake = Handshake(
            link: link, writer: CallWriter(identity: ["name": "gw", "version": "1"]), loop: loop, time: time,
            patience: patience, silence: .seconds(1), numbers: numbers)
        // A handshake lives on its loop, as it does in `keepUp`.
        let result = await Task(executorPreference: LoopExecutor(loop)) { () -> Result<Void, TransportError> in
            do throws(TransportError) {
                return .success(try await body(handshake))
            } catch {
                return .failure(error)
            }
        }.value
        await transport.close()
        await upstream.goAway()
        try result.get()
    }

    @Test("The answer to server/discover tells the era", arguments: table)
    func detection(_ one: Case) async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: true))
        upstream.answer { $0.method == "server/discover" ? one.answer($0) : nil }
        do throws(TransportError) {
            try await handshake(upstream) { handshake throws(TransportError) in
                let era = try await handshake.negotiate(skippingProbe: false).era
                #expect(era == (one.outcome == .modern ? .modern : .legacy(.v2025_11_25, session: "session-1")))
            }
            if case .away(let words) = one.outcome { Issue.record("it was taken, instead of: \(words)") }
        } catch {
            guard case .away(let words) = one.outcome else {
                Issue.record("\(error.words)")
                return
            }
            #expect(error.words.contains(words), "\(error.words)")
        }
        let methods = upstream.requests.map(\.method)
        #expect(
            methods
                == (one.outcome == .legacy
                    ? ["server/discover", "initialize", "notifications/initialized"]
                    // One that only says that it is of this era is asked once more what it can do.
                    : Array(
                        repeating: "server/discover",
                        count: one.outcome == .modern && one.name.hasPrefix("400,") ? 2 : 1)))
        let probe = try #require(upstream.requests.first)
        #expect(probe.header("mcp-protocol-version") == "2026-07-28")
        #expect(probe.header("mcp-method") == "server/discover")
    }

    static let openings: [(String, Int, String, String?)] = [
        ("a known revision", 200, #""result":{"protocolVersion":"2024-11-05"}"#, nil),
        ("an unknown revision", 200, #""result":{"protocolVersion":"1999-01-01"}"#, "does not know"),
        ("the stateless revision", 200, #""result":{"protocolVersion":"2026-07-28"}"#, "does not know"),
        ("no revision", 200, #""result":{}"#, "does not know"),
        ("an error", 200, #""error":{"code":1,"message":"go away"}"#, "refuses to begin: go away"),
        ("401", 401, #""error":{"code":1,"message":"x"}"#, "refuses our credentials"),
        ("404", 404, "", "no MCP endpoint at this address (HTTP status 404)"),
        ("500", 500, "", "HTTP status 500"),
    ]

    @Test("What comes of initialize", arguments: openings)
    func opening(_ name: String, _ status: Int, _ members: String, _ words: String?) async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: false))
        upstream.answer { request in
            guard request.method == "initialize" else { return nil }
            return .json(members.isEmpty ? "" : #"{"jsonrpc":"2.0","id":\#(request.id),\#(members)}"#, status: status)
        }
        do throws(TransportError) {
            try await handshake(upstream) { handshake throws(TransportError) in
                let era = try await handshake.negotiate(skippingProbe: true).era
                #expect(era == .legacy(.v2024_11_05, session: nil))
            }
            #expect(words == nil)
        } catch {
            #expect(error.words.contains(words ?? "nothing at all"), "\(error.words)")
        }
        #expect(upstream.requests.first?.method == "initialize")
    }

    @Test("A silent server is given up after its patience, in words")
    func silence() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let time = ManualTime(runs: true)
        upstream.answer { _ in
            time.advance(by: .seconds(11))
            return .silence
        }
        do throws(TransportError) {
            try await handshake(upstream, time: time) { handshake throws(TransportError) in
                _ = try await handshake.negotiate(skippingProbe: false)
            }
            Issue.record("silence was taken for an answer")
        } catch {
            #expect(error.words.contains("no answer within 1"), "\(error.words)")
        }
        #expect(upstream.requests("initialize").isEmpty)
    }

    @Test("A list of tools is read page by page, and what is no tool is left out")
    func pages() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        upstream.answer { request in
            guard request.method == "tools/list" else { return nil }
            switch request.json?["params"]?["cursor"]?.stringValue {
            case nil:
                return .result(
                    #""tools":[{"name":"a","x":1.0,"inputSchema":{"type":"object","k":1.50}},{"noname":1},"text"],"#
                        + #""nextCursor":"p\u00e9 2""#,
                    to: request)
            case "pé 2": return .result(#""tools":[{"name":"b"}],"nextCursor":"3""#, to: request)
            default: return .result(#""tools":[]"#, to: request)
            }
        }
        try await handshake(upstream) { handshake throws(TransportError) in
            let tools = try await handshake.offers(ServerFacts(era: .modern), known: Offers()).tools
            #expect(tools.map(\.name) == ["a", "b"])
            #expect(
                tools.first.map { String(decoding: $0.definition, as: UTF8.self) }
                    == #"{"name":"a","x":1.0,"inputSchema":{"type":"object","k":1.50}}"#)
            #expect(
                tools.last.map { String(decoding: $0.definition, as: UTF8.self) }
                    == #"{"name":"b","inputSchema":{"type":"object"}}"#)
        }
        #expect(upstream.requests("tools/list").count == 3)
    }

    static let badLists: [(String, String)] = [
        (#""result":{"tools":[],"nextCursor":"again"}"#, "more than 100 pages"),
        (#""error":{"code":-32603,"message":"broken"}"#, "does not answer tools/list: broken"),
        (#""result":5"#, ""),
        (#""error":{"code":-32601,"message":"no tools"}"#, ""),
    ]

    @Test("A list that cannot be is refused in words; no list is an empty list", arguments: badLists)
    func lists(_ members: String, _ words: String) async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        upstream.answer { .json(#"{"jsonrpc":"2.0","id":\#($0.id),\#(members)}"#) }
        do throws(TransportError) {
            try await handshake(upstream) { handshake throws(TransportError) in
                let tools = try await handshake.offers(ServerFacts(era: .modern), known: Offers()).tools
                #expect(tools.isEmpty)
            }
            #expect(words.isEmpty)
        } catch {
            #expect(!words.isEmpty && error.words.contains(words), "\(error.words)")
        }
        #expect(upstream.requests.count <= 101)
    }

    @Test("More tools than anybody can use are refused")
    func tooMany() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let page = (0..<1_300).map { #"{"name":"t\#($0)"}"# }.joined(separator: ",")
        upstream.answer { .result(#""tools":[\#(page)],"nextCursor":"x""#, to: $0) }
        await #expect(throws: TransportError.self) {
            try await handshake(upstream) { handshake throws(TransportError) in
                _ = try await handshake.offers(ServerFacts(era: .modern), known: Offers())
            }
        }
        #expect(upstream.requests.count == 4)
    }
}
