// Licensed under the Apache License 2.0; see LICENSE.

import Gateway
import GatewayCore
import GatewayTestKit
import MCPWire
import Testing
import Upstreams

/// Upstreams that are not there yet, go, come back and forget; clients that leave.
@Suite("Coming and going") struct ComingAndGoingTests {
    static let legacyUpstream = Personality.legacy(.v2025_11_25, hasSessions: true)

    @Test("The gateway serves while an upstream is away and picks it up when it comes")
    func comesLater() async throws {
        let late = try await ScriptedUpstream.start(.modern, isAway: true)
        let there = try await ScriptedUpstream.start(.modern)
        try await withHouse(HousePlan(["late": late, "there": there]), waits: false) { house in
            try await wait(for: "the one that is there") { house.catalogue.has("there__echo") }
            try await house.client { client async throws in
                let asker = try await ClientKind.modern.begin(client)
                #expect(try await client.ask(asker.list()).toolNames == ["there__echo"])
                #expect(try await client.ask(asker.call("there__echo")).words == "echo")
                let component = try #require(house.component("late"))
                #expect(component.status == .unhealthy)
                #expect(component.detail.contains("connection refused"))

                try await late.comeBack()
                try await wait(for: "the late one") { house.catalogue.has("late__echo") }
                #expect(try await client.ask(asker.list()).toolNames == ["late__echo", "there__echo"])
                #expect(try await client.ask(asker.call("late__echo")).words == "echo")
            }
        }
        await late.goAway()
        await there.goAway()
    }

