// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Upstreams

/// Whom a server's words belong to.
@Suite("Server link") struct ServerLinkTests {
    private static func progress(_ token: String) -> String {
        #"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":\#(token),"progress":1.0}}"#
    }

    private static func log(_ words: String) -> String {
        #"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"\#(words)"}}"#
    }

    // MARK: Progress

    @Test("Progress finds its request by number, on any link and any stream", arguments: [true, false], [nil, 5, 77])
    func byNumber(_ isExclusive: Bool, _ during: UInt64?) throws {
        let link = try ServerLink.scripted(ScriptedTransport(), isExclusive: isExclusive)
        let (five, six) = (RecordingConversation(), RecordingConversation())
        let calls = [link.begin(5, for: five), link.begin(6, for: six)]
        link.hear(try .of(Self.progress("5"), during: during))
        link.hear(try .of(Self.progress("6"), during: during))
        link.hear(try .of(Self.progress("5"), during: during))
        #expect(five.progress.all == Array(repeating: #"{"progressToken":5,"progress":1.0}"#, count: 2))
        #expect(six.progress.all == [#"{"progressToken":6,"progress":1.0}"#])
        for call in calls { call.cancel() }
    }

    static let tokens = [#""5""#, "7", "5.0", "-5", "null", "true", "[5]", "{}", "18446744073709551621"]

    @Test("A token that is none of our numbers belongs to nobody", arguments: tokens)
    func strangeTokens(_ token: String) throws {
        let link = try ServerLink.scripted(ScriptedTransport(), isExclusive: true)
        let conversation = RecordingConversation()
        let call = link.begin(5, for: conversation)
        link.hear(try .of(Self.progress(token), during: 5))
        link.hear(try .of(#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#, during: 5))
        link.hear(try .of(#"{"jsonrpc":"2.0","method":"notifications/progress"}"#, during: 5))
        #expect(conversation.progress.count == 0)
        call.cancel()
    }

    @Test("After its answer a call hears nothing")
    func afterTheEnd() async throws {
        let gate = Gate()
        let transport = ScriptedTransport { request, _ async throws(CallFailure) -> WireAnswer in
            await gate.pass()
            return .result(to: request)
        }
        let link = try ServerLink.scripted(transport, isExclusive: true)
        let conversation = RecordingConversation()
        let call = link.begin(5, for: conversation)
        #expect(link.callCount == 1)
        gate.open()
        #expect(try await call.soon()?.message?.kind == .result)
        #expect(link.callCount == 0)
        link.hear(try .of(Self.progress("5"), during: 5))
        link.hear(try .of(Self.log("late"), during: 5))
        #expect(conversation.progress.count + conversation.logs.count == 0)
    }

    // MARK: Logs

    struct Logging: Sendable, CustomTestStringConvertible {
        let name: String
        var isExclusive = false
        var era = Era.legacy(.v2025_11_25, session: nil)
        /// Whether each of the calls 5 and 6 asked for log messages.
        var wants = [false, false]
        var during: UInt64?
        /// Which call hears it.
        let heard: UInt64?
        var testDescription: String { name }
    }

    static let loggings: [Logging] = [
        Logging(name: "on a call's own stream", during: 5, heard: 5),
        Logging(name: "on the other's", during: 6, heard: 6),
        Logging(name: "on a stream of nobody", during: 7, heard: nil),
        Logging(name: "without a stream, shared", heard: nil),
        Logging(name: "without a stream, shared, though one asked", wants: [true, false], heard: nil),
        Logging(name: "without a stream, exclusive", isExclusive: true, heard: 6),
        Logging(name: "on a stream, exclusive", isExclusive: true, during: 5, heard: 5),
        Logging(name: "on a pipe of the stateless era, nobody asked", era: .modern, heard: nil),
        Logging(name: "on a pipe of the stateless era, one asked", era: .modern, wants: [true, false], heard: 5),
        Logging(name: "on a pipe of the stateless era, both asked", era: .modern, wants: [true, true], heard: nil),
    ]

    @Test("A log message is brought to a client only when it can be no other's", arguments: loggings)
    func whoseLog(_ one: Logging) throws {
        let link = try ServerLink.scripted(ScriptedTransport(), isExclusive: one.isExclusive)
        link.speaks(one.era)
        let conversations: [UInt64: RecordingConversation] = [5: .init(), 6: .init()]
        let calls = zip([5, 6] as [UInt64], one.wants).map { link.begin($0, for: conversations[$0], wantsLog: $1) }
        link.hear(try .of(Self.log("x"), during: one.during))
        for (id, conversation) in conversations {
            #expect(conversation.logs.all == (id == one.heard ? [#"{"level":"info","data":"x"}"#] : []), "call \(id)")
        }
        for call in calls { call.cancel() }
    }

    @Test("A call over which nobody converses hears nothing, and others are not disturbed by it")
    func silentCall() throws {
        let link = try ServerLink.scripted(ScriptedTransport(), isExclusive: true)
        let conversation = RecordingConversation()
        let calls = [link.begin(5, for: conversation), link.begin(6, for: nil)]
        link.hear(try .of(Self.progress("6")))
        link.hear(try .of(Self.log("x")))
        #expect(conversation.progress.count == 0)
        #expect(conversation.logs.count == 1)
        for call in calls { call.cancel() }
    }

    // MARK: What concerns everybody

    static let notices: [(String, [Notice])] = [
        (#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#, [.listChanged]),
        (#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"x":1}}"#, [.listChanged]),
        (#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#, [.listChanged]),
        (
            #"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x:\u0041"}}"#,
            [.updated(uri: "x:A")]
        ),
        (#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":5}}"#, []),
        (#"{"jsonrpc":"2.0","method":"notifications/resources/updated"}"#, []),
        (#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#, []),
        (#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#, []),
        (#"{"jsonrpc":"2.0","method":"notifications/made/up"}"#, []), (#"{"jsonrpc":"2.0","id":5,"result":{}}"#, []),
    ]

    @Test("Changes concern everybody, wherever they are said", arguments: notices, [nil, 5] as [UInt64?])
    func everybody(_ one: (json: String, notices: [Notice]), _ during: UInt64?) async throws {
        let heard = Collected<Notice>()
        let transport = ScriptedTransport()
        let link = try ServerLink.scripted(transport) { heard.add($0) }
        link.hear(try .of(one.json, during: during))
        #expect(heard.all == one.notices)
        try await link.open()
        try transport.say(one.json)
        #expect(heard.all == one.notices + one.notices)
        transport.lose()
        #expect(heard.all.last == .lost("it ended"))
    }

    @Test("A listen is acknowledged by its number, once")
    func acknowledgement() throws {
        func acknowledged(_ id: String) throws -> Incoming {
            try .of(
                #"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":"#
                    + #"{"io.modelcontextprotocol/subscriptionId":\#(id)},"notifications":{}}}"#)
        }
        let link = try ServerLink.scripted(ScriptedTransport())
        let opened = Collected<UInt64>()
        for id: UInt64 in [3, 4, 5] { link.expectAcknowledgement(id) { opened.add(id) } }
        for strange in ["6", #""3""#, "null", "-3", "3.0"] { link.hear(try acknowledged(strange)) }
        #expect(opened.count == 0)
        link.forgetAcknowledgement(4)
        for id in ["4", "5", "5", "3"] { link.hear(try acknowledged(id)) }
        #expect(opened.all == [5, 3])
    }

    @Test("What a call is told of its deadline and of pauses is its conversation's")
    func deadlines() async throws {
        let transport = ScriptedTransport { request, hearing async throws(CallFailure) -> WireAnswer in
            #expect(hearing?.extraTime(Moment(nanoseconds: 5)) == .seconds(7))
            hearing?.paused(.milliseconds(250))
            return .result(to: request)
        }
        let conversation = RecordingConversation(asking: .seconds(7))
        let link = try ServerLink.scripted(transport)
        #expect(try await link.begin(5, for: conversation).soon() != nil)
        #expect(conversation.pauses.all == [.milliseconds(250)])
    }

    @Test("The link knows when it was last spoken to")
    func lastHeard() async throws {
        let time = ManualTime()
        let transport = ScriptedTransport { request, _ async throws(CallFailure) -> WireAnswer in .result(to: request) }
        let link = try ServerLink.scripted(transport, time: time)
        time.advance(by: .seconds(3))
        link.hear(try .of(Self.log("x")))
        #expect(link.lastHeard == time.now())
        time.advance(by: .seconds(3))
        #expect(link.lastHeard != time.now())
        _ = try await link.begin(5, for: nil).soon()
        #expect(link.lastHeard == time.now())
    }
}
