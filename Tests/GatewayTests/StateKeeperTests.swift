// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Sealing
import Testing

@testable import Gateway

/// What clients carry from one round to the next is believed only when it is ours and for this very call.
@Suite("State keeper") struct StateKeeperTests {
    private let time = ManualTime()
    private var keeper: StateKeeper { StateKeeper(keys: .forTests, time: time) }

    private func inbound(
        _ params: String, method: String = "tools/call", caller: Caller = .anonymous
    ) throws -> InboundMessage {
        var inbound = try InboundMessage.of(
            #"{"jsonrpc":"2.0","id":1,"method":"\#(method)","params":\#(params)}"#, .modern)
        inbound.caller = caller
        return inbound
    }

    private static let params = #"{"name":"t","arguments":{"a":1.0,"b":[{"c":"x","d":null}]}}"#

    static let contents: [StateKeeper.Content] = [
        .upstream(nil), .upstream([]), .upstream(Array(#""their \"state\"""#.utf8)),
        .upstream(Array(repeating: 0, count: 5_000)), .parked(.random(), round: 0), .parked(.random(), round: 1),
        .parked(.random(), round: .max),
    ]

    @Test("What was sealed for a call comes back with it", arguments: contents)
    func roundTrip(_ content: StateKeeper.Content) throws {
        let call = try inbound(Self.params)
        let state = keeper.seal(content, of: call)
        #expect(keeper.open(state, for: call) == content)
        // In a JSON string and in a header it can stand as it is.
        #expect(state.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != 0x22 && $0 != 0x5c })
    }

    static let same: [String] = [
        params, #" { "arguments" : { "b" : [ { "d" : null , "c" : "\u0078" } ] , "a" : 1.0 } , "name" : "\u0074" } "#,
        #"{"name":"t","inputResponses":{"k":1},"requestState":"s","arguments":{"a":1.0,"b":[{"c":"x","d":null}]}}"#,
        #"{"_meta":{"progressToken":5},"name":"t","arguments":{"a":1.0,"b":[{"c":"x","d":null}]}}"#,
    ]

    @Test("The spelling of a call does not matter, nor what belongs to the round", arguments: same)
    func spelling(_ other: String) throws {
        let state = keeper.seal(.upstream(nil), of: try inbound(Self.params))
        #expect(keeper.open(state, for: try inbound(other)) == .upstream(nil))
    }

    static let different: [String] = [
        #"{"name":"T","arguments":{"a":1.0,"b":[{"c":"x","d":null}]}}"#,
        #"{"name":"t","arguments":{"a":1.00,"b":[{"c":"x","d":null}]}}"#,
        #"{"name":"t","arguments":{"a":1.0,"b":[{"c":"x","d":null},1]}}"#,
        #"{"name":"t","arguments":{"a":1.0,"b":[{"c":"x"}]}}"#, #"{"name":"t","arguments":{}}"#, #"{"name":"t"}"#,
        #"{"uri":"t","arguments":{"a":1.0,"b":[{"c":"x","d":null}]}}"#, "{}",
    ]

    @Test("A state for one call is none for another", arguments: different)
    func otherCall(_ other: String) throws {
        let state = keeper.seal(.upstream(nil), of: try inbound(Self.params))
        #expect(keeper.open(state, for: try inbound(other)) == nil)
        let back = keeper.seal(.upstream(nil), of: try inbound(other))
        #expect(keeper.open(back, for: try inbound(Self.params)) == nil)
    }

    @Test("Names that only look the same are others, in targets and in arguments")
    func lookAlikes() throws {
        for (one, other) in [("K", "\u{212a}"), ("\u{e9}", "e\u{301}")] {
            let state = keeper.seal(.upstream(nil), of: try inbound(#"{"name":"\#(one)"}"#))
            #expect(keeper.open(state, for: try inbound(#"{"name":"\#(other)"}"#)) == nil)
            let deep = keeper.seal(.upstream(nil), of: try inbound(#"{"name":"t","arguments":{"\#(one)":1}}"#))
            #expect(keeper.open(deep, for: try inbound(#"{"name":"t","arguments":{"\#(other)":1}}"#)) == nil)
        }
    }

    @Test("A state is good for one method only")
    func methods() throws {
        let state = keeper.seal(.upstream(nil), of: try inbound(#"{"name":"t"}"#))
        #expect(keeper.open(state, for: try inbound(#"{"name":"t"}"#, method: "prompts/get")) == nil)
        let read = keeper.seal(.upstream(nil), of: try inbound(#"{"uri":"x:a"}"#, method: "resources/read"))
        #expect(keeper.open(read, for: try inbound(#"{"uri":"x:a"}"#, method: "resources/read")) == .upstream(nil))
        #expect(keeper.open(read, for: try inbound(#"{"uri":"x:b"}"#, method: "resources/read")) == nil)
    }

    @Test("A state is good for one caller only", arguments: ["ann", "", "anonymous2", "\u{212a}ann", "anonymou"])
    func callers(_ name: String) throws {
        let state = keeper.seal(.upstream(nil), of: try inbound(Self.params))
        #expect(keeper.open(state, for: try inbound(Self.params, caller: Caller(name: name))) == nil)
        let theirs = keeper.seal(.upstream(nil), of: try inbound(Self.params, caller: Caller(name: name)))
        #expect(keeper.open(theirs, for: try inbound(Self.params)) == nil)
        #expect(keeper.open(theirs, for: try inbound(Self.params, caller: Caller(name: name))) == .upstream(nil))
    }

    @Test("When the name leads to another owner meanwhile, the state is none of its")
    func otherOwner() throws {
        let call = try inbound(Self.params)
        let state = keeper.seal(.upstream(nil), of: call, owner: "up")
        #expect(keeper.open(state, for: call, owner: "up") == .upstream(nil))
        #expect(keeper.open(state, for: call, owner: "other") == nil)
    }

    @Test("A state is good for ten minutes and not a moment longer")
    func expiry() throws {
        let call = try inbound(Self.params)
        let state = keeper.seal(.upstream(nil), of: call)
        time.advance(by: .milliseconds(599_999))
        #expect(keeper.open(state, for: call) == .upstream(nil))
        time.advance(by: .milliseconds(1))
        #expect(keeper.open(state, for: call) == nil)
        #expect(keeper.open(keeper.seal(.upstream(nil), of: call), for: call) == .upstream(nil))
    }

    @Test("A change of any one byte makes it a stranger's, and so does another key")
    func tampering() throws {
        let call = try inbound(Self.params)
        let state = keeper.seal(.parked(.random(), round: 7), of: call)
        let bytes = try #require(Base64URL.decode(state))
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1
            #expect(keeper.open(Base64URL.encode(changed), for: call) == nil, "byte \(index)")
        }
        for text in [
            "", "nonsense", "\u{e9}", String(state.dropLast()), state + "A", String(repeating: "A", count: 1 << 20),
        ] {
            #expect(keeper.open(text, for: call) == nil)
        }
        let other = StateKeeper(
            keys: SealKeys(current: .init(id: 1, secret: Array(repeating: 9, count: 32))), time: time)
        #expect(other.open(state, for: call) == nil)
        let again = StateKeeper(keys: .forTests, time: time)
        #expect(again.open(state, for: call) != nil, "after a restart it must still open")
    }

    @Test(
        "A task's handle says whose task it is, to its caller alone",
        arguments: ["t-1", "", "a\u{0}b", "\u{e9}", "\"x\""])
    func handles(_ task: String) throws {
        let handle = keeper.handle(task: task, owner: "up", caller: .anonymous)
        let found = try #require(keeper.task(handle, caller: .anonymous))
        #expect(found.owner == "up")
        #expect(found.task.utf8.elementsEqual(task.utf8))
        #expect(keeper.task(handle, caller: Caller(name: "ann")) == nil)
        #expect(handle != keeper.handle(task: task, owner: "up", caller: .anonymous))
        #expect(!handle.contains(task) || task.isEmpty)
        // A task does not end with a round: its owner says how long it lives.
        time.advance(by: .seconds(86_400))
        #expect(keeper.task(handle, caller: .anonymous) != nil)
    }

    @Test("Handles and states do not pass for each other, and nonsense is neither")
    func kinds() throws {
        let call = try inbound(Self.params)
        #expect(keeper.task(keeper.seal(.upstream(nil), of: call), caller: .anonymous) == nil)
        #expect(keeper.open(keeper.handle(task: "t", owner: "up", caller: .anonymous), for: call) == nil)
        for text in ["", "t", "up\u{0}anonymous\u{0}t", String(repeating: "A", count: 5_000)] {
            #expect(keeper.task(text, caller: .anonymous) == nil)
        }
    }
}

extension StateKeeper {
    fileprivate func seal(_ content: Content, of inbound: InboundMessage) -> String {
        seal(content, of: inbound, owner: "up")
    }

    fileprivate func open(_ text: String, for inbound: InboundMessage) -> Content? {
        open(text, for: inbound, owner: "up")
    }
}
