// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Upstreams

/// What servers ask on a link, and what they are told.
@Suite("Questions on a link") struct ServerQuestionTests {
    private static func question(_ id: String, _ method: String = "roots/list", _ params: String = "{}") -> String {
        #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":\#(params)}"#
    }

    private func said(_ transport: ScriptedTransport, _ count: Int = 1) async throws -> [JSONValue] {
        try await wait(for: "\(count) replies, so far \(transport.said)") { transport.said.count >= count }
        return try transport.said.map { try JSONValue.parse($0) }
    }

    struct Asking: Sendable, CustomTestStringConvertible {
        let name: String
        var isExclusive = false
        var during: UInt64?
        /// Which of the calls 5 and 6 is asked.
        let asked: UInt64?
        var testDescription: String { name }
    }

    static let askings: [Asking] = [
        Asking(name: "on a call's own stream", during: 5, asked: 5),
        Asking(name: "on the other's", during: 6, asked: 6),
        Asking(name: "on a stream of nobody", during: 7, asked: nil),
        Asking(name: "shared, without a stream", asked: nil),
        Asking(name: "exclusive, without a stream", isExclusive: true, asked: 6),
        Asking(name: "exclusive, on a stream", isExclusive: true, during: 5, asked: 5),
    ]

    @Test("A question is brought to the call it can only be for, and refused where that is unknown", arguments: askings)
    func whose(_ one: Asking) async throws {
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport, isExclusive: one.isExclusive)
        link.speaks(.legacy(.v2025_06_18, session: "s"))
        let conversations: [UInt64: RecordingConversation] = [5: .init(), 6: .init()]
        let calls = [5, 6].map { link.begin($0, for: conversations[$0]) }
        link.hear(
            try .of(Self.question(#""q\u0041""#, "elicitation/create", #"{"message":"m","n":1.0}"#), during: one.during)
        )
        let reply = try #require(try await said(transport).first)
        #expect(transport.said.first?.contains(#""id":"q\u0041","#) == true, "the id goes back as it was written")
        #expect((reply["result"] == ["ok": true]) == (one.asked != nil))
        #expect((reply["error"]?["code"] == -32601) == (one.asked == nil))
        for (id, conversation) in conversations {
            #expect(conversation.questions.count == (id == one.asked ? 1 : 0), "call \(id)")
        }
        if let asked = one.asked {
            #expect(
                conversations[asked]?.questions.all
                    == [Question(kind: .elicitation, params: ["message": "m", "n": .number("1.0")])])
        }
        #expect(link.hasAsked == (one.asked != nil))
        #expect(transport.notified.all.first?.era == .legacy(.v2025_06_18, session: "s"))
        #expect(transport.notified.all.first?.id == nil)
        for call in calls { call.cancel() }
    }

    @Test("A ping is answered here, whoever is there", arguments: [true, false], [nil, 5] as [UInt64?])
    func ping(_ isExclusive: Bool, _ during: UInt64?) async throws {
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport, isExclusive: isExclusive)
        link.hear(try .of(#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, during: during))
        _ = try await said(transport)
        #expect(transport.said == [#"{"jsonrpc":"2.0","id":7,"result":{}}"#])
        #expect(!link.hasAsked)
    }

    @Test(
        "What no client is ever asked is refused here",
        arguments: [
            "tools/call", "initialize", "sampling/createmessage", "tasks/get", "made/up", "",
        ])
    func strange(_ method: String) async throws {
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport, isExclusive: true)
        let conversation = RecordingConversation()
        let call = link.begin(5, for: conversation)
        link.hear(try .of(Self.question("7", method), during: 5))
        #expect(try await said(transport).first?["error"]?["code"] == -32601)
        #expect(conversation.questions.count == 0)
        #expect(!link.hasAsked)
        call.cancel()
    }

    @Test("A client's refusal goes back with its code and words, whatever is in them")
    func refusal() async throws {
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport, isExclusive: true)
        let conversation = RecordingConversation { _ in .refused(code: -7, message: "no \"way\"\n") }
        let call = link.begin(5, for: conversation)
        link.hear(try .of(Self.question("7")))
        #expect(try await said(transport).first?["error"] == ["code": -7, "message": "no \"way\"\n"])
        call.cancel()
    }

    @Test("A question without params is one with none in it")
    func noParams() async throws {
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport, isExclusive: true)
        let conversation = RecordingConversation()
        let call = link.begin(5, for: conversation)
        link.hear(try .of(#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#))
        _ = try await said(transport)
        #expect(conversation.questions.all == [Question(kind: .roots, params: [:])])
        call.cancel()
    }

    @Test("When a call is over its open questions are too")
    func callEnds() async throws {
        let (gate, ended) = (Gate(), Gate())
        let transport = ScriptedTransport { request, _ async throws(CallFailure) -> WireAnswer in
            await gate.pass()
            return .result(to: request)
        }
        let link = try ServerLink.scripted(transport, isExclusive: true)
        let conversation = RecordingConversation { _ in
            await Latch().wait()
            defer { ended.open() }
            return .refused(code: Task.isCancelled ? -99 : 0, message: "")
        }
        let call = link.begin(5, for: conversation)
        link.hear(try .of(Self.question("7")))
        try await wait(for: "the question") { conversation.questions.count == 1 }
        gate.open()
        _ = try await call.soon()
        try await ended.passed()
        #expect(try await said(transport).first?["error"]?["code"] == -99)
    }

    @Test("One call is asked so many things and no more")
    func bound() async throws {
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport, isExclusive: true)
        let conversation = RecordingConversation { _ in
            await Latch().wait()
            return .refused(code: Task.isCancelled ? -99 : 0, message: "")
        }
        let call = link.begin(5, for: conversation)
        for number in 0..<70 { link.hear(try .of(Self.question("\(number)"))) }
        // Those over the bound are ended at once, the others wait.
        let early = try await said(transport, 6)
        #expect(early.compactMap { $0["id"]?.intValue }.sorted() == Array(64..<70))
        #expect(early.count == 6)
        call.cancel()
        _ = try await said(transport, 70)
    }
}
