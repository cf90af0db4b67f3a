// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Synchronization
import Testing

@testable import Gateway

/// What an owner says while its call runs, as the client hears it.
@Suite("Call conversation") struct CallConversationTests {
    private let time = ManualTime()
    private let stream = ScriptedStream()

    private static let everything: ClientCapabilities = [
        .roots, .sampling, .samplingTools, .elicitationForm, .elicitationURL,
    ]

    private func inbound(
        _ revision: Revision, token: String? = "7", level: String? = nil, session: ScriptedSession? = nil,
        to stream: ScriptedStream? = nil
    ) throws -> InboundMessage {
        let meta = [
            token.map { #""progressToken":\#($0)"# }, level.map { #""io.modelcontextprotocol/logLevel":\#($0)"# },
        ].compactMap { $0 }.joined(separator: ",")
        var inbound = try InboundMessage.of(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{\#(meta)}}}"#, revision)
        inbound.stream = stream ?? self.stream
        inbound.session = session
        inbound.capabilities = Self.everything
        return inbound
    }

    private func owner(_ prefix: String = "up") -> Owner {
        let backend = ScriptedBackend(name: "server", tools: []) { _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        return Owner(backend: backend, prefix: prefix)
    }

    private func conversation(_ inbound: InboundMessage, prefix: String = "up") -> CallConversation {
        CallConversation(inbound, owner: owner(prefix), respondent: .client, time: time)
    }

    // MARK: Progress

    @Test("Progress rises strictly over all rounds and servers; what does not is dropped")
    func rising() throws {
        let conversation = conversation(try inbound(.modern))
        let said = ["0", "0", "0.5", "0.4", "1", "1e0", "1.0000001", "-1", "1e2", "99", "100.5"]
        for value in said { conversation.progressed(try .of(#"{"progressToken":1,"progress":\#(value)}"#)) }
        // The next round listens elsewhere and is no new beginning.
        let second = ScriptedStream()
        conversation.detach(1)
        conversation.progressed(try .of(#"{"progressToken":1,"progress":200}"#))
        conversation.attach(try inbound(.modern, token: #""two""#, to: second))
        for value in ["1", "200", "201"] {
            conversation.progressed(try .of(#"{"progressToken":9,"progress":\#(value)}"#))
        }
        #expect(
            stream.messages.map { $0["params"]?["progress"]?.text } == ["0", "0.5", "1", "1.0000001", "1e2", "100.5"])
        #expect(second.messages.map { $0["params"]?.text } == [#"{"progressToken":"two","progress":201}"#])
    }

    static let tokens: [(String, String)] = [
        ("7", "7"), (#""seven""#, #""seven""#), (#""\u0041 ""#, #""\u0041 ""#),
        ("9007199254740993", "9007199254740993"),
        ("-1", "-1"), (#""""#, #""""#),
    ]

    @Test("A client hears its own token, as it wrote it, and all else as its owner wrote it", arguments: tokens)
    func token(_ token: String, _ shown: String) throws {
        conversation(try inbound(.modern, token: token))
            .progressed(
                try .of(
                    #"{ "progress" : 1.50 ,"total":3e0,"progressToken":44,"message":"half \u0041","#
                        + #""_meta":{"a":1},"x":[1 ]}"#
                ))
        #expect(
            stream.sent == [
                #"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":\#(shown),"#
                    + #""progress" : 1.50,"total":3e0,"message":"half \u0041","x":[1 ]}}"#
            ])
        #expect(stream.vital == [false])
    }

    @Test("Words to the progress came with 2025-03-26", arguments: Revision.allCases)
    func progressWords(_ revision: Revision) throws {
        conversation(try inbound(revision)).progressed(try .of(#"{"progressToken":1,"progress":1,"message":"m"}"#))
        let words = try #require(stream.messages.first)["params"]?["message"]
        #expect((words != nil) == (revision >= .v2025_03_26))
    }

    @Test("A client that asked for no progress gets none", arguments: [nil, "null", "true", "[1]", "{}"])
    func noToken(_ token: String?) throws {
        conversation(try inbound(.modern, token: token)).progressed(try .of(#"{"progressToken":1,"progress":1}"#))
        #expect(stream.sent.isEmpty)
    }

    @Test(
        "Progress that is no number is no progress",
        arguments: ["{}", #"{"progress":"1"}"#, #"{"progress":null}"#, #"{"progress":[1]}"#, #"{"progress":true}"#])
    func noNumber(_ params: String) throws {
        let conversation = conversation(try inbound(.modern))
        conversation.progressed(try .of(params))
        conversation.progressed(try .of(#"{"progress":-5}"#))
        #expect(stream.messages.map { $0["params"]?["progress"]?.text } == ["-5"])
    }

    // MARK: Logs

    struct Hearing: Sendable, CustomTestStringConvertible {
        let revision: Revision
        /// In the request or in the session, as the era has it.
        let wanted: LogLevel?
        let said: String
        let isHeard: Bool
        var testDescription: String { "\(revision.name), wants \(wanted?.rawValue ?? "nothing"): \(said)" }
    }

    static let hearings: [Hearing] = Revision.allCases.flatMap { revision in
        [
            Hearing(revision: revision, wanted: nil, said: #""emergency""#, isHeard: !revision.isModern),
            Hearing(revision: revision, wanted: nil, said: "5", isHeard: !revision.isModern),
            Hearing(revision: revision, wanted: .debug, said: #""debug""#, isHeard: true),
            Hearing(revision: revision, wanted: .warning, said: #""notice""#, isHeard: false),
            Hearing(revision: revision, wanted: .warning, said: #""warning""#, isHeard: true),
            Hearing(revision: revision, wanted: .warning, said: #""error""#, isHeard: true),
            Hearing(revision: revision, wanted: .emergency, said: #""alert""#, isHeard: false),
            Hearing(revision: revision, wanted: .debug, said: #""loud""#, isHeard: false),
            Hearing(revision: revision, wanted: .debug, said: "5", isHeard: false),
        ]
    }

    @Test("A log message reaches who wants it: by request in one era, by session in the others", arguments: hearings)
    func logs(_ one: Hearing) throws {
        let session = ScriptedSession(one.revision)
        if let wanted = one.wanted, !one.revision.isModern { session.setLogLevel(wanted) }
        let level = one.revision.isModern ? one.wanted.map { "\"\($0.rawValue)\"" } : nil
        let conversation = conversation(
            try inbound(one.revision, level: level, session: one.revision.isModern ? nil : session))
        conversation.logged(try .of(#"{"level":\#(one.said),"data":{"n":1.0},"logger":"l"}"#))
        let expected =
            #"{"jsonrpc":"2.0","method":"notifications/message","params":"#
            + #"{"level":\#(one.said),"data":{"n":1.0},"logger":"l"}}"#
        #expect(stream.sent == (one.isHeard ? [expected] : []))
        conversation.detach(1)
        conversation.logged(try .of(#"{"level":"emergency","data":1}"#))
        #expect(stream.sent.count == (one.isHeard ? 1 : 0))
    }

    @Test("A level in the request means nothing in a session, and one of a session nothing in a request")
    func strangeLevels() throws {
        let session = ScriptedSession()
        session.setLogLevel(.debug)
        conversation(try inbound(.modern, session: session)).logged(try .of(#"{"level":"error","data":1}"#))
        #expect(stream.sent.isEmpty)
        conversation(try inbound(.v2025_11_25, level: #""emergency""#)).logged(try .of(#"{"level":"info","data":1}"#))
        #expect(stream.sent.count == 1)
    }

    @Test("A pause of the server is passed on to who listens at the moment")
    func pauses() throws {
        let conversation = conversation(try inbound(.v2025_11_25))
        conversation.paused(resumeAfter: .milliseconds(250))
        conversation.detach(1)
        conversation.paused(resumeAfter: .milliseconds(500))
        #expect(stream.pauses == [.milliseconds(250)])
    }
}