    @Test("Just after the start lists and calls wait for the upstreams' first word")
    func settling() async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacyUpstream)
        let gate = Gate()
        upstream.answer { request in
            guard request.method == "server/discover" else { return nil }
            return .after(gate, .error(-32600, "missing session", to: request, status: 400))
        }
        try await withHouse(HousePlan(["up": upstream]), waits: false) { house in
            try await wait(for: "the probe") { !upstream.requests.isEmpty }
            try await house.client { lister async throws in
                try await house.client { caller async throws in
                    let asker = try await ClientKind.modern.begin(lister)
                    try await lister.send(asker.list())
                    try await caller.send(asker.call("up__echo"))
                    // What needs no list does not wait.
                    try await house.client { client async throws in
                        _ = try await client.ask(RequestText.modern("server/discover"))
                    }
                    #expect(lister.received.isEmpty && caller.received.isEmpty)
                    gate.open()
                    #expect(try await lister.answer().toolNames == ["up__echo"])
                    #expect(try await caller.answer().words == "echo")
                }
            }
        }
        await upstream.goAway()
    }

    @Test("Tools of an upstream that went away stay listed, calls say that nothing was sent, and it is found again")
    func goesAndComesBack() async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacyUpstream)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await ClientKind.modern.begin(client)
                #expect(try await client.ask(asker.call("up__echo")).words == "echo")
                await upstream.goAway()
                let words = try await wait(forValue: "the words of an absent server") {
                    let reply = try await client.ask(asker.call("up__echo"))
                    return reply.words?.contains("cannot be reached") == true ? reply.words : nil
                }
                #expect(words.contains("Nothing was sent"))
                #expect(words.contains("connection refused"))
                #expect(try await client.ask(asker.list()).toolNames == ["up__echo"])

                try await upstream.comeBack()
                try await wait(for: "an answer again") { try await client.ask(asker.call("up__echo")).words == "echo" }
            }
        }
        await upstream.goAway()
    }

    @Test(
        "A forgotten upstream session is opened again and the call repeated exactly once",
        arguments: [
            ClientKind.modern, .legacy(.v2025_11_25),
        ])
    func forgottenSession(_ kind: ClientKind) async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacyUpstream)
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await kind.begin(client)
                #expect(try await client.ask(asker.call("up__echo")).words == "echo")
                upstream.forgetSessions()
                let reply = try await client.ask(asker.call("up__echo", id: "8", arguments: #"{"x":1.0}"#))
                #expect(reply.words == "echo")
                #expect(reply.id == "8")
            }
            let sessions = upstream.calls.map { $0.header("mcp-session-id") }
            #expect(sessions == ["session-1", "session-1", "session-2"])
            #expect(upstream.calls.map { $0.param("arguments") } == ["{}", #"{"x":1.0}"#, #"{"x":1.0}"#])
            #expect(Set(upstream.calls.map(\.id)).count == 3)
            #expect(upstream.requests("initialize").count == 2)
        }
        await upstream.goAway()
    }

    @Test(
        "A session is lost when a server says so in its own way, and not when it says something else",
        arguments: [
            (404, -32600, true, 2), (404, -32001, true, 2), (404, -32001, false, 2), (404, 7, false, 2),
            (404, 7, true, 1),
            (400, -32000, false, 2), (400, -32600, false, 2), (404, -32601, true, 1), (400, -32602, true, 1),
            (200, -32600, true, 1),
            // An error that names the request may come from what ran it.
            (400, -32000, true, 1), (400, -32600, true, 1),
        ])
    func waysToForget(_ status: Int, _ code: Int, _ namesRequest: Bool, _ calls: Int) async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacyUpstream)
        upstream.answerCalls { request in
            guard request.header("mcp-session-id") == "session-1" else { return nil }
            upstream.forgetSessions()
            let id = namesRequest ? request.id : "null"
            return .json(
                #"{"jsonrpc":"2.0","id":\#(id),"error":{"code":\#(code),"message":"no"}}"#, status: status)
        }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let reply = try await client.ask(try await ClientKind.modern.begin(client).call("up__echo"))
                if calls == 2 { #expect(reply.words == "echo") } else { #expect(reply.errorCode == code) }
            }
            #expect(upstream.calls.count == calls)
        }
        await upstream.goAway()
    }

    @Test("An upstream that forgets every session at once is not asked for ever")
    func alwaysForgetting() async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacyUpstream)
        upstream.answerCalls { .error(-32600, "session terminated", to: $0, status: 404) }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let reply = try await client.ask(try await ClientKind.modern.begin(client).call("up__echo"))
                #expect(reply.errorCode == -32600)
            }
            #expect(upstream.calls.count == 2)
        }
        await upstream.goAway()
    }

    @Test("Calls that come while a forgotten session is being renewed wait for it, and only one is opened")
    func forgottenByMany() async throws {
        let upstream = try await ScriptedUpstream.start(Self.legacyUpstream)
        let gate = Gate()
        let call = RequestText.modern("tools/call", params: #""name":"up__echo""#, name: "up__echo")
        try await withHouse(HousePlan(["up": upstream])) { house in
            upstream.answer { request in
                guard request.method == "server/discover" else { return nil }
                return .after(gate, .error(-32600, "missing session", to: request, status: 400))
            }
            upstream.forgetSessions()
            var clients: [ScriptedClient] = []
            for number in 0..<12 {
                let client = try await ScriptedClient.connect(port: house.port)
                clients.append(client)
                try await client.send(call)
                guard number == 0 else { continue }
                try await wait(for: "the new handshake") { upstream.requests("server/discover").count == 2 }
            }
            // All calls have come in when somebody who came later has been served a few times.
            for _ in 0..<10 {
                try await house.client { client async throws in
                    _ = try await client.ask(RequestText.modern("tools/list"))
                }
            }
            gate.open()
            for client in clients {
                #expect(try await client.answer().words == "echo")
                await client.leave()
            }
            #expect(upstream.requests("initialize").count == 2)
        }
        await upstream.goAway()
    }

    @Test("A modern client that leaves cancels its call at the upstream")
    func modernLeaves() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        upstream.answerCalls { _ in .silence }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                try await client.send(RequestText.modern("tools/call", params: #""name":"up__echo""#, name: "up__echo"))
                try await wait(for: "the call at the upstream") { upstream.calls.count == 1 }
                #expect(upstream.leftWaiting == 0)
            }
            try await wait(for: "the gateway to leave the upstream") { upstream.leftWaiting == 1 }
            try await wait(for: "the row") { house.plan.journal.calls.contains { $0.method == "tools/call" } }
            #expect(house.plan.journal.calls.last?.status == "refused")
        }
        await upstream.goAway()
    }

    @Test("A legacy client that has said everything may still listen")
    func halfClosed() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let gate = Gate()
        upstream.answerCalls {
            .after(gate, .result(#""resultType":"complete","content":[{"type":"text","text":"late"}]"#, to: $0))
        }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await ClientKind.legacy(.v2025_11_25).begin(client)
                try await client.send(asker.call("up__echo"))
                try await wait(for: "the call at the upstream") { upstream.calls.count == 1 }
                try await client.sayNoMore()
                for _ in 0..<5 { try await house.client { _ = try await $0.ask(RequestText.modern("tools/list")) } }
                gate.open()
                let answer = try await client.answer()
                #expect(answer.words == "late")
                #expect(answer.header("connection") == "close")
            }
            #expect(upstream.leftWaiting == 0)
        }
        await upstream.goAway()
    }

    @Test("A legacy client that leaves does not cancel its call")
    func legacyLeaves() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let gate = Gate()
        upstream.answerCalls { .after(gate, .result(#""resultType":"complete","content":[]"#, to: $0)) }
        try await withHouse(HousePlan(["up": upstream])) { house in
            try await house.client { client async throws in
                let asker = try await ClientKind.legacy(.v2025_11_25).begin(client)
                try await client.send(asker.call("up__echo"))
                try await wait(for: "the call at the upstream") { upstream.calls.count == 1 }
            }
            // A round trip of somebody else after the leaving: had the call been cancelled, it would have been by now.
            try await house.client { client async throws in
                for _ in 0..<5 { _ = try await client.ask(RequestText.modern("tools/list")) }
            }
            #expect(upstream.leftWaiting == 0)
            gate.open()
            try await wait(for: "the row") { house.plan.journal.calls.contains { $0.method == "tools/call" } }
            #expect(house.plan.journal.calls.last { $0.method == "tools/call" }?.status == "ok")
        }
        await upstream.goAway()
    }

    @Test("A changed list of tools is taken up after the server comes back")
    func changedTools() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        try await withHouse(HousePlan(["up": upstream])) { house in
            upstream.list([.plain("echo"), .plain("second")])
            house.pool.upstreams[0].wakeUp()
            try await wait(for: "the second tool") {
                house.pool.upstreams[0].wakeUp()
                return house.catalogue.has("up__second")
            }
            #expect(house.catalogue.toolCount == 2)
        }
        await upstream.goAway()
    }

    @Test(
        "A long wait becomes an event stream with comments for a client that takes events",
        arguments: [
            ClientKind.modern, .legacy(.v2025_06_18),
        ])
    func longWait(_ kind: ClientKind) async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let gate = Gate()
        upstream.answerCalls {
            .after(gate, .result(#""resultType":"complete","content":[{"type":"text","text":"late"}]"#, to: $0))
        }
        let time = ManualTime(runs: true)
        var plan = HousePlan(["up": upstream], timeout: .seconds(100))
        plan.time = time
        try await withHouse(plan) { house async throws in
            try await house.client { client async throws in
                let asker = try await kind.begin(client)
                try await client.send(asker.call("up__echo", id: #""slow""#))
                try await wait(for: "the call at the upstream") { upstream.calls.count == 1 }
                #expect(client.received.isEmpty)
                time.advance(by: .seconds(16))
                try await wait(for: "a comment") { client.received.contains("\r\n:\r\n") }
                #expect(client.received.contains("text/event-stream"))
                gate.open()
                let answer = try await client.answer()
                #expect(answer.isStream)
                #expect(answer.words == "late")
                #expect(answer.id == #""slow""#)
                // The same connection goes on.
                #expect(try await client.ask(asker.list()).toolNames == ["up__echo"])
            }
        }
        await upstream.goAway()
    }

    @Test("A client that takes no events waits in silence")
    func silentWait() async throws {
        let upstream = try await ScriptedUpstream.start(.modern)
        let gate = Gate()
        upstream.answerCalls { .after(gate, .result(#""resultType":"complete","content":[]"#, to: $0)) }
        let time = ManualTime(runs: true)
        var plan = HousePlan(["up": upstream], timeout: .seconds(100))
        plan.time = time
        try await withHouse(plan) { house async throws in
            let streaming = try await ScriptedClient.connect(port: house.port)
            try await house.client { client async throws in
                let params = #""name":"up__echo""#
                try await client.send(
                    RequestText.modern("tools/call", params: params, name: "up__echo", accept: "application/json"))
                try await streaming.send(RequestText.modern("tools/call", params: params, name: "up__echo"))
                try await wait(for: "the calls at the upstream") { upstream.calls.count == 2 }
                time.advance(by: .seconds(16))
                // Whoever takes events has had a comment: then the other one's turn has come as well.
                try await wait(for: "a comment") { streaming.received.contains("\r\n:\r\n") }
                time.advance(by: .seconds(16))
                try await wait(for: "a second comment") {
                    streaming.received.components(of: "\r\n:\r\n") >= 2
                }
                #expect(client.received.isEmpty)
                gate.open()
                let answer = try await client.answer()
                #expect(!answer.isStream)
                #expect(answer.status == 200)
            }
            await streaming.leave()
        }
        await upstream.goAway()
    }
}

extension String {
    /// How often `part` stands in it.
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let found = rest.firstRange(of: part) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}
