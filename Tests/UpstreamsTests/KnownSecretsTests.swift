// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Outbound
import Testing

@testable import Upstreams

/// What the configuration gives an upstream is not read in the upstream's words.
@Suite("Known secrets") struct KnownSecretsTests {
    static let texts: [([String], String, String)] = [
        ([], "denied", "denied"),
        (["Bearer abcdef-1"], "denied for Bearer abcdef-1.", "denied for ***."),
        (["Bearer abcdef-1"], "abcdef-1 and abcdef-1", "*** and ***"),
        (["Bearer abcdef-1"], "Bearer what?", "Bearer what?"),
        (["abcdef", "abcdefgh"], "abcdefgh abcdef", "*** ***"),
        (["short"], "a short one", "a short one"),
        (["hé llo wörld"], "llo wörld", "***"),
        (["abcdef"], "abcde", "abcde"),
    ]

    @Test("Each value is hidden, and what follows its first word", arguments: texts)
    func hidden(_ values: [String], _ text: String, _ shown: String) {
        #expect(KnownSecrets(values).hidden(in: text, bytesMax: 1_000) == shown)
    }

    @Test("A cut leaves no part of one, wherever it falls")
    func cut() {
        let secrets = KnownSecrets(["abcdef-1"])
        for bytes in 0..<40 {
            let shown = secrets.hidden(in: "ééé abcdef-1 ééé abcdef-1 ééé", bytesMax: bytes)
            #expect(!shown.contains("a") && !shown.contains("\u{FFFD}"), "\(bytes): \(shown)")
            #expect(shown.utf8.count < bytes + 4)
        }
    }

    @Test("Variables of a process are secrets, those that every process has are not")
    func variables() {
        let secrets = KnownSecrets(
            of: .stdio(
                ChildCommand(
                    executable: "x", environment: ["HOME": "/home/somebody", "PATH": "/usr/bin", "TOKEN": "abcdef-1"])))
        #expect(secrets.hidden(in: "/home/somebody abcdef-1 /usr/bin", bytesMax: 100) == "/home/somebody *** /usr/bin")
    }

    static let tokens = ["Bearer s3cr3t-token", "s3cr3t-token"]

    @Test("A server that repeats its token brings it neither into health nor into the log", arguments: tokens)
    func repeated(_ token: String) async throws {
        let upstream = try await ScriptedUpstream.start(.legacy(.v2025_11_25, hasSessions: false))
        upstream.answer { request in
            let shown = request.header("authorization") ?? ""
            return .error(-32000, "denied for \(shown), that is s3cr3t-token", to: request)
        }
        let time = ManualTime(runs: true)
        let logs = try ReadableLogs(time)
        let bench = try PoolBench([.scripted("up", upstream, token: token)], time: time, logs: logs.files)
        let up = bench.pool.upstreams[0]
        try await wait(for: "its word: \(up.facts)") { up.facts.awayReason?.contains("denied for ***, ") == true }
        #expect(up.facts.awayReason == "failed: it refuses to begin: denied for ***, that is ***")
        guard case .unavailable(let detail) = try await up.echo(for: RecordingConversation(), logLevel: .info) else {
            Issue.record("something was sent to a server that is away")
            return
        }
        #expect(!detail.contains("s3cr3t"), "\(detail)")
        try await wait(for: "its line") { !logs.lines("upstream is away").isEmpty }
        #expect(logs.lines("s3cr3t").isEmpty)
        await bench.close()
        await upstream.goAway()
    }

    @Test("Nor does one whose answer to a call is an error of its envelope")
    func repeatedInCall() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let bench = try PoolBench([.scripted("up", upstream, token: "Bearer s3cr3t-token")])
        let up = try await bench.there("up")
        upstream.answerCalls { .error(-32020, "wrong header for s3cr3t-token", to: $0) }
        #expect(
            try await up.echo() == .garbage(detail: "it does not accept our envelope: wrong header for ***"))
        await bench.close()
        await upstream.goAway()
    }
}
