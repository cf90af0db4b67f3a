// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Testing

@testable import Upstreams

/// What the log says of a server that is away or misbehaves: the word that is looked for, and no more lines than news.
@Suite("News of an upstream") struct NewsTests {
    struct Trouble: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let detail: String
        let answer: @Sendable (RecordedRequest, Int) -> ScriptedAnswer
    }

    static let troubles = [
        Trouble(testDescription: "other words each time", detail: "failed: it refuses to begin: no, for the ") {
            .error(-32000, "no, for the \($1). time", to: $0)
        },
        Trouble(testDescription: "credentials", detail: "failed: it refuses our credentials (HTTP status 401)") {
            _, _ in .json("", status: 401)
        },
        Trouble(testDescription: "another status each time", detail: "failed: it answered with HTTP status 50") {
            .json("", status: 500 + $1 % 2)
        },
        Trouble(testDescription: "no HTTP", detail: "failed: it does not answer in HTTP") { _, _ in
            .bytes("220 mail.example ESMTP\r\n\r\n", closes: false)
        },
    ]

    @Test("One that answers, and not as it should, has one line with a word for that", arguments: troubles)
    func oneLine(_ trouble: Trouble) async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: false))
        let asked = Collected<String>()
        upstream.answer { request in
            asked.add(request.method ?? "")
            return trouble.answer(request, asked.count)
        }
        let time = ManualTime(runs: true)
        let logs = try ReadableLogs(time)
        let bench = try PoolBench([.scripted("up", upstream)], time: time, logs: logs.files)
        try await bench.look(for: "some attempts") { asked.count > 12 }
        await bench.close()
        let lines = logs.lines("upstream is away")
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.contains(trouble.detail) == true, "\(lines)")
        await upstream.goAway()
    }

    @Test("One that never answers has one line with the word timeout and the limit, however late it was noticed")
    func silent() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let time = ManualTime(runs: true)
        let asked = Collected<Bool>()
        upstream.answer { _ in
            asked.add(true)
            time.advance(by: .seconds(46) + .milliseconds(asked.count * 100))
            return .silence
        }
        let logs = try ReadableLogs(time)
        let bench = try PoolBench([.scripted("up", upstream)], time: time, logs: logs.files)
        try await bench.look(for: "some attempts") { asked.count > 4 }
        await bench.close()
        let lines = logs.lines("upstream is away")
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.contains("timeout: no answer within 45 s") == true, "\(lines)")
        await upstream.goAway()
    }

    @Test("Another kind of trouble is news again")
    func otherKind() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        upstream.answer { _ in .json("", status: 401) }
        let time = ManualTime(runs: true)
        let logs = try ReadableLogs(time)
        let bench = try PoolBench([.scripted("up", upstream)], time: time, logs: logs.files)
        let up = bench.pool.upstreams[0]
        try await wait(for: "the refusal") { up.facts.awayReason?.hasPrefix("failed: it refuses") == true }
        await upstream.goAway()
        try await bench.look(for: "its end") { up.facts.awayReason?.contains("connection refused") == true }
        try await wait(for: "its line") { logs.lines("connection refused").count == 1 }
        #expect(logs.lines("connection refused").first?.contains("fail") == false, "offline is no failure")
        await bench.close()
    }

    @Test("Tools that are left out are told in one line, and not again while they stay the same")
    func leftOut() async throws {
        func bad(_ name: String) -> OfferedItem {
            let schema = #"{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#
            return OfferedItem(name: name, definition: Array(#"{"name":"\#(name)","inputSchema":\#(schema)}"#.utf8))
        }
        let upstream = try await ScriptedUpstream.start(
            .modern, tools: [.plain("echo")] + (0..<200).map { bad("bad\($0)") })
        let time = ManualTime(runs: true)
        let logs = try ReadableLogs(time)
        let bench = try PoolBench([.scripted("up", upstream)], time: time, logs: logs.files)
        let up = try await bench.there("up")
        try await bench.look(for: "more looks") { upstream.requests("tools/list").count > 4 }
        #expect(up.offers().tools.map(\.name) == ["echo"])
        #expect(logs.lines("tools are left out").count == 1)
        #expect(logs.lines("tools are left out").first?.contains("count=200") == true)
        upstream.list([.plain("echo"), bad("other")])
        try await bench.look(for: "the other") { logs.lines("tools are left out").count == 2 }
        #expect(logs.lines("tools are left out").last?.contains("tool=other") == true)
        await bench.close()
        await upstream.goAway()
    }
}
